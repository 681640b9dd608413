# SPDX-License-Identifier: MIT
"""The kernel of a virtual machine of ours: we are alone in it, root, and hear its console."""

from __future__ import annotations

from pathlib import Path

from kmod_harness.machine.console import Console
from kmod_harness.target.commands import STEP_SECONDS, CommandTarget
from kmod_harness.target.runner import Runner


class Guest(CommandTarget):
    """See Target. Its initramfs has all that is needed."""

    folder = "/tmp"  # noqa: S108 (in the guest, where we are alone)
    kmodctl = "kmodctl"

    def __init__(
        self, runner: Runner, console: Console | None = None, *, step_seconds: float = STEP_SECONDS
    ) -> None:
        super().__init__(runner, step_seconds=step_seconds)
        self._console = console

    def last_lines(self, count: int) -> tuple[str, ...]:
        """See Target.last_lines."""
        return self._console.tail(count) if self._console else ()

    def heard(self) -> Path | None:
        """See Target.heard."""
        return self._console.path if self._console else None
