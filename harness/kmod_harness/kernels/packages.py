# SPDX-License-Identifier: MIT
"""Debian packages with all that they depend on, unpacked in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt, unpack
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.catalogue import read_catalogue
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors

PACKAGES_FILE = "packages"  # in each unpacked folder: name=version of all that is in it, one a line


def unpack_packages(
    release: str,
    names: Sequence[str],
    settings: Settings,
    progress: Progress,
    *,
    kind: str = "packages",
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """The folder (a file system root with merged /usr) with the named packages and their dependencies.

    Kept in the cache under their names: unpacked once, then found at once. No maintainer script has run.
    finish: called with the folder before it is published. Errors are those of resolve_kernel.
    """
    arch = host_arch()
    key = store.digest(release, arch.name, *sorted(names))[:12]
    target = settings.cache / kind / f"{release}-{names[0]}-{key}"
    if (target / PACKAGES_FILE).is_file():
        return target
    label = f"{names[0]} and others of {release}"
    with store.explained(settings), store.locked(settings, f"{kind}-{target.name}", progress):
        if (target / PACKAGES_FILE).is_file():
            return target
        releases = load_releases()
        with store.locked(settings, f"apt-{release}", progress):
            mirrors = find_mirrors(settings, releases.releases)
            root = apt.open_root(releases.releases[release], arch, mirrors, settings)
            if not read_catalogue(settings, release, arch).fetched:
                root.update(progress)
            packages = _closure(root, names, progress)
            files = root.download(packages, progress, f"{label} ({len(packages)} packages)")
            with store.publishing(target) as part:
                unpack.unpack_files(files, part, progress, label)
                if finish:
                    finish(part)
                (part / PACKAGES_FILE).write_text(
                    "".join(f"{package}\n" for package in packages), encoding="utf-8"
                )
            for file in files:
                file.unlink(missing_ok=True)
    return target


def _closure(root: apt.AptRoot, names: Sequence[str], progress: Progress) -> list[apt.Package]:
    with progress.task(f"what {names[0]} depends on"):
        return root.closure(names)


def unpack_guest_packages(settings: Settings, progress: Progress) -> Path:
    """The folder with the guest's programs: the row `guest` of vm/kernels.yaml."""
    releases = load_releases()
    return unpack_packages(releases.guest_release, releases.guest_packages, settings, progress, kind="guest")


def unpack_image_packages(settings: Settings, progress: Progress) -> Path:
    """The folder with depmod and mksquashfs: the row `image` of vm/kernels.yaml."""
    releases = load_releases()
    return unpack_packages(releases.image_release, releases.image_packages, settings, progress, kind="tools")
