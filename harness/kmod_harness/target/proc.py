# SPDX-License-Identifier: MIT
"""What /proc tells of modules and symbols, parsed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadedModule:
    """A line of /proc/modules."""

    name: str
    size: int  # bytes
    references: int  # -1 while it is being unloaded
    users: tuple[str, ...]  # modules that use it
    state: str  # "Live", "Loading" or "Unloading"
    taints: str  # letters, e.g. "OE"
    permanent: bool = False  # has an init function but no exit function
    address: int = 0  # where its code begins; 0 when the reader may not know


@dataclass(frozen=True)
class Opened:
    """A node of /dev that was opened, and what its module's reference count was before and meanwhile."""

    major: int
    before: int
    meanwhile: int
    path: str


@dataclass(frozen=True)
class Symbol:
    """A line of /proc/kallsyms."""

    address: int  # 0 when the reader may not know
    kind: str  # letter as in nm(1)
    name: str
    module: str  # "" for the kernel itself


def parse_modules(text: str) -> dict[str, LoadedModule]:
    """Parse /proc/modules (Linux kernel/module/procfs.c, m_show); keyed by name."""
    result = {}
    for line in text.splitlines():
        name, size, references, users, state, address, *taints = line.split()
        result[name] = LoadedModule(
            name=name,
            size=int(size),
            references=int(references) if references != "-" else 0,
            users=tuple(user for user in users.split(",") if user not in ("", "-", "[permanent]")),
            state=state,
            taints="".join(taints).strip("()"),
            permanent="[permanent]" in users.split(","),
            address=int(address, 16),
        )
    return result


def parse_kallsyms(text: str) -> tuple[Symbol, ...]:
    """Parse lines of /proc/kallsyms."""
    result = []
    for line in text.splitlines():
        address, kind, name, *module = line.split()
        result.append(Symbol(int(address, 16), kind, name, "".join(module).strip("[]")))
    return tuple(result)
