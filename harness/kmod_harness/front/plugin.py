# SPDX-License-Identifier: MIT
"""pytest plugin: each module.yaml becomes a test for every chosen kernel; fixtures for hand-written tests.

A project asks for it, in the pytest section of its settings:

    addopts = "-p kmod_harness.front.plugin"

    pytest kmod/ --kernel 6.12 --kernel 5.10 -k vms

Fixtures: `kernel` (a Kernel; the test runs once for each --kernel), `machine` and `guest` (a fresh virtual
machine with that kernel, and the kernel inside), `load_module` (builds a module and loads it in `guest` after
all that it depends on), `build_module` (name or path -> paths of its .ko files), `workbench` (everything else).

Mark hand-written tests with `vm`, and with `devices("edu")` those that want hardware by name. A test that uses
`guest` fails when the kernel oopses, warns, hangs or panics or keeps a module; the marks `expect_splat` and
`expect_taint` say what is right, `unjudged` leaves it to the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import DEFAULT_KERNEL, Settings
from kmod_harness.front import judging
from kmod_harness.front.configuration import configured
from kmod_harness.front.engine import Engine
from kmod_harness.front.items import ModuleFile
from kmod_harness.front.options import PYTEST, Given, chosen, options_of, read
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import canonical
from kmod_harness.kernels.ranges import is_range
from kmod_harness.machine.machine import Machine
from kmod_harness.module.devices import resolve_devices
from kmod_harness.module.module import MANIFEST, MODULE_FILES, resolve_module
from kmod_harness.run.fleet import MachineOptions, default_spares
from kmod_harness.run.workbench import Options, Workbench, bring
from kmod_harness.target.guest import Guest
from kmod_harness.verdict.observe import Subject

ENGINE: pytest.StashKey[Engine] = pytest.StashKey()
GIVEN: pytest.StashKey[Given] = pytest.StashKey()
_PREFIX = "kmod_harness_"  # of our options among those of all plugins


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own, beside pytest's."""
    group = parser.getgroup("kmod-harness", "kernel modules in virtual machines")
    for option in options_of(PYTEST):
        name, dest = f"--{option.flag}", _PREFIX + option.key
        if option.switch:
            group.addoption(name, dest=dest, action="store_true", help=option.help)
        else:
            action = "append" if option.repeatable else "store"
            group.addoption(name, dest=dest, action=action, metavar=option.metavar, help=option.help)


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is started here, only remembered."""
    for marker in ("vm: boots virtual machines", *judging.MARKERS):
        config.addinivalue_line("markers", marker)
    config.addinivalue_line("markers", "devices(*names): of vm/devices.yaml, which the machine gets besides")

    def make() -> Workbench:
        machines = chosen(MachineOptions, given, spares=default_spares())
        return Workbench(Settings(), Silent(), chosen(Options, given, machines=machines))

    engine = Engine(make)
    with engine.usage_ends_run():
        typed = {one.key: config.getoption(_PREFIX + one.key) for one in options_of(PYTEST)}
        given = read(PYTEST, typed, configured().values)
    engine.jobs = given.jobs
    config.stash[GIVEN], config.stash[ENGINE] = given, engine
    config.pluginmanager.register(engine, "kmod-harness-engine")
    config.pluginmanager.register(judging, "kmod-harness-judging")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the machines that are still there."""
    if ENGINE in config.stash:
        config.stash[ENGINE].close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Options that cannot be are told at once, also where workers of pytest-xdist will run the tests."""
    given, engine = session.config.stash[GIVEN], session.config.stash[ENGINE]
    if given != Given() and not hasattr(session.config, "workerinput"):
        with engine.usage_ends_run():
            engine.workbench.check_kernels(kernel_specs(session.config))


def kernel_specs(config: pytest.Config) -> list[str]:
    """What --kernel says, each once."""
    given = config.stash[GIVEN].kernels
    names = config.stash[ENGINE].workbench.kernel_names(given) if any(map(is_range, given)) else given
    return list(dict.fromkeys(names)) or [DEFAULT_KERNEL]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A module.yaml beside a kbuild file, or either of them when it was named as an argument.

    There are files of these names that mean something else: they are left alone.
    """
    named = parent.session.isinitpath(file_path)
    manifest = file_path.name == MANIFEST
    ours = manifest and any((file_path.parent / name).is_file() for name in MODULE_FILES)
    if ours or (named and (manifest or file_path.name in MODULE_FILES)):
        run, kernels = parent.config.stash[ENGINE], kernel_specs(parent.config)
        return ModuleFile.from_parent(parent, path=file_path, run=run, kernels=kernels)
    return None


# ---- fixtures for hand-written tests ----------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses our `kernel`, directly or not, runs once for each --kernel."""
    if "kernel_spec" in metafunc.fixturenames:
        specs = kernel_specs(metafunc.config)
        metafunc.parametrize("kernel_spec", specs, indirect=True, scope="session")


@pytest.fixture(scope="session")
def workbench(request: pytest.FixtureRequest) -> Workbench:
    """The run's workbench."""
    return request.config.stash[ENGINE].workbench


@pytest.fixture(scope="session")
def kernel_spec(request: pytest.FixtureRequest) -> str:
    """One of --kernel."""
    spec: str = request.param
    return spec


@pytest.fixture(scope="session")
def kernel(kernel_spec: str, workbench: Workbench) -> Kernel:
    """The kernel under test."""
    return workbench.kernel(kernel_spec)


@pytest.fixture
def build_module(
    request: pytest.FixtureRequest, workbench: Workbench, kernel: Kernel
) -> Callable[[str], tuple[Path, ...]]:
    """Builds a module, by name or path, for the kernel under test; returns its .ko files."""

    def build(name: str) -> tuple[Path, ...]:
        (result,) = workbench.build([(resolve_module(name), kernel)])
        if not result.objects:
            pytest.fail("\n".join(result.problems), pytrace=False)
        request.node.stash.setdefault(judging.BUILT, []).extend(result.objects)
        return result.objects

    return build


@pytest.fixture
def load_module(
    request: pytest.FixtureRequest, workbench: Workbench, kernel: Kernel, guest: Guest
) -> Callable[..., str]:
    """Builds a module, by name or path, and loads it in `guest` after all that it depends on.

    `load_module("~/src/my_driver", debug=1)`: parameters, instead of those in its module.yaml, as keywords.
    Returns its name as the kernel writes it. The test fails with the last lines of the log if it cannot be.
    When the test is over, what was loaded is unloaded, newest first.
    """

    def load(name: str, **parameters: object) -> str:
        (build,) = workbench.build([(resolve_module(name), kernel)])
        if not build.objects:
            pytest.fail("\n".join(build.problems), pytrace=False)
        request.node.stash.setdefault(judging.BUILT, []).extend(build.objects)
        for ko in build.objects:
            own = build.module.expectation.of(canonical(ko.name)).params
            words = {
                key: str(int(value) if isinstance(value, bool) else value) for key, value in parameters.items()
            }
            subject = Subject(canonical(ko.name), guest.put(ko), words or own)
            needed = workbench.upload_needed(guest, build, ko)
            if said := _refusal(guest, needed, subject):
                pytest.fail(said, pytrace=False)
            request.node.stash[judging.WATCH].note_loaded([*(one.name for one in needed), subject.name])
        return canonical(build.objects[-1].name)

    return load


def _refusal(guest: Guest, needed: Sequence[Subject], subject: Subject) -> str:
    """Load a module and what it needs; what is said when that cannot be."""
    try:
        bring(guest, needed, subject)
    except HarnessError as error:
        return str(error)
    return ""


@pytest.fixture
def _booted(
    request: pytest.FixtureRequest, workbench: Workbench, kernel: Kernel
) -> Iterator[tuple[Machine, Guest]]:
    name = request.node.name.partition("[")[0]
    devices = resolve_devices(word for mark in request.node.iter_markers("devices") for word in mark.args)
    with workbench.fleet.machine(kernel, name, str(request.path), devices) as pair:
        failed = request.session.testsfailed
        yield pair
        if request.session.testsfailed > failed:
            workbench.fleet.keep_logs(pair[0])


@pytest.fixture
def machine(_booted: tuple[Machine, Guest]) -> Machine:
    """A fresh virtual machine that runs the kernel under test."""
    return _booted[0]


@pytest.fixture
def guest(request: pytest.FixtureRequest, _booted: tuple[Machine, Guest]) -> Guest:
    """The kernel inside `machine`. What happens to it until the test is over is judged."""
    booted = _booted[1]
    request.node.stash[judging.WATCH] = judging.Watch(booted, booted.log_mark(), booted.taint())
    return booted
