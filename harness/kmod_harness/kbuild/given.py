# SPDX-License-Identifier: MIT
"""Modules that are not a folder of sources: a finished .ko, a package with sources for dkms."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.objects import object_problems
from kmod_harness.kbuild.ways import Folder
from kmod_harness.kernels.debian import debian_release_of
from kmod_harness.kernels.dkms_packages import fetch_dkms, one_dkms_folder, tools_of, unpack_deb
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import DamagedError, read_module
from kmod_harness.module.module import DEBIAN, Module


def unpacked(
    module: Module, kernel: Kernel, settings: Settings, progress: Progress
) -> tuple[Module, tuple[str, ...]]:
    """The module with its folder of sources, which comes out of a package where it is one; and what packages
    that one needs to be built.
    """
    if module.kind == "deb":
        root = unpack_deb(module.path, settings, progress)
    elif module.kind == "debian":
        release = debian_release_of(kernel, settings)
        if release is None:
            raise UsageError(
                f"{module.path}: kernel {kernel.spec} is not Debian's, so it has no packages",
                hint="give the package: --module NAME-dkms_VERSION_all.deb",
            )
        root = fetch_dkms(str(module.path).removeprefix(DEBIAN), release, settings, progress)
    else:
        return module, ()
    return replace(module, path=one_dkms_folder(root, str(module.path)), kind="folder"), tools_of(root)


def finished_object(path: Path, settings: Settings) -> Path:
    """The .ko that the user gave, unpacked into the cache if it is packed."""
    if path.suffix == ".ko":
        return path
    target = (
        settings.cache / "modules" / "given" / store.file_digest(path) / f"{path.name.partition('.ko')[0]}.ko"
    )
    if not target.is_file():
        store.write_atomically(target, _unpacked_object(path))
    return target


def _unpacked_object(path: Path) -> bytes:
    try:
        return read_module(path)
    except DamagedError as error:
        raise UsageError(f"{path}: cannot be unpacked: {error}", hint="give the .ko itself") from error


def judge_object(path: Path, kernel: Kernel) -> tuple[Sequence[str], str | None]:
    """Why the kernel would refuse a finished .ko, and what to do about it."""
    problems = object_problems(path, kernel)
    release = re.search(r" was built for (\S+), kernel ", "\n".join(problems))
    return problems, f"--kernel {release[1]}" if release else None


def rust_problem(names: Collection[str], folder: Folder, configuration: str) -> str | None:
    """Why nothing can be said about a module in Rust; None for others. names: all files of the folder."""
    if not any(f"{name}.rs" in names and f"{name}.c" not in names for name in folder.objects()):
        return None
    if "\nCONFIG_RUST=y\n" not in f"\n{configuration}\n":
        return "a module in Rust, and this kernel has no CONFIG_RUST: no verdict"
    return "a module in Rust: it needs the kernel's very own rustc and crates, no package has them: no verdict"
