# SPDX-License-Identifier: MIT
"""What is seen of a module's life, and pure judgement: what the log says, whether all went as expected."""
