# SPDX-License-Identifier: MIT
"""What all benchmarks share: how one is described, what it gets, how its samples are taken."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import BUSY_SHARE, Row, Sample
from benchmarks.host import Meter, wait_quiet
from kmod_harness.base.errors import Failure, HarnessError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.resolve import resolve_kernel
from kmod_harness.module.module import resolve_module
from kmod_harness.run.fleet import Fleet, MachineOptions
from kmod_harness.run.workbench import Options, Workbench

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
        return Fleet(self.settings, self.progress, MachineOptions(cold=not clone, spares=spares))

    def module(self, name: str = MODULE) -> Path:
        """The .ko of a module, by name or folder, built for the kernel."""
        workbench = Workbench(self.settings, self.progress, Options())
        (build,) = workbench.build([(resolve_module(name), workbench.kernel(self.kernel))])
        if not build.objects:
            raise HarnessError(f"{name} cannot be built", evidence=build.problems, log=build.log)
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
    group: str = ""  # rows of one group are measured in turn, to be compared; "": alone
    warm: bool = True  # the first measurement does not count: it fills the caches


def timed(work: Callable[[], object]) -> Reading:
    """How long it takes."""
    began = time.monotonic()
    work()
    return Reading(time.monotonic() - began)


class _Taking:
    """One row while it is being measured. A failure ends the row and becomes its note."""

    def __init__(self, benchmark: Benchmark, runs: int) -> None:
        self.row = Row(benchmark.name, benchmark.what, benchmark.unit, benchmark.goal)
        self._benchmark = benchmark
        self._runs = runs
        self._once: Once | None = None

    @property
    def wanting(self) -> bool:
        """Whether there is more to measure."""
        return not self.row.note and len(self.row.samples) < self._runs

    def begin(self, context: Context, stack: ExitStack) -> None:
        """Prepare; what was prepared is undone with the stack."""
        with self._noting():
            self._once = stack.enter_context(self._benchmark.open(context))
            if self._benchmark.warm:
                self._once()

    def step(self, tell: Callable[[str], None], patience: float) -> None:
        """Measure once. patience: until when quiet moments are waited for and disturbed samples taken again."""
        assert self._once is not None
        with self._noting():
            wait_quiet(max(0.0, patience - time.monotonic()), tell)
            sample = _sample(self._once)
            if sample.others > BUSY_SHARE and time.monotonic() < patience:
                self.row = replace(self.row, discarded=self.row.discarded + 1)
            else:
                self.row = replace(self.row, samples=(*self.row.samples, sample))

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except SkippedError as reason:
            self.row = replace(self.row, note=f"skipped: {reason.message}")
        except (Failure, OSError) as error:
            self.row = replace(self.row, note=f"FAILED: {error}")


def take(benchmarks: Sequence[Benchmark], context: Context, runs: int, quiet: float) -> list[Row]:
    """Measure rows in turn, one sample of each at a time: what disturbs one disturbs all.

    runs: samples a row; 0: as many as the row wants. quiet: seconds that may be spent on quiet moments.
    """
    takings = [_Taking(benchmark, runs or benchmark.runs) for benchmark in benchmarks]
    patience = time.monotonic() + quiet
    with ExitStack() as stack:
        for taking in takings:
            taking.begin(context, stack)
        while wanting := [taking for taking in takings if taking.wanting]:
            for taking in wanting:
                taking.step(context.progress.note, patience)
    return [taking.row for taking in takings]


def _sample(once: Once) -> Sample:
    meter = Meter()
    reading = once()
    cpu, others = meter.read()
    return Sample(reading.value, cpu, others, reading.peak)
