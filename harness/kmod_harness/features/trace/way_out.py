# SPDX-License-Identifier: MIT
"""The steps of delete_module as Linux 5.15's text has them, and which of them a trace shows. Pure.

Told apart: a call that the text does not have; and a part of the text that shows no call, since the compiler
has inlined it or ftrace may not see it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kmod_harness.base.errors import HarnessError
from kmod_harness.features.trace.ftrace import Call


@dataclass(frozen=True)
class Step:
    """A part of the text of delete_module."""

    title: str
    meaning: str  # what it decides or does, and the errno it can end in
    anchors: tuple[str, ...] = ()  # functions that show it; none: whatever lies between its neighbours
    text: tuple[str, ...] = ()  # further functions that 5.15's text calls in it, or in what it calls
    opened: bool = False  # whether what the anchor calls is shown as well
    last: bool = False  # the last such call counts, not the first: exit may call the same


STEPS = (
    Step("permission", "CAP_SYS_MODULE, and modules are not disabled; else EPERM", ("capable",)),
    Step(
        "name",
        "copied from the caller; EFAULT for a bad pointer",
        text=("strncpy_from_user", "__check_object_size", "audit_log_kern_module", "__audit_log_kern_module"),
    ),
    Step("lock", "of the list of modules; EINTR if a signal comes first", ("mutex_lock_interruptible",)),
    Step("look-up", "ENOENT if there is no such module", ("find_module",)),
    Step(
        "checks and stop",
        "used by modules: EWOULDBLOCK; not LIVE, or no exit: EBUSY; count above 0: EWOULDBLOCK; else GOING",
        text=("try_stop_module", "try_release_module_ref", "try_force_unload", "module_refcount", "add_taint"),
    ),
    Step("unlock", "from here on it goes, whatever happens", ("mutex_unlock",)),
    Step("exit", "the module's own function; what it calls is seen, itself not (it lies in .exit.text)"),
    Step(
        "notifiers, GOING",
        "everyone who asked is told",
        ("blocking_notifier_call_chain",),
        text=(
            "notifier_call_chain",
            *("down_read", "up_read", "down_write", "up_write", "mutex_lock", "mutex_unlock"),
            *("cpus_read_lock", "cpus_read_unlock"),
            "jump_label_module_notify",
            "static_call_module_notify",
            "kprobes_module_callback",
            "btf_module_notify",
            "bpf_event_notify",
            "tracepoint_module_notify",
            "trace_module_notify",
            "srcu_module_notify",
        ),
        opened=True,
        last=True,
    ),
    Step(
        "livepatch",
        "no patch is applied to it any more",
        ("klp_module_going",),
        last=True,
    ),
    Step(
        "ftrace",
        "ftrace_release_mod forgets its functions; ftrace cannot see its own code, only what that calls",
        text=("mutex_lock", "mutex_unlock", "synchronize_rcu", "free_pages", "kfree", "kmem_cache_free"),
    ),
    Step(
        "async",
        "waits for asynchronous calls, its own might be among them",
        ("async_synchronize_full",),
        last=True,
    ),
    Step("last_unloaded_module", "keeps the name for the next oops report", text=("strlcpy", "strscpy")),
    Step(
        "free_module",
        "out of sysfs; UNFORMED; unlinked from what it used; off the list; memory freed",
        ("free_module",),
        text=(
            "mod_sysfs_teardown",
            "mutex_lock",
            "mutex_unlock",
            "ddebug_remove_module",
            "module_arch_cleanup",
            "module_unload_free",
            "destroy_params",
            "free_module_elf",
            "mod_tree_remove",
            "module_bug_cleanup",
            "synchronize_rcu",
            "module_arch_freeing_init",
            "module_memfree",
            "vfree",
            "kfree",
            "percpu_modfree",
            "free_percpu",
            "lockdep_free_key_range",
        ),
        opened=True,
        last=True,
    ),
    Step("wake-up", "of those who wait for the name in module_wq", ("__wake_up",), last=True),
)
# The same function under another name.
RENAMED = {"_printk": "printk", "module_destroy_params": "destroy_params"}
# What is known of calls that 5.15's text does not have.
KNOWN = {
    "module_flags": "the taint flags of the last unloaded module are kept as well",
    "free_mod_mem": "a module has areas by kind in place of two layouts (since 6.4)",
    "codetag_unload_module": "memory allocation profiling",
    "execmem_free": "memory for code has an allocator of its own",
}
NOT_TEXT = re.compile(r"printk|vprintk|_?_?cond_resched|rcu_all_qs")  # in every function: no difference


@dataclass(frozen=True)
class Shown:
    """A call as a report shows it."""

    name: str  # canonical
    at: float  # milliseconds since the system call began
    milliseconds: float
    depth: int  # 0: called by delete_module itself
    times: int = 1  # how many like it stood in a row
    new: str | None = None  # not in 5.15's text; what is known about it, perhaps ""


@dataclass(frozen=True)
class Taken:
    """A step as a trace shows it."""

    step: Step
    calls: tuple[Shown, ...]
    notes: tuple[str, ...]  # events, e.g. lines of the kernel log

    @property
    def milliseconds(self) -> float:
        """How long its calls took."""
        return sum(call.milliseconds for call in self.calls if call.depth == 0)


def canonical_name(symbol: str) -> str:
    """A function's name in the source: without what the compiler or the system call macro adds."""
    name = re.sub(r"\.(?:part|isra|constprop|cold|llvm)\b.*", "", symbol)
    return RENAMED.get(name, name)


def take_steps(call: Call) -> tuple[Taken, ...]:
    """Divide what delete_module called among the steps. HarnessError when it did not go through to the end."""
    borders = _anchors(call.calls)
    result = []
    for number, step in enumerate(STEPS):
        if step.anchors:
            index = borders[number]
            part = [] if index is None else call.calls[index : index + 1]
        else:
            part = call.calls[_before(borders, number) + 1 : _after(borders, number, len(call.calls))]
        result.append(Taken(step, tuple(_shown(step, part, call.at)), _notes(part)))
    return tuple(result)


def _anchors(calls: Sequence[Call]) -> list[int | None]:
    """Where each step's anchor stands: sought from both ends, as exit in the middle may call anything."""
    names = [canonical_name(call.name) for call in calls]
    result: list[int | None] = [None] * len(STEPS)
    begin, end = 0, len(calls)
    for number, step in enumerate(STEPS):
        if step.anchors and not step.last:
            result[number] = next((i for i in range(begin, end) if names[i] in step.anchors), None)
            begin = begin if result[number] is None else result[number] + 1  # type: ignore[operator]
    for number, step in reversed(list(enumerate(STEPS))):
        if step.anchors and step.last:
            result[number] = next((i for i in reversed(range(begin, end)) if names[i] in step.anchors), None)
            end = end if result[number] is None else result[number]  # type: ignore[assignment]
    if result[-1] is None:
        raise HarnessError("the trace does not show a module that was unloaded", evidence=names[-10:])
    return result


def _before(borders: Sequence[int | None], number: int) -> int:
    return next((place for place in reversed(borders[:number]) if place is not None), -1)


def _after(borders: Sequence[int | None], number: int, default: int) -> int:
    return next((place for place in borders[number:] if place is not None), default)


def _notes(calls: Sequence[Call]) -> tuple[str, ...]:
    return tuple(note for call in calls for note in (*call.notes, *_notes(call.calls)))


def _shown(step: Step, calls: Sequence[Call], start: float, depth: int = 0) -> list[Shown]:
    result: list[Shown] = []
    for call in calls:
        name = canonical_name(call.name)
        if name == "notifier_call_chain":  # on some kernels it is a function, on others it is inlined
            result += _shown(step, call.calls, start, depth)
            continue
        if NOT_TEXT.fullmatch(name) and depth:
            continue
        new = None if step.title == "exit" or _in_text(step, name) else KNOWN.get(name, "")
        one = Shown(name, (call.at - start) * 1e3, call.microseconds / 1e3, depth, 1, new)
        if result and (result[-1].name, result[-1].depth) == (name, depth):
            last = result.pop()
            one = Shown(name, last.at, last.milliseconds + one.milliseconds, depth, last.times + 1, new)
        result.append(one)
        if step.opened and depth == 0:
            result += _shown(step, call.calls, start, 1)
    return result


def _in_text(step: Step, name: str) -> bool:
    return name in step.anchors or name in step.text or bool(NOT_TEXT.fullmatch(name))
