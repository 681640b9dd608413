# SPDX-License-Identifier: MIT
"""pytest plugin: each module.yaml becomes a test for every chosen kernel; fixtures for hand-written tests.

    pytest kmod/ --kernel 6.12 --kernel 5.10 -k vms

Fixtures: `kernel` (a Kernel; the test runs once for each --kernel), `machine` and `guest` (a fresh virtual
machine with that kernel, and the kernel inside), `build_module` (name or path -> paths of its .ko files),
`workbench` (everything else). Mark hand-written tests with `vm`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pytest

from harness.build.kbuild import Build
from harness.build.module import Module, kernel_matches, known_modules
from harness.errors import Exit, Failure, HarnessError, UsageError
from harness.fleet import MachineOptions, default_jobs, default_spares, parse_isolation
from harness.guest.guest import Guest
from harness.kernels.kernel import Kernel
from harness.machine.accelerator import parse_request
from harness.machine.machine import Machine
from harness.pool import Ahead
from harness.progress import Progress, Silent
from harness.report.rows import ResultRow
from harness.settings import Settings
from harness.verdict.finding import Outcome
from harness.workbench import Checked, Options, Workbench, resolve_module

DEFAULT_KERNEL = "6.12"  # Debian stable's
BUILD_FILES = ("Kbuild", "Makefile")
PROGRESS = pytest.StashKey[Progress]()
WORKBENCH = pytest.StashKey[Workbench]()
NO_VERDICT = pytest.StashKey[bool]()
AHEAD = pytest.StashKey[Ahead[str, ResultRow]]()
ROWS = pytest.StashKey[list[ResultRow]]()


class CheckFailure(Exception):  # noqa: N818 (a result)
    """A module did not do what was expected of it; the row tells."""

    def __init__(self, row: ResultRow) -> None:
        super().__init__("; ".join(row.reasons))
        self.row = row


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own, beside pytest's."""
    group = parser.getgroup("kmod-harness", "kernel modules in virtual machines")
    add = group.addoption
    add(
        "--kernel",
        action="append",
        default=[],
        metavar="SPEC",
        help=f"may be repeated (default {DEFAULT_KERNEL})",
    )
    add("--accel", default="auto", metavar="auto|kvm|tcg", help="how QEMU runs the guest (default auto)")
    add("--machine", default="q35", metavar="NAME", help="virtual machine, a file of vm/ (default q35)")
    add("--make-arg", action="append", default=[], metavar="ARG", help="more for kbuild's make, e.g. W=1")
    add(
        "--isolation", default="test", metavar="WORD", help="own machine for each test, module or kernel (test)"
    )
    add("--cold", action="store_true", help="boot every machine instead of cloning a template")
    add(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="machines at a time (default: as cores and memory allow)",
    )
    add("--reloads", type=int, default=None, metavar="N", help="how often to load and unload each module")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is started here, only remembered."""
    config.addinivalue_line("markers", "vm: boots virtual machines")
    config.stash[ROWS] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the machines that are still there."""
    if WORKBENCH in config.stash:
        config.stash[WORKBENCH].close()


def workbench_of(config: pytest.Config) -> Workbench:
    """The run's workbench, made when it is first needed."""
    if WORKBENCH not in config.stash:
        options = Options(
            machines=MachineOptions(
                accelerator=parse_request(config.getoption("--accel")),
                machine=config.getoption("--machine"),
                isolation=parse_isolation(config.getoption("--isolation")),
                clone=not config.getoption("--cold"),
                spares=default_spares(),
            ),
            make_arguments=tuple(config.getoption("--make-arg")),
            reloads=config.getoption("--reloads"),
        )
        config.stash[WORKBENCH] = Workbench(Settings(), config.stash.get(PROGRESS, Silent()), options)
    return config.stash[WORKBENCH]


def kernel_specs(config: pytest.Config) -> list[str]:
    """What --kernel says, each once."""
    return list(dict.fromkeys(config.getoption("--kernel"))) or [DEFAULT_KERNEL]


# ---- modules as tests ------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A module.yaml, or the kbuild file of a folder without one when it was named as an argument."""
    named = file_path.name in BUILD_FILES and parent.session.isinitpath(file_path)
    if file_path.name == "module.yaml" or named:
        return ModuleFile.from_parent(parent, path=file_path)
    return None


class ModuleFile(pytest.File):
    """A module's folder."""

    def collect(self) -> Iterable[pytest.Item]:
        """One test for each kernel."""
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
        if row.outcome != Outcome.PASSED.value:
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
        warnings=build.warnings,
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
        warnings=build.warnings,
    )


def no_verdict_row(item: ModuleItem, error: HarnessError, seconds: float) -> ResultRow:
    """The result when the harness failed."""
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


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Build everything that was selected at once, then begin with the tests of modules, several at a time."""
    config = session.config
    with contextlib.ExitStack() as stack:
        # A worker of pytest-xdist is one of several processes already.
        if not (config.option.collectonly or hasattr(config, "workerinput")):
            try:
                _prepare(session, stack)
            except UsageError as error:
                raise pytest.UsageError(str(error)) from error
        result = yield
    return result


def _prepare(session: pytest.Session, stack: contextlib.ExitStack) -> None:
    items = [item for item in session.items if isinstance(item, ModuleItem)]
    tests = Counter(_kernel_of(item) for item in session.items if not isinstance(item, ModuleItem))
    del tests[""]
    if not items and not tests:
        return
    workbench = workbench_of(session.config)
    ready = [item for item in items if _can_have_kernel(item)]
    try:
        workbench.build([(item.module, workbench.kernel(item.spec)) for item in ready])
    except UsageError:
        raise
    except HarnessError:
        pass  # each test tries again what it needs itself, and says so
    for spec, count in tests.items():
        with contextlib.suppress(Failure):
            workbench.fleet.expect(workbench.kernel(spec), count)
    jobs = min(session.config.getoption("--jobs") or default_jobs(), max(1, len(ready)))
    if jobs > 1:
        ahead = session.config.stash[AHEAD] = Ahead[str, ResultRow](jobs)
        stack.callback(ahead.close)
        for item in ready:
            ahead.submit(item.nodeid, item.try_module)


def _kernel_of(item: pytest.Item) -> str:
    """The kernel of a hand-written test that wants a machine, else ""."""
    wants = "_booted" in getattr(item, "fixturenames", ())
    return item.callspec.params["kernel"] if wants and hasattr(item, "callspec") else ""


def _can_have_kernel(item: ModuleItem) -> bool:
    """Otherwise the test itself will meet the reason, and say so."""
    try:
        item.kernel()
    except (HarnessError, pytest.skip.Exception):
        return False
    return True


# ---- outcomes ---------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests ended without a verdict, and which were skipped."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, HarnessError):
        item.config.stash[NO_VERDICT] = True
        if isinstance(item, ModuleItem):
            item.config.stash[ROWS].append(no_verdict_row(item, error, call.duration))
    elif report.skipped and isinstance(item, ModuleItem):
        reason = str(error)
        row = ResultRow(item.module.name, item.spec, "skipped", call.duration, (reason,), (), None, ())
        item.config.stash[ROWS].append(row)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which the harness failed does not end like one in which a module failed."""
    if session.config.stash.get(NO_VERDICT, False):
        session.exitstatus = Exit.NO_VERDICT


# ---- fixtures for hand-written tests ----------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `kernel`, directly or not, runs once for each --kernel."""
    if "kernel" in metafunc.fixturenames:
        metafunc.parametrize("kernel", kernel_specs(metafunc.config), indirect=True, scope="session")


@pytest.fixture(scope="session")
def workbench(request: pytest.FixtureRequest) -> Workbench:
    """The run's workbench."""
    return workbench_of(request.config)


@pytest.fixture(scope="session")
def kernel(request: pytest.FixtureRequest, workbench: Workbench) -> Kernel:
    """The kernel under test."""
    return workbench.kernel(request.param)


@pytest.fixture
def build_module(workbench: Workbench, kernel: Kernel) -> Callable[[str], tuple[Path, ...]]:
    """Builds a module, by name or path, for the kernel under test; returns its .ko files."""

    def build(name: str) -> tuple[Path, ...]:
        (result,) = workbench.build([(resolve_module(name), kernel)])
        if result.state == "failed":
            pytest.fail("\n".join(result.problems), pytrace=False)
        return result.objects

    return build


@pytest.fixture
def _booted(
    request: pytest.FixtureRequest, workbench: Workbench, kernel: Kernel
) -> Iterator[tuple[Machine, Guest]]:
    name = request.node.name.partition("[")[0]
    with workbench.fleet.machine(kernel, name, str(request.path)) as pair:
        failed = request.session.testsfailed
        yield pair
        if request.session.testsfailed > failed:
            workbench.fleet.keep_logs(pair[0])


@pytest.fixture
def machine(_booted: tuple[Machine, Guest]) -> Machine:
    """A fresh virtual machine that runs the kernel under test."""
    return _booted[0]


@pytest.fixture
def guest(_booted: tuple[Machine, Guest]) -> Guest:
    """The kernel inside `machine`."""
    return _booted[1]
