# SPDX-License-Identifier: MIT
"""The modules of a target as the user wants to see them: which ones, and who holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from kmod_harness.base.errors import UsageError
from kmod_harness.features.graph.dependencies import ModuleGraph
from kmod_harness.features.rescue.explain import EXPLAIN, EXPLAIN_SECONDS, Ask, explained
from kmod_harness.features.rescue.package import place_program
from kmod_harness.run.targets import Choice, open_target
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.target import Target


@dataclass(frozen=True)
class View:
    """A target, and how its modules are looked at."""

    target: Target
    chosen: tuple[str, ...] = ()  # modules that the user named, as the kernel names them
    ask: Ask | None = None  # who else holds a module

    def graph(self) -> ModuleGraph:
        """The modules as they are now."""
        graph = ModuleGraph(self.target.modules())
        return explained(graph, self.chosen, self.ask) if self.ask else graph


@contextlib.contextmanager
def open_view(choice: Choice, workbench: Workbench, *, holders: bool) -> Iterator[View]:
    """Reach the target. holders: bring force_rmmod there, and ask it."""
    if choice.local and holders:
        raise UsageError(
            "--holders is for boards and virtual machines", hint="here: make -C kmod force-rmmod, --explain"
        )
    with open_target(choice, workbench) as (target, chosen):
        yield View(target, chosen, _ask(target, choice, workbench) if holders else None)


def _ask(target: CommandTarget, choice: Choice, workbench: Workbench) -> Ask:
    target.check_root()
    program = place_program(target, workbench, choice.kernel)
    return lambda name: target.run(program, *EXPLAIN, name, root=True, seconds=EXPLAIN_SECONDS, check=False)
