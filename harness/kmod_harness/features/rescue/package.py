# SPDX-License-Identifier: MIT
"""The one file that a board needs: the program force-rmmod with force_rmmod.ko for its kernel appended."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.kbuild import sources
from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.arch import ARCHES, host_arch
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.trees import find_compiler, find_release
from kmod_harness.module.module import Module
from kmod_harness.run.workbench import RESCUE_MODULE, Workbench, rescue_module
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.target import Facts

PROGRAM = "force-rmmod"
BUILD_SECONDS = 900.0
PROGRAM_FOLDER = "tools/force-rmmod"  # below kmod/, as what follows
# What `make force-rmmod` reads beside the two folders of sources.
BESIDE = ("Makefile", "include/compat.h")


def carry(program: bytes, ko: bytes) -> bytes:
    """The program with a module appended, as kmod/tools/force-rmmod/image.c looks for it."""
    return program + ko + b"%s.ko %016d\n" % (RESCUE_MODULE.encode(), len(ko))


def program_sources(module: Module) -> list[Path]:
    """The sources of the program for a module beside it, the one it is named after first."""
    folder = module.path.parent / PROGRAM_FOLDER
    return sorted(folder.glob("*.c"), key=lambda path: (path.stem != PROGRAM, path.name))


def build_package(kernel: Kernel, workbench: Workbench) -> bytes:
    """Module and program for a kernel, built here. HarnessError with the compiler's lines when they are not."""
    module = rescue_module()
    (build,) = workbench.build([(module, kernel)])
    if build.state == "failed":
        raise HarnessError(
            f"{RESCUE_MODULE} does not build for {kernel.release}", evidence=build.problems, log=build.log
        )
    toolchain = resolve_toolchain(kernel, workbench.settings, workbench.progress)
    program = build_program(program_sources(module), toolchain, workbench.settings, workbench.progress)
    return carry(program.read_bytes(), build.objects[0].read_bytes())


def source_names(base: Path) -> list[str]:
    """The files that `make force-rmmod` reads, relative to kmod/, which `base` is."""
    folders = (RESCUE_MODULE, PROGRAM_FOLDER)
    return [*BESIDE, *(f"{folder}/{name}" for folder in folders for name in sources.scan(base / folder))]


def pack_sources(module: Module) -> bytes:
    """What the board needs to build both itself, as a tar file."""
    base = module.path.parent
    names = source_names(base)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            archive.add(base / name, name)
    return packed.getvalue()


def build_there(target: CommandTarget) -> str:
    """Build module and program on the target, with its own headers; returns the program's path there."""
    archive = target.put_bytes(pack_sources(rescue_module()), "sources.tar")
    target.run("tar", "-xf", archive, "-C", target.folder)
    # Where there is no static C library, the target's own will do: the program is for this one alone.
    script = 'make -C "$1" force-rmmod || make -C "$1" force-rmmod CLI_LDFLAGS='
    target.run("sh", "-c", script, "sh", target.folder, seconds=BUILD_SECONDS)
    return f"{target.folder}/{PROGRAM}"


def place_program(target: CommandTarget, workbench: Workbench, kernel: str = "", tree: str = "") -> str:
    """Build the program, on the target if it can and nothing else is named; returns its path there."""
    if target.facts.builds and not (kernel or tree):
        with workbench.progress.task("build on the board, with its own headers"):
            return build_there(target)
    chosen = choose_kernel(target.facts, kernel, tree, workbench)
    return target.put_bytes(build_package(chosen, workbench), PROGRAM, program=True)


def headers_kernel(tree: Path) -> Kernel:
    """The kernel of a build tree that was configured, if never compiled: enough to build modules for it."""
    tree = tree.expanduser().resolve()
    if not (tree / "Makefile").is_file():
        raise UsageError(f"--kdir {tree}: no kernel build tree", hint="give the folder that kbuild calls KDIR")
    arch = next(
        (row for row in ARCHES.values() if (tree / "arch" / row.make / "include/generated").is_dir()), None
    )
    return Kernel(
        spec=str(tree),
        release=find_release(tree),
        arch=(arch or host_arch()).name,
        image=tree,
        modules=tree,
        build_tree=tree,
        compiler=find_compiler(tree),
        origin=f"build tree {tree}",
    )


def choose_kernel(facts: Facts, spec: str, tree: str, workbench: Workbench) -> Kernel:
    """The kernel to build for: what the user names (not both), else the one of Debian's that the board runs.

    UsageError when that is for another architecture, or when there is none.
    """
    if not (spec or tree):
        return _debian_kernel(facts, workbench)
    kernel = headers_kernel(Path(tree)) if tree else workbench.kernel(spec)
    if kernel.arch != facts.arch:
        raise UsageError(f"{kernel.spec} is for {kernel.arch}, the board is {facts.arch}")
    if kernel.release != facts.release:
        workbench.progress.note(
            f"warning: the board runs {facts.release}, this is built for {kernel.release}: it may refuse it"
        )
    return kernel


def _debian_kernel(facts: Facts, workbench: Workbench) -> Kernel:
    ways = "give its build tree with --kdir, or its packages with --kernel FOLDER"
    if facts.arch != host_arch().name:
        raise UsageError(
            f"the board is {facts.arch}, this host {host_arch().name}: nothing can be built for it here",
            hint=f"put make, gcc and the headers of {facts.release} on the board",
        )
    try:
        kernel = workbench.kernel(facts.release)
    except UsageError as error:
        raise UsageError(f"the board's kernel {facts.release} is none of Debian's here", hint=ways) from error
    if kernel.release != facts.release:
        raise UsageError(f"the board's kernel {facts.release} is none of Debian's here", hint=ways)
    return kernel
