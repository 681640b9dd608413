# SPDX-License-Identifier: MIT
"""What the user sees: progress while it works, tables at the end."""
