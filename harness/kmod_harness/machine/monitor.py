# SPDX-License-Identifier: MIT
"""QEMU's monitor (QMP), without threads: events are collected whenever somebody asks."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable
from typing import Any, TypeVar

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.protocol import StateError

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError

# What a dying QEMU does to the connection is told by our own exceptions, not by the library's log as well.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

T = TypeVar("T")


class MonitorError(HarnessError):
    """QEMU refused a command, or its monitor is gone."""


async def _within(awaitable: Awaitable[T], seconds: float) -> T:
    return await asyncio.wait_for(awaitable, seconds)


class Monitor:
    """A QMP session over a connected socket. Has an event loop of its own, so it may change threads."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._loop = asyncio.new_event_loop()
        # Ctrl-C may strike in any of the loop's tasks. Whoever waits is told; nobody asks the other tasks.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._client = QMPClient("harness")
        try:
            self._wait(self._client.connect(connection), deadline)
        except BaseException:
            self._loop.close()
            raise

    def _wait(self, awaitable: Awaitable[T], deadline: Deadline) -> T:
        task = self._loop.create_task(_within(awaitable, deadline.remaining()))
        try:
            return self._loop.run_until_complete(task)
        except (QMPError, StateError, EOFError, OSError, TimeoutError) as error:
            raise MonitorError(f"QEMU's monitor: {error or type(error).__name__}") from error
        finally:
            if not task.done():  # interrupted
                task.cancel()
                self._loop.run_until_complete(asyncio.wait([task]))

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Carry out a QMP command and return its answer. Keys take "_" for "-"."""
        mapped = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self._wait(self._client.execute(command, mapped), deadline)

    def human(self, command: str, deadline: Deadline) -> str:
        """Carry out a command of the human monitor, for what QMP does not offer."""
        return str(self.execute("human-monitor-command", deadline, command_line=command))

    def events(self) -> list[dict[str, Any]]:
        """The events that have arrived since the last call. Never waits."""
        self._loop.run_until_complete(asyncio.sleep(0))
        return [dict(event) for event in self._client.events.clear()]

    def close(self) -> None:
        """End the session; QEMU may be gone already."""
        try:
            self._loop.run_until_complete(self._client.disconnect())
        except (QMPError, StateError, EOFError, OSError):
            pass
        finally:
            self._loop.close()
