# SPDX-License-Identifier: MIT
"""`trace-unload`: what a kernel really runs when a module leaves."""
