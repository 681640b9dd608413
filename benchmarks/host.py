# SPDX-License-Identifier: MIT
"""What the machine is doing beside us, and what our processes take: /proc, read."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import BUSY_SHARE

TICK = 1 / os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.5
# Each process has whole clock ticks: below this, in seconds, "others" is an error of rounding.
RESOLUTION = 0.05


PR_SET_CHILD_SUBREAPER = 36  # Linux include/uapi/linux/prctl.h


def adopt_orphans() -> None:
    """Let what our processes leave behind become ours, so that `own_seconds` goes on counting it.

    bwrap ends without waiting for what ran in it, a compiler for example.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used since it booted."""
    _, user, nice, system, _idle, _iowait, irq, softirq, *_ = (
        Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    )
    return sum(map(int, (user, nice, system, irq, softirq))) * TICK


def own_seconds() -> float:
    """CPU seconds that this process, those it has reaped and those that live below it have used."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat_fields(folder)):
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            used[pid] = sum(map(int, fields[11:15]))  # utime, stime and those of reaped children
    return sum(ticks for pid, ticks in used.items() if _is_below(pid, parents)) * TICK


def _stat_fields(folder: Path) -> list[str]:
    """/proc/PID/stat after the name: state first; empty when the process has gone."""
    try:
        return (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    me = os.getpid()
    while pid in parents and pid != me:
        pid = parents[pid]
    return pid == me


class Meter:
    """Tells, from its start on, our CPU seconds and the share of the machine that others had."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._own, self._busy = own_seconds(), busy_seconds()

    def read(self) -> tuple[float, float]:
        """CPU seconds of ours; share of all cores used by others, 0..1."""
        elapsed = time.monotonic() - self._began
        own, busy = own_seconds() - self._own, busy_seconds() - self._busy
        others = busy - own
        if others < RESOLUTION:
            others = 0.0
        return own, others / (elapsed * (os.cpu_count() or 1))


def wait_quiet(limit: float, tell: Callable[[str], None]) -> None:
    """Wait until others use next to nothing for a moment, at most `limit` seconds."""
    end = time.monotonic() + limit
    told = False
    while time.monotonic() < end:
        meter = Meter()
        time.sleep(LOOK_SECONDS)
        if meter.read()[1] < BUSY_SHARE / 2:
            return
        if not told:
            tell("waiting for a quiet moment")
            told = True


def proportional_bytes(pid: int) -> int:
    """A process's memory: private pages, and its share of those that it shares (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) << 10 if match else 0


def description() -> str:
    """The machine in a line."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    match = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    processor = match[1] if match else platform.machine()
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, Linux {platform.release()}"


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"
