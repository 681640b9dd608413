# SPDX-License-Identifier: MIT
"""pytest plugin: each module.yaml becomes a test for every chosen kernel; fixtures for hand-written tests.

    pytest kmod/ --kernel 6.12 --kernel 5.10 -k vms

Fixtures: `kernel` (a Kernel; the test runs once for each --kernel), `machine` and `guest` (a fresh virtual
machine with that kernel, and the kernel inside), `build_module` (name or path -> paths of its .ko files),
`workbench` (everything else). Mark hand-written tests with `vm`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL
from kmod_harness.front.items import (
    AHEAD,
    NO_VERDICT,
    ROWS,
    WORKBENCH,
    CheckFailure,
    ModuleFile,
    ModuleItem,
    kernel_specs,
    no_verdict_row,
    workbench_of,
)
from kmod_harness.module.module import KBUILD_FILES, MANIFEST
from kmod_harness.report.rows import ResultRow

if TYPE_CHECKING:  # see module_tests
    from kmod_harness.kernels.kernel import Kernel
    from kmod_harness.machine.machine import Machine
    from kmod_harness.run.workbench import Workbench
    from kmod_harness.target.guest import Guest

WORKER_NO_VERDICT = "kmod_harness_no_verdict"  # in what a worker of pytest-xdist hands over at its end


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
    add(
        "--kernel-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="more for the kernel's command line, e.g. slub_debug=FZP",
    )
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
    add("--guard", action="store_true", help="force_rmmod guards modules: their oopses become errors")
    add("--reloads", type=int, default=None, metavar="N", help="how often to load and unload each module")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is started here, only remembered."""
    config.addinivalue_line("markers", "vm: boots virtual machines")
    config.stash[ROWS] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the machines that are still there."""
    if WORKBENCH in config.stash:
        config.stash[WORKBENCH].close()


# ---- modules as tests ------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A module.yaml beside a kbuild file, or either of them when it was named as an argument.

    Other projects have files of these names too: they are left alone.
    """
    named = parent.session.isinitpath(file_path)
    manifest = file_path.name == MANIFEST
    ours = manifest and any((file_path.parent / name).is_file() for name in KBUILD_FILES)
    if ours or (named and (manifest or file_path.name in KBUILD_FILES)):
        return ModuleFile.from_parent(parent, path=file_path)
    return None


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
    from kmod_harness.run.fleet import default_jobs
    from kmod_harness.run.pool import Ahead

    workbench = workbench_of(session.config)
    ready = [item for item in items if _can_have_kernel(item)]
    with _left_to_the_tests():
        workbench.build([(item.module, workbench.kernel(item.spec)) for item in ready])
    for spec, count in tests.items():
        with _left_to_the_tests():
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


# ---- outcomes ---------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests ended without a verdict, and which were skipped."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    # A module's own failure is a CheckFailure; whatever else ends its test is no verdict about it.
    unforeseen = isinstance(item, ModuleItem) and not isinstance(error, CheckFailure)
    if report.failed and error and (unforeseen or isinstance(error, HarnessError)):
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
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[WORKER_NO_VERDICT] = True


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of pytest-xdist has met counts for the whole run."""
    if getattr(node, "workeroutput", {}).get(WORKER_NO_VERDICT):
        node.config.stash[NO_VERDICT] = True


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

    from kmod_harness.module.module import resolve_module

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
