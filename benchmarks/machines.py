# SPDX-License-Identifier: MIT
"""Machines, through the same fleet that tests get them from, measured within this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from benchmarks.bench import MODULE, Benchmark, Context, Once, Reading, timed
from benchmarks.host import proportional_bytes
from kmod_harness.base.errors import HarnessError
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.run.fleet import Fleet
from kmod_harness.target.guest import Guest

SIDE_BY_SIDE = 16
# How long a test uses its machine before the next one is asked for; long enough to prepare a spare.
TEST_SECONDS = 2.0


def first_command(guest: Guest) -> None:
    """The first thing that a test could do."""
    if guest.run("true").returncode != 0:
        raise HarnessError("`true` failed in the guest")


def _until_first_command(fleet: Fleet, kernel: Kernel) -> Reading:
    """Seconds from asking for a machine to the end of its first command over SSH."""
    began = time.monotonic()
    with fleet.machine(kernel, "benchmark") as (_, guest):
        first_command(guest)
        return Reading(time.monotonic() - began)


@contextlib.contextmanager
def clone(context: Context) -> Iterator[Once]:
    """A clone that nobody prepared."""
    kernel = context.resolved()
    with contextlib.closing(context.fleet()) as fleet:
        yield lambda: _until_first_command(fleet, kernel)


@contextlib.contextmanager
def cold_boot(context: Context) -> Iterator[Once]:
    """No template: the kernel boots."""
    kernel = context.resolved()
    with contextlib.closing(context.fleet(clone=False)) as fleet:
        yield lambda: _until_first_command(fleet, kernel)


@contextlib.contextmanager
def pooled(context: Context) -> Iterator[Once]:
    """A spare, while the tests before take their time."""
    kernel = context.resolved()
    with contextlib.closing(context.fleet(spares=1)) as fleet:

        def once() -> Reading:
            fleet.expect(kernel, 2)  # this one and the next: it never runs out
            reading = _until_first_command(fleet, kernel)
            time.sleep(TEST_SECONDS)
            return reading

        yield once


@contextlib.contextmanager
def memory(context: Context) -> Iterator[Once]:
    """Memory of many clones that live at the same time and have each run a command."""
    kernel = context.resolved()

    def once() -> Reading:
        with contextlib.closing(context.fleet()) as fleet, contextlib.ExitStack() as stack:
            pids = []
            for number in range(SIDE_BY_SIDE):
                machine, guest = stack.enter_context(fleet.machine(kernel, f"benchmark-{number}"))
                first_command(guest)
                pids.append(machine.pid)
            return Reading(sum(map(proportional_bytes, pids)) / (1 << 20))

    yield once


@contextlib.contextmanager
def round_trip(context: Context) -> Iterator[Once]:
    """Load and unload a module in a machine that is there."""
    ko = context.module()
    with (
        contextlib.closing(context.fleet()) as fleet,
        fleet.machine(context.resolved(), "benchmark") as (_, guest),
    ):
        path = guest.put(ko)
        yield lambda: timed(lambda: load_and_unload(guest, path))


def load_and_unload(guest: Guest, path: str) -> None:
    """Load and unload; HarnessError when the kernel does not."""
    outcomes = (guest.load(path), guest.unload(MODULE))
    if outcomes != ("ok", "ok"):
        raise HarnessError(f"loading and unloading {MODULE}: {', '.join(outcomes)}")


BENCHMARKS = (
    Benchmark("clone", "fresh machine (clone) to first command", 0.4, 15, clone),
    Benchmark("pool", "machine from the pool to first command", 0.05, 10, pooled),
    Benchmark("cold-boot", "cold boot to first command", 2.5, 7, cold_boot),
    Benchmark(
        "memory", f"memory of {SIDE_BY_SIDE} clones at once (PSS)", 1536.0, 2, memory, unit="MiB", warm=False
    ),
    Benchmark("round-trip", "load and unload a module", None, 20, round_trip),
)
