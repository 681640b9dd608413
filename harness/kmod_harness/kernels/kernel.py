# SPDX-License-Identifier: MIT
"""The noun that everything later works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kernel:
    """A kernel with all that is needed to boot it and to build modules for it; every path exists."""

    spec: str  # as the user named it, e.g. "6.12"; what tables and test names show
    release: str  # uname -r, e.g. "6.12.117+deb13-cloud-amd64"
    arch: str  # uname -m, a row of the table in harness/kmod_harness/kernels/arch.py
    image: Path  # compressed kernel as a boot loader takes it (x86: bzImage)
    modules: Path  # folder with the kernel's own modules: *.ko, *.ko.xz, *.ko.zst somewhere below
    build_tree: Path  # what kbuild calls KDIR
    compiler: str  # command that the build tree names, e.g. "gcc-14"
    origin: str  # for people: "trixie-security 6.12.117-1", "build tree /src/linux"
