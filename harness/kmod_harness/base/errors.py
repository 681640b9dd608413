# SPDX-License-Identifier: MIT
"""Exceptions and exit codes: "the harness failed" and "the guest failed" never mix."""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from pathlib import Path


def as_called(hint: str) -> str:
    """A hint as the user has to type it: they are written for invoke, which works in a checkout only."""
    return hint.replace("invoke ", "kmod-harness ") if Path(sys.argv[0]).name == "kmod-harness" else hint


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0  # all as expected
    CHECK_FAILED = 1  # a module did not do what was expected of it
    NO_VERDICT = 2  # the harness or the host failed: nothing is known about the module
    USAGE = 3  # the command line or a configuration file is wrong
    RETIRED = 4  # a rescue: the module could not be proven dead, so it has another name, and stays


class Failure(Exception):  # noqa: N818 (the common base of errors and of results)
    """Something ended early. Carries its evidence, so that nobody has to run it again to see why.

    message: one sentence that names the cause.
    hint: what to do next, preferably a command.
    evidence: the last lines of output that show the cause, oldest first.
    log: the file with the whole output.
    """

    exit_code: Exit

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        evidence: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = tuple(evidence)
        self.log = log

    def __str__(self) -> str:
        lines = [self.message, *(f"  | {line}" for line in self.evidence)]
        if self.log:
            lines.append(f"full log: {self.log}")
        if self.hint:
            lines.append(f"next: {as_called(self.hint)}")
        return "\n".join(lines)


class HarnessError(Failure):
    """The harness or the host failed: no verdict is possible."""

    exit_code = Exit.NO_VERDICT


class GuestFailure(Failure):
    """The guest kernel panicked, hangs or is lost: a result about what was just done in it, not an error."""

    exit_code = Exit.CHECK_FAILED


class GuestPanic(GuestFailure):
    """The guest kernel panicked or reset itself."""


class UsageError(HarnessError):
    """The user asked for something that cannot be: wrong name, wrong option, wrong file."""

    exit_code = Exit.USAGE


class DeadlineError(HarnessError):
    """A wait reached its deadline."""
