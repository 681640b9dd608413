# SPDX-License-Identifier: MIT
"""What a module has left behind: lines of a census read as things that its exit forgot."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kmod_harness.module.expectation import ExpectedLeft
from kmod_harness.verdict.finding import Finding, Outcome
from kmod_harness.verdict.observation import Observation, Round


@dataclass(frozen=True)
class Leftover:
    """A thing that was not there before the module was."""

    kind: str  # e.g. "class"
    name: str
    call: str  # that is likely missing

    @property
    def text(self) -> str:
        """What expect_left is compared with."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class _Place:
    """A place for things with names in the file system. The last part of the path is the name."""

    pattern: re.Pattern[str]
    kind: str
    call: str


def _place(pattern: str, kind: str, call: str) -> _Place:
    return _Place(re.compile(pattern), kind, call)


_INTERRUPT = re.compile(r"/proc/irq/\d+/[^/]+/")
# The first one counts. Folders end with "/".
_PLACES = (
    _place(r"/sys/devices/.*/misc/[^/]+/", "misc device", "misc_deregister()"),
    _place(r"/sys/devices/.*/net/[^/]+/", "network device", "unregister_netdev()"),
    _place(r"/sys/devices/.*/input/[^/]+/", "input device", "input_unregister_device()"),
    _place(r"/sys/devices/.*/block/[^/]+/", "disk", "del_gendisk()"),
    _place(r"/sys/devices/virtual/workqueue/[^/]+/", "workqueue", "destroy_workqueue()"),
    _place(r"/sys/devices/platform/[^/]+/", "platform device", "platform_device_unregister()"),
    _place(r"/sys/devices/.*/", "device", "device_destroy() or device_unregister()"),
    _place(r"/dev/.*", "device node", "device_destroy()"),
    _place(r"/sys/class/[^/]+/", "class", "class_destroy() or class_unregister()"),
    _place(r"/sys/bus/[^/]+/drivers/[^/]+/", "driver", "driver_unregister(), or what its bus has for it"),
    _place(r"/sys/bus/[^/]+/", "bus", "bus_unregister()"),
    _place(r"/sys/kernel/debug/.*", "debugfs entry", "debugfs_remove()"),
    _place(r"/sys/kernel/tracing/.*", "tracefs entry", "tracefs_remove(), or what made it"),
    _place(r"/sys/.*/", "kobject", "kobject_put() or sysfs_remove_group()"),
    _place(r"/sys/.*", "sysfs file", "sysfs_remove_file() or sysfs_remove_group()"),
    _place(r"/proc/irq/\d+/[^/]+/", "interrupt", "free_irq()"),
    _place(r"/proc/sys/.*", "sysctl", "unregister_sysctl_table()"),
    _place(r"/proc/.*", "/proc entry", "proc_remove() or remove_proc_entry()"),
)

# Kinds of a census that have no path -> kind for people, call.
_OTHERS: Mapping[str, tuple[str, str]] = {
    "workqueue": ("workqueue", "destroy_workqueue()"),
    "thread": ("thread", "kthread_stop()"),
    "chrdev": ("character device number", "unregister_chrdev_region() or unregister_chrdev()"),
    "blkdev": ("block device number", "unregister_blkdev()"),
    "iomem": ("memory region", "release_mem_region()"),
    "ioports": ("I/O ports", "release_region()"),
    "cache": ("slab cache", "kmem_cache_destroy()"),
    "filesystem": ("file system", "unregister_filesystem()"),
    "protocol": ("network protocol", "proto_unregister()"),
    "crypto": ("cipher", "crypto_unregister_alg()"),
    "input-handler": ("input handler", "input_unregister_handler()"),
    "tty-driver": ("tty driver", "tty_unregister_driver()"),
    "tty-discipline": ("line discipline", "tty_unregister_ldisc()"),
    "console": ("console", "unregister_console()"),
    "kprobe": ("kprobe", "unregister_kprobe()"),
    "reference": ("reference to", "module_put(), or what gives it back"),
    "gone-timer": ("pending timer", "timer_delete_sync() or del_timer_sync()"),
    "gone-work": ("pending work", "cancel_delayed_work_sync()"),
    "gone-hrtimer": ("pending hrtimer", "hrtimer_cancel()"),
    "gone-running": ("running work", "cancel_work_sync() or destroy_workqueue()"),
    "gone-memory": ("memory", "vfree(), or iounmap()"),
}
_SYSCTL = "/proc/sys"
_TABLES = {  # of the kernel -> kind of a census with its entries
    "/proc/iomem": "iomem",
    "/proc/ioports": "ioports",
    "/proc/filesystems": "filesystem",
    "/proc/net/protocols": "protocol",
    "/proc/crypto": "crypto",
    "/proc/bus/input/handlers": "input-handler",
    "/proc/tty/drivers": "tty-driver",
    "/proc/tty/ldiscs": "tty-discipline",
    "/proc/consoles": "console",
    "/sys/kernel/debug/kprobes/list": "kprobe",
}


def find_left(lines: Sequence[str], held: Sequence[str]) -> tuple[Leftover, ...]:
    """The things behind lines of a census, each once. held: lines of one while the module was loaded."""
    words = [tuple(line.split(" ", 1)) for line in lines]
    paths = [name for kind, name in words if kind == "path"]
    others = [(kind, name) for kind, name in words if kind != "path"]
    found = [*_by_path(paths), *_by_kind(others, held)]
    named = {(one.kind, one.name) for one in found}
    return tuple(dict.fromkeys(one for one in found if not _is_part(one, named)))


def _is_part(one: Leftover, named: set[tuple[str, str]]) -> bool:
    """Whether another leftover stands for it: the thread of an interrupt or of a workqueue."""
    if one.kind != "thread":
        return False
    names = {kind: [name for other, name in named if other == kind] for kind in ("workqueue", "interrupt")}
    rescued = any(one.name in (name[:15], f"kworker/R-{name}"[: len(one.name)]) for name in names["workqueue"])
    return rescued or any(re.match(rf"irq/\d+-{re.escape(name[:8])}", one.name) for name in names["interrupt"])


def _by_path(paths: Sequence[str]) -> Iterator[Leftover]:
    """Things that have names in the file system, without what is around, below or beside them."""
    known = set(paths)
    things = [path for path in paths if _is_device(path, known) or _INTERRUPT.fullmatch(path)]
    names = {PurePosixPath(path).name for path in things}
    around = tuple(path for path in paths if any(thing.startswith(path) for thing in things))
    rest = [
        path
        for path in paths
        if not (around and path.startswith(around))
        and not (things and path.startswith("/dev/"))
        and not names & set(PurePosixPath(path).parts)
    ]
    for path in _outermost([*things, *rest]):
        yield _thing(path)


def _is_device(path: str, known: set[str]) -> bool:
    return path.startswith("/sys/devices/") and path.endswith("/") and f"{path}uevent" in known


def _outermost(paths: Sequence[str]) -> list[str]:
    """The paths that lie in none of the others."""
    result: list[str] = []
    for path in sorted(paths):
        if not (result and result[-1].endswith("/") and path.startswith(result[-1])):
            result.append(path)
    return result


def _thing(path: str) -> Leftover:
    place = next(place for place in _PLACES if place.pattern.fullmatch(path))
    name = PurePosixPath(path).name
    return Leftover(place.kind, name if _names_itself(path, place) else path.rstrip("/"), place.call)


def _names_itself(path: str, place: _Place) -> bool:
    """Whether the last part of the path says enough: not for what may lie anywhere below."""
    return not place.pattern.pattern.endswith((".*", ".*/"))


def _by_kind(words: Sequence[tuple[str, ...]], held: Sequence[str]) -> Iterator[Leftover]:
    known = {(kind, address): rest for kind, address, rest in map(_split, held) if rest}
    for kind, name in words:
        if kind == "unread":
            yield _unread(name, held)
        elif kind in ("gone-timer", "gone-work", "gone-hrtimer"):
            yield _pending(kind, name, known)
        elif kind == "gone-memory":
            span, size, caller = name.split(" ", 2)
            caller = known.get(("memory", span), f"{size} {caller}").split(" ", 1)[1]
            yield Leftover(*_named(kind, f"of {int(size) // 1024} KiB, taken by {_function(caller)}"))
        elif kind == "cache":
            names = [rest for (other, target), rest in known.items() if (other, target) == ("cache-link", name)]
            yield Leftover(*_named(kind, names[0] if names else name))
        elif kind in _OTHERS:
            yield Leftover(*_named(kind, name))


def _split(line: str) -> tuple[str, str, str]:
    kind, name, *rest = line.split(" ", 2)
    return kind, name, "".join(rest)


def _named(kind: str, name: str) -> tuple[str, str, str]:
    shown, call = _OTHERS[kind]
    return shown, name, call


def _function(caller: str) -> str:
    """A caller as the kernel prints it, "f+0x13/0x30"; a bare address is code that was gone with init."""
    return caller.partition("+")[0] if not caller.startswith("0x") else "its init"


def _pending(kind: str, name: str, known: Mapping[tuple[str, str], str]) -> Leftover:
    """A timer, named by its function as far as that was seen while the module was loaded."""
    address, function = name.split(" ", 1)
    for seen in ("timer", "work", "hrtimer"):
        if (seen, address) in known:
            return Leftover(*_named(f"gone-{seen}", f"that calls {_function_name(known[seen, address])}"))
    return Leftover(*_named(kind, f"at {address}" if function == "0x0" else f"that calls {function}"))


def _function_name(text: str) -> str:
    return text.partition(" ")[0]


def _unread(table: str, held: Sequence[str]) -> Leftover:
    """A table that cannot be read any more, since the name of an entry was in the module."""
    begin = f"path {table}" if table == _SYSCTL else f"{_TABLES[table]} "
    shown, call = ("sysctl", "unregister_sysctl_table()") if table == _SYSCTL else _OTHERS[_TABLES[table]]
    entries = [line.partition(" ")[2] for line in held if line.startswith(begin)]
    name = ", ".join(entries) or f"an entry of {table}"
    return Leftover(shown, f"{name} (reading {table} kills the reader)", call)


def find_held(module_name: str, held: Sequence[str]) -> tuple[Leftover, ...]:
    """What a module had while it was loaded, and has to give back."""
    own = f"path /sys/module/{module_name}/"
    lines = [line for line in held if not line.startswith((own, "cache-link ", "memory "))]
    pending = tuple(f"{kind} " for kind in ("timer", "work", "hrtimer"))
    return find_left([f"gone-{line}" if line.startswith(pending) else line for line in lines], held)


# ---- judgement ----------------------------------------------------------------------------------------------


def found_left(observation: Observation) -> dict[Leftover, Round | None]:
    """What was left behind, each kind in the first round that left some: in the next one a thing may have
    another number. None: it shows over all rounds.
    """
    found: dict[Leftover, Round | None] = {}
    once = _once([one.left.things for one in observation.rounds if one.left])
    for current in observation.rounds:
        things = current.left.things if current.left else ()
        here = find_left([line for line in things if line not in once], observation.held)
        known = {left.kind for left in found}
        found |= {left: current for left in here if left.kind not in known}
    return found | dict.fromkeys(find_grown(observation))


def judge_left(wanted: Sequence[ExpectedLeft], observation: Observation) -> Iterator[Finding]:
    """What was left behind and is not expected; what is expected and was not left, if anybody looked."""
    found = found_left(observation)
    for left, seen in found.items():
        if not any(re.search(one.pattern, left.text) for one in wanted):
            where = f"round {seen.number}: " if seen else ""
            yield Finding(
                Outcome.FAILED, f"{where}left behind: {left.text}; missing is likely {left.call}", seen
            )
    for one in wanted if any(seen.left for seen in observation.rounds) else ():
        if not any(re.search(one.pattern, left.text) for left in found):
            yield Finding(Outcome.FAILED, f"expected {one.text} ({one.reason}), saw no such thing")


# Kinds of which there may be several of the same name: what is left in each round adds up.
_ADD_UP = ("cache ", "thread ", "workqueue ")


def _once(rounds: Sequence[Sequence[str]]) -> set[str]:
    """What came in one round and not again in further ones: a module that is loaded anew knows nothing of its
    former life, so it is not the one who made it. Subsystems make such things when they are first used.
    """
    if len(rounds) < 2:
        return set()
    return {
        line
        for lines in rounds[:-1]
        for line in lines
        if line.startswith(_ADD_UP) and rounds[-1].count(line) <= lines.count(line)
    }


# ---- memory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Memory:
    """A kind of memory of which the kernel only knows how much there is."""

    name: str  # in Census.sizes
    place: str  # for people
    call: str
    first: int  # KiB that a first round of a healthy module does not take
    total: int  # KiB that all further rounds together do not take


# Healthy modules were seen to take up to 32 KiB in slabs and 84 KiB in pages, and to give them back later. On
# 7.3 what kmalloc() gives is no slab if it is large.
_MEMORY = (
    _Memory("slab", "in slabs", "kfree()", 512, 64),
    _Memory("percpu", "per CPU", "free_percpu()", 512, 64),
    _Memory("pages", "in pages", "free_pages(), or kfree() of much", 768, 512),
)
# Student's t for 99.9 %, one-sided, by degrees of freedom from 1 on; the last one holds for all beyond.
_STUDENT = (318.3, 22.33, 10.21, 7.173, 5.893, 5.208, 4.785, 4.501, 4.297, 4.144)


def find_grown(observation: Observation) -> tuple[Leftover, ...]:
    """The kinds of memory of which a round gives back less than it takes."""
    return tuple(one for memory in _MEMORY for one in _growth(memory, observation))


def _growth(memory: _Memory, observation: Observation) -> Iterator[Leftover]:
    seen = [
        one.left.sizes[memory.name] for one in observation.rounds if one.left and memory.name in one.left.sizes
    ]
    if not seen or memory.name not in observation.sizes:
        return
    first = seen[0] - observation.sizes[memory.name]
    steps = [after - before for before, after in itertools.pairwise(seen)]
    if len(steps) > 1:
        mean = statistics.mean(steps)
        error = statistics.stdev(steps) / len(steps) ** 0.5
        sure = mean > _STUDENT[min(len(steps) - 1, len(_STUDENT)) - 1] * error
        if sure and sum(steps) >= memory.total:
            amount = (
                f"of {mean:.0f} KiB a round, give or take {error:.0f}, in {len(steps)} rounds, {memory.place}"
            )
            yield Leftover("memory", amount, memory.call)
            return
    if first >= memory.first and all(step > -first // 2 for step in steps[:1]):
        yield Leftover("memory", f"of {first} KiB in the first round, {memory.place}", memory.call)
