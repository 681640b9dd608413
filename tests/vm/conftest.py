# SPDX-License-Identifier: MIT
"""Which kernels a test runs on, where one for each --kernel would be too many; modules with changes."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmod_harness.base.settings import PROJECT
from kmod_harness.front.plugin import kernel_specs
from kmod_harness.machine.machine import Machine
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import Result

KMOD = PROJECT / "kmod"
# Name or path of a module -> its .ko files; name -> its path in the guest.
Build = Callable[[str], tuple[Path, ...]]
Upload = Callable[[str], str]
# Name of a module of kmod/ and changes (file in its folder, text in it, other text) -> its .ko.
BuildChanged = Callable[..., Path]


def rescue_log(guest: Guest) -> list[str]:
    """What force_rmmod has said so far."""
    prefix = "force_rmmod: "
    return [r.text.removeprefix(prefix) for r in guest.log() if r.text.startswith(prefix)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long way."""
    parser.addoption(
        "--every-kernel", action="store_true", help="do not leave out kernels of `spread` and `outer_kernels`"
    )
    parser.addoption(
        "--chaos", default="1-10", metavar="FIRST-LAST", help="numbers of the random modules that get stuck"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marks."""
    config.addinivalue_line("markers", "one_kernel: about QEMU or this host: on the first --kernel only")
    config.addinivalue_line(
        "markers", "outer_kernels: cases that share a costly beginning: on the first and last"
    )
    config.addinivalue_line("markers", "spread: long: each case on one --kernel only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A case for each random module."""
    if "chaos_seed" in metafunc.fixturenames:
        first, last = map(int, metafunc.config.getoption("--chaos").split("-"))
        metafunc.parametrize("chaos_seed", range(first, last + 1))


def _turn(item: pytest.Item, spec: str, kernels: list[str]) -> str:
    """The kernel whose turn it is: the same in every run, and the cases are spread evenly over the kernels."""
    case = item.nodeid.replace(spec, "")
    return kernels[zlib.crc32(case.encode()) % len(kernels)]


def _wanted(item: pytest.Item, kernels: list[str]) -> bool:
    spec = item.callspec.params.get("kernel_spec", kernels[0]) if hasattr(item, "callspec") else kernels[0]
    if item.get_closest_marker("one_kernel"):
        return bool(spec == kernels[0])
    if item.config.getoption("--every-kernel", default=False):
        return True
    if item.get_closest_marker("outer_kernels"):
        return spec in (kernels[0], kernels[-1])
    if item.get_closest_marker("spread"):
        return spec == _turn(item, spec, kernels)
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the other kernels. What the kernel reports, these tests look at themselves."""
    for item in items:
        item.add_marker("unjudged")
    kernels = kernel_specs(config)
    dropped = [item for item in items if not _wanted(item, kernels)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if _wanted(item, kernels)]


class Lenient(Guest):
    """Commands may fail: these tests look at every answer themselves."""

    def run(self, *argv: str, check: bool = False, **more: Any) -> Result:
        return super().run(*argv, check=check, **more)


@pytest.fixture
def guest(machine: Machine, guest: Guest) -> Guest:
    """The kernel inside `machine`, for tests that break things on purpose."""
    return Lenient(guest.runner, machine.console)


@pytest.fixture
def upload(guest: Guest, build_module: Build) -> Upload:
    """Builds a module of kmod/ and puts it into the guest; returns its path there."""

    def put(name: str) -> str:
        (ko,) = build_module(name)
        return guest.put(ko)

    return put


@pytest.fixture
def build_changed(build_module: Build, tmp_path: Path) -> BuildChanged:
    """Builds a module of kmod/ after changes of its sources."""

    def build(name: str, *changes: tuple[str, str, str]) -> Path:
        folder = tmp_path / "changed" / name
        shutil.copytree(KMOD / "include", folder.parent / "include", dirs_exist_ok=True)
        shutil.copytree(KMOD / name, folder, ignore=shutil.ignore_patterns("module.yaml"))
        for file, old, new in changes:
            text = (folder / file).read_text(encoding="utf-8")
            assert old in text, f"{file} has no {old!r} any more"
            (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        (ko,) = build_module(str(folder))
        return ko

    return build
