# SPDX-License-Identifier: MIT
"""What all benchmarks share: how one is described, what it gets, how its samples are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import BUSY_SHARE, Row, Sample
from benchmarks.host import Meter, wait_quiet
from harness.errors import Failure, HarnessError
from harness.fleet import Fleet, MachineOptions
from harness.kernels.kernel import Kernel
from harness.kernels.resolve import resolve_kernel
from harness.progress import Progress
from harness.settings import Settings
from harness.workbench import Options, Workbench, resolve_module

MODULE = "vms"  # the one that is loaded wherever one is wanted


class SkippedError(HarnessError):
    """A benchmark that this machine cannot run, and why."""


@dataclass(frozen=True)
class Context:
    """What a benchmark measures."""

    kernel: str  # as for --kernel
    settings: Settings
    progress: Progress
    scratch: Path  # an empty folder that goes when all is done

    def resolved(self) -> Kernel:
        """The kernel, fetched if need be."""
        return resolve_kernel(self.kernel, self.settings, self.progress)

    def fleet(self, *, clone: bool = True, spares: int = 0) -> Fleet:
        """A fleet of its own; the caller closes it."""
        return Fleet(self.settings, self.progress, MachineOptions(clone=clone, spares=spares))

    def module(self) -> Path:
        """The .ko that is loaded, built for the kernel."""
        workbench = Workbench(self.settings, self.progress, Options())
        (build,) = workbench.build([(resolve_module(MODULE), workbench.kernel(self.kernel))])
        if not build.objects:
            raise HarnessError(f"{MODULE} cannot be built", evidence=build.problems, log=build.log)
        return build.objects[0]


@dataclass(frozen=True)
class Reading:
    """What one measurement says itself."""

    value: float
    peak: float = 0.0  # MiB; 0: not measured


Once = Callable[[], Reading]


@dataclass(frozen=True)
class Benchmark:
    """One row of the table."""

    name: str  # for --only
    what: str
    goal: float | None
    runs: int
    open: Callable[[Context], AbstractContextManager[Once]]  # prepares; each call then measures once
    unit: str = "s"
    warm: bool = True  # the first measurement does not count: it fills the caches


def timed(work: Callable[[], object]) -> Reading:
    """How long it takes."""
    began = time.monotonic()
    work()
    return Reading(time.monotonic() - began)


def take(benchmark: Benchmark, context: Context, runs: int, quiet: float) -> Row:
    """Measure one row. A failure ends the row and becomes its note.

    quiet: seconds that may be spent on the row's waiting for quiet moments; while there are any left, samples
    that others disturbed are taken again.
    """
    row = Row(benchmark.name, benchmark.what, benchmark.unit, benchmark.goal)
    tell = context.progress.note
    patience = time.monotonic() + quiet
    try:
        with benchmark.open(context) as once:
            if benchmark.warm:
                once()
            while len(row.samples) < runs:
                wait_quiet(max(0.0, patience - time.monotonic()), tell)
                sample = _sample(once)
                if sample.others > BUSY_SHARE and time.monotonic() < patience:
                    row = replace(row, discarded=row.discarded + 1)
                else:
                    row = replace(row, samples=(*row.samples, sample))
    except SkippedError as reason:
        return replace(row, note=f"skipped: {reason.message}")
    except (Failure, OSError) as error:
        return replace(row, note=f"FAILED: {error}")
    return row


def _sample(once: Once) -> Sample:
    meter = Meter()
    reading = once()
    cpu, others = meter.read()
    return Sample(reading.value, cpu, others, reading.peak)
