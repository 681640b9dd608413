# SPDX-License-Identifier: MIT
"""The rescue of a stuck module, on a machine on which a lot is going on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import MODULE, Benchmark, Context, Once, Reading, timed
from kmod_harness.base.errors import HarnessError
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK

RESCUE = "force_rmmod"
MODULES = 100
TASKS = 500
SETTLE_SECONDS = 120.0
# Each loaded module is this one under another name, of the same length.
NAME = "crowd000"
SOURCE = """\
#include <linux/module.h>

static int __init crowd_init(void)
{
	return 0;
}

static void __exit crowd_exit(void)
{
}

module_init(crowd_init);
module_exit(crowd_exit);

MODULE_DESCRIPTION("One of many");
MODULE_LICENSE("GPL");
"""


def crowd_module(context: Context) -> Path:
    """The .ko that stands for all others."""
    folder = context.scratch / NAME
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.c").write_text(f"// SPDX-License-Identifier: GPL-2.0-only\n{SOURCE}", encoding="utf-8")
    (folder / "Kbuild").write_text(
        f"# SPDX-License-Identifier: GPL-2.0-only\nobj-m := {NAME}.o\n", encoding="utf-8"
    )
    return context.module(str(folder))


def places(image: bytes, name: str) -> list[int]:
    """Where in a .ko the module's name stands that the kernel reads, which is that before a NUL."""
    wanted = name.encode() + b"\0"
    found = [place for place in range(len(image)) if image.startswith(wanted, place)]
    if not found:
        raise HarnessError(f"the name {name} does not stand in its .ko")
    return found


def crowd(guest: Guest, ko: Path) -> None:
    """Load modules and start processes until there are as many as wanted."""
    path = guest.put(ko)
    write = "; ".join(
        f"printf %s $name | dd of={path} bs=1 seek={place} conv=notrunc 2> /dev/null"
        for place in places(ko.read_bytes(), NAME)
    )
    modules = (
        f"for n in $(seq -w 100 {100 + MODULES - 1}); do name={NAME[:-3]}$n; {write}; kmodctl init {path}; done"
    )
    tasks = f"for n in $(seq {TASKS}); do sleep 100000 > /dev/null 2>&1 < /dev/null & done"
    guest.run("sh", "-c", f"{modules}; {tasks}", seconds=SETTLE_SECONDS)
    loaded = len(guest.modules())
    running = len(guest.run("sh", "-c", "ls -d /proc/[0-9]*").output.split())
    if loaded < MODULES or running < TASKS:
        raise HarnessError(f"{loaded} modules and {running} processes, not {MODULES} and {TASKS}")


def rescue_once(guest: Guest, victim: str, rescue: str, *, scan: bool) -> Reading:
    """Get a module stuck, and measure how long it takes until it can be removed."""
    answers: list[str] = []
    parameters = {"target": MODULE, "scan": str(int(scan))}
    stuck = guest.load(victim, {"fault": "1"})
    reading = timed(lambda: answers.append(guest.load(rescue, parameters, call="init", seconds=60)))
    answers += [guest.unload(MODULE), guest.unload(RESCUE)]
    if stuck != KILLED or answers != [OK, OK, OK]:
        raise HarnessError(f"{MODULE}: {stuck}; rescue, removal of both: {', '.join(answers)}")
    return reading


def memory_scan(guest: Guest, victim: str, rescue: str) -> Reading:
    """How long the search of memory takes, for each GiB that it reads; as force_rmmod tells it."""
    mark = guest.log_mark()
    rescue_once(guest, victim, rescue, scan=True)
    text = "\n".join(record.text for record in guest.log(mark))
    told = re.search(r"scan: (\d+) MiB read in (\d+) ms", text)
    if not told:
        raise HarnessError("the rescue does not tell how much it has read", evidence=text.splitlines()[-10:])
    return Reading(int(told[2]) / 1000 / (int(told[1]) / 1024))


@contextlib.contextmanager
def crowded(context: Context) -> Iterator[tuple[Guest, str, str]]:
    """A machine with many modules and tasks, and the paths of the stuck module and of the rescue in it."""
    victim, ko, others = context.module(), context.module(RESCUE), crowd_module(context)
    with (
        contextlib.closing(context.fleet()) as fleet,
        fleet.machine(context.resolved(), "benchmark") as (_, guest),
    ):
        crowd(guest, others)
        paths = guest.put(victim), guest.put(ko)
        yield guest, *paths


@contextlib.contextmanager
def rescue(context: Context) -> Iterator[Once]:
    """Without a search of memory."""
    with crowded(context) as there:
        yield lambda: rescue_once(*there, scan=False)


@contextlib.contextmanager
def scan(context: Context) -> Iterator[Once]:
    """The search alone."""
    with crowded(context) as there:
        yield lambda: memory_scan(*there)


BENCHMARKS = (
    Benchmark("rescue", f"rescue among {MODULES} modules, {TASKS} tasks", 0.5, 10, rescue),
    Benchmark("scan", "search of memory in it, for each GiB read", 4.0, 5, scan),
)
