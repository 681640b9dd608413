# SPDX-License-Identifier: MIT
"""One report of the kernel about a fault of its own, in fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kmod_harness.verdict.blame import find_blame, guilty
from kmod_harness.verdict.frames import Frame
from kmod_harness.verdict.lines import Line
from kmod_harness.verdict.stacks import Report, Role, Stack
from kmod_harness.verdict.subkinds import find_subkind


@dataclass(frozen=True)
class Origin:
    """Another stack of a report: who allocated or freed the memory, who made the other access."""

    role: str  # "allocated", "freed", "access", "nmi"
    function: str | None
    module: str | None
    frames: tuple[Frame, ...]  # innermost first


@dataclass(frozen=True)
class Splat:
    """One report of the kernel about a fault of its own."""

    kind: str  # one of vocabulary.SPLAT_KINDS, e.g. "null-deref"
    title: str  # the line that names the fault, as printed
    module: str | None  # the module it happened in, else the one that led there; None: none is named
    function: str | None  # where it happened (without offset); None: not named
    lines: tuple[str, ...]  # the whole report, without times
    seconds: float | None  # since boot; None: the log shows no times
    subkind: str | None = None  # e.g. "use-after-free read of size 8"; None: the title says no more
    summary: str = ""  # the title without what differs from run to run: addresses, process ids, numbers
    address: str | None = None  # of the memory that was touched, as printed
    task: str | None = None  # its name
    pid: int | None = None
    cpu: int | None = None
    context: str = "task"  # "task", "irq" or "nmi"
    frame: Frame | None = None  # of `function`, with offset and size
    exact: bool = False  # that is the faulting instruction; else the address behind a call
    frames: tuple[Frame, ...] = field(default=(), repr=False)  # the main stack, innermost first
    origins: tuple[Origin, ...] = field(default=(), repr=False)
    holder: str | None = None  # of the lock that is waited for, "name/pid"; None: the log does not tell
    boot: int = 1  # counted from 1, of a log that has several


def make_splat(kind: str, title: str, lines: tuple[str, ...], first: Line, *, boot: int) -> Splat:
    """Read a report. first: its first line."""
    blame = find_blame(kind, title, lines)
    report = blame.report
    subkind = find_subkind(kind, title, lines)
    main = report.main
    return Splat(
        kind=kind,
        title=title,
        module=blame.module,
        function=blame.function,
        lines=lines,
        seconds=first.seconds,
        subkind=subkind,
        summary=_summary(f"{kind}: {subkind}" if subkind else kind, blame.function, blame.module),
        address=report.address,
        task=report.task,
        pid=report.pid,
        cpu=report.cpu,
        context=report.context,
        frame=blame.frame,
        exact=_is_instruction(blame.frame, report, title),
        frames=tuple(main.frames) if main else (),
        origins=tuple(_origins(report)),
        holder=_holder(report, lines),
        boot=boot,
    )


def _is_instruction(frame: Frame | None, report: Report, title: str) -> bool:
    """Whether the frame comes from the registers, or from a WARN, which names its own instruction."""
    if frame is None:
        return False
    known = [report.instruction, *(stack.instruction for stack in report.stacks)]
    same = any(at and (at.function, at.offset) == (frame.function, frame.offset) for at in known)
    return same or frame.interrupted or title.startswith("WARNING: ")


def _summary(what: str, function: str | None, module: str | None) -> str:
    where = f" in {function}" if function else ""
    return f"{what}{where}{f' [{module}]' if module else ''}"


def _origins(report: Report) -> list[Origin]:
    shown = {Role.ALLOCATED, Role.FREED, Role.ACCESS, Role.NMI}
    return [_origin(stack) for stack in report.stacks if stack.role in shown and stack.frames]


def _origin(stack: Stack) -> Origin:
    at, module = guilty(frame for frame in stack.frames if not frame.doubtful)
    return Origin(stack.role.value, at.function if at else None, module, tuple(stack.frames))


# Since 6.16: "INFO: task A:1 <writer> blocked on a mutex likely owned by task B:2."
_OWNED = re.compile(
    r"INFO: task .{1,64}?:\d+ (?:<\w+> )?(?:is )?blocked on an? .{1,24} likely (?:last )?(?:owned"
    r"|held) by task (.{1,64}?):(\d+)"
)
_HELD = re.compile(r"\d+ locks? held by (.{1,64}?)/(\d+):")
_LOCK = re.compile(r" #\d+: ([0-9a-f]{8,16}) ")


def _holder(report: Report, lines: tuple[str, ...]) -> str | None:
    """Who holds the lock that a hung task waits for: the kernel names it, or lockdep lists who has which."""
    holders: dict[str, list[str]] = {}
    who = ""
    for line in lines:
        owned = _OWNED.match(line)
        if owned:
            return f"{owned[1]}/{owned[2]}"
        held, lock = _HELD.match(line), _LOCK.match(line)
        if held:
            who = f"{held[1]}/{held[2]}"
        elif lock and who:
            holders.setdefault(lock[1], []).append(who)
    waiting = f"{report.task}/{report.pid}"
    for names in holders.values():
        others = [name for name in names if name != waiting]
        if waiting in names and len(others) == 1:
            return others[0]
    return None
