# SPDX-License-Identifier: MIT
"""What a kernel has that a module may have put there, as `kmodctl census` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMING = ("cache-link", "timer", "work", "hrtimer", "memory")  # kinds of lines


@dataclass(frozen=True)
class Census:
    """What was new since the census before, and how much memory was in use."""

    new: tuple[str, ...] = ()  # "kind name"; vm/guest/census.c has the kinds
    sizes: Mapping[str, int] = field(default_factory=dict)  # KiB of "slab", "percpu", "pages"

    @property
    def things(self) -> tuple[str, ...]:
        """Those of the new lines that may stand for something left; the others only help to name it."""
        return tuple(line for line in self.new if line.partition(" ")[0] not in NAMING)

    @property
    def unread(self) -> tuple[str, ...]:
        """The tables of the kernel whose reader was killed: to look there again would not end."""
        return tuple(line.removeprefix("unread ") for line in self.new if line.startswith("unread "))


def parse_census(text: str) -> Census:
    """Parse what the program printed."""
    lines = text.splitlines()
    sizes = [line.split() for line in lines if line.startswith("size ")]
    return Census(
        tuple(line for line in lines if not line.startswith("size ")),
        {name: int(amount) for _, name, amount in sizes},
    )
