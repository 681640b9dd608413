# SPDX-License-Identifier: MIT
"""Random modules that get stuck: a grammar of what a module registers, and a death in the middle."""
