# SPDX-License-Identifier: MIT
"""`rescue`: takes a stuck module out of the kernel of any machine that SSH reaches."""
