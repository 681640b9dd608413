# SPDX-License-Identifier: MIT
"""One run: its kernels, builds and machines, each made on demand and at most once."""
