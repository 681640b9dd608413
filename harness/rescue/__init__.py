# SPDX-License-Identifier: MIT
"""`invoke rescue`: takes a stuck module out of the kernel of any machine that SSH reaches."""
