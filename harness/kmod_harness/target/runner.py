# SPDX-License-Identifier: MIT
"""What everything in this folder needs of a machine: to run a command there and to put a file there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestFailure, HarnessError

OK = "ok"  # a system call that returned 0
KILLED = "killed"  # the task that made the system call was killed by the kernel (an oops)


class GuestHang(GuestFailure):
    """A command did not return in time, while the machine was still there."""


class ConnectionLost(GuestFailure):
    """The connection broke, and the machine shows no cause."""


class CommandFailed(GuestFailure):
    """A command there ended with an exit code that says it did not do its work."""


@dataclass(frozen=True)
class Result:
    """A command that has ended in the guest."""

    argv: tuple[str, ...]
    returncode: int  # above 128 or -1: killed by a signal
    output: str  # standard output and standard error

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, e.g. because the kernel oopsed in one of its system calls."""
        return self.returncode < 0 or self.returncode > 128


@contextlib.contextmanager
def ends_are_errors() -> Iterator[None]:
    """Makes HarnessError of what ends a target: for a test machine that is a result, for a board it is none."""
    try:
        yield
    except GuestFailure as failure:
        raise HarnessError(failure.message, evidence=failure.evidence, hint=failure.hint) from failure


class Watch(Protocol):
    """Tells whether the machine behind a connection is still alive."""

    def check(self) -> None:
        """Return if it can still be; raise what ended it otherwise. Never waits."""

    def diagnose(self) -> None:
        """The connection broke: wait a moment for the cause and raise it; return if none shows."""


class Runner(Protocol):
    """The way to a target: carries commands and files there."""

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        """Run a command. Raises GuestHang, ConnectionLost, or what ended the machine; never for exit codes."""

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        """Write a file. Raises as `run` does, and HarnessError when the file cannot be written."""

    def alive(self) -> bool:
        """Whether the connection is still there, as far as this side knows. Never waits."""
