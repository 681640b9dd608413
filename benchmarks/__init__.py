# SPDX-License-Identifier: MIT
"""Scripts that measure; never run by the tests."""
