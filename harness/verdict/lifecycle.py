# SPDX-License-Identifier: MIT
"""Judge the life of a module: what was seen against what was expected."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.build.module import Expectation, ExpectedSplat
from harness.guest.observation import KILLED, OK, Ending, Observation, Round
from harness.verdict.splats import Splat, find_splats
from harness.verdict.taint import taint_bits, taint_letters, taint_meaning

EVIDENCE_LINES = 30


class Outcome(enum.Enum):
    """What became of the module; all but PASSED count as a failed check."""

    PASSED = "passed"  # every step was seen to go as expected
    FAILED = "failed"  # a step went otherwise, the kernel lives
    CRASHED = "crashed"  # the kernel killed the task or reported an oops; or nothing proves the contrary
    LOST = "lost"  # the connection to the guest broke
    HANG = "hang"  # a step did not come back
    PANIC = "panic"  # the kernel panicked


_SEVERITY = (
    Outcome.PASSED,
    Outcome.FAILED,
    Outcome.CRASHED,
    Outcome.LOST,
    Outcome.HANG,
    Outcome.PANIC,
)
_ENDINGS = {Ending.PANIC: Outcome.PANIC, Ending.HANG: Outcome.HANG, Ending.LOST: Outcome.LOST}
# Expected splats of these kinds explain why an observation ended early.
_EXPLAINED_BY = {
    Ending.PANIC: frozenset({"panic"}),
    Ending.HANG: frozenset({"soft-lockup", "hard-lockup", "hung-task", "rcu-stall"}),
}
_HARMLESS_TAINT = ("O", "E")
# What an expected splat does to the taint flags, by a line of its report.
_TAINT_OF_LINE = (
    ("D", re.compile(r"(?:.*\[#\d+\]|PANIC: )")),
    ("W", re.compile(r"(?:WARNING: |BUG: (?:scheduling while atomic|sleeping function|workqueue|using ))")),
    ("B", re.compile(r"BUG(?:: (?:KASAN|KFENCE|Bad page)| \S.*\):)")),
    ("L", re.compile(r".*watchdog: BUG: soft lockup")),
)


@dataclass(frozen=True)
class Verdict:
    """What the harness says about one module on one kernel."""

    outcome: Outcome
    reasons: tuple[str, ...]  # why it did not pass: the round, what was expected, what was seen
    splats: tuple[Splat, ...]  # all that were found, expected ones included
    evidence: tuple[str, ...]  # lines of the kernel log or console that show it, oldest first

    @property
    def passed(self) -> bool:
        """Whether everything went as expected."""
        return self.outcome is Outcome.PASSED


@dataclass(frozen=True)
class _Finding:
    """One proof that is missing."""

    outcome: Outcome
    reason: str
    round: Round | None = None  # whose records are the evidence


def judge(module_name: str, expectation: Expectation, observation: Observation) -> Verdict:
    """Judge an observation. Pure; a proof that is missing counts against the module (default: crashed).

    PASSED demands, for each of `reloads` rounds: loading returned OK, the state was exactly "Live", every
    `expect_log` pattern was found in a record of that round, unloading returned OK and the module was not
    listed afterwards. Beside that: each dependency was loaded, no taint bit is new except O, E and
    `expect_taint`, no splat appeared, and the observation ran to its end.

    `load: <errno>`: there is one round; loading failed with exactly that errno and the module was not listed,
    neither at once nor later. Nothing is unloaded.

    `expect_splat`: a splat of that kind whose title or text matches the pattern must appear at least once in
    any round; more of the same are allowed, others are not, and the taint bits that its report sets (D for an
    oops, W for a warning, ...) are. The rounds go on as usual, unless the splat killed a step. Then the round
    in which it did is the last one:
      killed while loading: the module stays listed, its state is "Loading"; whether unloading was tried does
        not matter, but it must not have worked;
      killed while unloading: loading had gone well, and the module is still listed.
    An expected panic excuses the ending PANIC, an expected lockup, stall or hung task the ending HANG: the
    steps that were not reached are not asked for, those that were reached must be right.

    `expect_log` holds for the last round of a killed or hanging module as well.
    """
    places = _all_splats(observation)
    splats = tuple(splat for _, splat in places)
    expected = [splat for splat in splats if _is_expected(splat, expectation.expect_splat)]
    findings = [
        *_ending(observation, expected),
        *_dependencies(expectation, observation),
        *_rounds(module_name, expectation, observation, expected),
        *_splats(expectation, places),
        *_taint(expectation, observation, expected),
    ]
    outcome = max((finding.outcome for finding in findings), key=_SEVERITY.index, default=Outcome.PASSED)
    reasons = tuple(dict.fromkeys(finding.reason for finding in findings))
    unexpected = [splat for splat in splats if splat not in expected]
    evidence = _evidence(observation, findings, unexpected) if findings else ()
    return Verdict(outcome, reasons, splats, evidence)


def _all_splats(observation: Observation) -> tuple[tuple[str, Splat], ...]:
    """Splats of all rounds, and of the console's last lines where the records could not be read to the end;
    each with the place where it was found.
    """
    found = [
        (f"round {seen.number}", splat) for seen in observation.rounds for splat in find_splats(seen.records)
    ]
    if observation.ending is not Ending.COMPLETE:
        known = {(splat.kind, splat.title) for _, splat in found}
        console = find_splats(observation.console_tail)
        found += [("console", splat) for splat in console if (splat.kind, splat.title) not in known]
    return tuple(found)


def _is_expected(splat: Splat, wanted: ExpectedSplat | None) -> bool:
    return (
        wanted is not None
        and splat.kind == wanted.kind
        and re.search(wanted.pattern, "\n".join((splat.title, *splat.lines))) is not None
    )


def _excused(observation: Observation, expected: list[Splat]) -> bool:
    """Whether an expected splat explains that the observation ended early."""
    kinds = _EXPLAINED_BY.get(observation.ending, frozenset())
    return any(splat.kind in kinds for splat in expected)


def _ending(observation: Observation, expected: list[Splat]) -> Iterator[_Finding]:
    if observation.ending is Ending.COMPLETE or _excused(observation, expected):
        return
    during = f" during: {observation.detail}" if observation.detail else ""
    text = {
        Ending.PANIC: "the kernel panicked",
        Ending.HANG: "a step did not return within its deadline",
        Ending.LOST: "the connection to the guest was lost",
    }[observation.ending]
    last = observation.rounds[-1] if observation.rounds else None
    yield _Finding(_ENDINGS[observation.ending], text + during, last)


def _dependencies(expectation: Expectation, observation: Observation) -> Iterator[_Finding]:
    seen = dict(observation.dependencies)
    for name in dict.fromkeys((*expectation.depends, *seen)):
        outcome = seen.get(name)
        if outcome != OK:
            yield _Finding(
                _outcome_of(outcome), f"dependency {name}: loading: expected ok, saw {outcome or 'nothing'}"
            )


def _outcome_of(seen: object) -> Outcome:
    """FAILED for a step that went otherwise than expected, CRASHED for one that was killed or never seen."""
    return Outcome.CRASHED if seen is None or seen == KILLED else Outcome.FAILED


def _rounds(
    name: str, expectation: Expectation, observation: Observation, expected: list[Splat]
) -> Iterator[_Finding]:
    wanted = expectation.reloads if expectation.load == OK else 1
    seen = {number.number: number for number in observation.rounds}
    excused = _excused(observation, expected)
    for number in range(1, wanted + 1):
        current = seen.get(number)
        if current is None:
            if not excused:
                yield _Finding(
                    Outcome.CRASHED,
                    f"round {number}: expected {name} to be loaded, but this round was not reached",
                )
            return
        yield from _log(expectation, current)
        last = number == len(observation.rounds)
        if expectation.load != OK:
            yield from _refused(expectation.load, current)
        elif last and expected and current.load == KILLED:
            yield from _killed_loading(current)
            return
        elif last and expected and current.unload == KILLED:
            yield from _killed_unloading(current)
            return
        else:
            yield from _loaded_and_unloaded(current, partial=last and excused)


def _differs(current: Round, what: str, wanted: object, seen: object) -> Iterator[_Finding]:
    """A finding when a step was not seen as wanted."""
    if seen != wanted:
        shown = "nothing" if seen is None else seen
        reason = f"round {current.number}: {what}: expected {wanted}, saw {shown}"
        yield _Finding(_outcome_of(seen), reason, current)


def _loaded_and_unloaded(current: Round, *, partial: bool) -> Iterator[_Finding]:
    """partial: steps that were not reached are not asked for."""
    steps = (
        ("loading", OK, current.load),
        ("state after loading", "Live", current.state),
        ("unloading", OK, current.unload),
    )
    for what, wanted, seen in steps:
        if not (partial and seen is None):
            yield from _differs(current, what, wanted, seen)
        if seen != wanted:
            return  # what follows from it would only hide it
    if not (partial and current.listed_after is None):
        yield from _differs(current, "listed after unloading", False, current.listed_after)


def _refused(errno_name: str, current: Round) -> Iterator[_Finding]:
    yield from _differs(current, "loading", errno_name, current.load)
    if current.load == errno_name and (current.state is not None or current.listed_after):
        reason = f"round {current.number}: expected not to be listed after {errno_name}"
        yield _Finding(Outcome.FAILED, f"{reason}, saw state {current.state}", current)


def _killed_loading(current: Round) -> Iterator[_Finding]:
    yield from _differs(current, "state after the expected oops", "Loading", current.state)
    if current.unload == OK or current.listed_after is False:
        reason = f"round {current.number}: expected to stay listed after the oops in init, saw it unloaded"
        yield _Finding(Outcome.FAILED, reason, current)


def _killed_unloading(current: Round) -> Iterator[_Finding]:
    yield from _differs(current, "loading", OK, current.load)
    yield from _differs(current, "state after loading", "Live", current.state)
    yield from _differs(current, "listed after the expected oops in exit", True, current.listed_after)


def _log(expectation: Expectation, current: Round) -> Iterator[_Finding]:
    for pattern in expectation.expect_log:
        if not any(re.search(pattern, record.text) for record in current.records):
            reason = (
                f"round {current.number}: expected a log line that matches {pattern!r},"
                f" saw none in {len(current.records)} records"
            )
            yield _Finding(Outcome.FAILED, reason, current)


def _splats(expectation: Expectation, places: tuple[tuple[str, Splat], ...]) -> Iterator[_Finding]:
    wanted = expectation.expect_splat
    unexpected = [(place, splat) for place, splat in places if not _is_expected(splat, wanted)]
    for place, splat in unexpected:
        where = f" in {splat.function}" if splat.function else ""
        module = f" [{splat.module}]" if splat.module else ""
        reason = f"{place}: expected no {splat.kind} splat, saw{where}{module}: {splat.title}"
        yield _Finding(Outcome.CRASHED if _died(splat) else Outcome.FAILED, reason)
    if wanted and len(unexpected) == len(places):
        seen = ", ".join(splat.kind for _, splat in unexpected) or "none"
        reason = f"expected a {wanted.kind} splat that matches {wanted.pattern!r} ({wanted.reason}), saw {seen}"
        yield _Finding(Outcome.FAILED, reason)


def _died(splat: Splat) -> bool:
    """Whether the kernel gave up the task, or itself."""
    return splat.kind == "panic" or "D" in _taint_of(splat)


def _taint_of(splat: Splat) -> set[str]:
    """The taint flags that go with this report."""
    return {letter for letter, pattern in _TAINT_OF_LINE if any(pattern.match(line) for line in splat.lines)}


def _taint(expectation: Expectation, observation: Observation, expected: list[Splat]) -> Iterator[_Finding]:
    after = observation.taint_after
    if after is None:
        if not _excused(observation, expected):
            yield _Finding(Outcome.CRASHED, "taint: expected to read the flags at the end, could not")
        return
    implied = {letter for splat in expected for letter in _taint_of(splat)}
    allowed = {*_HARMLESS_TAINT, *expectation.expect_taint, *implied}
    for letter in taint_letters(after & ~observation.taint_before & ~taint_bits(allowed)):
        died = letter == "D"
        reason = f"taint: expected no new flag but {', '.join(sorted(allowed))}, saw {letter}"
        yield _Finding(Outcome.CRASHED if died else Outcome.FAILED, f"{reason} ({taint_meaning(letter)})")


def _evidence(observation: Observation, findings: list[_Finding], unexpected: list[Splat]) -> tuple[str, ...]:
    """The first unexpected splat; else the log of the first round that went wrong; else the console."""
    if unexpected:
        return unexpected[0].lines[:EVIDENCE_LINES]
    shown = next((finding.round for finding in findings if finding.round and finding.round.records), None)
    if shown and observation.ending is Ending.COMPLETE:
        return tuple(record.text for record in shown.records[-EVIDENCE_LINES:])
    return observation.console_tail[-EVIDENCE_LINES:]
