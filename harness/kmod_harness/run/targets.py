# SPDX-License-Identifier: MIT
"""Which target the user means, and the way to it: a virtual machine of ours, a board, this host.

A new kind of target is a row of `open_target` (docs/architecture.md, "A new kind of target").
"""

from __future__ import annotations

import contextlib
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL
from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.sandbox import View
from kmod_harness.kbuild.toolchain import HOST_ROOT, Toolchain, has_static_libc, resolve_toolchain
from kmod_harness.kernels.kernel_modules import canonical
from kmod_harness.module.module import Module, resolve_modules
from kmod_harness.run.fleet import KMODCTL
from kmod_harness.run.workbench import Workbench, bring
from kmod_harness.target.address import parse_address
from kmod_harness.target.board import open_board
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.connection import connect_board
from kmod_harness.target.guest import Guest
from kmod_harness.target.host import open_host
from kmod_harness.verdict.observe import Subject

CONNECT_SECONDS = 30.0
COMPILE_SECONDS = 60.0

# A target, and the modules that the user named as the kernel names them.
Opened = tuple[CommandTarget, tuple[str, ...]]


@dataclass(frozen=True)
class Choice:
    """Which kernel the user means: one of a virtual machine, of a board, or this host's."""

    kernel: str = ""  # spec
    modules: Sequence[str] = ()  # in a virtual machine: loaded first
    host: str = ""  # user@board
    local: bool = False
    identity: Path | None = None  # private key for the board
    known_hosts: Path | None = None

    def __post_init__(self) -> None:
        if sum((bool(self.kernel), bool(self.host), self.local)) > 1:
            raise UsageError("--kernel, --host and --local exclude each other")
        for option, file in (("--identity", self.identity), ("--known-hosts", self.known_hosts)):
            if file and not self.host:
                raise UsageError(f"{option} {file}: which board? There is no --host")
        if self.host:
            parse_address(self.host)


@contextlib.contextmanager
def open_target(choice: Choice, workbench: Workbench) -> Iterator[Opened]:
    """Reach what was chosen; a virtual machine is started, and its modules are loaded."""

    def bring(target: CommandTarget) -> str:
        return bring_kmodctl(target, workbench)

    named = tuple(choice.modules)
    if choice.local:
        with open_host(bring) as host:
            yield host, named
    elif choice.host:
        deadline = Deadline(CONNECT_SECONDS, f"connect to {choice.host}")
        keys = {"identity": choice.identity, "known_hosts": choice.known_hosts}
        with (
            connect_board(parse_address(choice.host), **keys, deadline=deadline) as runner,
            open_board(runner, bring, workbench.progress.note) as board,
        ):
            yield board, named
    else:
        modules = resolve_modules(choice.modules)
        with machine_with(choice.kernel or DEFAULT_KERNEL, modules, workbench, "target") as opened:
            yield opened


def bring_kmodctl(target: CommandTarget, workbench: Workbench) -> str:
    """Put kmodctl on a target, and return its path there: made here, or there for another architecture."""
    if target.facts.arch == platform.machine():
        program = build_program(KMODCTL, _own_toolchain(workbench), workbench.settings, workbench.progress)
        return target.put(program, program=True)
    path = f"{target.folder}/{KMODCTL[0].stem}"
    for header in KMODCTL[0].parent.glob("*.h"):
        target.put(header)
    words = ("gcc", "-std=gnu11", "-o", path, *map(target.put, KMODCTL))
    done = target.run(*words, seconds=COMPILE_SECONDS, check=False)
    if done.returncode != 0:
        raise UsageError(
            f"there is no compiler for {target.facts.arch}, neither here nor on the board",
            hint="install gcc on the board, or unload by hand: rmmod",
        )
    return path


def _own_toolchain(workbench: Workbench) -> Toolchain:
    """What makes static programs for this host's architecture: its own compiler, else the default kernel's."""
    settings = workbench.settings
    if compiler := shutil.which("gcc"):
        real = Path(compiler).resolve()
        toolchain = Toolchain(HOST_ROOT, compiler, store.file_digest(real), View())
        if has_static_libc(toolchain):
            return toolchain
    return resolve_toolchain(workbench.kernel(DEFAULT_KERNEL), settings, workbench.progress)


@contextlib.contextmanager
def machine_with(
    spec: str, modules: Sequence[Module], workbench: Workbench, label: str
) -> Iterator[tuple[Guest, tuple[str, ...]]]:
    """A virtual machine in which modules are loaded, what they need before them; and their names."""
    kernel = workbench.kernel(spec)
    builds = workbench.build([(one, kernel) for one in modules])
    for build in builds:
        if not build.objects:
            raise HarnessError(f"{build.module.name} cannot be built", evidence=build.problems, log=build.log)
    with workbench.fleet.machine(kernel, label) as (_machine, guest):
        for build in builds:
            for ko in build.objects:
                needed = workbench.upload_needed(guest, build, ko)
                parameters = build.module.expectation.of(canonical(ko.name)).params
                bring(guest, needed, Subject(canonical(ko.name), guest.put(ko), parameters))
        yield guest, tuple(canonical(ko.name) for build in builds for ko in build.objects)
