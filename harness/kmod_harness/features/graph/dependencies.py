# SPDX-License-Identifier: MIT
"""Who uses whom among the modules of a kernel, and in which order they can go. Pure: facts in, facts out."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.target.proc import LoadedModule


@dataclass(frozen=True)
class Links:
    """What the kernel's own lists say of one module, and who else holds it."""

    users: tuple[str, ...]  # modules, from its source_list
    uses: tuple[str, ...]  # modules, from its target_list
    holders: tuple[str, ...]  # others, in words


@dataclass(frozen=True)
class ModuleGraph:
    """The modules of one kernel at one moment.

    /proc/modules tells how often a module is held and which modules hold it. Who the other holders are (open
    files, mounts, a dead init) it does not tell; whoever finds them out puts them into `holders`.
    """

    modules: Mapping[str, LoadedModule]
    holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # module -> others known to hold it

    def with_links(self, links: Mapping[str, Links]) -> ModuleGraph:
        """The same, with what is known for certain of some modules instead of what /proc/modules tells."""
        modules = dict(self.modules)
        for name in links.keys() & modules.keys():
            modules[name] = replace(modules[name], users=links[name].users)
        for name in links:
            for used in set(links[name].uses) & modules.keys():
                users = dict.fromkeys((*modules[used].users, name))
                modules[used] = replace(modules[used], users=tuple(users))
        return ModuleGraph(modules, {**self.holders, **{name: one.holders for name, one in links.items()}})

    def unnamed_holders(self, name: str) -> int:
        """How many references to a module nobody accounts for."""
        module = self.modules[name]
        return max(0, module.references - len(module.users) - len(self.holders.get(name, ())))

    def other_holders(self, name: str) -> tuple[str, ...]:
        """What holds a module and is no module, in words."""
        unnamed = self.unnamed_holders(name)
        if self.modules[name].state == "Loading" and unnamed:
            return (*self.holders.get(name, ()), "its own init, which has not returned")
        words = f"{unnamed} holder{'s' * (unnamed > 1)} that {'are' if unnamed > 1 else 'is'} no module"
        return (*self.holders.get(name, ()), *([words] if unnamed else []))

    def around(self, names: Iterable[str]) -> ModuleGraph:
        """The part that the named modules belong to: what they use, what uses them, and so on.

        UsageError for a module that is not loaded.
        """
        used_by = {name: set(module.users) for name, module in self.modules.items()}
        uses = {name: {used for used, users in used_by.items() if name in users} for name in used_by}
        found: set[str] = set()
        for name in names:
            self._check_loaded(name)
            found |= _reachable(name, used_by) | _reachable(name, uses)
        modules = {name: module for name, module in self.modules.items() if name in found}
        return ModuleGraph(modules, {name: who for name, who in self.holders.items() if name in found})

    def unload_order(self, name: str) -> tuple[str, ...]:
        """What has to go, first to last, until `name` is gone: its users, theirs before them.

        UsageError for a module that is not loaded, HarnessError for modules that use each other in a ring.
        """
        self._check_loaded(name)
        users = {one: set(module.users) for one, module in self.modules.items()}
        going = {one: sorted(users.get(one, ())) for one in sorted(_reachable(name, users))}
        try:
            return tuple(graphlib.TopologicalSorter(going).static_order())
        except graphlib.CycleError as error:
            raise HarnessError(f"modules use each other in a ring: {' -> '.join(error.args[1])}") from error

    def obstacles(self, name: str) -> tuple[str, ...]:
        """Why delete_module would refuse a module even when no other module uses it any more."""
        module = self.modules[name]
        result = [] if module.state == "Live" else [f"its state is {module.state}"]
        if module.permanent:
            result.append("it has no exit function")
        return (*result, *(f"held by {holder}" for holder in self.other_holders(name)))

    def _check_loaded(self, name: str) -> None:
        if name not in self.modules:
            near = name.replace("-", "_")
            hint = f"its name in the kernel is {near}" if near in self.modules else "invoke graph lists what is"
            raise UsageError(f"no module {name} is loaded", hint=hint)


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """Everything that edges lead to, the start included."""
    found: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += edges.get(name, ())
    return found
