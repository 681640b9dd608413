# SPDX-License-Identifier: MIT
"""The relay between this terminal and a shell far away."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import pytest

from kmod_harness.front import shell
from kmod_harness.target.ssh import Unwatched


class Ended:
    """A channel whose shell ends just when something is typed."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self.fileno = self._near.fileno
        self.recv = self._near.recv

    def sendall(self, _data: bytes) -> None:
        self._far.sendall(b"logout\n")
        self._far.close()
        raise OSError("Socket is closed")


def test_typing_into_a_shell_that_has_just_ended(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"exit\nmore\n")
    channel: Any = Ended()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w"):
        monkeypatch.setattr(sys, "stdin", stdin)
        shell._relay(channel, Unwatched())
    assert capsysbinary.readouterr().out == b"logout\n"
