# SPDX-License-Identifier: MIT
"""A module whose exit forgets things, of each kind: what is said of them, and nothing of one that is tidy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

import kmod_harness.verdict.observe as observing
from kmod_harness.module.expectation import Expectation
from kmod_harness.target.guest import Guest
from kmod_harness.verdict.lifecycle import Verdict, judge
from kmod_harness.verdict.observation import Observation
from kmod_harness.verdict.observe import Subject, observe
from kmod_harness.verdict.source import ModuleFile
from tests.vm.conftest import Build

pytestmark = [pytest.mark.vm, pytest.mark.spread]

LEAVES = str(Path(__file__).parent / "leaves")
# With these the kernel lives on: what is forgotten -> how what is told of it begins.
HARMLESS = {
    "thread": "thread leaves_thread; missing is likely kthread_stop()",
    "workqueue": "workqueue leaves_queue; missing is likely destroy_workqueue()",
    "rescued": "workqueue leaves_rescued; ",
    "vmalloc": "memory of 1028 KiB, taken by vmalloc_start; missing is likely vfree()",
    "kmalloc": "memory of 1",  # and of what else it needs
    "debugfs": "debugfs entry /sys/kernel/debug/leaves_debug; missing is likely debugfs_remove()",
    "chrdev": "character device number ",
    "blkdev": "block device number ",
    "class": "class leaves_class; missing is likely class_destroy()",
    "kobject": "kobject /sys/kernel/leaves_kobject; missing is likely kobject_put()",
    "proc": "/proc entry /proc/leaves_proc; ",
    "iomem": "memory region fe000000-fe000fff : leaves_iomem; ",
    "cache": "slab cache leaves_cache; ",
    "merged": "slab cache leaves_merged; ",
    "input": "input device ",
    "platform": "platform device leaves_platform; ",
}
# With these the kernel comes upon freed memory sooner or later.
HARMFUL = {
    "node": "device /sys/devices/virtual/leaves_nodes/leaves_node; ",
    "timer": "pending timer that calls too_late; missing is likely timer_delete_sync()",
    "work": "pending work that calls late; missing is likely cancel_delayed_work_sync()",
    "running": "running work kworker/",
    "ioports": "I/O ports 05f0-05f7 : leaves_ports",
    "sysctl": "sysctl /proc/sys/kernel/leaves_sysctl",
    "misc": "misc device leaves_misc; missing is likely misc_deregister()",
    "irq": "interrupt leaves_irq; missing is likely free_irq()",
    "netdev": "network device leaves0; missing is likely unregister_netdev()",
}


def observed(guest: Guest, ko: Path, things: Iterable[str], *, tidy: bool) -> Observation:
    parameters = {"things": ",".join(things), "tidy": str(int(tidy))}
    subject = Subject("leaves", guest.put(ko), parameters, ModuleFile(ko).function_at)
    return observe(guest, subject, [], 1)


def life(guest: Guest, ko: Path, things: Iterable[str], *, tidy: bool) -> Verdict:
    return judge("leaves", Expectation(reloads=1), observed(guest, ko, things, tidy=tidy))


@pytest.fixture
def ko(build_module: Build, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(observing, "SETTLE_SECONDS", 0.0)
    (ko,) = build_module(LEAVES)
    return ko


def test_a_tidy_module_leaves_nothing(guest: Guest, ko: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "SETTLE_SECONDS", 10.0)
    assert life(guest, ko, [*HARMLESS, *HARMFUL, "hrtimer"], tidy=True).reasons == ()


def test_what_stays_is_named(guest: Guest, ko: Path) -> None:
    reasons = life(guest, ko, HARMLESS, tidy=False).reasons
    for thing, told in HARMLESS.items():
        assert any(f"left behind: {told}" in reason for reason in reasons), (thing, reasons)
    assert len(reasons) == len(HARMLESS), reasons


@pytest.mark.parametrize("thing", HARMFUL)
def test_what_stays_and_breaks_the_kernel_is_named(guest: Guest, ko: Path, thing: str) -> None:
    reasons = life(guest, ko, [thing], tidy=False).reasons
    assert any(f"left behind: {HARMFUL[thing]}" in reason for reason in reasons), reasons


def test_references_that_are_miscounted(guest: Guest, ko: Path) -> None:
    seen = observed(guest, ko, ["misc", "unowned"], tidy=True)
    assert seen.unpinned == ("/dev/leaves_unowned",)
    (other,) = life(guest, ko, ["other"], tidy=True).reasons
    assert (
        other
        == "round 1: left behind: reference to squashfs; missing is likely module_put(), or what gives it back"
    )
    (kept,) = life(guest, ko, ["get"], tidy=True).reasons
    assert "saw EAGAIN: its reference count is 1, no module uses it: a try_module_get()" in kept


def test_a_count_below_zero(guest: Guest, ko: Path) -> None:
    (below,) = life(guest, ko, ["put"], tidy=True).reasons
    assert below.startswith("round 1: its reference count is -1: more module_put() than try_module_get();")
