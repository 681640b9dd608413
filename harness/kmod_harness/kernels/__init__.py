# SPDX-License-Identifier: MIT
"""Which kernel: from what the user typed ("6.12", "host", a build tree, a folder of .debs) to files."""
