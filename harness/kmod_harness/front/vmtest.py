# SPDX-License-Identifier: MIT
"""`vm-test`: pytest with our plugin, shown in our own way."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.front import items as module_tests
from kmod_harness.module.module import KBUILD_FILES, MANIFEST, Module, resolve_module
from kmod_harness.report.files import check_writable
from kmod_harness.report.matrix import markdown_matrix
from kmod_harness.report.rows import ResultRow
from kmod_harness.report.table import print_results
from kmod_harness.run.workbench import Workbench

EXITS = {
    pytest.ExitCode.OK: Exit.OK,
    pytest.ExitCode.TESTS_FAILED: Exit.CHECK_FAILED,
    pytest.ExitCode.INTERRUPTED: Exit.NO_VERDICT,
    pytest.ExitCode.INTERNAL_ERROR: Exit.NO_VERDICT,
    pytest.ExitCode.USAGE_ERROR: Exit.USAGE,
    pytest.ExitCode.NO_TESTS_COLLECTED: Exit.USAGE,
}


@dataclass(frozen=True)
class Selection:
    """What to test, and where to write about it."""

    modules: Sequence[str]  # names or paths
    kernels: Sequence[str]  # specs
    keyword: str = ""  # pytest's -k
    exit_first: bool = False  # pytest's -x
    junit: Path | None = None
    markdown: Path | None = None
    jobs: int = 0  # machines at a time; 0: as the host allows


class Reporter:
    """Takes the place of pytest's terminal reporter: progress while it runs, our table at the end."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._config: pytest.Config | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Hand our workbench to the plugin and silence pytest's own reporter."""
        config.stash[module_tests.WORKBENCH] = self._workbench
        config.pluginmanager.unregister(name="terminalreporter")
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module.yaml that cannot be read."""
        if report.failed:
            raise pytest.UsageError(str(report.longrepr))

    def pytest_internalerror(self, excrepr: object) -> None:
        """A defect of ours: the traceback is the message."""
        print(excrepr, file=sys.stderr)

    def rows(self) -> list[ResultRow]:
        """The results so far."""
        return self._config.stash[module_tests.ROWS] if self._config else []


def _kbuild_file(module: Module) -> Path:
    """The file that pytest is pointed at."""
    names = (MANIFEST, *KBUILD_FILES)
    return next(module.path / name for name in names if (module.path / name).is_file())


def _pytest_arguments(selection: Selection, modules: Sequence[Module]) -> list[str]:
    arguments = [str(_kbuild_file(module)) for module in modules]
    # The user's own pytest settings are for the user's own tests.
    arguments += ["-c", os.devnull, "--rootdir", str(Path.cwd()), "--noconftest"]
    arguments += ["-p", "no:cacheprovider", "--capture=no"]
    for spec in selection.kernels:
        arguments += ["--kernel", spec]
    arguments += ["--jobs", str(selection.jobs)]
    if selection.keyword:
        arguments += ["-k", selection.keyword]
    if selection.exit_first:
        arguments.append("-x")
    if selection.junit:
        arguments += [f"--junit-xml={selection.junit}", "-o", "junit_family=xunit2"]
    return arguments


def run(selection: Selection, workbench: Workbench) -> Exit:
    """Test the modules on the kernels, print the table, return the exit code.

    Raises UsageError for names that cannot be resolved; a kernel that cannot be had right now costs only its
    own results.
    """
    started = time.monotonic()
    for path in (selection.junit, selection.markdown):
        if path:
            check_writable(path)
    if selection.jobs < 0:
        raise UsageError(f"--jobs {selection.jobs}: want 1 or more")
    modules = [resolve_module(name) for name in selection.modules]
    for spec in selection.kernels:
        try:
            workbench.kernel(spec)
        except UsageError:
            raise
        except HarnessError:
            pass  # its tests will say so
    reporter = Reporter(workbench)
    code = pytest.main(_pytest_arguments(selection, modules), plugins=[reporter])
    rows = reporter.rows()
    seconds = time.monotonic() - started
    print_results(rows, seconds, sys.stdout)
    if selection.markdown:
        selection.markdown.write_text(
            markdown_matrix(rows, seconds), encoding="utf-8", errors="surrogateescape"
        )
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise UsageError(f"no test matches -k {selection.keyword}" if selection.keyword else "no tests")
    if code == pytest.ExitCode.INTERRUPTED and not any(row.outcome == "no-verdict" for row in rows):
        raise KeyboardInterrupt
    return EXITS[pytest.ExitCode(code)]
