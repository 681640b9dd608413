# SPDX-License-Identifier: MIT
"""Which .ko: toolchain roots, kbuild, and the strict verdict on what was built."""
