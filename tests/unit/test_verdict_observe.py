# SPDX-License-Identifier: MIT
"""A verdict over any target: observed and judged without a console, as on a board."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kmod_harness.base.errors import GuestFailure, GuestPanic
from kmod_harness.module.expectation import Expectation, ExpectedSplat
from kmod_harness.target.runner import KILLED, OK, ConnectionLost, GuestHang, Result
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.lifecycle import Verdict, judge
from kmod_harness.verdict.observation import Ending, Observation
from kmod_harness.verdict.observe import Subject, observe
from tests.unit.fake_target import FakeTarget

VMS = Subject("vms", "/there/vms.ko")
OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "Oops: 0002 [#1] SMP PTI",
    "RIP: 0010:vms_init+0x10/0x1000 [vms]",
    "---[ end trace 0000000000000000 ]---",
)


def verdict(target: FakeTarget, **expected: Any) -> tuple[Observation, Verdict]:
    expectation = Expectation(**{"reloads": 2, **expected})
    seen = observe(target, VMS, [], expectation.reloads)
    return seen, judge("vms", expectation, seen)


def test_a_healthy_module_on_a_board() -> None:
    seen, told = verdict(FakeTarget(), expect_log=("vms: loaded",))
    assert told.passed, told.reasons
    assert (seen.console_tail, seen.console_log) == ((), None)


def test_an_oops_on_a_board() -> None:
    class Dying(FakeTarget):
        def load(self, path: str, *_: object, **__: object) -> str:
            super().load(path)
            self.loaded["vms"] = replace(self.loaded["vms"], state="Loading")
            self.texts += OOPS
            return KILLED

        def unload(self, name: str, **_: object) -> str:
            return "EBUSY"

    _, told = verdict(Dying())
    assert told.outcome is Outcome.CRASHED
    assert told.evidence[0] == OOPS[0]
    expected = ExpectedSplat("null-deref", "vms_init", "on purpose")
    assert verdict(Dying(), expect_splat=(expected,))[1].passed


def test_a_module_without_exit_is_not_unloaded() -> None:
    class Staying(FakeTarget):
        def load(self, path: str, *_: object, **__: object) -> str:
            super().load(path)
            self.loaded["vms"] = replace(self.loaded["vms"], permanent=True)
            return OK

        def unload(self, name: str, **_: object) -> str:
            raise AssertionError(name)

    seen, told = verdict(Staying())
    assert told.passed, told.reasons
    assert [one.permanent for one in seen.rounds] == [True]


class Hanging(FakeTarget):
    """Unloading does not return; asked for it, the kernel tells what is blocked."""

    failure: GuestFailure = GuestHang("no answer")

    def unload(self, name: str, **_: object) -> str:
        raise self.failure

    def run(self, *argv: str, root: bool = False, **_: object) -> Result:
        assert (argv[-1], root) == ("echo w > /proc/sysrq-trigger", True)
        self.texts += ["sysrq: Show Blocked State", "task:rmmod state:D"]
        return Result(argv, 0, "")


def test_what_hangs_on_a_board_is_shown_by_its_log() -> None:
    seen, told = verdict(Hanging())
    assert seen.ending is Ending.HANG
    assert seen.console_tail[0] == "vms: loaded"  # nothing older than the module
    assert told.outcome is Outcome.HANG
    assert told.evidence == ("sysrq: Show Blocked State", "task:rmmod state:D")


def test_a_dependency_that_does_not_load_shows_what_the_kernel_said() -> None:
    class Refusing(FakeTarget):
        def load(self, path: str, *_: object, **__: object) -> str:
            self.texts.append("depend_s: Unknown symbol x (err -2)")
            return "ENOENT"

    seen = observe(Refusing(), VMS, [Subject("depend_s", "/there/depend_s.ko")], 1)
    told = judge("vms", Expectation(depends=("depend_s",)), seen)
    assert told.outcome is Outcome.FAILED
    assert told.evidence == ("depend_s: Unknown symbol x (err -2)",)


class OtherPanic(GuestPanic):
    """A panic of a kind."""


class OtherHang(GuestHang):
    """A hang of a kind."""


class Other(GuestFailure):
    """Something that nobody has thought of."""


@pytest.mark.parametrize(
    ("failure", "ending"),
    [
        (OtherPanic("x"), Ending.PANIC),
        (OtherHang("x"), Ending.HANG),
        (ConnectionLost("x"), Ending.LOST),
        (Other("x"), Ending.LOST),
    ],
)
def test_every_end_of_a_target_is_a_result(failure: GuestFailure, ending: Ending) -> None:
    target = Hanging()
    target.failure = failure
    seen, told = verdict(target)
    assert seen.ending is ending
    assert not told.passed
