# SPDX-License-Identifier: MIT
"""The kernel of the host that this program runs on. Nobody becomes root for it: start the program as root."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError, HarnessError
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.runner import GuestHang, Result, ends_are_errors


class HostRunner:
    """See Runner: processes of this host."""

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        """See Runner.run."""
        try:
            done = process.run(argv, deadline=deadline, input=stdin, check=False)
        except DeadlineError as error:
            raise GuestHang(error.message, evidence=error.evidence) from error
        return Result(tuple(argv), done.returncode, done.output)

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        """See Runner.put."""
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            raise HarnessError(f"cannot write {path}: {error.strerror}") from error

    def alive(self) -> bool:
        """See Runner.alive."""
        return True


class Host(CommandTarget):
    """See Target."""

    folder = ""  # set by open_host

    def __init__(self, folder: str, bring_kmodctl: Callable[[CommandTarget], str]) -> None:
        super().__init__(HostRunner())
        self.folder = folder
        self._bring_kmodctl = bring_kmodctl

    @functools.cached_property
    def kmodctl(self) -> str:
        """The program, made when it is first needed."""
        return self._bring_kmodctl(self)


@contextlib.contextmanager
def open_host(bring_kmodctl: Callable[[CommandTarget], str]) -> Iterator[Host]:
    """This host. What we need for it is gone when the context is left."""
    with ends_are_errors(), tempfile.TemporaryDirectory() as folder:
        yield Host(folder, bring_kmodctl)
