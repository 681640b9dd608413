# SPDX-License-Identifier: MIT
"""One deadline, made where a wait begins and passed down to everything that waits for it."""

from __future__ import annotations

import os
import time

from kmod_harness.base.errors import DeadlineError, UsageError

FACTOR_VARIABLE = "KMOD_HARNESS_TIMEOUT_FACTOR"


def timeout_factor() -> float:
    """By how much all deadlines are stretched; for slow or busy hosts, from the environment."""
    text = os.environ.get(FACTOR_VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1000:
        raise UsageError(f"{FACTOR_VARIABLE}={text}: want a number above 0 and below 1000")
    return factor


class Deadline:
    """A point in time (monotonic clock) and the name of what must have happened by then."""

    def __init__(self, seconds: float, what: str) -> None:
        self.seconds = seconds * timeout_factor()
        self.what = what
        self._end = time.monotonic() + self.seconds

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - time.monotonic())

    def expired(self) -> bool:
        """Whether the time is up."""
        return self.remaining() == 0.0

    def check(self) -> None:
        """Raise DeadlineError when the time is up."""
        if self.expired():
            raise DeadlineError(
                f"{self.what}: not done within {self.seconds:.0f} s",
                hint=f"on a slow host, stretch all deadlines: {FACTOR_VARIABLE}=3",
            )
