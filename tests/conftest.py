# SPDX-License-Identifier: MIT
"""What all tests need of the process that runs them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


def pytest_configure() -> None:
    """A shell that starts us in the background lets Ctrl-C be ignored, and tests send it to programs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def signals() -> Iterator[None]:
    """A command takes the signals that end it; a test that runs one in its own process wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
