# SPDX-License-Identifier: MIT
"""The host's end of the guest's agent (vm/guest/agent.c has the protocol): what must be done before SSH."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import NoReturn

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError

SEED_BYTES = 64
PART_BYTES = 4 << 20  # of a file in one request; the agent takes no more than 16 MiB at once
HEARTBEAT_SECONDS = 0.05


class Agent:
    """A connection to the agent. `check` is called while waiting, and raises when the machine has ended."""

    def __init__(self, connection: socket.socket, check: Callable[[], None]) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._check = check

    def boot_id(self, deadline: Deadline) -> str:
        """The kernel's boot id: which boot this is a clone of."""
        return self._ask(b"h", deadline).decode()

    def settle(self, deadline: Deadline) -> None:
        """Give the guest the host's wall clock, and randomness that no other guest has."""
        self._ask(b"t" + struct.pack("<Q", time.time_ns()), deadline)
        self._ask(b"r" + os.urandom(SEED_BYTES), deadline)

    def write(self, path: str, data: bytes, mode: int, deadline: Deadline) -> None:
        """Write a file."""
        for offset in range(0, max(1, len(data)), PART_BYTES):
            head = struct.pack("<IQ", mode, offset) + os.fsencode(path) + b"\0"
            self._ask(b"w" + head + data[offset : offset + PART_BYTES], deadline, path)

    def _ask(self, request: bytes, deadline: Deadline, what: str = "") -> bytes:
        self._send(struct.pack("<I", len(request)) + request, deadline)
        error, size = struct.unpack("<II", self._receive(8, deadline))
        text = self._receive(size, deadline)
        if error:
            raise HarnessError(": ".join(filter(None, ("the guest's agent", what, os.strerror(error)))))
        return text

    def _wait(self, deadline: Deadline, *, writing: bool) -> None:
        both = ([self._connection], []) if not writing else ([], [self._connection])
        while not any(select.select(*both, [], HEARTBEAT_SECONDS)[:2]):
            self._check()
            deadline.check()

    def _send(self, data: bytes, deadline: Deadline) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._connection.send(view) :]
            except BlockingIOError:
                self._wait(deadline, writing=True)
            except OSError as error:
                self._gone(error)

    def _receive(self, size: int, deadline: Deadline) -> bytes:
        result = bytearray()
        while len(result) < size:
            try:
                data = self._connection.recv(size - len(result))
            except BlockingIOError:
                self._wait(deadline, writing=False)
                continue
            except OSError as error:
                self._gone(error)
            if not data:
                self._gone(EOFError("end of file"))
            result += data
        return bytes(result)

    def _gone(self, error: Exception) -> NoReturn:
        self._check()
        raise HarnessError(f"the connection to the guest's agent broke: {error}") from error
