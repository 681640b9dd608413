# SPDX-License-Identifier: MIT
"""A kernel that can be reached: in a virtual machine, on a board, on this host."""
