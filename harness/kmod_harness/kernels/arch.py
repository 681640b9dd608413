# SPDX-License-Identifier: MIT
"""What differs between processor architectures: one row each."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from kmod_harness.base.errors import UsageError


@dataclass(frozen=True)
class Arch:
    """One architecture under its names in the kernel, in Debian and in ELF files."""

    name: str  # uname -m
    make: str  # ARCH= of the kernel's make
    image: str  # the bootable image in a build tree
    debian: str  # Debian's architecture
    elf_machine: str  # e_machine as pyelftools names it

    @property
    def triplet(self) -> str:
        """What the compiler's commands begin with, e.g. "x86_64-linux-gnu"."""
        return f"{self.name}-linux-gnu"


ARCHES = {
    row.name: row
    for row in (
        Arch("x86_64", "x86", "arch/x86/boot/bzImage", "amd64", "EM_X86_64"),
        Arch("aarch64", "arm64", "arch/arm64/boot/Image", "arm64", "EM_AARCH64"),
    )
}


def host_arch() -> Arch:
    """The architecture that this program runs on; UsageError when there is no row for it."""
    name = platform.machine()
    if name not in ARCHES:
        raise UsageError(f"architecture {name} is not supported; known: {', '.join(ARCHES)}")
    return ARCHES[name]
