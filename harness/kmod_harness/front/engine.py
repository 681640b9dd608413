# SPDX-License-Identifier: MIT
"""pytest's part in a run: what was selected is built together, tested several at a time, the results kept."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.front.items import CheckFailure, ModuleItem, no_verdict_row
from kmod_harness.report.rows import ResultRow
from kmod_harness.run.fleet import default_jobs
from kmod_harness.run.pool import Ahead
from kmod_harness.run.workbench import Workbench

WORKER_NO_VERDICT = "kmod_harness_no_verdict"  # in what a worker of pytest-xdist hands over at its end


class Engine:
    """A plugin of pytest for one run.

    make_workbench: called when it is first needed. jobs: machines at a time; None: as the host allows.
    """

    def __init__(self, make_workbench: Callable[[], Workbench], jobs: int | None = None) -> None:
        self._make_workbench = make_workbench
        self.jobs = jobs
        self._ahead: Ahead[str, ResultRow] | None = None
        self.rows: list[ResultRow] = []
        self.no_verdict = False  # whether the harness failed somewhere
        self.wrong_usage: UsageError | None = None  # what ended the run before the first test

    @functools.cached_property
    def workbench(self) -> Workbench:
        """The run's."""
        return self._make_workbench()

    def close(self) -> None:
        """End the machines that are still there."""
        if "workbench" in self.__dict__:
            self.workbench.close()

    def result(self, item: ModuleItem) -> ResultRow:
        """Test a module, or wait for the job that does; keeps the row."""
        row = self._ahead.result(item.nodeid, item.try_module) if self._ahead else item.try_module()
        self.rows.append(row)
        return row

    # ---- before the first test -------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Build everything that was selected at once, then begin with the tests of modules."""
        with contextlib.ExitStack() as stack:
            # A worker of pytest-xdist is one of several processes already.
            if not (session.config.option.collectonly or hasattr(session.config, "workerinput")):
                with self.usage_ends_run():
                    self._prepare(session.items, stack)
            return (yield)

    @contextlib.contextmanager
    def usage_ends_run(self) -> Iterator[None]:
        """End pytest with our exit code for wrong usage; its own says the harness failed."""
        try:
            yield
        except UsageError as error:
            self.wrong_usage = error
            pytest.exit(f"error: {error}", returncode=Exit.USAGE)

    def _prepare(self, selected: list[pytest.Item], stack: contextlib.ExitStack) -> None:
        items = [item for item in selected if isinstance(item, ModuleItem)]
        tests = Counter(filter(None, map(_kernel_of, selected)))
        if not items and not tests:
            return
        ready = [item for item in items if _can_have_kernel(item)]
        with _left_to_the_tests():
            self.workbench.build([(item.module, item.kernel()) for item in ready])
            if self.workbench.options.together:
                self.workbench.company = tuple(dict.fromkeys(item.module for item in ready))
            ready = _split(selected, ready)
        for spec, count in tests.items():
            with _left_to_the_tests():
                self.workbench.fleet.expect(self.workbench.kernel(spec), count)
        jobs = min(self.jobs or default_jobs(), max(1, len(ready)))
        if jobs > 1:
            self._ahead = Ahead[str, ResultRow](jobs)
            stack.callback(self._ahead.close)
            for item in ready:
                self._ahead.submit(item.nodeid, item.try_module)

    # ---- outcomes --------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember which tests ended without a verdict, and which were skipped."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        module = item if isinstance(item, ModuleItem) else None
        # A module's own failure is a CheckFailure; whatever else ends its test is no verdict about it.
        unforeseen = module is not None and not isinstance(error, CheckFailure)
        if report.failed and error and (unforeseen or isinstance(error, HarnessError)):
            self.no_verdict = True
            if module:
                self.rows.append(no_verdict_row(module, error, call.duration))
        elif report.skipped and module:
            row = ResultRow(module.label, module.spec, "skipped", call.duration, (str(error),))
            self.rows.append(row)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run in which the harness failed does not end like one in which a module failed."""
        if self.no_verdict:
            session.exitstatus = Exit.NO_VERDICT
            if hasattr(session.config, "workeroutput"):
                session.config.workeroutput[WORKER_NO_VERDICT] = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of pytest-xdist has met counts for the whole run."""
        if getattr(node, "workeroutput", {}).get(WORKER_NO_VERDICT):
            self.no_verdict = True


def _split(selected: list[pytest.Item], built: list[ModuleItem]) -> list[ModuleItem]:
    """Put an item for each .ko in the place of those whose folders have several; returns all of them."""
    parts = {item: item.parts() for item in built}
    selected[:] = [part for item in selected for part in (parts.get(item, [item]) if item in parts else [item])]
    return [part for item in built for part in parts[item]]


def _kernel_of(item: pytest.Item) -> str:
    """The kernel of a hand-written test that wants a machine, else ""."""
    wants = "_booted" in getattr(item, "fixturenames", ())
    return item.callspec.params["kernel_spec"] if wants and hasattr(item, "callspec") else ""


@contextlib.contextmanager
def _left_to_the_tests() -> Iterator[None]:
    """Each test tries again what it needs itself, and says why it cannot be had; wrong usage ends the run."""
    try:
        yield
    except UsageError:
        raise
    except HarnessError:
        pass


def _can_have_kernel(item: ModuleItem) -> bool:
    with _left_to_the_tests(), contextlib.suppress(pytest.skip.Exception):
        item.kernel()
        return True
    return False
