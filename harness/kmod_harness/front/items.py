# SPDX-License-Identifier: MIT
"""Modules as pytest items: what is collected from a module.yaml, run, and turned into a row of the report."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmod_harness.base.errors import Failure, HarnessError, UsageError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import DEFAULT_KERNEL, Settings
from kmod_harness.module.expectation import kernel_matches
from kmod_harness.module.module import Module, known_modules
from kmod_harness.report.rows import ResultRow

if TYPE_CHECKING:  # every pytest run of this Python imports the plugin: what is heavy comes with its first use
    from kmod_harness.kbuild.make import Build
    from kmod_harness.kernels.kernel import Kernel
    from kmod_harness.run.pool import Ahead
    from kmod_harness.run.workbench import Checked, Workbench

TRACE_LINES = 20  # of a defect of our own
WORKBENCH: pytest.StashKey[Workbench] = pytest.StashKey()
NO_VERDICT: pytest.StashKey[bool] = pytest.StashKey()
AHEAD: pytest.StashKey[Ahead[str, ResultRow]] = pytest.StashKey()
ROWS: pytest.StashKey[list[ResultRow]] = pytest.StashKey()


class CheckFailure(Exception):  # noqa: N818 (a result)
    """A module did not do what was expected of it; the row tells."""

    def __init__(self, row: ResultRow) -> None:
        super().__init__("; ".join(row.reasons))
        self.row = row


def workbench_of(config: pytest.Config) -> Workbench:
    """The run's workbench, made when it is first needed."""
    if WORKBENCH not in config.stash:
        from kmod_harness.machine.accelerator import parse_request
        from kmod_harness.run.fleet import MachineOptions, default_spares, parse_isolation
        from kmod_harness.run.workbench import Options, Workbench

        options = Options(
            machines=MachineOptions(
                accelerator=parse_request(config.getoption("--accel")),
                machine=config.getoption("--machine"),
                isolation=parse_isolation(config.getoption("--isolation")),
                clone=not config.getoption("--cold"),
                spares=default_spares(),
                kernel_arguments=tuple(config.getoption("--kernel-arg")),
            ),
            make_arguments=tuple(config.getoption("--make-arg")),
            reloads=config.getoption("--reloads"),
            guard=config.getoption("--guard"),
        )
        config.stash[WORKBENCH] = Workbench(Settings(), Silent(), options)
    return config.stash[WORKBENCH]


def kernel_specs(config: pytest.Config) -> list[str]:
    """What --kernel says, each once."""
    return list(dict.fromkeys(config.getoption("--kernel"))) or [DEFAULT_KERNEL]


class ModuleFile(pytest.File):
    """A module's folder."""

    def collect(self) -> Iterable[pytest.Item]:
        """One test for each kernel."""
        from kmod_harness.module.module import resolve_module

        try:
            module = resolve_module(str(self.path.parent))
        except UsageError as error:
            raise self.CollectError(str(error)) from error
        for spec in kernel_specs(self.config):
            yield ModuleItem.from_parent(self, name=f"{module.name}[{spec}]", module=module, spec=spec)


class ModuleItem(pytest.Item):
    """One module on one kernel."""

    def __init__(self, *, module: Module, spec: str, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.module = module
        self.spec = spec
        self.add_marker("vm")

    def runtest(self) -> None:
        """Build, boot, load, unload, judge; or wait for the job that does."""
        ahead = self.config.stash.get(AHEAD, None)
        row = ahead.result(self.nodeid, self.try_module) if ahead else self.try_module()
        self.user_properties += [("kernel", self.workbench.kernel(self.spec).release), ("outcome", row.outcome)]
        self.config.stash[ROWS].append(row)
        if row.bad:
            raise CheckFailure(row)

    @property
    def workbench(self) -> Workbench:
        """The run's."""
        return workbench_of(self.config)

    def kernel(self) -> Kernel:
        """The kernel; skips the test when the module is not meant for it."""
        kernel = self.workbench.kernel(self.spec)
        if not kernel_matches(self.module.expectation.kernels, kernel.release):
            pytest.skip(f"{self.module.name} is for kernels {self.module.expectation.kernels}")
        return kernel

    def try_module(self) -> ResultRow:
        """All steps. May run in any thread."""
        started = time.monotonic()
        (build,) = self.workbench.build([(self.module, self.kernel())])
        if build.state == "failed":
            return build_failure_row(build, time.monotonic() - started)
        if build.state == "excluded":
            pytest.skip(f"{self.module.name} is not for {build.kernel.release}: {build.problems[0]}")
        if build.state == "impossible":
            raise HarnessError(build.problems[0], evidence=build.problems[1:], hint=build.hint)
        with self.workbench.progress.task(f"{self.module.name} on {self.spec}") as task:
            checked = self.workbench.check(self.module, build.kernel, task.update)
            row = result_row(build, checked, time.monotonic() - started)
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


def build_failure_row(build: Build, seconds: float) -> ResultRow:
    """The result of a module that did not compile."""
    return ResultRow(
        module=build.module.name,
        module_argument=module_argument(build.module),
        kernel=build.kernel.spec,
        outcome="build-failed",
        seconds=seconds,
        reasons=build.problems[:1],
        evidence=build.problems[1:],
        log=build.log,
        warnings=(*build.warnings, *build.notes),
        next_command=build.hint,
    )


def result_row(build: Build, checked: list[Checked], seconds: float) -> ResultRow:
    """The result of a module that was tried: of several .ko files the first that did not pass."""
    worst = next((one for one in checked if not one.verdict.passed), checked[0])
    verdict = worst.verdict
    return ResultRow(
        module=build.module.name,
        module_argument=module_argument(build.module),
        kernel=build.kernel.spec,
        outcome=verdict.outcome.value,
        seconds=seconds,
        reasons=verdict.reasons,
        evidence=verdict.evidence,
        log=None if verdict.passed else worst.observation.console_log,
        warnings=(*build.warnings, *build.notes),
    )


def no_verdict_row(item: ModuleItem, error: BaseException, seconds: float) -> ResultRow:
    """The result when the harness failed; a defect of ours is told with its traceback."""
    if not isinstance(error, Failure):
        trace = "".join(traceback.format_exception(error)).splitlines()
        message = f"a defect of the harness: {type(error).__name__}: {error}"
        error = HarnessError(message, evidence=trace[-TRACE_LINES:])
    return ResultRow(
        module=item.module.name,
        kernel=item.spec,
        outcome="no-verdict",
        seconds=seconds,
        reasons=(error.message,),
        evidence=error.evidence,
        log=error.log,
        next_command=error.hint,
    )
