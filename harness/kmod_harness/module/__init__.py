# SPDX-License-Identifier: MIT
"""A module's source folder, what its module.yaml expects, and the words that it may use."""
