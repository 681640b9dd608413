# SPDX-License-Identifier: MIT
"""explain-log: what a kernel log from anywhere says, and where in the source."""
