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

# What the kernel says of each such module, whatever comes then.
_ALWAYS_SAID = re.compile(r"loading out-of-tree module taints kernel|module verification failed")


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
    permanent = any(current.permanent for current in observation.rounds)
    wanted = expectation.reloads if expectation.load == OK and not permanent else 1
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
    if current.load not in (OK, KILLED, None):
        yield _load_error(current)
        return
    steps = (
        ("loading", OK, current.load),
        ("state after loading", "Live", current.state),
        *(() if current.permanent else (("unloading", OK, current.unload),)),
    )
    for what, wanted, seen in steps:
        if what == "unloading" and _miscounted(current):
            yield Finding(Outcome.FAILED, f"round {current.number}: {_miscounted(current)}", current)
        elif not (partial and seen is None):
            yield from _differs(current, what, wanted, seen)
        if seen != wanted:
            return  # what follows from it would only hide it
    if not current.permanent and not (partial and current.listed_after is None):
        yield from _differs(current, "listed after unloading", False, current.listed_after)


def _miscounted(current: Round) -> str:
    """What its reference count says of a module that was loaded and is in the way; "" for nothing."""
    count = current.references
    if count < 0:
        return (
            f"its reference count is {count}: more module_put() than try_module_get(); unloading was not tried"
        )
    if current.unload not in ("EAGAIN", "EBUSY") or not count:
        return ""
    users = f"it is used by {', '.join(current.users)}"
    nobody = "no module uses it: a try_module_get() without module_put(), or something of it is open"
    said = users if current.users else nobody
    return f"unloading: expected ok, saw {current.unload}: its reference count is {count}, {said}"


def _load_error(current: Round) -> Finding:
    """Loading ended with an errno: what the log says of it, and how to expect that."""
    absent = current.load in NO_DEVICE
    outcome = Outcome.NO_DEVICE if absent else outcome_of(current.load)
    what = f"{current.load}: its hardware is not here" if absent else f"expected ok, saw {current.load}"
    own = [record.text for record in current.records if not _ALWAYS_SAID.search(record.text)]
    said = f"; the log says: {own[-1]}" if own else ""
    expect = f" (to expect that: `load: {current.load}` in module.yaml)"
    return Finding(outcome, f"round {current.number}: loading: {what}{said}{expect}", current)


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
