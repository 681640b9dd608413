# SPDX-License-Identifier: MIT
"""The kernel seen from inside, over a small Runner protocol."""
