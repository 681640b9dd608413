# SPDX-License-Identifier: MIT
"""A kernel whose modules can be looked at and unloaded: a guest's, a board's, this machine's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.features.graph.dependencies import ModuleGraph
from kmod_harness.features.rescue.explain import EXPLAIN, EXPLAIN_SECONDS, Ask, explained
from kmod_harness.features.rescue.package import PROGRAM, build_package, place_program
from kmod_harness.kernels.kernel_modules import canonical
from kmod_harness.module.module import resolve_module
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.address import parse_address
from kmod_harness.target.board import Board, checked, open_board, read_facts
from kmod_harness.target.connection import connect_board
from kmod_harness.target.guest import Guest, parse_modules
from kmod_harness.target.runner import OK
from kmod_harness.verdict.observe import Subject

STEP_SECONDS = 30.0
MODULES = Path("/proc/modules")


class Place(Protocol):
    """What the commands need of a kernel."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """The modules that the user named, as the kernel names them."""

    def graph(self) -> ModuleGraph:
        """Its modules as they are now."""

    def unload(self, name: str) -> str:
        """Unload a module, not by force. Returns OK or what the kernel or rmmod said."""


@dataclass(frozen=True)
class Choice:
    """Which kernel the user means: one of a virtual machine, of a board, or this machine's."""

    kernel: str = ""  # spec
    modules: Sequence[str] = ()  # in a virtual machine: loaded first
    host: str = ""  # user@board
    local: bool = False
    identity: Path | None = None  # private key for the board
    known_hosts: Path | None = None
    holders: bool = False  # ask force_rmmod who else holds modules

    def check(self) -> None:
        """UsageError when it names more than one."""
        if sum((bool(self.kernel), bool(self.host), self.local)) > 1:
            raise UsageError("--kernel, --host and --local exclude each other")
        if self.local and self.holders:
            raise UsageError(
                "--holders is for boards and virtual machines", hint="here: make -C kmod force-rmmod, --explain"
            )


class GuestPlace:
    """The kernel of a virtual machine."""

    def __init__(self, guest: Guest, chosen: tuple[str, ...], ask: Ask | None = None) -> None:
        self._guest = guest
        self.chosen = chosen
        self._ask = ask

    def graph(self) -> ModuleGraph:
        """See Place.graph."""
        graph = ModuleGraph(self._guest.modules())
        return explained(graph, self.chosen, self._ask) if self._ask else graph

    def unload(self, name: str) -> str:
        """See Place.unload."""
        return self._guest.rmmod(name)


class BoardPlace:
    """The kernel of a board."""

    def __init__(self, board: Board, chosen: tuple[str, ...], ask: Ask | None = None) -> None:
        self._board = board
        self.chosen = chosen
        self._ask = ask

    def graph(self) -> ModuleGraph:
        """See Place.graph."""
        graph = ModuleGraph(parse_modules(checked(self._board.run("cat", str(MODULES))).output))
        return explained(graph, self.chosen, self._ask) if self._ask else graph

    def unload(self, name: str) -> str:
        """See Place.unload."""
        result = self._board.run_as_root("rmmod", name, seconds=STEP_SECONDS)
        return OK if result.returncode == 0 else result.output.strip()


class LocalPlace:
    """This machine's kernel."""

    def __init__(self, chosen: tuple[str, ...]) -> None:
        self.chosen = chosen

    def graph(self) -> ModuleGraph:
        """See Place.graph."""
        try:
            return ModuleGraph(parse_modules(MODULES.read_text()))
        except OSError as error:
            raise HarnessError(f"{MODULES}: {error.strerror}; is this a kernel without modules?") from error

    def unload(self, name: str) -> str:
        """See Place.unload."""
        done = process.run(["rmmod", name], deadline=Deadline(STEP_SECONDS, "rmmod"), check=False)
        return OK if done.returncode == 0 else done.output.strip()


@contextlib.contextmanager
def open_place(choice: Choice, default_kernel: str, workbench: Workbench) -> Iterator[Place]:
    """Connect to what was chosen; a virtual machine is started, and its modules are loaded."""
    choice.check()
    if choice.local:
        yield LocalPlace(tuple(choice.modules))
    elif choice.host:
        deadline = Deadline(STEP_SECONDS, f"connect to {choice.host}")
        keys = {"identity": choice.identity, "known_hosts": choice.known_hosts}
        with connect_board(parse_address(choice.host), **keys, deadline=deadline) as runner:
            if choice.holders:
                with open_board(runner) as board:
                    yield BoardPlace(board, tuple(choice.modules), _ask_board(board, workbench))
            else:
                yield BoardPlace(Board(runner, read_facts(runner), ""), tuple(choice.modules))
    else:
        kernel = choice.kernel or default_kernel
        with machine_with(kernel, choice.modules, workbench, "graph") as (guest, loaded):
            ask = _ask_guest(guest, kernel, workbench) if choice.holders else None
            yield GuestPlace(guest, loaded, ask)


def _ask_board(board: Board, workbench: Workbench) -> Ask:
    program = place_program(board, workbench)
    return lambda name: board.run_as_root(program, *EXPLAIN, name, seconds=EXPLAIN_SECONDS)


def _ask_guest(guest: Guest, kernel: str, workbench: Workbench) -> Ask:
    program = guest.upload_bytes(build_package(workbench.kernel(kernel), workbench), PROGRAM)
    checked(guest.run("chmod", "700", program))
    return lambda name: guest.run(program, *EXPLAIN, name, seconds=EXPLAIN_SECONDS)


@contextlib.contextmanager
def machine_with(
    kernel: str, modules: Sequence[str], workbench: Workbench, label: str
) -> Iterator[tuple[Guest, tuple[str, ...]]]:
    """A virtual machine in which modules are loaded, what they need before them; and their names."""
    chosen = [resolve_module(name) for name in modules]
    target = workbench.kernel(kernel)
    builds = workbench.build([(one, target) for one in chosen])
    for build in builds:
        if build.state == "failed":
            raise HarnessError(f"{build.module.name} cannot be built", evidence=build.problems, log=build.log)
    with workbench.fleet.machine(target, label) as (_machine, guest):
        for build in builds:
            for ko in build.objects:
                needed = workbench.upload_needed(guest, build, ko)
                parameters = build.module.expectation.params
                for subject in (*needed, Subject(canonical(ko.name), guest.upload(ko), parameters)):
                    _load(guest, subject)
        yield guest, tuple(canonical(ko.name) for build in builds for ko in build.objects)


def _load(guest: Guest, subject: Subject) -> None:
    if subject.name in guest.modules():
        return
    answer = guest.insmod(subject.path, subject.parameters)
    if answer != OK:
        said = [record.text for record in guest.log()][-5:]
        raise HarnessError(f"{subject.name} cannot be loaded: {answer}", evidence=said)
