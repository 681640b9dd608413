# SPDX-License-Identifier: MIT
"""What all tests need of the process that runs them."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell that starts us in the background lets Ctrl-C be ignored, and tests send it to programs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
