# SPDX-License-Identifier: MIT
"""`trace-unload`: what really runs when a module leaves, on one kernel or on two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.features.trace.calltree import side_by_side, tree
from kmod_harness.features.trace.ftrace import Call, parse_graph, record_call
from kmod_harness.features.trace.way_out import Taken, take_steps
from kmod_harness.module.module import Module, resolve_module
from kmod_harness.run.targets import machine_with
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.commands import CommandTarget

# The system call's function, by architecture.
SYSTEM_CALLS = {"x86_64": "__x64_sys_delete_module", "aarch64": "__arm64_sys_delete_module"}


@dataclass(frozen=True)
class Trace:
    """A module's way out on one kernel."""

    module: str
    release: str
    milliseconds: float
    steps: tuple[Taken, ...]

    @property
    def title(self) -> str:
        """What and where."""
        return f'delete_module("{self.module}") on Linux {self.release}: {self.milliseconds:.1f} ms'


def record_unload(target: CommandTarget, name: str, function: str) -> str:
    """Unload a module and return what function_graph said about it. HarnessError when it is still there."""
    text = record_call(target, function, lambda: target.unload(name))
    if name in target.modules():
        raise HarnessError(f"{name} was not unloaded", evidence=text.splitlines()[-5:])
    return text


def only_call(text: str) -> Call:
    """The one system call in a trace."""
    calls = parse_graph(text)
    if len(calls) != 1:
        raise HarnessError(
            f"the trace shows {len(calls)} system calls, not one", evidence=text.splitlines()[-5:]
        )
    return calls[0]


def trace_on(kernel: str, module: Module, workbench: Workbench) -> Trace:
    """Load a module on a machine with that kernel, and watch it leave."""
    release, arch = workbench.kernel(kernel).release, workbench.kernel(kernel).arch
    with machine_with(kernel, [module], workbench, "trace-unload") as (guest, loaded):
        if len(loaded) != 1:
            raise UsageError(f"{module.name} has {len(loaded)} modules: choose a folder with one")
        call = only_call(record_unload(guest, loaded[0], SYSTEM_CALLS[arch]))
    return Trace(loaded[0], release, call.microseconds / 1e3, take_steps(call))


def trace_unload(kernel: str, against: str, module: str, workbench: Workbench, out: TextIO) -> Exit:
    """Print the way out on a kernel as a tree; with `against` that of two kernels side by side."""
    specs = [kernel, against] if against else [kernel]
    resolved = resolve_module(module)  # what is wrong is told before a machine is booted
    workbench.kernels(specs)
    traces = [trace_on(spec, resolved, workbench) for spec in specs]
    if against:
        titles = tuple(trace.release for trace in traces)
        out.write(side_by_side((titles[0], titles[1]), traces[0].steps, traces[1].steps))
    else:
        out.write(tree(traces[0].title, traces[0].steps))
    return Exit.OK
