# SPDX-License-Identifier: MIT
"""What all tests need of the process that runs them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


def pytest_configure() -> None:
    """Tests send signals to programs; in the background Ctrl-C is ignored, and under nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def signals() -> Iterator[None]:
    """A command takes the signals that end it; a test that runs one in its own process wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
