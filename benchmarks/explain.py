# SPDX-License-Identifier: MIT
"""Where the time of a clone goes: the real code runs, with a clock around its steps.

Beside the seconds of each step stand the CPU seconds that QEMU used in it (a restored machine starts with no
translated code: under emulation the first run of everything is a translation), and what was done meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import paramiko
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.bench import Context
from benchmarks.machines import first_command
from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.machine.agent import Agent
from kmod_harness.machine.machine import Machine
from kmod_harness.machine.monitor import Monitor
from kmod_harness.target.ssh import SshRunner

REST = "(between the steps)"
# What is timed: object, attribute, label; a label that ends in ":" gets the first argument. In order of time;
# none runs inside another.
STEPS: tuple[tuple[Any, str, str], ...] = (
    (process, "start", "start QEMU's process"),
    (Monitor, "__init__", "QMP greeting: QEMU sets its machine up"),
    (Monitor, "execute", "QMP"),
    (Agent, "boot_id", "agent: boot id (the guest's first instructions)"),
    (Agent, "settle", "agent: time, randomness"),
    (Agent, "write", "agent: keys"),
    (socket, "create_connection", "SSH: connect"),
    (paramiko.Transport, "start_client", "SSH: banner, key exchange"),
    (paramiko.Transport, "auth_publickey", "SSH: authentication"),
    (SshRunner, "run", "SSH: open a channel, run `true`"),
)


@dataclass
class Trace:
    """The steps of one machine: label -> seconds, CPU seconds of QEMU."""

    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    pid: int = 0  # QEMU's, once it has been started
    thread: int = field(default_factory=threading.get_ident)  # paramiko has one of its own
    inside: bool = False

    def around(self, original: Callable[..., Any], label: str) -> Callable[..., Any]:
        """The function with a clock around it; what runs inside another step counts there."""

        def step(*args: Any, **kwargs: Any) -> Any:
            if self.inside or threading.get_ident() != self.thread:
                return original(*args, **kwargs)
            self.inside = True
            began, used = time.monotonic(), cpu_seconds(self.pid)
            try:
                result = original(*args, **kwargs)
            finally:
                self.inside = False
            if label == STEPS[0][2]:
                self.pid = result.pid
            entry = self.steps[_with_command(label, args)]
            entry[0] += time.monotonic() - began
            entry[1] += cpu_seconds(self.pid) - used
            return result

        return step


def _with_command(label: str, args: tuple[Any, ...]) -> str:
    """Monitor commands are told apart."""
    return f"QMP {args[1]}" if label == "QMP" else label


def cpu_seconds(pid: int) -> float:
    """CPU seconds that all threads of a process have used so far; 0 when there is none."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat") if pid else ():
        with contextlib.suppress(OSError):
            total += int(task.read_text(encoding="utf-8").split()[0])
    return total / 1e9


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    """A clock around each of STEPS."""
    trace = Trace()
    with contextlib.ExitStack() as stack:
        for owner, name, label in STEPS:
            replacement = trace.around(getattr(owner, name), label)
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield trace


def translated_blocks(machine: Machine) -> int:
    """How many blocks of guest code QEMU has translated; 0 under KVM."""
    text = machine.monitor.human("info jit", Deadline(5, "info jit"))
    match = re.search(r"TB count\s+(\d+)", text)
    return int(match[1]) if match else 0


def explain(context: Context, runs: int) -> tuple[Table, list[str]]:
    """The table of a clone's steps (medians), and remarks."""
    kernel = context.resolved()
    traces: list[Trace] = []
    totals: list[tuple[float, float]] = []
    blocks: list[int] = []
    with contextlib.closing(context.fleet()) as fleet:
        for number in range(runs + 1):
            began = time.monotonic()
            with traced() as trace, fleet.machine(kernel, "explain") as (machine, guest):
                first_command(guest)
                seconds = time.monotonic() - began
                used = cpu_seconds(machine.pid)
                count = translated_blocks(machine)
            if number:  # the first one fills the caches
                traces.append(trace)
                totals.append((seconds, used))
                blocks.append(count)
    return _table(traces, totals), _remarks(totals, blocks)


def _table(traces: list[Trace], totals: list[tuple[float, float]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("step of a clone")
    for title in ("min ms", "median ms", "QEMU's CPU ms"):
        table.add_column(title, justify="right")

    def add(label: str, values: list[tuple[float, float]], style: str = "") -> None:
        wall, used = [value[0] * 1000 for value in values], [value[1] * 1000 for value in values]
        texts = (f"{min(wall):.1f}", f"{statistics.median(wall):.1f}", f"{statistics.median(used):.1f}")
        table.add_row(label, *texts, style=style)

    for label in traces[0].steps:
        add(label, [(trace.steps[label][0], trace.steps[label][1]) for trace in traces])
    steps = [[sum(step[i] for step in trace.steps.values()) for i in (0, 1)] for trace in traces]
    # Never below 0, which the CPU seconds of threads that have ended meanwhile would make of it.
    rest = [(max(0, a - b), max(0, c - d)) for (a, c), (b, d) in zip(totals, steps, strict=True)]
    add(REST, rest, "dim")
    add("all, to the end of the first command", totals, "bold")
    return table


def _remarks(totals: list[tuple[float, float]], blocks: list[int]) -> list[str]:
    seconds = statistics.median(total[0] for total in totals)
    used = statistics.median(total[1] for total in totals)
    count = statistics.median(blocks)
    lines = [f"n = {len(totals)}; QEMU computes for {used:.3f} s of the {seconds:.3f} s"]
    if count:
        each = used / count * 1e6
        lines.append(
            f"it translates {count:.0f} blocks of guest code meanwhile, {each:.0f} us a block, all told"
        )
    return lines
