# SPDX-License-Identifier: MIT
"""Does a .ko belong to a kernel? Asked before any machine is booted."""

from __future__ import annotations

from pathlib import Path

from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.kernel import Kernel


def object_problems(path: Path, kernel: Kernel) -> list[str]:
    """Why the kernel would refuse the .ko, in sentences; empty when vermagic and architecture fit."""
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 (80 ms, only after a build)
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    if not path.is_file():
        return [f"{path.name} was not built"]
    if path.stat().st_size == 0:
        return [f"{path.name} is empty"]
    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            machine = str(elf["e_machine"])
            section = elf.get_section_by_name(".modinfo")
            modinfo = section.data() if section else b""
        except ELFError as error:
            return [f"{path.name} is no ELF object: {error}"]
    problems = []
    wanted = ARCHES[kernel.arch].elf_machine
    if machine != wanted:
        problems.append(f"{path.name} is for the processor {machine}, kernel {kernel.spec} is for {wanted}")
    release = vermagic_release(modinfo)
    if release is None:
        problems.append(f"{path.name} has no vermagic: it is not a finished kernel module")
    elif release != kernel.release:
        problems.append(f"{path.name} was built for {release}, kernel {kernel.spec} is {kernel.release}")
    return problems


def vermagic_release(modinfo: bytes) -> str | None:
    """The kernel release in a .modinfo section."""
    for pair in modinfo.split(b"\0"):
        key, _, value = pair.partition(b"=")
        if key == b"vermagic" and value:
            return value.split()[0].decode(errors="replace")
    return None
