# SPDX-License-Identifier: MIT
"""`explain-log`: which logs and which modules the user means."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL
from kmod_harness.features.log.explain import explain, file_source
from kmod_harness.kbuild.sandbox import Mount, View
from kmod_harness.kbuild.toolchain import Toolchain, resolve_toolchain
from kmod_harness.module.module import resolve_module
from kmod_harness.run.targets import Choice, open_target
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.target import Target
from kmod_harness.verdict.source import ADDR2LINE, Argv, ModuleFile, Symbols


@dataclass(frozen=True)
class Request:
    """What the user asked for. UsageError for what cannot be."""

    files: tuple[str, ...] = ()  # "-": standard input
    crashed: tuple[str, ...] = ()  # .ko files, or folders of modules
    crashed_kernel: str = ""  # spec: what folders are built for
    board: Choice = field(default_factory=Choice)  # whose own log is read: one with a host, or this machine
    json: bool = False

    def __post_init__(self) -> None:
        if self.files and (self.board.host or self.board.local):
            raise UsageError("a FILE, --host and --local: want one of them")
        if not (self.files or self.board.host or self.board.local):
            raise UsageError(
                "explain-log: want a FILE, - for a pipe, --host or --local",
                hint="dmesg | kmod-harness explain-log -",
            )


def explain_log(request: Request, workbench: Workbench, out: TextIO) -> Exit:
    """Explain the logs; see features.log.explain."""
    modules = list(_module_files(request, workbench))
    if request.files:
        sources = [file_source(path) for path in request.files]
        return explain(sources, Symbols(modules), out, as_json=request.json)
    with open_target(request.board, workbench) as (target, _):
        loaded = {module.name: _srcversion(target, module.name) for module in modules}
        sources = [(request.board.host or "this machine", target.log)]
        return explain(sources, Symbols(modules, loaded), out, as_json=request.json)


def _srcversion(target: Target, name: str) -> str:
    """Of a module that is loaded there; "" for one that is not."""
    done = target.run("cat", f"/sys/module/{name}/srcversion", check=False)
    return done.output.strip() if done.returncode == 0 else ""


def _module_files(request: Request, workbench: Workbench) -> Iterator[ModuleFile]:
    for name in request.crashed:
        path = Path(name).expanduser()
        if path.is_file():
            yield ModuleFile(path)
        elif built := sorted(path.glob("*.ko")) if path.is_dir() else []:
            yield from (ModuleFile(ko) for ko in built)
        else:
            yield from _built(name, request.crashed_kernel or DEFAULT_KERNEL, workbench)


def _built(name: str, spec: str, workbench: Workbench) -> Iterator[ModuleFile]:
    """The .ko of a module's folder, built here: the same compiler and kernel make the same code."""
    kernel = workbench.kernel(spec)
    (build,) = workbench.build([(resolve_module(name), kernel)])
    if build.state == "failed":
        raise HarnessError(f"{build.module.name} cannot be built", evidence=build.problems, log=build.log)
    toolchain = (
        None if shutil.which(ADDR2LINE) else resolve_toolchain(kernel, workbench.settings, workbench.progress)
    )
    for ko in build.objects:
        yield ModuleFile(ko, _inside(toolchain, ko)) if toolchain else ModuleFile(ko)


def _inside(toolchain: Toolchain, ko: Path) -> Argv:
    """How addr2line is run where it comes with the compiler."""
    view = View((Mount(ko.parent, ko.parent),))
    return lambda command: toolchain.argv(command, view)
