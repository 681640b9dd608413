# SPDX-License-Identifier: MIT
"""Offered beside testing: the graph of modules, the trace of an unload, the rescue of a stuck module."""
