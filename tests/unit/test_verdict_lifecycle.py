# SPDX-License-Identifier: MIT
"""Judgements: one observation that passes, and what each missing proof makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kmod_harness.module.expectation import Expectation, ExpectedSplat
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.lifecycle import Verdict, judge
from kmod_harness.verdict.observation import Ending, Memory, Observation, Round

TAINT_D, TAINT_W, TAINT_O, TAINT_E = 1 << 7, 1 << 9, 1 << 12, 1 << 13
OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "Oops: 0002 [#1] SMP NOPTI",
    "RIP: 0010:vms_init+0xdd/0x1000 [vms]",
    "---[ end trace e487d149d9f7d692 ]---",
)
WARNING = (
    "------------[ cut here ]------------",
    "WARNING: CPU: 0 PID: 76 at vms.c:12 vms_init+0xdd/0x1000 [vms]",
    "---[ end trace e487d149d9f7d692 ]---",
)
PANIC = ("Kernel panic - not syncing: on purpose", "---[ end Kernel panic - not syncing: on purpose ]---")
LOCKUP = ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:76]",)
LOADED = "vms: loaded"
NULL_DEREF = ExpectedSplat("null-deref", r"RIP: .*vms_init", "the fault on demand")
IS_WARNING = ExpectedSplat("warning", "vms_init", "it warns")


def records(*texts: str) -> tuple[KernelRecord, ...]:
    return tuple(KernelRecord(number, 4, float(number), text) for number, text in enumerate(texts))


def good_round(number: int = 1, *texts: str) -> Round:
    return Round(number, OK, "Live", OK, False, records(LOADED, *texts))


def killed_round(number: int = 1, **changes: object) -> Round:
    seen = Round(number, KILLED, "Loading", "EBUSY", True, records(LOADED, *OOPS))
    return replace(seen, **changes)  # type: ignore[arg-type]


def observed(*rounds: Round, **changes: object) -> Observation:
    seen = Observation(
        rounds=rounds,
        dependencies=(),
        taint_before=0,
        taint_after=TAINT_O | TAINT_E,
        ending=Ending.COMPLETE,
        detail="",
        console_tail=("last line of the console",),
        console_log=Path("console.log"),
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def verdict(expectation: Expectation, *rounds: Round, **changes: object) -> Verdict:
    return judge("vms", expectation, observed(*rounds, **changes))


THREE = tuple(good_round(number) for number in (1, 2, 3))


def test_three_good_rounds_pass() -> None:
    assert verdict(Expectation(expect_log=("^vms: load",)), *THREE) == Verdict(Outcome.PASSED, (), (), ())


def test_nothing_observed_is_a_crash() -> None:
    seen = verdict(Expectation())
    assert seen.outcome is Outcome.CRASHED
    assert seen.reasons == ("expected vms to go through 3 rounds, saw 0",)


def test_no_rounds_prove_nothing_even_if_none_were_asked_for() -> None:
    seen = verdict(Expectation(reloads=0))
    assert seen.outcome is Outcome.CRASHED


def test_two_rounds_of_three_are_a_crash() -> None:
    seen = verdict(Expectation(), *THREE[:2])
    assert (seen.outcome, seen.reasons) == (
        Outcome.CRASHED,
        ("expected vms to go through 3 rounds, saw 2",),
    )


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({"load": KILLED}, Outcome.CRASHED, "round 1: loading: expected ok, saw killed"),
        ({"load": None}, Outcome.CRASHED, "round 1: loading: expected ok, saw nothing"),
        (
            {"state": "Loading"},
            Outcome.FAILED,
            "round 1: state after loading: expected Live, saw Loading",
        ),
        ({"state": None}, Outcome.CRASHED, "round 1: state after loading: expected Live, saw nothing"),
        ({"unload": "EBUSY"}, Outcome.FAILED, "round 1: unloading: expected ok, saw EBUSY"),
        ({"unload": KILLED}, Outcome.CRASHED, "round 1: unloading: expected ok, saw killed"),
        ({"unload": None}, Outcome.CRASHED, "round 1: unloading: expected ok, saw nothing"),
        (
            {"listed_after": True},
            Outcome.FAILED,
            "round 1: listed after unloading: expected False, saw True",
        ),
        (
            {"listed_after": None},
            Outcome.CRASHED,
            "round 1: listed after unloading: expected False, saw nothing",
        ),
    ],
)
def test_each_step_needs_its_proof(change: dict[str, object], outcome: Outcome, reason: str) -> None:
    broken = replace(good_round(), **change)  # type: ignore[arg-type]
    seen = verdict(Expectation(reloads=1), broken)
    assert (seen.outcome, seen.reasons) == (outcome, (reason,))
    assert seen.evidence == (LOADED,)


def test_log_line_is_asked_for_in_every_round() -> None:
    silent = replace(THREE[1], records=records("vms: something else"))
    seen = verdict(Expectation(expect_log=("vms: loaded",)), THREE[0], silent, THREE[2])
    assert seen.outcome is Outcome.FAILED
    assert seen.reasons == ("round 2: log: expected a line that matches 'vms: loaded', saw none in 1 lines",)
    assert seen.evidence == ("vms: something else",)


@pytest.mark.parametrize(
    ("taint", "allowed", "outcome"),
    [
        (TAINT_O | TAINT_E, (), Outcome.PASSED),
        (TAINT_O | TAINT_W, (), Outcome.FAILED),
        (TAINT_O | TAINT_W, ("W",), Outcome.PASSED),
        (TAINT_O | TAINT_D, ("W",), Outcome.CRASHED),
        (1 << 25, (), Outcome.FAILED),
        (None, (), Outcome.CRASHED),
    ],
)
def test_taint(taint: int | None, allowed: tuple[str, ...], outcome: Outcome) -> None:
    seen = verdict(Expectation(expect_taint=allowed), *THREE, taint_after=taint)
    assert seen.outcome is outcome
    assert bool(seen.reasons) is (outcome is not Outcome.PASSED)


def test_a_log_with_a_hole_proves_nothing() -> None:
    seen = verdict(Expectation(reloads=1), replace(good_round(), lost=3))
    assert seen.outcome is Outcome.CRASHED
    assert "round 1: log: 3 records were overwritten unread" in seen.reasons[0]


def test_taint_from_before_does_not_count() -> None:
    assert verdict(Expectation(), *THREE, taint_before=TAINT_W, taint_after=TAINT_W | TAINT_O).passed


def test_a_licence_that_is_declared_may_taint() -> None:
    said = good_round(1, "vms: module license 'Proprietary' taints kernel.")
    assert verdict(Expectation(reloads=1), said, taint_after=1).passed
    undeclared = good_round(1, "vms: module license 'unspecified' taints kernel.")
    assert verdict(Expectation(reloads=1), undeclared, taint_after=1).outcome is Outcome.FAILED


def test_taint_names_the_flag() -> None:
    seen = verdict(Expectation(), *THREE, taint_after=TAINT_W)
    assert seen.reasons == (
        "taint: expected no new flag but E, O, saw W (the kernel warned: a WARN or a similar report)",
    )


@pytest.mark.parametrize(("lines", "outcome"), [(WARNING, Outcome.FAILED), (OOPS, Outcome.CRASHED)])
def test_unexpected_splat(lines: tuple[str, ...], outcome: Outcome) -> None:
    seen = verdict(Expectation(), THREE[0], good_round(2, *lines), THREE[2])
    assert seen.outcome is outcome
    assert len(seen.splats) == 1
    assert seen.reasons[0].startswith("round 2: expected no ")
    assert "saw in vms_init [vms]: " in seen.reasons[0]
    assert seen.evidence == seen.splats[0].lines


def test_expected_splat_and_its_taint() -> None:
    expectation = Expectation(expect_splat=(IS_WARNING,))
    rounds = (good_round(1, *WARNING), *THREE[1:])
    assert verdict(expectation, *rounds, taint_after=TAINT_W | TAINT_O).passed
    assert not verdict(expectation, *rounds, taint_after=TAINT_D | TAINT_O).passed


@pytest.mark.parametrize(
    ("expected", "seen_kinds"),
    [
        (ExpectedSplat("warning", "other_function", "why"), "warning"),
        (ExpectedSplat("bug", "vms_init", "why"), "warning"),
    ],
)
def test_another_splat_than_the_expected_one(expected: ExpectedSplat, seen_kinds: str) -> None:
    seen = verdict(Expectation(expect_splat=(expected,)), good_round(1, *WARNING), *THREE[1:])
    assert seen.outcome is Outcome.FAILED
    assert len(seen.reasons) == 2
    assert seen.reasons[1].endswith(f"(why), saw {seen_kinds}")


def test_expected_splat_has_to_appear() -> None:
    seen = verdict(Expectation(expect_splat=(IS_WARNING,)), *THREE)
    assert seen.outcome is Outcome.FAILED
    assert seen.reasons == ("expected a warning splat that matches 'vms_init' (it warns), saw none",)


def test_init_killed_as_expected() -> None:
    expectation = Expectation(expect_splat=(NULL_DEREF,), expect_log=("vms: loaded",))
    seen = verdict(expectation, killed_round(), taint_after=TAINT_O | TAINT_D)
    assert (seen.outcome, seen.reasons) == (Outcome.PASSED, ())
    assert [splat.kind for splat in seen.splats] == ["null-deref"]


def test_init_killed_as_expected_in_a_later_round() -> None:
    rounds = (THREE[0], killed_round(2))
    assert verdict(Expectation(expect_splat=(NULL_DEREF,)), *rounds, taint_after=TAINT_D).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "Live"}, "round 1: state after the expected oops: expected Loading, saw Live"),
        ({"state": None}, "round 1: state after the expected oops: expected Loading, saw nothing"),
        (
            {"unload": OK},
            "round 1: expected to stay listed after the oops in init, saw it unloaded",
        ),
        (
            {"listed_after": False},
            "round 1: expected to stay listed after the oops in init, saw it unloaded",
        ),
        ({"records": records(LOADED)}, "round 1: loading: expected ok, saw killed"),
        (
            {"records": records(LOADED, *WARNING)},
            "round 1: loading: expected ok, saw killed",
        ),
    ],
)
def test_init_killed_otherwise_than_expected(change: dict[str, object], reason: str) -> None:
    seen = verdict(
        Expectation(expect_splat=(NULL_DEREF,)),
        killed_round(**change),  # type: ignore[arg-type]
        taint_after=TAINT_O | TAINT_D,
    )
    assert not seen.passed
    assert seen.reasons[0] == reason


def test_killed_for_another_reason_than_the_expected_splat() -> None:
    """The expected splat appeared, but it is not what killed the task of the last round."""
    silent = killed_round(2, records=records(LOADED))
    seen = verdict(Expectation(expect_splat=(NULL_DEREF,)), good_round(1, *OOPS), silent, taint_after=TAINT_D)
    assert seen.reasons == ("round 2: loading: expected ok, saw killed",)
    warned = killed_round(records=records(LOADED, *WARNING))
    assert not verdict(Expectation(expect_splat=(IS_WARNING,)), warned, taint_after=TAINT_W).passed


def test_only_the_last_round_may_be_killed() -> None:
    expectation = Expectation(expect_splat=(NULL_DEREF,), reloads=2)
    assert not verdict(expectation, killed_round(), good_round(2, *OOPS), taint_after=TAINT_D).passed


def test_killed_without_expectation() -> None:
    seen = verdict(Expectation(), killed_round(), taint_after=TAINT_O | TAINT_D)
    assert seen.outcome is Outcome.CRASHED
    assert [reason.split(":")[0] for reason in seen.reasons] == ["round 1", "round 1", "taint"]
    assert seen.evidence == OOPS


def test_exit_killed_as_expected() -> None:
    in_exit = Round(1, OK, "Live", KILLED, True, records(LOADED, *OOPS))
    expectation = Expectation(expect_splat=(NULL_DEREF,))
    assert verdict(expectation, in_exit, taint_after=TAINT_D).passed
    assert not verdict(expectation, replace(in_exit, listed_after=False), taint_after=TAINT_D).passed
    assert not verdict(expectation, replace(in_exit, state="Loading"), taint_after=TAINT_D).passed


def test_load_error_as_expected() -> None:
    refused = Round(1, "EINVAL", None, None, None, records("vms: bad parameter"))
    expectation = Expectation(load="EINVAL", expect_log=("bad parameter",))
    assert verdict(expectation, refused).passed
    assert verdict(expectation, replace(refused, listed_after=False)).passed


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"load": OK}, Outcome.FAILED),
        ({"load": "ENOMEM"}, Outcome.FAILED),
        ({"load": KILLED}, Outcome.CRASHED),
        ({"load": None}, Outcome.CRASHED),
        ({"state": "Loading"}, Outcome.FAILED),
        ({"listed_after": True}, Outcome.FAILED),
    ],
)
def test_load_error_otherwise(change: dict[str, object], outcome: Outcome) -> None:
    refused = Round(1, "EINVAL", None, None, None, ())
    seen = verdict(Expectation(load="EINVAL"), replace(refused, **change))  # type: ignore[arg-type]
    assert seen.outcome is outcome
    assert seen.reasons[0].startswith("round 1: ")


def test_load_error_has_one_round() -> None:
    refused = Round(1, "EINVAL", None, None, None, ())
    assert not verdict(Expectation(load="EINVAL"), refused, replace(refused, number=2)).passed


@pytest.mark.parametrize(
    ("seen_dependencies", "outcome"),
    [
        ((("s", OK),), Outcome.PASSED),
        ((("s", "ENOENT"),), Outcome.FAILED),
        ((("s", KILLED),), Outcome.CRASHED),
        ((), Outcome.CRASHED),
    ],
)
def test_dependencies(seen_dependencies: tuple[tuple[str, str], ...], outcome: Outcome) -> None:
    rounds = THREE if outcome is Outcome.PASSED else ()
    seen = verdict(Expectation(depends=("s",)), *rounds, dependencies=seen_dependencies)
    assert seen.outcome is outcome
    assert all(reason.startswith("dependency s: loading: expected ok") for reason in seen.reasons)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [(Ending.PANIC, Outcome.PANIC), (Ending.HANG, Outcome.HANG), (Ending.LOST, Outcome.LOST)],
)
@pytest.mark.parametrize("rounds", [(), (Round(1, None, None, None, None, ()),), THREE])
def test_early_end_never_passes(ending: Ending, outcome: Outcome, rounds: tuple[Round, ...]) -> None:
    seen = verdict(Expectation(), *rounds, ending=ending, detail="load vms, round 1", taint_after=None)
    assert seen.outcome is outcome
    assert seen.reasons[0].endswith(" during: load vms, round 1")
    assert seen.evidence == ("last line of the console",)


def test_panic_shows_the_splats_of_the_console() -> None:
    seen = verdict(Expectation(), ending=Ending.PANIC, taint_after=None, console_tail=(*OOPS, *PANIC))
    assert [splat.kind for splat in seen.splats] == ["null-deref", "panic"]
    assert seen.outcome is Outcome.PANIC
    assert seen.evidence == OOPS


def test_splat_in_records_and_on_the_console_is_told_once() -> None:
    seen = verdict(Expectation(), killed_round(), ending=Ending.HANG, console_tail=OOPS)
    assert len(seen.splats) == 1


@pytest.mark.parametrize(
    ("ending", "kind", "console", "passed"),
    [
        (Ending.PANIC, "panic", PANIC, True),
        (Ending.HANG, "soft-lockup", LOCKUP, True),
        (Ending.HANG, "soft-lockup", (), False),
        (Ending.LOST, "soft-lockup", LOCKUP, False),
        (Ending.HANG, "null-deref", OOPS, False),
    ],
)
def test_expected_end(ending: Ending, kind: str, console: tuple[str, ...], passed: bool) -> None:
    expectation = Expectation(expect_splat=(ExpectedSplat(kind, "", "on purpose"),), expect_log=("loading",))
    unfinished = Round(1, None, None, None, None, ())
    tail = ("vms: loading", *console)
    seen = verdict(expectation, unfinished, ending=ending, taint_after=None, console_tail=tail)
    assert seen.passed is passed
    assert not verdict(
        replace(expectation, expect_log=("never printed",)),
        unfinished,
        ending=ending,
        taint_after=None,
        console_tail=tail,
    ).passed


REACHED: list[Callable[[Round], Round]] = [
    lambda seen: replace(seen, load="EINVAL"),
    lambda seen: replace(seen, load=OK, state="Loading"),
    lambda seen: replace(seen, load=OK, state="Live", unload="EBUSY"),
]


@pytest.mark.parametrize("change", REACHED)
def test_expected_end_does_not_excuse_a_step_that_was_reached(change: Callable[[Round], Round]) -> None:
    expectation = Expectation(expect_splat=(ExpectedSplat("panic", "", "on purpose"),))
    unfinished = change(Round(1, None, None, None, None, ()))
    seen = verdict(expectation, unfinished, ending=Ending.PANIC, taint_after=None, console_tail=PANIC)
    assert not seen.passed


def test_console_with_times_gives_clean_titles() -> None:
    tail = tuple(f"[    2.{number:06}] {line}" for number, line in enumerate(PANIC))
    seen = verdict(Expectation(), ending=Ending.PANIC, taint_after=None, console_tail=tail)
    assert seen.splats[0].title == PANIC[0]


GONE = (
    "BUG: unable to handle page fault for address: ffffffffc0a3c010",
    "#PF: supervisor instruction fetch in kernel mode",
    "Oops: Oops: 0010 [#1] PREEMPT SMP NOPTI",
    "CPU: 0 UID: 0 PID: 0 Comm: swapper/0 Tainted: G           OE      6.12.9-amd64 #1",
    "RIP: 0010:0xffffffffc0a3c010",
    "Call Trace:",
    " <IRQ>",
    " call_timer_fn+0x24/0x130",
    " </IRQ>",
    "Modules linked in: innocent(OE)",
    "---[ end trace 0000000000000000 ]---",
)
VMS_LAY = Memory("vms", 0xFFFFFFFFC0A3C000, 16384)
INNOCENT = Memory("innocent", 0xFFFFFFFFC0B00000, 16384)


@pytest.mark.parametrize(
    ("memory", "owner"),
    [
        ((VMS_LAY, INNOCENT), "vms"),
        ((INNOCENT,), None),
        ((), None),
        ((VMS_LAY, Memory("other", VMS_LAY.start, 4096)), None),  # loaded there after it: nobody knows
    ],
)
def test_module_that_is_gone_is_known_by_where_it_lay(memory: tuple[Memory, ...], owner: str | None) -> None:
    seen = observed(replace(good_round(1, *GONE), memory=memory), good_round(2), good_round(3))
    verdict = judge("vms", Expectation(), seen)
    (splat,) = verdict.splats
    assert (splat.module, splat.function) == (owner, None)
    assert any(("[vms]" in reason) is (owner == "vms") for reason in verdict.reasons)


@pytest.mark.parametrize("errno_name", ["ENODEV", "ENXIO", "EPROBE_DEFER"])
def test_hardware_that_is_absent_has_an_outcome_of_its_own(errno_name: str) -> None:
    absent = Round(1, errno_name, None, None, None, records("vms: no controller found"))
    seen = verdict(Expectation(), absent)
    assert seen.outcome is Outcome.NO_DEVICE
    assert seen.reasons == (
        f"round 1: loading: {errno_name}: its hardware is not here; the log says: vms: no controller found "
        f"(to expect that: `load: {errno_name}` in module.yaml)",
    )
    assert verdict(Expectation(load=errno_name), absent).passed
    assert verdict(Expectation(), absent, taint_after=1 << 9).outcome is Outcome.FAILED
    assert verdict(Expectation(), replace(absent, records=records(*OOPS))).outcome is not Outcome.NO_DEVICE


@pytest.mark.parametrize("said", [("vms: port missing",), ()])
@pytest.mark.parametrize("errno_name", ["EINVAL", "ENOENT", "EPERM", "ENOEXEC"])
def test_a_load_error_names_the_log_line_and_how_to_expect_it(errno_name: str, said: tuple[str, ...]) -> None:
    noise = ("vms: loading out-of-tree module taints kernel.", "vms: module verification failed: signature ...")
    seen = verdict(Expectation(), Round(1, errno_name, None, None, None, records(*said, *noise)))
    assert seen.outcome is Outcome.FAILED
    why = "; the log says: vms: port missing" if said else ""
    expect = f" (to expect that: `load: {errno_name}` in module.yaml)"
    assert seen.reasons == (f"round 1: loading: expected ok, saw {errno_name}{why}{expect}",)


def test_a_module_without_exit_has_one_round_and_stays() -> None:
    stays = replace(good_round(), unload=None, listed_after=None, permanent=True)
    assert verdict(Expectation(reloads=3), stays).passed
    assert not verdict(Expectation(reloads=3), replace(stays, permanent=False)).passed
    assert not verdict(Expectation(reloads=3), replace(stays, state="Loading")).passed


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (ExpectedSplat("warning", "", "why", function="vms_init"), True),
        (ExpectedSplat("warning", "", "why", function="vms_exit"), False),
        (ExpectedSplat("warning", "vms", "why", subkind="use-after-free"), False),
    ],
)
def test_an_expected_splat_is_known_by_its_fields(wanted: ExpectedSplat, *, passes: bool) -> None:
    rounds = (good_round(1, *WARNING), *THREE[1:])
    assert verdict(Expectation(expect_splat=(wanted,)), *rounds, taint_after=TAINT_W).passed is passes


def test_each_expected_splat_must_come() -> None:
    both = Expectation(expect_splat=(IS_WARNING, ExpectedSplat("bug", "x", "bug 7")))
    seen = verdict(both, good_round(1, *WARNING), *THREE[1:], taint_after=TAINT_W)
    assert seen.reasons == ("expected a bug splat that matches 'x' (bug 7), saw none",)
