# SPDX-License-Identifier: MIT
"""The guard, often: what modules leave that die under it does not add up."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kmod_harness.base.progress import Silent
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.vocabulary import taint_bits
from kmod_harness.run.fleet import Fleet
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import OK
from tests.patience import SECONDS
from tests.vm.conftest import Upload, rescue_log
from tests.vm.test_guard import SPLAT_KINDS, guarded, report

pytestmark = [pytest.mark.vm, pytest.mark.spread]

# What slab caches and the network's buffers have more or less without a reason, measured: up to 17.
NOISE = 25
# Of each kind. One object that one kind leaves each time is seen, whatever the noise takes away from it.
DEATHS = 45
# One that has much to undo, one that dies on its way out.
FEW = ("probe_devres", "exit")


@pytest.fixture
def guest(workbench: Workbench, kernel: Kernel) -> Iterator[Guest]:
    """A kernel whose slab caches keep nothing at hand, and find writes beside and after objects.

    Otherwise who takes one object may fill a reserve that counts as in use: of the rest of a slab, and since
    7.0 of 60 more.
    """
    machines = replace(workbench.options.machines, cold=True, spares=0, kernel_arguments=("slub_debug=FZP",))
    fleet = Fleet(workbench.settings, Silent(), machines)
    with contextlib.closing(fleet), fleet.machine(kernel, "rounds") as (_, booted):
        yield booted


def slabs(guest: Guest) -> dict[str, int]:
    """Objects in use of each slab cache: the least of some times, since kfree_rcu() may put off for seconds."""
    counts: dict[str, int] = {}
    for _ in range(8):
        guest.write("/proc/sys/vm/drop_caches", "3")
        for name, active, *_ in map(str.split, guest.read("/proc/slabinfo").splitlines()[2:]):
            counts[name] = min(int(active), counts.get(name, int(active)))
        time.sleep(0.75)
    return counts


def areas(guest: Guest) -> Counter[str]:
    """Who has got how many areas of virtual memory."""
    lines = guest.read("/proc/vmallocinfo").splitlines()
    return Counter(
        re.sub("^.* bytes? ", "", line) for line in lines if "faults" in line or "load_module" in line
    )


def test_many_deaths(request: pytest.FixtureRequest, guest: Guest, upload: Upload) -> None:
    """In one boot, each kind DEATHS times: nothing is left that adds up, not even one object by one kind.

    The short way this is said of FEW kinds on one kernel; with --every-kernel, as every week, of all on all.
    """
    kinds = tuple(SPLAT_KINDS) if request.config.getoption("--every-kernel") else FEW
    guarded(guest, upload)
    faults = upload("faults")

    def die(times: int) -> None:
        for kind in kinds:
            round_ = f"kmodctl finit {faults} scenario={kind}; kmodctl delete faults n; dmesg -c > /dev/null"
            script = (
                f"for i in $(seq {times}); do {round_}; done; kmodctl finit {faults}; kmodctl delete faults n"
            )
            died = ["0", "0"] if kind == "exit" else ["14", "2"]  # EFAULT; ENOENT: it is gone
            done = guest.run("sh", "-c", script, seconds=SECONDS)
            assert done.output.split() == [*died * times, "0", "0"], (kind, rescue_log(guest))

    # Since 7.3 the kernel watches memory, with more objects or fewer as it likes.
    guest.run("sh", "-c", "echo N > /sys/module/damon_stat/parameters/enabled", check=False)
    die(2)
    before, areas_before = slabs(guest), areas(guest)
    die(DEATHS)
    after, areas_after = slabs(guest), areas(guest)
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    assert {name: count for name, count in more.items() if count > NOISE} == {}
    assert areas_after == areas_before
    assert not guest.taint() & taint_bits("B")  # nothing was written beside an object, or after it was freed
    assert report(guest)["died"] == (2 + DEATHS) * len(kinds)
    assert guest.unload("force_rmmod") == OK
