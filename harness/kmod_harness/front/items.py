# SPDX-License-Identifier: MIT
"""Modules as pytest items: what is collected for a module, run, and turned into a row of the report."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.kbuild.make import Build
from kmod_harness.kbuild.output import headline
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import canonical
from kmod_harness.module.expectation import kernel_matches
from kmod_harness.module.module import Module, known_modules, resolve_module
from kmod_harness.report.results import properties
from kmod_harness.report.rows import ResultRow
from kmod_harness.run.workbench import Checked, Workbench
from kmod_harness.verdict.finding import SEVERITY
from kmod_harness.verdict.lifecycle import licence_taints

TRACE_LINES = 20  # of a defect of our own


class Run(Protocol):
    """What the items need of the run that they are part of."""

    @property
    def workbench(self) -> Workbench:
        """The run's kernels, builds and machines."""

    def result(self, item: ModuleItem) -> ResultRow:
        """The row of a module, from now or from before."""


class CheckFailure(Exception):  # noqa: N818 (a result)
    """A module did not do what was expected of it; the row tells."""

    def __init__(self, row: ResultRow) -> None:
        super().__init__("; ".join(row.reasons))
        self.row = row


class ModuleFile(pytest.File):
    """A module's folder, as the file in it that pytest may be pointed at."""

    def __init__(
        self, *, run: Run, kernels: Sequence[str], module: Module | None = None, **rest: object
    ) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._run = run
        self._kernels = kernels
        self._module = module  # None: not looked at yet

    @classmethod
    def of(cls, module: Module, session: pytest.Session, run: Run, kernels: Sequence[str]) -> ModuleFile:
        """For a module that is known already."""
        path = Path.cwd() / module.path  # of a package of Debian's there is none
        about = {"run": run, "kernels": kernels, "module": module, "name": module.name}
        return cls.from_parent(session, path=path, **about)  # type: ignore[arg-type]

    def collect(self) -> Iterator[ModuleItem]:
        """One test for each kernel."""
        try:
            module = self._module or resolve_module(str(self.path.parent))
        except UsageError as error:
            raise self.CollectError(str(error)) from error
        for spec in self._kernels:
            name = f"{module.name}[{spec}]"
            yield ModuleItem.from_parent(self, name=name, module=module, spec=spec, run=self._run)


class ModuleItem(pytest.Item):
    """One module on one kernel; one .ko when the folder builds several."""

    def __init__(self, *, module: Module, spec: str, run: Run, ko: str = "", **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.module = module
        self.spec = spec
        self.ko = ko  # of the folder's modules this one, as the kernel writes it; "": the only one
        self._run = run
        self.add_marker("vm")

    def runtest(self) -> None:
        """Build, boot, load, unload, judge; or wait for the job that does."""
        row = self._run.result(self)
        self.user_properties += properties(row)
        if row.bad:
            raise CheckFailure(row)

    def kernel(self) -> Kernel:
        """The kernel; skips the test when the module is not meant for it."""
        kernel = self._run.workbench.kernel(self.spec)
        if not kernel_matches(self.module.expectation.kernels, kernel.release):
            pytest.skip(f"{self.module.name} is for kernels {self.module.expectation.kernels}")
        return kernel

    @property
    def label(self) -> str:
        """What the row is called."""
        return self.ko or self.module.name

    def parts(self) -> list[ModuleItem]:
        """An item for each .ko of the folder, which has been built; itself when there is but one."""
        (build,) = self._run.workbench.build([(self.module, self.kernel())])
        if self.ko or len(build.objects) < 2:
            return [self]
        parent = self.parent
        assert parent is not None
        about = {"module": self.module, "spec": self.spec, "run": self._run}
        names = [canonical(path.name) for path in build.objects]
        return [ModuleItem.from_parent(parent, name=f"{name}[{self.spec}]", ko=name, **about) for name in names]

    def try_module(self) -> ResultRow:
        """All steps. May run in any thread."""
        started = time.monotonic()
        workbench = self._run.workbench
        (build,) = workbench.build([(self.module, self.kernel())])
        if build.state == "failed":
            return build_failure_row(build, time.monotonic() - started)
        if build.state == "excluded":
            pytest.skip(f"{self.module.name} is not for {build.kernel.release}: {build.problems[0]}")
        if build.state == "impossible":
            raise HarnessError(build.problems[0], evidence=build.problems[1:], hint=build.hint)
        with workbench.progress.task(f"{self.label} on {self.spec}") as task:
            checked = workbench.check(self.module, build.kernel, task.update, self.ko)
            row = result_row(build, checked, time.monotonic() - started)
            required = workbench.options.require_device
            row = replace(row, module=self.label, required=required)
            task.conclude(row.outcome)
        return row

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """What pytest and JUnit show: our own words for our own failures."""
        error = excinfo.value
        if isinstance(error, CheckFailure):
            row = error.row
            lines = [f"{row.module} on {row.kernel}: {row.outcome}", *row.reasons, *row.evidence]
            return "\n".join([*lines, f"full log: {row.log}"] if row.log else lines)
        if isinstance(error, Failure):
            return str(error)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where and what, for pytest's own reports."""
        return self.path, None, self.name


def module_argument(module: Module) -> str:
    """What the user types for --module."""
    return module.name if known_modules().get(module.name) == module.path else str(module.path)


_COMPLAINT = re.compile(r"(?P<file>[^\s:][^:]*\.\w+):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: ")


def _place(build: Build) -> tuple[str, int] | None:
    """The line of the first error of the compiler; a path from the module's folder becomes whole."""
    found = next(filter(None, map(_COMPLAINT.match, build.problems)), None)
    return (str(build.module.path / found["file"]), int(found["line"])) if found else None


def _about(build: Build) -> dict[str, Any]:
    """What a row says of its kernel."""
    kernel = build.kernel
    about = {"release": kernel.release, "arch": kernel.arch, "compiler": kernel.compiler}
    return {"kernel": kernel.spec, **about}


def build_failure_row(build: Build, seconds: float) -> ResultRow:
    """The result of a module that did not compile."""
    first = headline(build.problems)
    return ResultRow(
        module=build.module.name,
        module_argument=module_argument(build.module),
        **_about(build),
        outcome="build-failed",
        seconds=seconds,
        reasons=(first,) if first else (),
        evidence=tuple(line for line in build.problems if line != first),
        log=build.log,
        place=_place(build),
        warnings=build.warnings,
        notes=build.notes,
        next_command=build.hint,
    )


def result_row(build: Build, checked: list[Checked], seconds: float) -> ResultRow:
    """The result of a module that was tried: of several .ko files the first of those that did worst."""
    worst = max(checked, key=lambda one: SEVERITY.index(one.verdict.outcome))
    verdict = worst.verdict
    return ResultRow(
        module=build.module.name,
        module_argument=module_argument(build.module),
        **_about(build),
        outcome=verdict.outcome.value,
        seconds=seconds,
        reasons=verdict.reasons,
        evidence=verdict.evidence,
        log=None if verdict.passed else worst.observation.console_log,
        place=verdict.place,
        splats=tuple(splat for one in checked for splat in one.verdict.splats),
        left=tuple(left for one in checked for left in one.verdict.left),
        warnings=(*build.warnings, *(text for one in checked for text in _warnings(one))),
        notes=(*build.notes, *filter(None, map(_note, checked))),
    )


def _warnings(checked: Checked) -> Iterator[str]:
    """What should be mended although it does not fail."""
    for node in checked.observation.unpinned:
        yield (
            f"{node} can be open while the reference count of {checked.name} is 0, and the module be unloaded "
            "under it: .owner = THIS_MODULE is missing in its operations"
        )


def _note(checked: Checked) -> str:
    """What weakens a pass; "" for nothing."""
    if checked.verdict.passed and licence_taints(checked.observation):
        return f"the licence of {checked.name} is not free: it taints the kernel (P)"
    if checked.verdict.passed and any(one.permanent for one in checked.observation.rounds):
        return f"{checked.name} has no exit function: it was loaded once and cannot be unloaded"
    drivers = checked.observation.drivers
    if not checked.verdict.passed or not drivers or any(count for _, count in drivers):
        return ""
    names = ", ".join(name for name, _ in drivers)
    return f"no device was bound to {names} of {checked.name}: its probe has not run"


def no_verdict_row(item: ModuleItem, error: BaseException, seconds: float) -> ResultRow:
    """The result when the harness failed; a defect of ours is told with its traceback."""
    if not isinstance(error, Failure):
        trace = "".join(traceback.format_exception(error)).splitlines()
        message = f"a defect of the harness: {type(error).__name__}: {error}"
        error = HarnessError(message, evidence=trace[-TRACE_LINES:])
    return ResultRow(
        module=item.label,
        kernel=item.spec,
        outcome="no-verdict",
        seconds=seconds,
        reasons=(error.message,),
        evidence=error.evidence,
        log=error.log,
        next_command=error.hint,
    )
