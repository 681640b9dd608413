# SPDX-License-Identifier: MIT
"""What every step stands on: errors, settings, deadlines, processes, threads, the store, progress."""
