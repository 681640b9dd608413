# SPDX-License-Identifier: MIT
"""What the user types: commands, options, the pytest plugin."""
