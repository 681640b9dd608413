# SPDX-License-Identifier: MIT
"""Pure judgement: what the kernel log says, and whether a module did what was expected of it."""
