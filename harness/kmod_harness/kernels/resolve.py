# SPDX-License-Identifier: MIT
"""From what the user typed to a Kernel, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import debian, trees
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.catalogue import KernelPackages
from kmod_harness.kernels.kernel import Kernel


@dataclass(frozen=True)
class KernelRow:
    """One line of `invoke kernels`."""

    name: str  # what --kernel takes, e.g. "6.12-cloud"
    release: str  # uname -r of the newest
    version: str  # Debian's package version of the newest
    suite: str  # where the newest is
    debian: str  # release whose toolchain builds for it
    compiler: str
    cached: bool  # whether the newest is in the cache
    cached_versions: tuple[str, ...]  # all its versions in the cache, newest first
    listed: bool  # False: it has left the mirror and only the cache has it


def resolve_kernel(spec: str, settings: Settings, progress: Progress, *, refresh: bool = False) -> Kernel:
    """The kernel that `spec` names, fetched into the cache when it is Debian's and not there yet.

    spec: a series ("6.12") or "latest", a flavour of it ("6.12-cloud"), a whole `uname -r` of a Debian kernel,
    "host", or the path of a kernel build tree or of a folder with .deb files. refresh: look for newer packages
    first, even if that was done within a day. UsageError names what can be had; HarnessError why it could not
    be fetched.
    """
    arch = host_arch()
    with store.explained(settings):
        if spec == trees.HOST:
            return trees.resolve_host(arch)
        folder = Path(spec).expanduser()
        if "/" in spec or spec in (".", ".."):
            return _resolve_folder(spec, folder, settings, progress)
        if debian.is_debian_spec(spec):
            return debian.resolve_debian(spec, settings, arch, progress, refresh=refresh)
        if spec and folder.is_dir():
            return _resolve_folder(spec, folder, settings, progress)
        choices = debian.known_choices(settings, arch, progress)
        raise UsageError(
            f"unknown kernel {spec!r}; {debian.offer(choices, arch)}; latest, host, "
            "the path of a kernel build tree or of a folder with .deb files",
            hint="invoke kernels",
        )


def check_kernels(specs: Iterable[str], settings: Settings, progress: Progress) -> None:
    """UsageError for the first spec that cannot be right, before a kernel is fetched for any.

    Lists of packages may be fetched; HarnessError when there are none to look into.
    """
    arch = host_arch()
    choices: list[debian.Choice] = []
    with store.explained(settings):
        for spec in specs:
            if debian.is_debian_spec(spec) and "/" not in spec:
                choices = choices or debian.known_choices(settings, arch, progress)
                debian.matching(spec, choices, arch)
            elif not any(Path(spec).expanduser().glob("*.deb")):
                resolve_kernel(spec, settings, progress)  # files that are here


def _resolve_folder(spec: str, folder: Path, settings: Settings, progress: Progress) -> Kernel:
    if not folder.is_dir():
        raise UsageError(f"kernel {spec}: no such folder", hint="invoke kernels")
    if any(folder.glob("*.deb")):
        return trees.resolve_debs(spec, folder, settings, progress)
    return trees.resolve_tree(spec, folder, host_arch())


def known_kernels(settings: Settings, progress: Progress, *, refresh: bool = False) -> list[KernelRow]:
    """What can be chosen by series and flavour, oldest first. HarnessError when nothing can be found out."""
    arch = host_arch()
    with store.explained(settings):
        choices = debian.known_choices(settings, arch, progress, refresh=refresh)
        return [_row([one for one in choices if one.name == name]) for name in debian.offered(choices)]


def _row(choices: list[debian.Choice]) -> KernelRow:
    newest: KernelPackages = choices[0].packages
    return KernelRow(
        name=choices[0].name,
        release=newest.release,
        version=newest.version,
        suite=newest.suite,
        debian=newest.debian,
        compiler=newest.compiler,
        cached=choices[0].cached,
        cached_versions=tuple(one.packages.version for one in choices if one.cached),
        listed=any(one.listed for one in choices),
    )
