# SPDX-License-Identifier: MIT
"""Does a .ko belong to a kernel? Asked before any machine is booted."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import read_module

# Holds the module's own struct module; Linux kernel/module/main.c refuses another size with ENOEXEC.
THIS_MODULE = ".gnu.linkonce.this_module"


class NoObjectError(Exception):
    """A file is no ELF object; the message says why."""


@dataclass(frozen=True)
class ObjectFacts:
    """What a .ko says about the kernel that it is for."""

    machine: str  # ELF's name of the processor, e.g. "EM_X86_64"
    vermagic: str | None  # the whole of it, e.g. "6.12.9-amd64 SMP preempt mod_unload modversions "
    struct_module: int | None  # bytes of its struct module

    @property
    def release(self) -> str | None:
        """The kernel's release in vermagic."""
        return self.vermagic.split()[0] if self.vermagic and self.vermagic.strip() else None


def read_facts(image: bytes) -> ObjectFacts:
    """What the ELF object says. NoObjectError when it is none."""
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 (80 ms, only after a build)
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    try:
        elf = ELFFile(BytesIO(image))
        modinfo = elf.get_section_by_name(".modinfo")
        this_module = elf.get_section_by_name(THIS_MODULE)
        return ObjectFacts(
            machine=str(elf["e_machine"]),
            vermagic=_vermagic(modinfo.data()) if modinfo else None,
            struct_module=int(this_module["sh_size"]) if this_module else None,
        )
    except (ELFError, ValueError, UnicodeDecodeError) as error:
        raise NoObjectError(str(error) or type(error).__name__) from error


def _vermagic(modinfo: bytes) -> str | None:
    for pair in modinfo.split(b"\0"):
        key, _, value = pair.partition(b"=")
        if key == b"vermagic" and value:
            return value.decode(errors="replace")
    return None


def object_problems(path: Path, kernel: Kernel) -> list[str]:
    """Why the kernel would refuse the .ko, in sentences; empty when all that is compared fits."""
    if not path.is_file():
        return [f"{path.name} was not built"]
    if path.stat().st_size == 0:
        return [f"{path.name} is empty"]
    try:
        facts = read_facts(path.read_bytes())
    except NoObjectError as error:
        return [f"{path.name} is no ELF object: {error}"]
    problems = []
    wanted = ARCHES[kernel.arch].elf_machine
    if facts.machine != wanted:
        problems.append(
            f"{path.name} is for the processor {facts.machine}, kernel {kernel.spec} is for {wanted}"
        )
    if facts.release is None:
        problems.append(f"{path.name} has no vermagic: it is not a finished kernel module")
    elif facts.release != kernel.release:
        problems.append(f"{path.name} was built for {facts.release}, kernel {kernel.spec} is {kernel.release}")
    return problems or _differences(path, facts, kernel)


def _differences(path: Path, facts: ObjectFacts, kernel: Kernel) -> list[str]:
    """What differs from the kernel's own modules although the release is the same."""
    # In a build tree there may be modules of an earlier configuration.
    own = own_module_facts(kernel.modules) if kernel.modules != kernel.build_tree else None
    if own is None:
        return []
    if own.vermagic and facts.vermagic and own.vermagic.split() != facts.vermagic.split():
        return [
            f"{path.name}: vermagic is '{facts.vermagic.strip()}', the kernel's own is '{own.vermagic.strip()}'"
        ]
    if own.struct_module and facts.struct_module and own.struct_module != facts.struct_module:
        return [
            f"{path.name}: struct module has {facts.struct_module} bytes, in the kernel's own modules "
            f"{own.struct_module}: it was built with another configuration, and loading would end in ENOEXEC"
        ]
    return []


@functools.lru_cache(maxsize=16)
def own_module_facts(folder: Path) -> ObjectFacts | None:
    """The facts of one of the kernel's own modules; None when there is none to look at."""
    for path, _, files in os.walk(folder):
        for name in files:
            if ".ko" in Path(name).suffixes:
                try:
                    return read_facts(read_module(Path(path, name)))
                except NoObjectError:
                    return None
    return None
