# SPDX-License-Identifier: MIT
"""Which function and which module a report of the kernel points at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kmod_harness.verdict.frames import Frame, symbol_in
from kmod_harness.verdict.generic import Skip, find_skip
from kmod_harness.verdict.stacks import Report, Role, Stack, read_report

STALLS = frozenset({"soft-lockup", "hard-lockup", "rcu-stall"})
_SLEEPERS = frozenset({"hung-task"})


@dataclass(frozen=True)
class Blame:
    """Where a fault happened, as far as its report tells."""

    function: str | None  # without offset
    module: str | None
    frame: Frame | None  # of that function; None: it is named in the title only, or nothing is
    report: Report  # all that the report says


# Titles that name the module, which is not part of the trace any more: "do_init_module: 'vms'->init
# suspiciously returned 7", since 7.2 "vms: init suspiciously returned 7".
_TOLD = re.compile(r"(?:do_init_module: '(\w+)'->|(\w+): )init suspiciously ")
_DATA_RACE = re.compile(r"BUG: KCSAN: ")
# "Modules linked in: vms(O+) evdev button"; + is being loaded, - is being unloaded.
_MODULES = re.compile(r"Modules linked in: (.*)")
_UNDER_WAY = re.compile(r"(\w+)\([A-Z]*O[A-Z]*[+-]\)")
_PAGE = 4096
_KERNEL_THREADS = re.compile(r"(?:kworker|ksoftirqd|swapper|migration|rcu|khungtaskd|kswapd|kcompactd|irq/)")
# Where modules and the kernel's own code lie, by the name of the register that points into it; below that are
# data and the memory of programs. The last page is for error numbers.
_LOWEST_CODE = {"RIP": 0xFFFF_FFFF_8000_0000, "EIP": 0xC000_0000, "PC is at": 0x7F00_0000}
_LOWEST_CODE_ELSEWHERE = 0xFFFF_8000_0000_0000  # arm64, riscv and others of 64 bits


def find_blame(kind: str, title: str, lines: Sequence[str]) -> Blame:
    """Read a report of one of vocabulary.SPLAT_KINDS.

    The function is the first on the right stack that is no reporter, helper or runner (generic.py). The module
    is its own; when the kernel itself faulted, that of the nearest caller that is a module; when no symbol
    names one, the only out-of-tree module that this very task was loading or unloading. A bare address where
    code lies belongs to nobody who is known, so nobody is named.
    """
    report = read_report(lines)
    told = _TOLD.match(title)
    if told:
        return Blame(None, told[1] or told[2], None, report)
    frames = tuple(_candidates(kind, title, report))
    if frames and _is_lost_code(frames[0], report):
        return Blame(None, None, frames[0], report)
    at, module = guilty(frames)
    if report.work and not (at and _may_be_guilty(at)) and report.context == "task":
        at, module = report.work, report.work.module  # nothing else on the stack of this worker
    if module is None and not any(_is_lost_code(frame, report) for frame in frames):
        module = _module_under_way(report, lines)
    return Blame(at.function if at else None, module, at, report)


def guilty(frames: Iterable[Frame]) -> tuple[Frame | None, str | None]:
    """Of frames, innermost first: the one to blame, and its module or that of the nearest caller that is one.
    What called a runner (a timer, a work queue) has nothing to do with what the runner called.
    """
    near = list(_to_the_runner(frame for frame in frames if frame.function and not frame.inlined))
    at = next((frame for frame in near if _may_be_guilty(frame)), None)
    at = at or next((frame for frame in near if _skip(frame) is not Skip.REPORTER), None)
    after = near[near.index(at) :] if at else []
    return at, next((frame.module for frame in after if frame.module), None)


def _to_the_runner(frames: Iterable[Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if _skip(frame) is Skip.RUNNER:
            return


def _skip(frame: Frame) -> Skip | None:
    """Modules' own functions are never passed over, whatever their names."""
    return find_skip(frame.function) if frame.function and frame.module is None else None


def _may_be_guilty(frame: Frame) -> bool:
    return _skip(frame) is None


def _is_lost_code(frame: Frame, report: Report) -> bool:
    """Whether this is code that has no name any more: that of a module that is gone."""
    if frame.function is not None or frame.address is None:
        return False
    known = (lowest for name, lowest in _LOWEST_CODE.items() if report.registers.startswith(name))
    lowest = next(known, _LOWEST_CODE_ELSEWHERE)
    return lowest <= frame.address < (1 << (64 if lowest >> 32 else 32)) - _PAGE


def _candidates(kind: str, title: str, report: Report) -> Iterable[Frame]:
    """The frames among which the guilty one is, nearest to the fault first."""
    hint = symbol_in(title)
    if kind == "debug-object":
        return _debug_object(hint, report)
    if kind in STALLS:
        return _running(report)
    if kind in _SLEEPERS or kind == "kmemleak":
        return _called(report.main)
    if _DATA_RACE.match(title) and report.accesses:
        return report.accesses[0].frames
    frames = list(_called(report.main))
    if report.instruction and not hint:
        return [*_pointers(report), *frames]
    return [*([hint] if hint else []), *frames]


def _pointers(report: Report) -> list[Frame]:
    """The faulting instruction; after a jump to where no code is, who jumped."""
    at = report.instruction
    if at is None:
        return []
    if at.function or _is_lost_code(at, report):
        return [at]
    return [report.link] if report.link else []


def _debug_object(hint: Frame | None, report: Report) -> list[Frame]:
    """Who touched the object; where no module did, the object's callback tells whose it is."""
    frames = list(_called(report.main))
    return [hint] if hint and hint.module and guilty(frames)[1] is None else frames


def _called(stack: Stack | None) -> list[Frame]:
    """What was called, down to where an interrupt came in. Doubtful entries count only where all are, as after
    a jump to nowhere.
    """
    frames = list(stack.frames) if stack else []
    kept: list[Frame] = []
    entered = False
    for frame in frames:
        if frame.interrupted and entered:
            break
        entry = _skip(frame) is Skip.ENTRY and not frame.doubtful
        if entered and not entry and any(_may_be_guilty(above) and not above.doubtful for above in kept):
            break
        entered = entered or entry
        kept.append(frame)
    certain = [frame for frame in kept if not frame.doubtful]
    return certain or kept


def _running(report: Report) -> list[Frame]:
    """What a CPU that does not get on is running: below the interrupt that looked."""
    shown = (stack for stack in report.stacks if stack.role in {Role.TRACE, Role.NMI})
    stack = next((stack for stack in shown if stack.frames or stack.instruction), None)
    frames = [frame for frame in stack.frames if not frame.doubtful] if stack else []
    if stack and not frames:
        frames = list(stack.frames)
    marks = [number for number, frame in enumerate(frames) if frame.interrupted]
    if marks:
        frames = frames[marks[0] :]
    at = stack.instruction if stack and stack.instruction else report.instruction
    if at and at.function and not marks:
        entries = [number for number, frame in enumerate(frames) if _skip(frame) is Skip.ENTRY]
        return [at, *(frames[entries[-1] + 1 :] if entries else frames)]
    return frames


def _module_under_way(report: Report, lines: Sequence[str]) -> str | None:
    """The out-of-tree module that is being loaded or unloaded, when it is the only one and this task "
    "does it."""
    if report.context != "task" or (report.task and _KERNEL_THREADS.match(report.task)):
        return None
    for line in lines:
        found = _MODULES.match(line)
        if found:
            names = _UNDER_WAY.findall(found[1])
            return names[0] if len(names) == 1 else None
    return None
