# SPDX-License-Identifier: MIT
"""`vm-test`: pytest runs the modules that were chosen; nothing of it is seen but what it is good at."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL
from kmod_harness.front.engine import Engine
from kmod_harness.front.items import ModuleFile
from kmod_harness.front.options import Given
from kmod_harness.kernels.ranges import ALL
from kmod_harness.module.module import Module
from kmod_harness.report.annotations import annotate
from kmod_harness.report.files import check_writable
from kmod_harness.report.matrix import markdown_matrix
from kmod_harness.report.results import json_results
from kmod_harness.report.rows import ResultRow
from kmod_harness.report.table import print_results
from kmod_harness.run.first_bad import Border, search
from kmod_harness.run.workbench import Workbench


class Front:
    """A plugin that takes the place of pytest's own collecting and reporting."""

    def __init__(self, engine: Engine, modules: Sequence[Module], kernels: Sequence[str]) -> None:
        self._engine = engine
        self._modules = modules
        self._kernels = kernels

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Silence pytest's own reporter."""
        config.addinivalue_line("markers", "vm: boots virtual machines")
        config.pluginmanager.unregister(name="terminalreporter")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """The items are those of our modules on our kernels: no file is looked for."""
        for module in self._modules:
            file = ModuleFile.of(module, session, self._engine, self._kernels)
            session.items += file.collect()
        hook = session.config.hook
        hook.pytest_collection_modifyitems(session=session, config=session.config, items=session.items)
        hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return True

    def pytest_internalerror(self, excrepr: object) -> None:
        """A defect of ours: the traceback is the message."""
        print(excrepr, file=sys.stderr)


def _own_options(given: Given) -> list[str]:
    """What pytest itself is told."""
    words = ["-c", os.devnull, "--rootdir", str(Path.cwd()), "--noconftest", "-p", "no:cacheprovider"]
    # Ctrl-C may strike while an event loop is made, which then complains that it was not.
    words += ["--capture=no", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    if given.keyword:
        words += ["-k", given.keyword]
    if given.exitfirst:
        words.append("-x")
    if given.junit:
        words += [f"--junit-xml={given.junit}", "-o", "junit_family=xunit2"]
    return words


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """The user's settings and plugins of pytest are for the user's tests."""
    theirs = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PYTEST_")}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update(theirs)


def _reports(given: Given) -> list[tuple[Path | None, Callable[[Sequence[ResultRow], float], str]]]:
    """The files that the results are written to, and how; JUnit is pytest's own."""
    return [(given.markdown, markdown_matrix), (given.results, json_results)]


def run(given: Given, modules: Sequence[Module], workbench: Workbench) -> Exit:
    """Test the modules on the kernels, print the table, return the exit code.

    Raises UsageError for kernels and files that cannot be; a kernel that cannot be had right now costs only
    its own results.
    """
    started = time.monotonic()
    for path in (given.junit, *(path for path, _ in _reports(given))):
        if path:
            check_writable(path)
    if given.together and len(modules) < 2:
        raise UsageError("--together: one module alone", hint="--module ONE --module OTHER --together")
    if given.first_bad and given.junit:
        raise UsageError("--first-bad with --junit: a search is several runs of pytest", hint="use --markdown")
    files = {"--junit": given.junit, "--markdown": given.markdown, "--json": given.results}
    for one, other in itertools.combinations(files, 2):
        if files[one] and files[one] == files[other]:
            raise UsageError(f"{one} and {other}: both are {files[one]}")
    kernels = workbench.kernel_names(given.kernels or ((ALL,) if given.first_bad else (DEFAULT_KERNEL,)))
    workbench.check_kernels(kernels)
    if given.first_bad:
        rows, border = _search(given, modules, kernels, workbench)
        _report(given, rows, started)
        print(border.sentence())
        return _border_exit(border)
    code, rows = _test(given, modules, kernels, workbench)
    _report(given, rows, started)
    return _exit(code, rows)


def _test(
    given: Given, modules: Sequence[Module], kernels: Sequence[str], workbench: Workbench
) -> tuple[int, list[ResultRow]]:
    """Run pytest once: its exit code, and the results."""
    engine = Engine(lambda: workbench, given.jobs)
    with _undisturbed():
        code = pytest.main(_own_options(given), plugins=[engine, Front(engine, modules, kernels)])
    if engine.wrong_usage:
        raise engine.wrong_usage
    if code == pytest.ExitCode.USAGE_ERROR:  # pytest has said why
        raise UsageError(f"pytest cannot use --keyword {given.keyword!r}", hint="e.g. -k 'vms and not cloud'")
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and given.keyword:
        raise UsageError(f"no test matches -k {given.keyword}")
    return code, engine.rows


def _report(given: Given, rows: Sequence[ResultRow], started: float) -> None:
    seconds = time.monotonic() - started
    print_results(rows, seconds, sys.stdout)
    for line in annotate(rows, Path.cwd()) if given.annotate else ():
        print(line)
    for path, format_rows in _reports(given):
        if path:
            path.write_text(format_rows(rows, seconds), encoding="utf-8", errors="surrogateescape")


def _search(
    given: Given, modules: Sequence[Module], kernels: Sequence[str], workbench: Workbench
) -> tuple[list[ResultRow], Border]:
    """Look for the first bad kernel; the results of those that were tried."""
    seen: list[ResultRow] = []

    def passes(kernel: str) -> bool | None:
        code, rows = _test(given, modules, [kernel], workbench)
        seen.extend(rows)
        end = _exit(code, rows)
        tried = end != Exit.NO_VERDICT and any(row.outcome != "skipped" for row in rows)
        return end == Exit.OK if tried else None

    return seen, search(kernels, passes)


def _border_exit(border: Border) -> Exit:
    if border.bad is not None:
        return Exit.CHECK_FAILED
    return Exit.OK if border.good is not None else Exit.NO_VERDICT


def _exit(code: int, rows: Sequence[ResultRow]) -> Exit:
    """What the rows say, if pytest got as far as that: no result is never a pass."""
    if any(row.outcome == "no-verdict" for row in rows):
        return Exit.NO_VERDICT
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not rows:
        raise HarnessError("nothing was tested", hint="invoke doctor")
    return Exit.CHECK_FAILED if any(row.bad for row in rows) else Exit.OK
