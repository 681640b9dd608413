# SPDX-License-Identifier: MIT
"""What a judgement is made of."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from kmod_harness.target.runner import KILLED
from kmod_harness.verdict.observation import Round


class Outcome(enum.Enum):
    """What became of the module; all but PASSED and NO_DEVICE count as a failed check."""

    PASSED = "passed"  # every step was seen to go as expected
    NO_DEVICE = "no-device"  # it refused to be loaded since its hardware is not there; else all was well
    FAILED = "failed"  # a step went otherwise, the kernel lives
    CRASHED = "crashed"  # the kernel killed the task or reported an oops; or nothing proves the contrary
    LOST = "lost"  # the connection to the guest broke
    HANG = "hang"  # a step did not come back
    PANIC = "panic"  # the kernel panicked


SEVERITY = (
    Outcome.PASSED,
    Outcome.NO_DEVICE,
    Outcome.FAILED,
    Outcome.CRASHED,
    Outcome.LOST,
    Outcome.HANG,
    Outcome.PANIC,
)


@dataclass(frozen=True)
class Finding:
    """One proof that is missing."""

    outcome: Outcome
    reason: str
    round: Round | None = None  # whose records are the evidence


def worst(findings: Iterable[Finding]) -> Outcome:
    """The outcome of the worst finding; PASSED when there is none."""
    return max((finding.outcome for finding in findings), key=SEVERITY.index, default=Outcome.PASSED)


def outcome_of(seen: object) -> Outcome:
    """FAILED for a step that went otherwise than expected, CRASHED for one that was killed or never seen."""
    return Outcome.CRASHED if seen is None or seen == KILLED else Outcome.FAILED
