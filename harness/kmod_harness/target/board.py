# SPDX-License-Identifier: MIT
"""The kernel of a machine that is not ours, reached over SSH: a board. It is left as it was found."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.target.commands import CommandTarget, checked
from kmod_harness.target.runner import Runner

UPLOAD_SECONDS = 120.0


class Board(CommandTarget):
    """See Target. What it lacks is brought to it when it is first needed, into a folder that goes with us."""

    def __init__(self, runner: Runner, bring_kmodctl: Callable[[CommandTarget], str]) -> None:
        super().__init__(runner, upload_seconds=UPLOAD_SECONDS)
        self._bring_kmodctl = bring_kmodctl

    @functools.cached_property
    def as_root(self) -> tuple[str, ...]:  # type: ignore[override]
        """What a command begins with, to be root's. UsageError when we may not become root."""
        if self.facts.root:
            return ()
        if self.run("sudo", "-n", "true").returncode != 0:
            raise UsageError(
                "this account of the board is not root's, and sudo wants a password or is not there",
                hint="--host root@board, or allow it in /etc/sudoers: NOPASSWD",
            )
        return ("sudo", "-n", "--")

    @functools.cached_property
    def folder(self) -> str:
        """A private folder there, made when it is first asked for."""
        folder = checked(self.run("mktemp", "-d")).output.strip()
        if not folder.startswith("/") or "\n" in folder:
            raise HarnessError(f"mktemp on the board answers {folder!r}")
        return folder

    @functools.cached_property
    def kmodctl(self) -> str:
        """The program, brought there when it is first needed."""
        return self._bring_kmodctl(self)

    def leave(self) -> None:
        """Remove our folder, if there is one and the board still answers."""
        if "folder" in self.__dict__ and self.runner.alive():
            checked(self.run("rm", "-rf", self.folder))


@contextlib.contextmanager
def open_board(runner: Runner, bring_kmodctl: Callable[[CommandTarget], str]) -> Iterator[Board]:
    """A board over a connection to it. What we put there is gone when the context is left.

    bring_kmodctl: puts that program there and returns its path.
    """
    board = Board(runner, bring_kmodctl)
    try:
        yield board
    except BaseException:
        with contextlib.suppress(Failure):  # the first failure tells more
            board.leave()
        raise
    board.leave()
