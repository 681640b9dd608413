# SPDX-License-Identifier: MIT
"""Debian's generic kernel as a folder of .deb files, for the comparison with virtme-ng.

The harness takes Debian's cloud kernels, which lack the file systems that virtme-ng boots from (9p, virtiofs).
Debian's generic kernel has them as modules, so both can run it. It comes through the same private apt root.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.catalogue import KernelPackages, order_key, read_apt, read_catalogue
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors

DEBIAN = "bookworm"
SERIES = "6.1"
FLAVOURS = {"cloud", "rt"}  # parts of the names of those that are not generic: 6.1.0-56-rt-amd64
FOLDER = "generic-kernel"  # in the cache


def fetch_generic(settings: Settings, progress: Progress) -> Path:
    """The folder with image, headers, headers-common and kbuild of Debian's newest generic kernel of SERIES.

    Downloaded when it is not in the cache; the folder is what `--kernel` takes.
    """
    target = settings.cache / FOLDER / DEBIAN
    with store.locked(settings, f"apt-{DEBIAN}", progress):
        if target.is_dir():
            return target
        # The generic flavour bears the name of Debian's architecture alone.
        arch = replace(host_arch(), flavour=host_arch().debian)
        releases = load_releases().releases
        root = apt.open_root(releases[DEBIAN], arch, find_mirrors(settings, releases), settings)
        if not read_catalogue(settings, DEBIAN, arch).fetched:
            root.update(progress)
        plain = [kernel for kernel in read_apt(root).kernels if is_generic(kernel)]
        if not plain:
            raise HarnessError(f"{DEBIAN} has no generic kernel {SERIES}")
        newest = max(plain, key=lambda kernel: order_key(kernel.version))
        packages = [newest.images[0], *newest.packages]
        files = root.download(packages, progress, f"{newest.release} ({len(packages)} packages)")
        with store.publishing(target) as part:
            for file in files:
                file.rename(part / file.name)
    return target


def is_generic(kernel: KernelPackages) -> bool:
    """Whether it is of the series and has no special flavour."""
    return kernel.series == SERIES and not FLAVOURS & set(kernel.release.split("-"))
