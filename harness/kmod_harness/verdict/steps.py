# SPDX-License-Identifier: MIT
"""Judge the rounds of loading and unloading. See kmod_harness.verdict.lifecycle.judge for what is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kmod_harness.module.expectation import Expectation
from kmod_harness.module.vocabulary import NO_DEVICE
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.finding import Finding, Outcome, outcome_of
from kmod_harness.verdict.observation import Ending, Observation, Round

TELLING = ("EINVAL", "ENOENT")  # of which the log often tells more: a missing parameter, a missing symbol


@dataclass(frozen=True)
class Leniency:
    """What an expected splat excuses; it was found before the rounds are judged."""

    killed: bool  # a step of the last round may have been killed
    early: bool  # the last round may be incomplete, and further ones missing


def judge_rounds(expectation: Expectation, observation: Observation, leniency: Leniency) -> Iterator[Finding]:
    """What is wrong with the rounds that were begun."""
    for current in observation.rounds:
        last = current is observation.rounds[-1]
        if current.lost:
            reason = f"round {current.number}: log: {current.lost} records were overwritten unread"
            yield Finding(Outcome.CRASHED, f"{reason}: nothing proves that no splat was among them", current)
        if not last or observation.ending is Ending.COMPLETE:
            yield from _log(expectation, current, ())
        elif leniency.early:
            yield from _log(expectation, current, observation.console_tail)
        if expectation.load != OK:
            yield from _refused(expectation.load, current)
        elif last and leniency.killed and current.load == KILLED:
            yield from _killed_loading(current)
        elif last and leniency.killed and current.unload == KILLED:
            yield from _killed_unloading(current)
        else:
            yield from _loaded_and_unloaded(current, partial=last and leniency.early)


def missing_rounds(
    name: str, expectation: Expectation, observation: Observation, leniency: Leniency
) -> Iterator[Finding]:
    """A finding when there were fewer rounds than expected and no expected splat is the reason."""
    wanted = expectation.reloads if expectation.load == OK else 1
    seen = [current.number for current in observation.rounds]
    last = observation.rounds[-1] if observation.rounds else None
    killed = leniency.killed and last is not None and KILLED in (last.load, last.unload)
    excused = last is not None and (killed or leniency.early)
    if not seen or seen != list(range(1, len(seen) + 1 if excused else wanted + 1)):
        reason = f"expected {name} to go through {wanted} rounds, saw {len(seen)}"
        yield Finding(Outcome.CRASHED, reason, last)


def _log(expectation: Expectation, current: Round, console: Sequence[str]) -> Iterator[Finding]:
    texts = [*(record.text for record in current.records), *console]
    for pattern in expectation.expect_log:
        if not any(re.search(pattern, text) for text in texts):
            reason = f"round {current.number}: log: expected a line that matches {pattern!r}"
            yield Finding(Outcome.FAILED, f"{reason}, saw none in {len(texts)} lines", current)


def _differs(current: Round, what: str, wanted: object, seen: object) -> Iterator[Finding]:
    """A finding when a step was not seen as wanted."""
    if seen != wanted:
        shown = "nothing" if seen is None else seen
        reason = f"round {current.number}: {what}: expected {wanted}, saw {shown}"
        yield Finding(outcome_of(seen), reason, current)


def _loaded_and_unloaded(current: Round, *, partial: bool) -> Iterator[Finding]:
    """partial: steps that were not reached are not asked for."""
    steps = (
        ("loading", OK, current.load),
        ("state after loading", "Live", current.state),
        ("unloading", OK, current.unload),
    )
    for what, wanted, seen in steps:
        if what == "loading" and seen in NO_DEVICE:
            yield _no_device(current)
        elif what == "loading" and seen in TELLING and current.records:
            reason = f"round {current.number}: loading: expected ok, saw {seen}; the log says: "
            yield Finding(Outcome.FAILED, reason + current.records[-1].text, current)
        elif not (partial and seen is None):
            yield from _differs(current, what, wanted, seen)
        if seen != wanted:
            return  # what follows from it would only hide it
    if not (partial and current.listed_after is None):
        yield from _differs(current, "listed after unloading", False, current.listed_after)


def _no_device(current: Round) -> Finding:
    said = f"; the log says: {current.records[-1].text}" if current.records else ""
    reason = f"round {current.number}: loading: {current.load}: its hardware is not here{said}"
    return Finding(
        Outcome.NO_DEVICE, f"{reason} (to expect that: `load: {current.load}` in module.yaml)", current
    )


def _refused(errno_name: str, current: Round) -> Iterator[Finding]:
    yield from _differs(current, "loading", errno_name, current.load)
    if current.load == errno_name and (current.state is not None or current.listed_after):
        reason = f"round {current.number}: expected not to be listed after {errno_name}"
        yield Finding(Outcome.FAILED, f"{reason}, saw state {current.state}", current)


def _killed_loading(current: Round) -> Iterator[Finding]:
    yield from _differs(current, "state after the expected oops", "Loading", current.state)
    if current.unload == OK or current.listed_after is False:
        reason = f"round {current.number}: expected to stay listed after the oops in init, saw it unloaded"
        yield Finding(Outcome.FAILED, reason, current)


def _killed_unloading(current: Round) -> Iterator[Finding]:
    yield from _differs(current, "loading", OK, current.load)
    yield from _differs(current, "state after loading", "Live", current.state)
    yield from _differs(current, "listed after the expected oops in exit", True, current.listed_after)
