# SPDX-License-Identifier: MIT
"""How the steps tell what they are doing; who shows it (terminal, log, nobody) is not their business."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """One piece of work that is under way."""

    def update(
        self, detail: str | None = None, *, completed: float | None = None, total: float | None = None
    ) -> None:
        """Say what is being done now, and how much of the whole (any unit) is done."""

    def conclude(self, outcome: str) -> None:
        """Say in a word how it ended: what is told instead of "done"."""


class Progress(Protocol):
    """Receives what a run is doing. All methods may be called from any thread."""

    def task(self, label: str) -> AbstractContextManager[Task]:
        """Announce a piece of work; it is over when the context is left."""

    def note(self, text: str) -> None:
        """Show one line that stays, e.g. a warning or which accelerator was chosen."""


class _SilentTask:
    def update(
        self, detail: str | None = None, *, completed: float | None = None, total: float | None = None
    ) -> None:
        pass

    def conclude(self, outcome: str) -> None:
        pass


class Silent:
    """A Progress that shows nothing."""

    def task(self, label: str) -> AbstractContextManager[Task]:
        return nullcontext(_SilentTask())

    def note(self, text: str) -> None:
        pass
