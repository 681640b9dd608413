# SPDX-License-Identifier: MIT
"""Debian's kernels: choose the newest of a series, fetch it, keep it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt, unpack
from kmod_harness.kernels.apt import AptRoot
from kmod_harness.kernels.arch import Arch
from kmod_harness.kernels.catalogue import (
    RETRY_SECONDS,
    Catalogue,
    KernelPackages,
    kernel_from_json,
    load_catalogues,
    order_key,
    read_catalogue,
    series_key,
)
from kmod_harness.kernels.flavours import LATEST, Flavour, find_flavour, find_wish, flavours
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors

MANIFEST = "kernel.json"
TRIES = 3  # how many versions of a series are tried when the mirror lists what it does not have


@dataclass(frozen=True)
class Choice:
    """A Debian kernel that can be had."""

    packages: KernelPackages
    flavour: Flavour
    cached: bool  # unpacked in the cache: no network needed
    listed: bool  # still in a catalogue

    @property
    def name(self) -> str:
        """What a user types for the newest of its kind, e.g. "6.12-cloud"."""
        return self.flavour.name_in(self.packages.series)


def is_debian_spec(spec: str) -> bool:
    """Whether `spec` means a Debian kernel: "latest", a series (both may name a flavour) or a uname -r."""
    return re.match(rf"\d+\.\d+|{LATEST}(-|$)", spec) is not None


def resolve_debian(
    spec: str, settings: Settings, arch: Arch, progress: Progress, *, refresh: bool = False
) -> Kernel:
    """The newest kernel that the name means, downloaded when it is not in the cache."""
    choices = known_choices(settings, arch, progress, refresh=refresh)
    missing: HarnessError | None = None
    tries = 0
    for choice in matching(spec, choices, arch):
        named = f"{choice.packages.release} {choice.packages.version}"
        if choice.cached:
            if missing:
                progress.note(f"warning: {missing.message}; using {named} from the cache")
            return _read_kernel(spec, _folder(settings, choice.packages), arch)
        if not _worth_trying(missing, tries):
            continue
        if missing:
            progress.note(f"warning: {missing.message}; trying {named}")
        tries += 1
        try:
            return _fetch(spec, choice.packages, settings, arch, progress)
        except apt.NotOnMirrorError as error:
            if not refresh and _may_be_outdated(settings, choice.packages, arch):
                return resolve_debian(spec, settings, arch, progress, refresh=True)
            missing = error
        except apt.NetworkError as error:
            missing = error
    assert missing is not None
    raise missing


def _worth_trying(missing: HarnessError | None, tries: int) -> bool:
    """Without a network only what is cached can help; a 404 may be over with the next older version."""
    return missing is None or (isinstance(missing, apt.NotOnMirrorError) and tries < TRIES)


def _may_be_outdated(settings: Settings, kernel: KernelPackages, arch: Arch) -> bool:
    """Rolling suites drop a version when the next one comes: the lists may name one that has gone since."""
    return time.time() - read_catalogue(settings, kernel.debian, arch).fetched > RETRY_SECONDS


def known_choices(settings: Settings, arch: Arch, progress: Progress, *, refresh: bool = False) -> list[Choice]:
    """All kernels that are listed or cached, newest first. HarnessError when nothing is known at all."""
    cached = {_name(kernel): kernel for kernel in read_cached(settings, arch)}
    try:
        catalogues: Sequence[Catalogue] = load_catalogues(settings, arch, progress, refresh=refresh)
    except HarnessError as error:
        if not cached:
            raise
        progress.note(f"warning: {error.message}; only cached kernels can be used")
        catalogues = ()
    listed = {_name(kernel): kernel for catalogue in catalogues for kernel in catalogue.kernels}
    choices = [
        Choice(kernel, flavour, name in cached, name in listed)
        for name, kernel in (cached | listed).items()
        if (flavour := find_flavour(kernel.release, arch))
    ]
    return sorted(
        choices,
        key=lambda one: (series_key(one.packages.series), order_key(one.packages.version)),
        reverse=True,
    )


def select(spec: str, choices: Sequence[Choice], arch: Arch) -> list[Choice]:
    """Those that `spec` means, newest first."""
    wish = find_wish(spec, arch)
    if wish is None:
        return [one for one in choices if one.packages.release == spec]
    kind = [one for one in choices if one.flavour == wish.flavour]
    series = kind[0].packages.series if kind and wish.series == LATEST else wish.series
    return [one for one in kind if one.packages.series == series]


def matching(spec: str, choices: Sequence[Choice], arch: Arch) -> list[Choice]:
    """The same, at least one; UsageError tells what there is instead."""
    found = select(spec, choices, arch)
    if not found:
        raise UsageError(f"unknown kernel {spec!r}; {offer(choices, arch)}", hint="invoke kernels")
    return found


def offered(choices: Sequence[Choice]) -> list[str]:
    """The names that can be chosen: the oldest series first, its flavours as in vm/kernels.yaml."""
    names = {(series_key(one.packages.series), one.flavour.rank, one.name) for one in choices}
    return [name for _, _, name in sorted(names)]


def offer(choices: Sequence[Choice], arch: Arch) -> str:
    """For people: what there is instead of what they named."""
    series = dict.fromkeys(one.packages.series for one in reversed(choices))
    if not series:
        return "there is: nothing"
    more = ", ".join(f"-{one.name}" for one in flavours(arch) if not one.ordinary)
    return f"there is: {', '.join(series)}, each with {more} or nothing behind it"


def read_cached(settings: Settings, arch: Arch) -> list[KernelPackages]:
    """The kernels that lie unpacked in the cache."""
    kernels = []
    for path in settings.cache.glob(f"kernels/*/{MANIFEST}"):
        data = store.read_json(path)
        try:
            if data["arch"] == arch.name:
                kernels.append(kernel_from_json(data["packages"]))
        except (KeyError, TypeError):
            continue
    return kernels


def _name(kernel: KernelPackages) -> str:
    return f"{kernel.release}_{kernel.version.replace(':', '%3a')}"


def _folder(settings: Settings, kernel: KernelPackages) -> Path:
    return settings.cache / "kernels" / _name(kernel)


def build_tree_of(kernel: KernelPackages, settings: Settings) -> Path:
    """Where the headers of a cached kernel lie."""
    return _paths(_folder(settings, kernel) / "root", kernel.release)["build_tree"]


def _fetch(spec: str, kernel: KernelPackages, settings: Settings, arch: Arch, progress: Progress) -> Kernel:
    """Download and unpack; one run does the work when several ask for it."""
    folder = _folder(settings, kernel)
    with store.locked(settings, f"kernel-{_name(kernel)}", progress):
        if not (folder / MANIFEST).is_file():
            releases = load_releases()
            release = releases.releases[kernel.debian]
            with store.locked(settings, f"apt-{release.name}", progress):
                root = apt.open_root(release, arch, find_mirrors(settings, releases.releases), settings)
                files = _download(root, kernel, progress)
                _publish(folder, kernel, files, arch, progress)
                for file in files:
                    file.unlink(missing_ok=True)
    return _read_kernel(spec, folder, arch)


def _download(root: AptRoot, kernel: KernelPackages, progress: Progress) -> list[Path]:
    """All packages of the kernel; of the image alternatives the first that the mirror has."""
    for image in kernel.images:
        try:
            return root.download([image, *kernel.packages], progress, f"kernel {kernel.release}")
        except apt.NotOnMirrorError:
            if image == kernel.images[-1]:
                raise
    raise AssertionError("a kernel without image package")


def _publish(
    folder: Path, kernel: KernelPackages, files: Sequence[Path], arch: Arch, progress: Progress
) -> None:
    with store.publishing(folder) as part:
        unpack.unpack_files(files, part / "root", progress, f"kernel {kernel.release}")
        unpack.relocate_headers(part / "root")
        paths = _paths(part / "root", kernel.release)
        for what, path in paths.items():
            if not path.exists():
                raise HarnessError(
                    f"the packages of {kernel.release} have no {what} ({path.relative_to(part)})",
                    hint="choose another kernel: invoke kernels",
                )
        manifest = {
            "arch": arch.name,
            "packages": asdict(kernel),
            "paths": {what: str(path.relative_to(part)) for what, path in paths.items()},
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _paths(root: Path, release: str) -> dict[str, Path]:
    modules = root / "usr" / "lib" / "modules" / release
    boot = root / "boot" / f"vmlinuz-{release}"
    return {
        "image": boot if boot.exists() else modules / "vmlinuz",  # 6.19 and later: beside the modules
        "modules": modules,
        "build_tree": root / "usr" / "src" / f"linux-headers-{release}",
    }


def _read_kernel(spec: str, folder: Path, arch: Arch) -> Kernel:
    data = store.read_json(folder / MANIFEST)
    packages = kernel_from_json(data["packages"])
    return Kernel(
        spec=spec,
        release=packages.release,
        arch=arch.name,
        image=folder / data["paths"]["image"],
        modules=folder / data["paths"]["modules"],
        build_tree=folder / data["paths"]["build_tree"],
        compiler=packages.compiler,
        origin=f"{packages.suite} {packages.version}",
    )


def debian_release_of(kernel: Kernel, settings: Settings) -> str | None:
    """The Debian release that a kernel of the cache comes from; None for other kernels."""
    folder = settings.cache / "kernels"
    if not kernel.build_tree.is_relative_to(folder):
        return None
    data = store.read_json(folder / kernel.build_tree.relative_to(folder).parts[0] / MANIFEST)
    release = data.get("packages", {}).get("debian") if isinstance(data, dict) else None
    return release if isinstance(release, str) else None
