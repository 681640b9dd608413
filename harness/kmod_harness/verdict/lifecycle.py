# SPDX-License-Identifier: MIT
"""Judge the life of a module: what was seen against what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from kmod_harness.module.expectation import IN_TREE, Expectation, ExpectedLeft, ExpectedSplat
from kmod_harness.module.vocabulary import taint_bits, taint_letters, taint_meaning
from kmod_harness.target.runner import OK
from kmod_harness.verdict.finding import Finding, Outcome, outcome_of, worst
from kmod_harness.verdict.observation import Ending, Memory, Observation
from kmod_harness.verdict.residue import Leftover, find_held, found_left, judge_left
from kmod_harness.verdict.splats import Splat, find_splats
from kmod_harness.verdict.steps import Leniency, judge_rounds, missing_rounds

EVIDENCE_LINES = 30
HELD_SHOWN = 5

_ENDINGS = {Ending.PANIC: Outcome.PANIC, Ending.HANG: Outcome.HANG, Ending.LOST: Outcome.LOST}
# Expected splats of these kinds explain why an observation ended early.
_EXPLAINED_BY = {
    Ending.PANIC: frozenset({"panic"}),
    Ending.HANG: frozenset({"soft-lockup", "hard-lockup", "hung-task", "rcu-stall"}),
}
_HARMLESS_TAINT = ("O", "E")
_LICENCE = re.compile(r"^\w+: module license '(?!unspecified').*' taints kernel")
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
    place: tuple[str, int] | None = None  # file and line of the source where the shown splat happened
    left: tuple[Leftover, ...] = ()  # all that was left behind, expected things included

    @property
    def passed(self) -> bool:
        """Whether everything went as expected."""
        return self.outcome is Outcome.PASSED


def judge(
    module_name: str, expectation: Expectation, observation: Observation, today: date | None = None
) -> Verdict:
    """Judge an observation. Pure; a proof that is missing counts against the module (default: crashed).

    PASSED demands, for each of `reloads` rounds: loading returned OK, the state was exactly "Live", every
    `expect_log` pattern was found in a record of that round, unloading returned OK and the module was not
    listed afterwards, and no record of the kernel log was overwritten before it was read. Beside that: each
    dependency was loaded, no taint bit is new except O, E and `expect_taint`, no splat appeared, and the
    observation ran to its end.

    `load: <errno>`: there is one round; loading failed with exactly that errno and the module was not listed,
    neither at once nor later. Nothing is unloaded.

    Nothing is left behind once the module is gone, in any round, but what `expect_left` names, and that is.

    `expect_splat`: each of them must appear at least once in any round; more of the same are allowed, others
    are not, and the taint bits that its report sets (D for an oops, W for a warning, ...) are. The rounds go on
    as usual, unless the splat killed a step. Then the round in which it did is the last one:
      killed while loading: the module stays listed, its state is "Loading"; whether unloading was tried does
        not matter, but it must not have worked;
      killed while unloading: loading had gone well, and the module is still listed.
    An expected panic excuses the ending PANIC, an expected lockup, stall or hung task the ending HANG: the
    steps that were not reached are not asked for, those that were reached must be right.

    `expect_log` holds for the last round of a killed or hanging module as well; after a panic or a hang the
    last lines of the console count too, since the records may be out of reach.

    today: exemptions that have expired by then are findings; None: none has.
    """
    places = _all_splats(observation)
    splats = tuple(splat for _, splat in places)
    expected = [splat for splat in splats if _is_expected(splat, expectation.expect_splat)]
    early = _excused(observation, expected)
    leniency = Leniency(killed=_expected_death(places, expected, observation), early=early)
    findings = [
        *(() if early else _ending(module_name, observation)),
        *_dependencies(expectation, observation),
        *judge_left(expectation.expect_left, observation),
        *judge_rounds(expectation, observation, leniency),
        *_splats(expectation, places),
        *_taint(expectation, observation, expected),
        *_expired([*expectation.expect_splat, *expectation.expect_left], today),
    ]
    if not findings:  # else they are the reason
        findings += missing_rounds(module_name, expectation, observation, leniency)
    reasons = tuple(dict.fromkeys(finding.reason for finding in findings))
    unexpected = [splat for splat in splats if splat not in expected]
    evidence = _evidence(observation, findings, unexpected) if findings else ()
    left = tuple(found_left(observation))
    return Verdict(worst(findings), reasons, splats, evidence, left=left)


def _all_splats(observation: Observation) -> tuple[tuple[str, Splat], ...]:
    """Splats of all rounds, and of the console's last lines where the records could not be read to the end;
    each with the place where it was found.
    """
    found = [
        (f"round {seen.number}", splat) for seen in observation.rounds for splat in find_splats(seen.records)
    ]
    memory = [one for seen in observation.rounds for one in seen.memory]
    found = [(place, owned(splat, memory)) for place, splat in found]
    if observation.ending is not Ending.COMPLETE:
        known = {(splat.kind, splat.title) for _, splat in found}
        console = find_splats(observation.console_tail)
        found += [
            ("console", owned(splat, memory)) for splat in console if (splat.kind, splat.title) not in known
        ]
    return tuple(found)


def owned(splat: Splat, memory: Iterable[Memory]) -> Splat:
    """The same splat; what happened at a bare address is blamed on the one module that lay there when it was
    loaded. Where none did, or more than one, nobody is.
    """
    at = splat.frame.address if splat.frame and splat.frame.function is None else None
    if at is None or splat.module:
        return splat
    owners = {one.module for one in memory if one.start <= at < one.start + one.size}
    if len(owners) != 1:
        return splat
    (owner,) = owners
    return replace(splat, module=owner, summary=f"{splat.summary} [{owner}]")


def _is_expected(splat: Splat, wanted: Iterable[ExpectedSplat]) -> bool:
    return any(_fits(splat, one) for one in wanted)


def _fits(splat: Splat, wanted: ExpectedSplat) -> bool:
    return (
        splat.kind == wanted.kind
        and wanted.function in ("", splat.function)
        and re.search(wanted.subkind, splat.subkind or "") is not None
        and re.search(wanted.pattern, "\n".join((splat.title, *splat.lines))) is not None
    )


def _expected_death(
    places: tuple[tuple[str, Splat], ...], expected: list[Splat], observation: Observation
) -> bool:
    """Whether an expected splat of the last round is one that kills."""
    here = f"round {observation.rounds[-1].number}" if observation.rounds else ""
    return any(place == here and splat in expected and _died(splat) for place, splat in places)


def _excused(observation: Observation, expected: list[Splat]) -> bool:
    """Whether an expected splat explains that the observation ended early."""
    kinds = _EXPLAINED_BY.get(observation.ending, frozenset())
    return any(splat.kind in kinds for splat in expected)


def _ending(module_name: str, observation: Observation) -> Iterator[Finding]:
    if observation.ending is Ending.COMPLETE:
        return
    during = f" during: {observation.detail}" if observation.detail else ""
    text = {
        Ending.PANIC: "the machine ended",
        Ending.HANG: "a step did not return within its deadline",
        Ending.LOST: "the guest no longer works",
    }[observation.ending]
    last = observation.rounds[-1] if observation.rounds else None
    yield Finding(_ENDINGS[observation.ending], text + during, last)
    held = find_held(module_name, observation.held)
    if held and last and last.load == OK and last.left is None:
        shown = "; ".join(f"{one.text}: {one.call}" for one in held[:HELD_SHOWN])
        more = f"; and {len(held) - HELD_SHOWN} more" if len(held) > HELD_SHOWN else ""
        yield Finding(_ENDINGS[observation.ending], f"while it was loaded it had {shown}{more}", last)


def _dependencies(expectation: Expectation, observation: Observation) -> Iterator[Finding]:
    seen = dict(observation.dependencies)
    # Of the names in module.yaml each may stand for several modules, and the kernel's own are loaded apart.
    for name in expectation.depends if not seen else ():
        if not name.startswith(IN_TREE):
            yield Finding(Outcome.CRASHED, f"dependency {name}: loading: expected ok, saw nothing")
    for name, outcome in seen.items():
        if outcome != OK:
            yield Finding(
                outcome_of(outcome), f"dependency {name}: loading: expected ok, saw {outcome or 'nothing'}"
            )


def _splats(expectation: Expectation, places: tuple[tuple[str, Splat], ...]) -> Iterator[Finding]:
    wanted = expectation.expect_splat
    unexpected = [(place, splat) for place, splat in places if not _is_expected(splat, wanted)]
    for place, splat in unexpected:
        where = f" in {splat.function}" if splat.function else ""
        module = f" [{splat.module}]" if splat.module else ""
        reason = f"{place}: expected no {splat.kind} splat, saw{where}{module}: {splat.title}"
        yield Finding(Outcome.CRASHED if _died(splat) else Outcome.FAILED, reason)
    for one in wanted:
        if not any(_fits(splat, one) for _, splat in places):
            seen = ", ".join(splat.kind for _, splat in unexpected) or "none"
            yield Finding(Outcome.FAILED, f"expected {one.text} ({one.reason}), saw {seen}")


def _expired(exemptions: Iterable[ExpectedSplat | ExpectedLeft], today: date | None) -> Iterator[Finding]:
    for one in exemptions:
        if today and one.expires and today > one.expires:
            reason = f"{one.text} was expected until {one.expires} ({one.reason}): mend it, or set a later date"
            yield Finding(Outcome.FAILED, reason)


def _died(splat: Splat) -> bool:
    """Whether the kernel killed the task for it."""
    return "D" in _taint_of(splat)


def _taint_of(splat: Splat) -> set[str]:
    """The taint flags that go with this report."""
    return {letter for letter, pattern in _TAINT_OF_LINE if any(pattern.match(line) for line in splat.lines)}


def _taint(expectation: Expectation, observation: Observation, expected: list[Splat]) -> Iterator[Finding]:
    after = observation.taint_after
    if after is None:
        if observation.ending is Ending.COMPLETE:
            yield Finding(Outcome.CRASHED, "taint: expected to read the flags at the end, could not")
        return
    implied = {letter for splat in expected for letter in _taint_of(splat)}
    implied |= {"P"} if licence_taints(observation) else set()
    allowed = {*_HARMLESS_TAINT, *expectation.expect_taint, *implied}
    for letter in taint_letters(after & ~observation.taint_before & ~taint_bits(allowed)):
        died = letter == "D"
        reason = f"taint: expected no new flag but {', '.join(sorted(allowed))}, saw {letter}"
        yield Finding(Outcome.CRASHED if died else Outcome.FAILED, f"{reason} ({taint_meaning(letter)})")


def licence_taints(observation: Observation) -> bool:
    """Whether the kernel says that the taint flag P is the module's own declared licence."""
    return any(_LICENCE.search(record.text) for seen in observation.rounds for record in seen.records)


def _evidence(observation: Observation, findings: list[Finding], unexpected: list[Splat]) -> tuple[str, ...]:
    """The first unexpected splat; else the log of the first round that went wrong; else the console."""
    if unexpected:
        return unexpected[0].lines[:EVIDENCE_LINES]
    shown = next((finding.round for finding in findings if finding.round and finding.round.records), None)
    if shown and observation.ending is Ending.COMPLETE:
        return tuple(record.text for record in shown.records[-EVIDENCE_LINES:])
    return _last_words(observation.console_tail)


def _last_words(console: tuple[str, ...]) -> tuple[str, ...]:
    """The stacks of blocked tasks when the kernel was asked for them, else the last lines."""
    for number, line in reversed(list(enumerate(console))):
        if "sysrq: Show Blocked State" in line:
            return console[number : number + EVIDENCE_LINES]
    return console[-EVIDENCE_LINES:]
