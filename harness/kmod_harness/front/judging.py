# SPDX-License-Identifier: MIT
"""Hand-written tests are judged by what modules are judged by: splats, taint, panic, hang, leftovers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from kmod_harness.base.errors import GuestFailure
from kmod_harness.module.expectation import Expectation, ExpectedSplat
from kmod_harness.module.vocabulary import SPLAT_KINDS, TAINT_FLAGS, taint_bits
from kmod_harness.target.guest import Guest
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.target.runner import OK, CommandFailed
from kmod_harness.verdict.lifecycle import Verdict, judge
from kmod_harness.verdict.observation import Ending, Memory, Observation, Round
from kmod_harness.verdict.observe import CONSOLE_LINES, ending_of
from kmod_harness.verdict.source import ModuleFile, Symbols, with_source

MARKERS = (
    "expect_splat(kind, pattern=''): the test makes the kernel report this, e.g. 'null-deref'",
    "expect_taint(*letters): the test may set these taint flags beside O and E",
    "unjudged: what the kernel reports is looked at by the test itself",
)
_OURS = Path(__file__).resolve().parents[1]  # the package: nobody else's code


@dataclass
class Watch:
    """What is known of a guest since a test began with it."""

    guest: Guest
    since: int  # sequence number of the first record of the log that is the test's
    taint: int  # before it
    loaded: list[str] = field(default_factory=list)  # modules that go when it is over, in the order of loading
    memory: list[Memory] = field(default_factory=list)  # where they lay

    def note_loaded(self, names: Iterable[str]) -> None:
        """Modules that the test has loaded."""
        there = self.guest.modules()
        for one in (there[name] for name in names if name in there and name not in self.loaded):
            self.loaded.append(one.name)
            self.memory += [Memory(one.name, one.address, one.size)] if one.address else []

    def judge(self, expectation: Expectation, failure: GuestFailure | None) -> Verdict:
        """Unload what the test has loaded, and judge all that was seen. failure: what the test ended with."""
        ending, detail = (ending_of(failure), failure.message) if failure else (Ending.COMPLETE, "")
        name, unloaded, taint, records = "the test", OK, None, tuple[KernelRecord, ...]()
        try:
            if failure is None and not self.guest.taint() & ~self.taint & taint_bits("D"):
                name, unloaded = self._unload()
            taint, records = self.guest.taint(), self.guest.log(self.since)
        except GuestFailure as last:
            if failure is None:
                ending, detail = ending_of(last), f"after the test: {last.message}"
        lost = max(0, records[0].sequence - self.since) if records else 0
        life = Round(1, OK, "Live", unloaded, False, records, tuple(self.memory), lost=lost)
        console = self.guest.last_lines(CONSOLE_LINES), self.guest.heard()
        seen = Observation((life,), (), self.taint, taint, ending, detail, *console)
        return judge(name, expectation, seen)

    def _unload(self) -> tuple[str, str]:
        """The first module that does not go, newest first, and the answer to that."""
        there = self.guest.modules()
        for name in reversed(self.loaded):
            if name in there and not there[name].permanent and (answer := self.guest.unload(name)) != OK:
                return name, answer
        return "the test", OK


WATCH: pytest.StashKey[Watch] = pytest.StashKey()
BUILT: pytest.StashKey[list[Path]] = pytest.StashKey()  # the .ko files that a test has asked for


def expectation_of(item: pytest.Item) -> Expectation:
    """What the markers of a test say."""
    splats, letters = [], tuple[str, ...]()
    for mark in item.iter_markers("expect_splat"):
        kind = str(mark.args[0]) if mark.args else ""
        if kind not in SPLAT_KINDS:
            pytest.fail(f"expect_splat({kind!r}): want one of {', '.join(SPLAT_KINDS)}", pytrace=False)
        pattern = str(mark.kwargs.get("pattern", mark.args[1] if len(mark.args) > 1 else ""))
        splats.append(ExpectedSplat(kind, pattern, "the test expects it"))
    for mark in item.iter_markers("expect_taint"):
        letters += tuple(map(str, mark.args))
    known = [flag.letter for flag in TAINT_FLAGS]
    if unknown := [letter for letter in letters if letter not in known]:
        pytest.fail(f"expect_taint({unknown[0]!r}): want letters of {''.join(known)}", pytrace=False)
    return Expectation(reloads=1, expect_splat=tuple(splats), expect_taint=letters)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """The test fails when the kernel did not stay well, whatever its own asserts say."""
    watch = pyfuncitem.stash.get(WATCH, None)
    if watch is None or pyfuncitem.get_closest_marker("unjudged"):
        return (yield)
    expectation, ended = expectation_of(pyfuncitem), None
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        _cut(error.__traceback__)
        # A command that failed is the test's own matter, as its asserts are.
        if not isinstance(error, GuestFailure) or isinstance(error, CommandFailed):
            _add_section(pyfuncitem, watch.judge(expectation, None))
            raise
        ended = error
    verdict = watch.judge(expectation, ended)
    if not verdict.passed:
        files = [ModuleFile(ko) for ko in pyfuncitem.stash.get(BUILT, [])]
        verdict = with_source(verdict, Symbols(files))
        pytest.fail(_report(pyfuncitem, watch, verdict), pytrace=False)
    return True


def _report(item: pytest.Item, watch: Watch, verdict: Verdict) -> str:
    """What the kernel did that was not expected."""
    reasons = [reason.removeprefix("round 1: ") for reason in verdict.reasons]
    lines = [f"{item.name}: {verdict.outcome.value}", *(f"  - {reason}" for reason in reasons)]
    lines += [f"  | {line}" for line in verdict.evidence]
    log = watch.guest.heard()
    return "\n".join([*lines, *([f"full log: {log}"] if log else [])])


def _add_section(item: pytest.Item, verdict: Verdict) -> None:
    """Beside the test's own failure: what the kernel did."""
    if not verdict.passed:
        item.add_report_section("call", "kernel", "\n".join((*verdict.reasons, *verdict.evidence)))


def _cut(trace: TracebackType | None) -> None:
    """Forget the frames below the last one that is not ours: they tell a test's author nothing."""
    last = None
    while trace is not None:
        if _OURS not in Path(trace.tb_frame.f_code.co_filename).parents:
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None
