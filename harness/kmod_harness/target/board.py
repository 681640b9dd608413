# SPDX-License-Identifier: MIT
"""The kernel of a machine that is not ours, reached over SSH: a board. It is left as it was found."""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.runner import Result, Runner

UPLOAD_SECONDS = 120.0
END_SECONDS = 60.0
# Ends every process that has a mark in its environment; exit code 1 when one is left. The mark comes by
# standard input, since sudo puts its command line into the environment. tr: not every grep reads past a NUL.
END = r"""
exec 2> /dev/null
read -r mark
marked() {
    for file in /proc/[0-9]*/environ; do
        tr '\0' '\n' < "$file" | grep -qx "$mark" && pid=${file#/proc/} && echo "${pid%/environ}"
    done
}
for signal in TERM TERM KILL KILL; do
    pids=$(marked)
    [ "$pids" ] || exit 0
    kill -$signal $pids
    sleep 0.5 || sleep 1
done
[ -z "$(marked)" ]
"""


class Board(CommandTarget):
    """See Target. What it lacks is brought to it when it is first needed, into a folder that goes with us.

    sshd leaves a command alone when nobody waits for it any more. So each has a mark in its environment, by
    which it and its children are found and ended over another channel: they inherit it through sudo, in
    sessions of their own, as orphans. A process group would lose those, `timeout` knows nothing of Ctrl-C, and
    neither is to be had on every board.
    """

    def __init__(self, runner: Runner, bring_kmodctl: Callable[[CommandTarget], str]) -> None:
        super().__init__(runner, upload_seconds=UPLOAD_SECONDS)
        self._bring_kmodctl = bring_kmodctl
        self._mark = f"KMOD_HARNESS_RUN={secrets.token_hex(8)}"
        self._cut = False  # a command may still be running

    def _carry_out(self, argv: tuple[str, ...], *, root: bool, stdin: bytes, seconds: float | None) -> Result:
        marked = ("env", self._mark, *argv)
        command = ("env", self._mark, *self.as_root, *marked) if root and self.as_root else marked
        try:
            result = super()._carry_out(command, root=False, stdin=stdin, seconds=seconds)
            return replace(result, argv=argv)
        except BaseException:
            self._cut = True
            raise

    @functools.cached_property
    def as_root(self) -> tuple[str, ...]:  # type: ignore[override]
        """What a command begins with, to be root's. UsageError when we may not become root."""
        if self.facts.root:
            return ()
        if self.run("sudo", "-n", "true", check=False).returncode != 0:
            raise UsageError(
                "this account of the board is not root's, and sudo wants a password or is not there",
                hint="--host root@board, or allow it in /etc/sudoers: NOPASSWD",
            )
        return ("sudo", "-n", "--")

    @functools.cached_property
    def folder(self) -> str:
        """A private folder there, made when it is first asked for."""
        folder = self.run("mktemp", "-d").output.strip()
        if not folder.startswith("/") or "\n" in folder:
            raise HarnessError(f"mktemp on the board answers {folder!r}")
        return folder

    @functools.cached_property
    def kmodctl(self) -> str:
        """The program, brought there when it is first needed."""
        return self._bring_kmodctl(self)

    def leave(self) -> None:
        """End what runs there on our behalf, then remove our folder. HarnessError when that cannot be done."""
        if not self.runner.alive():
            return
        if self._cut:
            self._end()
        if "folder" in self.__dict__:
            self.run("rm", "-rf", self.folder)

    def _end(self) -> None:
        as_root = self.__dict__.get("as_root", ())
        deadline = Deadline(END_SECONDS, "end what runs on the board")
        ended = self.runner.run([*as_root, "sh", "-c", END], deadline, stdin=f"{self._mark}\n".encode())
        if ended.returncode != 0:
            raise HarnessError(
                "a command on the board cannot be ended", hint=f"kill what has {self._mark} in its environment"
            )


@contextlib.contextmanager
def open_board(
    runner: Runner, bring_kmodctl: Callable[[CommandTarget], str], tell: Callable[[str], None]
) -> Iterator[Board]:
    """A board over a connection to it. When the context is left, nothing of ours runs or lies there any more.

    bring_kmodctl: puts that program there and returns its path. tell: hears what could not be cleaned up.
    """
    board = Board(runner, bring_kmodctl)
    try:
        yield board
    finally:
        try:
            board.leave()
        except Failure as failure:  # what was found out before counts for more
            tell(f"warning: the board is not as it was: {failure.message}")
