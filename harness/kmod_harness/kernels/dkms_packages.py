# SPDX-License-Identifier: MIT
"""Debian's packages of module sources (NAME-dkms) and .deb files like them: unpacked, not installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt, unpack
from kmod_harness.kernels.apt import AptRoot, Package
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.catalogue import read_catalogue
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors

ENDING = "-dkms"
DEPENDS = "depends"  # in each unpacked package: what it depends on
LOOK_SECONDS = 30.0
# Not needed to build: dkms does what we do, the rest is for installing.
EVERYWHERE = frozenset(("dkms", "debconf", "make", "gcc", "perl", "libc6", "kmod", "lsb-release", "sudo"))


def dkms_packages(release: str, settings: Settings, progress: Progress) -> list[str]:
    """The names, without "-dkms", of all such packages that a Debian release has."""
    with _root(release, settings, progress) as root:
        names = sorted(name for name in root.names("") if name.endswith(ENDING))
        found = {line.split("|")[0].strip() for line in root.madison(names).splitlines()}
    return [name.removesuffix(ENDING) for name in names if name in found]


def fetch_dkms(name: str, release: str, settings: Settings, progress: Progress) -> Path:
    """The file system root with the newest NAME-dkms of a Debian release. UsageError when there is none."""
    package = f"{name.removesuffix(ENDING)}{ENDING}"
    with _root(release, settings, progress) as root:
        version = _newest(root.madison([package]))
        if version is None:
            raise UsageError(
                f"dkms:{name}: {release} has no package {package}",
                hint=f"apt-cache search --names-only -- '{ENDING}$'",
            )
        (file,) = root.download([Package(package, version)], progress, package)
        return unpack_deb(file, settings, progress)


def _newest(madison: str) -> str | None:
    match = re.search(r"^\s*\S+ \| *(\S+) *\|", madison, re.MULTILINE)
    return match[1] if match else None


@contextmanager
def _root(release: str, settings: Settings, progress: Progress) -> Iterator[AptRoot]:
    releases = load_releases()
    arch = host_arch()
    with store.explained(settings), store.locked(settings, f"apt-{release}", progress):
        mirrors = find_mirrors(settings, releases.releases)
        root = apt.open_root(releases.releases[release], arch, mirrors, settings)
        if not read_catalogue(settings, release, arch).fetched:
            root.update(progress)
        yield root


def unpack_deb(file: Path, settings: Settings, progress: Progress) -> Path:
    """The file system root with what is in a .deb, kept by content. UsageError for a damaged one."""
    target = settings.cache / "packages" / f"{file.stem.partition('_')[0]}-{store.file_digest(file)}"
    if target.is_dir():
        return target
    with store.explained(settings), store.locked(settings, f"packages-{target.name}", progress):
        if not target.is_dir():
            with store.publishing(target) as part:
                try:
                    unpack.unpack_files([file], part, progress, file.name)
                    asked = ("dpkg-deb", "--field", str(file), "Depends")
                    done = process.run(asked, deadline=Deadline(LOOK_SECONDS, file.name))
                    (part / DEPENDS).write_text(done.output, encoding="utf-8")
                except process.CommandError as error:
                    raise UsageError(
                        f"{file}: no Debian package, or a damaged one", evidence=error.evidence[-3:]
                    ) from error
    return target


def tools_of(root: Path) -> tuple[str, ...]:
    """The packages that an unpacked one needs to be built, but for what every toolchain has."""
    path = root / DEPENDS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    first = (part.split("|")[0] for part in text.split(","))  # of alternatives the first
    names = [re.split(r"[\s(:]", name.strip())[0] for name in first]
    return tuple(name for name in dict.fromkeys(names) if name and name not in EVERYWHERE)


def dkms_folders(root: Path) -> list[Path]:
    """The folders in an unpacked package that hold sources for dkms."""
    return sorted(path.parent for path in root.glob("usr/src/*/dkms.conf"))


def one_dkms_folder(root: Path, name: str) -> Path:
    """The only such folder. UsageError when there is none, or several."""
    folders = dkms_folders(root)
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise UsageError(f"{name}: no sources for dkms in it (usr/src/*/dkms.conf)")
    raise HarnessError(
        f"{name}: sources of several modules: {', '.join(path.name for path in folders)}",
        hint=f"give one of them: --module {folders[0]}",
    )
