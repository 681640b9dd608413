# SPDX-License-Identifier: MIT
"""What was seen while a module went through its life; facts only, the judging is done in lifecycle.py."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmod_harness.target.census import Census
from kmod_harness.target.kmsg import KernelRecord


class Ending(enum.Enum):
    """How the observation ended. Only COMPLETE means that every step was carried out."""

    COMPLETE = "complete"
    PANIC = "panic"  # the kernel panicked (heard from outside)
    HANG = "hang"  # a step did not return within its deadline while the machine was still there
    LOST = "lost"  # the connection to the guest broke while the machine was still there


@dataclass(frozen=True)
class Memory:
    """Where a module lay while it was loaded: whose an address was is not to be seen once it is gone."""

    module: str
    start: int
    size: int  # of all its parts; a kernel since 6.4 may lay them apart


@dataclass(frozen=True)
class Round:
    """One load and unload. An outcome is OK, KILLED or an errno name; None: this step was not reached."""

    number: int  # 1 for the first
    load: str | None
    state: str | None  # third column of /proc/modules after loading: "Live", "Loading"; None: not listed
    unload: str | None
    listed_after: bool | None  # still in /proc/modules after unloading
    records: tuple[KernelRecord, ...]  # kernel log from before loading to after unloading
    memory: tuple[Memory, ...] = ()  # of the modules that were loaded then
    permanent: bool = False  # it has no exit function, so that unloading it was not tried
    # Once it was gone: what had come since the first round, and the memory in use. None: nobody looked, since
    # it was still there or other modules had come as well.
    left: Census | None = None
    references: int = 0  # its count once it was loaded; below zero: more was given back than taken
    users: tuple[str, ...] = ()  # modules that used it then
    lost: int = 0  # how many records before those the kernel overwrote: its buffer is small


@dataclass(frozen=True)
class Observation:
    """All that is known about one module on one machine."""

    rounds: tuple[Round, ...]  # as many as were begun; the last one may be incomplete
    dependencies: tuple[tuple[str, str], ...]  # (module, outcome of loading it), in order
    taint_before: int  # bits of /proc/sys/kernel/tainted
    taint_after: int | None  # None: could not be read any more
    ending: Ending
    detail: str  # what was being done when it ended early, e.g. "unload vms, round 2"; else ""
    console_tail: tuple[str, ...]  # last lines of the serial console; without one, of the kernel log
    console_log: Path | None  # the whole of the console
    # The drivers that the module registers, and to how many devices each was bound in the first round.
    drivers: tuple[tuple[str, int], ...] = ()
    held: tuple[str, ...] = ()  # lines of a census: what there was while it was loaded, in the first round
    unpinned: tuple[str, ...] = ()  # its nodes of /dev that can be open while its reference count is 0
    sizes: Mapping[str, int] = field(default_factory=dict)  # memory in use before the first round, see Census
