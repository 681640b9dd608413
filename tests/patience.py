# SPDX-License-Identifier: MIT
"""How tests wait: for what happens, and never for a time. A busy machine is late, and not wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kmod_harness.base.deadline import Deadline

SECONDS = 300.0  # a limit for what hangs


def patient(what: str) -> Deadline:
    """The deadline of what is expected to happen."""
    return Deadline(SECONDS, what)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until something is so."""
    deadline = patient(what)
    while not condition():
        deadline.check()
        time.sleep(0.01)


class After(Deadline):
    """A deadline that is over when a file is there: what happened before it does not depend on the clock."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(0, what)
        self._file = file

    def remaining(self) -> float:
        """Nothing, but not before."""
        wait_until(self._file.exists, str(self._file))
        return 0.0
