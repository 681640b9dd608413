# SPDX-License-Identifier: MIT
"""A module over time, seen from inside: its states, the calls of the notifier, the way out as a trace."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from kmod_harness.features.trace.command import SYSTEM_CALLS, only_call, record_unload
from kmod_harness.features.trace.way_out import take_steps
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import OK
from kmod_harness.verdict.splats import find_splats
from tests.vm.conftest import Build

pytestmark = pytest.mark.vm

EVENT = re.compile(r"states_watch: (?P<name>\w+): (?P<where>.+), state (?P<state>\w+), count (?P<count>-?\d+)")

# (where it is seen, state, count). The count of 1 is init's own reference; -1 is what delete_module leaves.
COMING = [("module_finalize", "UNFORMED", 1), ("notifier COMING", "COMING", 1)]
LIVE = [("notifier LIVE", "LIVE", 1)]
GOING = [("notifier GOING", "GOING", -1), ("module_arch_cleanup", "UNFORMED", -1)]
FAILED = [("notifier GOING", "GOING", 0), ("module_arch_cleanup", "UNFORMED", 0)]


@pytest.fixture
def files(guest: Guest, build_module: Build) -> Mapping[str, str]:
    """Paths in the guest of the modules that are used here."""
    return {ko.stem: guest.put(ko) for name in ("states", "depend_s") for ko in build_module(name)}


def events(guest: Guest, name: str, since: int) -> list[tuple[str, str, int]]:
    """What states_watch told about a module."""
    found = (EVENT.fullmatch(record.text) for record in guest.log(since))
    return [(one["where"], one["state"], int(one["count"])) for one in found if one and one["name"] == name]


def test_states_over_time(guest: Guest, files: Mapping[str, str]) -> None:
    assert guest.load(files["states_watch"]) == OK
    for call in ("finit", "init"):
        mark = guest.log_mark()
        assert guest.system_call(call, files["depend_s"]) == OK
        assert events(guest, "depend_s", mark) == COMING + LIVE
        mark = guest.log_mark()
        assert guest.unload("depend_s") == OK
        assert events(guest, "depend_s", mark) == GOING
    assert guest.unload("states_watch") == OK
    assert find_splats(guest.log()) == ()


def test_a_failed_load_goes_through_going(guest: Guest, files: Mapping[str, str]) -> None:
    assert guest.load(files["states_watch"]) == OK
    mark = guest.log_mark()
    assert guest.load(files["states"], {"error": "5"}) == "EIO"
    assert events(guest, "states", mark) == COMING + FAILED
    mark = guest.log_mark()
    assert guest.load(files["states"], {"error": "x"}) == "EINVAL"  # found after COMING was told
    assert [where for where, *_ in events(guest, "states", mark)] == [one[0] for one in COMING + FAILED]


@pytest.mark.outer_kernels
def test_the_way_out_as_a_trace(guest: Guest, kernel: Kernel, files: Mapping[str, str]) -> None:
    assert guest.load(files["depend_s"]) == OK
    text = record_unload(guest, "depend_s", SYSTEM_CALLS[kernel.arch])
    steps = {taken.step.title: taken for taken in take_steps(only_call(text))}
    assert [call.name for call in steps["exit"].calls] == ["printk"]
    assert steps["free_module"].notes == ("module_free: depend_s",)
    assert all(steps[title].calls for title in ("permission", "lock", "livepatch", "async", "wake-up"))
    assert guest.read("/sys/kernel/tracing/current_tracer") == "nop\n"
    assert guest.read("/sys/kernel/tracing/events/module/enable") == "0\n"
    assert find_splats(guest.log()) == ()
