# SPDX-License-Identifier: MIT
"""The compiler that a kernel's headers name: the host's own when it fits, else one unpacked for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.sandbox import PATH, View, sandbox_argv
from kmod_harness.kbuild.shell import kernel_view
from kmod_harness.kernels.arch import ARCHES, host_arch
from kmod_harness.kernels.catalogue import load_catalogues
from kmod_harness.kernels.debian import debian_release_of
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.packages import PACKAGES_FILE, unpack_packages
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.symbols import read_options

HOST_ROOT = Path("/")
PROBE_SECONDS = 20.0
# Programs of the build tree that kbuild runs: they need the C library that they were linked with.
TREE_PROGRAMS = ("scripts/basic/fixdep", "scripts/mod/modpost", "tools/objtool/objtool")
# What the host must have for its own compiler to be used: what a toolchain root has, see vm/kernels.yaml.
HOST_TOOLS = (
    "make", "ld", "awk", "perl", "bash", "bc", "which", "xxd", "git", "python3", "file", "hostname", "gzip",
    "patch", "pkg-config",
)  # fmt: skip


# What LLVM=1 calls beside clang: variable of kbuild -> command; Debian's have "-<version>" behind the name.
LLVM_TOOLS = {
    "LD": "ld.lld", "AR": "llvm-ar", "NM": "llvm-nm", "OBJCOPY": "llvm-objcopy", "OBJDUMP": "llvm-objdump",
    "READELF": "llvm-readelf", "STRIP": "llvm-strip",
}  # fmt: skip
CLANG = "clang-"


@dataclass(frozen=True)
class Toolchain:
    """A compiler with all that kbuild needs beside it."""

    root: Path  # file system root with it; "/" is the host
    compiler: str  # command in it, e.g. "x86_64-linux-gnu-gcc-14"
    identity: str  # content key: another compiler or library has another one
    view: View  # the kernel as it is seen inside

    def argv(self, command: Sequence[str], view: View | None = None) -> tuple[str, ...]:
        """The argv that runs `command` in it; see sandbox_argv."""
        return sandbox_argv(self.root, command, self.view + view if view else self.view)


def resolve_toolchain(
    kernel: Kernel, settings: Settings, progress: Progress, tools: Sequence[str] = ()
) -> Toolchain:
    """The toolchain that builds modules for `kernel`, and static programs for its guest.

    tools: programs that it must have besides, from packages of the same name ("sparse" for C=1).
    Downloaded when the host's own compiler does not fit. HarnessError or UsageError when there is none.
    """
    with store.explained(settings):
        on_host = all(shutil.which(tool, path=PATH) for tool in tools)
        found = _host_toolchain(kernel, settings) if on_host else None
        return found or _unpacked_toolchain(kernel, settings, progress, tools)


def compiler_arguments(kernel: Kernel, compiler: str) -> list[str]:
    """What make is told so that it uses `compiler`, and for clang the rest of LLVM as the kernel did."""
    arguments = [f"CC={compiler}"]
    if not kernel.compiler.startswith(CLANG):
        return arguments
    options = read_options(kernel.build_tree)
    if "CONFIG_LD_IS_LLD" in options:
        version = kernel.compiler.removeprefix(CLANG)
        arguments += ["LLVM=1", *(f"{name}={tool}-{version}" for name, tool in LLVM_TOOLS.items())]
    if "CONFIG_AS_IS_LLVM" in options:
        arguments.append("LLVM_IAS=1")
    return arguments


def _packages(compiler: str) -> tuple[str, ...]:
    """The compiler's packages, in each release that has it."""
    version = compiler.removeprefix(CLANG)
    return (compiler, f"lld-{version}", f"llvm-{version}") if compiler.startswith(CLANG) else (compiler,)


def _host_toolchain(kernel: Kernel, settings: Settings) -> Toolchain | None:
    """The host's compiler when it is the right one and all works with it; looked at once, then remembered."""
    found = _host_compiler(kernel)
    if found is None:
        return None
    compiler, real = found
    status = real.stat()
    identity = store.digest(str(real), str(status.st_size), str(status.st_mtime_ns))
    toolchain = Toolchain(HOST_ROOT, compiler, identity, kernel_view(kernel, HOST_ROOT, compiler, settings))
    probe = settings.cache / "toolchains" / f"host-{store.digest(identity, str(kernel.build_tree))[:16]}.json"
    verdict = store.read_json(probe)
    if not isinstance(verdict, bool):
        verdict = _host_fits(toolchain, kernel)
        store.write_atomically(probe, json.dumps(verdict))
    return toolchain if verdict else None


def _host_compiler(kernel: Kernel) -> tuple[str, Path] | None:
    """The command and file of the compiler named by the kernel, when the host has it."""
    if kernel.compiler.startswith(CLANG):
        version = kernel.compiler.removeprefix(CLANG)
        path = shutil.which(kernel.compiler)
        whole = all(shutil.which(f"{tool}-{version}", path=PATH) for tool in LLVM_TOOLS.values())
        return (kernel.compiler, Path(path).resolve()) if path and whole else None
    triplet = ARCHES[kernel.arch].triplet
    commands = [f"{triplet}-{kernel.compiler}", kernel.compiler]
    if kernel.arch == host_arch().name:
        commands.append("gcc")
    for command in commands:
        path = shutil.which(command)
        if path is None:
            continue
        real = Path(path).resolve()
        if command != "gcc" or _major(command) == kernel.compiler.removeprefix("gcc-"):
            return command, real
    return None


def _major(command: str) -> str:
    done = process.run((command, "-dumpversion"), deadline=Deadline(PROBE_SECONDS, command), check=False)
    return done.output.strip().split(".")[0]


def _host_fits(toolchain: Toolchain, kernel: Kernel) -> bool:
    """Whether kbuild's tools, the build tree's own programs and a static C library are there."""
    if any(shutil.which(tool, path=PATH) is None for tool in HOST_TOOLS):
        return False
    return not broken_programs(toolchain, kernel) and has_static_libc(toolchain)


def has_static_libc(toolchain: Toolchain) -> bool:
    """Whether the compiler finds libc.a, which the guest's programs are linked with."""
    argv = toolchain.argv((toolchain.compiler, "-print-file-name=libc.a"))
    done = process.run(argv, deadline=Deadline(PROBE_SECONDS, "look for libc.a"), check=False)
    # The compiler answers with the bare name when it does not find the file.
    return done.returncode == 0 and done.output.strip().startswith("/")


def broken_programs(toolchain: Toolchain, kernel: Kernel) -> list[str]:
    """What the loader says about programs of the build tree that cannot run with this toolchain."""
    complaints = []
    for name in TREE_PROGRAMS:
        path = kernel.build_tree / name
        if not path.exists():
            continue
        done = process.run(
            toolchain.argv((str(path), "--version")),
            deadline=Deadline(PROBE_SECONDS, f"try {name}"),
            check=False,
        )
        # Started at all, they say how they want to be called; 126 and 127 come from the loader or bwrap.
        words = ("error while loading shared libraries", "version `", "bwrap: ")
        if done.returncode in (126, 127) or any(word in done.output for word in words):
            complaints += done.lines()[-2:]
    return complaints


def _unpacked_toolchain(
    kernel: Kernel, settings: Settings, progress: Progress, tools: Sequence[str]
) -> Toolchain:
    release = debian_release_of(kernel, settings) or _release_with(kernel.compiler, settings, progress)
    arch = ARCHES[kernel.arch]
    if arch != host_arch():
        raise UsageError(
            f"kernel {kernel.spec} is for {kernel.arch}; there is no cross toolchain yet",
            hint="run this on a host of that architecture",
        )
    packages = (*_packages(kernel.compiler), *load_releases().toolchain, *tools)
    root = unpack_packages(release, packages, settings, progress, kind="toolchains", finish=complete_root)
    named = f"{arch.triplet}-{kernel.compiler}"
    compiler = named if (root / "usr" / "bin" / named).exists() else kernel.compiler
    identity = store.file_digest(root / PACKAGES_FILE)
    toolchain = Toolchain(root, compiler, identity, kernel_view(kernel, root, compiler, settings))
    _check_once(toolchain, kernel, settings)
    return toolchain


def _check_once(toolchain: Toolchain, kernel: Kernel, settings: Settings) -> None:
    """Make sure that the toolchain works for the kernel; remembered when it does."""
    key = store.digest(toolchain.identity, str(kernel.build_tree))[:16]
    probe = settings.cache / "toolchains" / f"root-{key}.json"
    if store.read_json(probe) is True:
        return
    process.run(
        toolchain.argv((toolchain.compiler, "--version")),
        deadline=Deadline(PROBE_SECONDS, "try the compiler"),
        hint="invoke doctor (bubblewrap must be allowed to make user namespaces)",
    )
    complaints = broken_programs(toolchain, kernel)
    if complaints:
        raise HarnessError(
            f"programs of {kernel.build_tree} do not run with the libraries of {toolchain.root.name}",
            evidence=complaints,
            hint=f"name a fitting release for {kernel.compiler} in vm/kernels.yaml",
        )
    store.write_atomically(probe, json.dumps(True))


def _release_with(compiler: str, settings: Settings, progress: Progress) -> str:
    """The release that packages the compiler: by the table, else the newest that has it, whose C library runs
    the programs of any build tree."""
    releases = load_releases()
    if compiler in releases.compilers:
        return releases.compilers[compiler]
    catalogues = load_catalogues(settings, host_arch(), progress)
    release = next((one.debian for one in reversed(catalogues) if compiler in one.compilers), None)
    if release is None:
        there = sorted({name for one in catalogues for name in one.compilers}, key=_by_version)
        raise UsageError(
            f"no release in vm/kernels.yaml packages {compiler}; there is: {', '.join(there)}",
            hint=f"install {compiler} on this host, or choose another kernel: invoke kernels",
        )
    return release


def _by_version(compiler: str) -> tuple[str, int]:
    name, _, version = compiler.partition("-")
    return name, int(version)


def complete_root(root: Path) -> None:
    """Make the links that maintainer scripts would make, and the folders that are mounted on."""
    programs = root / "usr" / "bin"
    for link, target in (("awk", "gawk"), ("sh", "dash")):
        if not (programs / link).exists() and (programs / target).exists():
            (programs / link).unlink(missing_ok=True)
            (programs / link).symlink_to(target)
    for name in ("etc", "usr/src"):
        (root / name).mkdir(exist_ok=True)
