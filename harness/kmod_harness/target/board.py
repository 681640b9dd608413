# SPDX-License-Identifier: MIT
"""A machine that is not ours: what runs there, a folder of our own in it, and root's rights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.target.runner import Result, Runner

STEP_SECONDS = 30.0
UPLOAD_SECONDS = 120.0
# What it prints, one fact a line; what is needed to build a module is looked at as a whole.
FACTS = """
uname -r
uname -m
id -u
build=/lib/modules/$(uname -r)/build
[ -f "$build/Makefile" ] && command -v make gcc tar > /dev/null && echo yes || echo no
"""


@dataclass(frozen=True)
class Facts:
    """What a board tells about itself."""

    release: str  # uname -r
    arch: str  # uname -m
    root: bool  # whether our account is root's
    builds: bool  # whether it has its kernel's headers, make and gcc


class Board:
    """A board, over a connection to it."""

    def __init__(self, runner: Runner, facts: Facts, folder: str) -> None:
        self._runner = runner
        self.facts = facts
        self.folder = folder  # ours, private, goes with us

    def run(self, *argv: str, seconds: float = STEP_SECONDS) -> Result:
        """Run a command as our account; its exit code is the caller's to judge."""
        return self._runner.run(argv, Deadline(seconds, argv[0]))

    def run_as_root(self, *argv: str, seconds: float) -> Result:
        """Run a command as root."""
        return self.run(*([] if self.facts.root else ["sudo", "-n", "--"]), *argv, seconds=seconds)

    def put(self, name: str, data: bytes) -> str:
        """Write a file in our folder; returns its path."""
        path = f"{self.folder}/{name}"
        self._runner.put(path, data, Deadline(UPLOAD_SECONDS, f"upload {name}"))
        return path

    def put_program(self, name: str, data: bytes) -> str:
        """Write a program in our folder; returns its path."""
        path = self.put(name, data)
        checked(self.run("chmod", "700", path))
        return path


def checked(result: Result) -> Result:
    """The result, if its exit code is 0; HarnessError otherwise."""
    if result.returncode != 0:
        raise HarnessError(
            f"on the board: {result.argv[0]}: exit code {result.returncode}",
            evidence=result.output.splitlines()[-10:],
        )
    return result


def read_facts(runner: Runner) -> Facts:
    """What a board tells about itself. HarnessError when it is no Linux machine with a shell."""
    result = runner.run(["sh", "-c", FACTS], Deadline(STEP_SECONDS, "look at the board"))
    lines = result.output.splitlines()
    if len(lines) != 4 or not lines[2].isdigit():
        raise HarnessError("the board does not tell its kernel", evidence=lines[-10:])
    return Facts(release=lines[0], arch=lines[1], root=lines[2] == "0", builds=lines[3] == "yes")


@contextlib.contextmanager
def open_board(runner: Runner) -> Iterator[Board]:
    """A board in which we are, or may become, root. Our folder there is gone when the context is left."""
    facts = read_facts(runner)
    deadline = Deadline(STEP_SECONDS, "become root on the board")
    if not facts.root and runner.run(["sudo", "-n", "true"], deadline).returncode != 0:
        raise UsageError(
            "this account of the board is not root's, and sudo wants a password or is not there",
            hint="--host root@board, or allow it in /etc/sudoers: NOPASSWD",
        )
    made = checked(runner.run(["mktemp", "-d"], Deadline(STEP_SECONDS, "mktemp")))
    folder = made.output.strip()
    if not folder.startswith("/") or "\n" in folder:
        raise HarnessError(f"mktemp on the board answers {folder!r}")
    try:
        yield Board(runner, facts, folder)
    finally:
        if runner.alive():
            runner.run(["rm", "-rf", folder], Deadline(STEP_SECONDS, "clean up on the board"))
