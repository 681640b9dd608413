# SPDX-License-Identifier: MIT
"""Takes a report apart: registers, the stacks in it and whose they are, the task and the CPU."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from kmod_harness.verdict.frames import (
    Frame,
    context_mark,
    parse_caller,
    parse_entry,
    parse_instruction,
    parse_link,
)


class Role(enum.Enum):
    """What a stack tells about."""

    TRACE = "trace"  # where the report was made, or the fault happened
    NMI = "nmi"  # of a CPU that was asked what it does
    ACCESS = "access"  # KCSAN, KMSAN: one of the accesses
    ALLOCATED = "allocated"
    FREED = "freed"
    OTHER = "other"  # who took a lock first, who queued the work, a thread that is only shown


@dataclass
class Stack:
    """One stack of a report."""

    role: Role
    head: str  # the line above it
    frames: list[Frame] = field(default_factory=list)  # innermost first
    instruction: Frame | None = None  # of the registers shown with it


@dataclass
class Report:
    """What a report says, sorted."""

    instruction: Frame | None = None  # that faulted, from the registers before the first stack
    link: Frame | None = None  # the return address of that moment
    work: Frame | None = None  # the function of the work item that was being run
    stacks: list[Stack] = field(default_factory=list)
    task: str | None = None
    pid: int | None = None
    cpu: int | None = None
    registers: str = ""  # the line that shows the instruction: its first words tell the architecture
    address: str | None = None  # of the memory that was touched, as printed
    context: str = "task"  # where the main stack begins: "task", "irq", "nmi"

    @property
    def main(self) -> Stack | None:
        """The stack of the fault itself; one without a head when there is no better."""
        traces = [stack for stack in self.stacks if stack.role is Role.TRACE and stack.frames]
        others = [stack for stack in self.stacks if stack.role in {Role.NMI, Role.ACCESS} and stack.frames]
        return next(iter([*traces, *others]), None)

    @property
    def accesses(self) -> list[Stack]:
        """The accesses of a data race, in order."""
        return [stack for stack in self.stacks if stack.role is Role.ACCESS and stack.frames]

    def stack(self, role: Role) -> Stack | None:
        """The first stack of a role that has frames."""
        return next((stack for stack in self.stacks if stack.role is role and stack.frames), None)


_HEADS = (
    (
        Role.TRACE,
        re.compile(
            r"\s*(?:Call [Tt]race:|[Bb]acktrace(?: \(crc [0-9a-f]+\))?:|stack backtrace:|Call Trace \()"
        ),
    ),
    (
        Role.ALLOCATED,
        re.compile(r"(?:Allocated by task|allocated by task|Allocated in |Uninit was created at:)"),
    ),
    (Role.FREED, re.compile(r"(?:Freed by task|freed by task|Freed in )")),
    (
        Role.ACCESS,
        re.compile(r"(?:read|write|read-write|assert no (?:accesses|writes))(?: \(marked\))? to 0x.* by "),
    ),
    (
        Role.OTHER,
        re.compile(
            r"(?:Last potentially related|Second to last potentially|page last (?:allocated|free)"
            r"|Uninit was stored"
            r"|-> #\d+ \(|Local variable|Memory state|the existing dependency chain|.*kthread stack dump"
            r"|.*Stack dump where|Preemption disabled at:|(?:hard|soft)irqs last|handlers:|softirqs last"
            r"|.{0,80}\bat:$)"
        ),
    ),
)
_NMI_HEAD = re.compile(r"NMI backtrace for cpu (\d+)(?! skipped)")
_KEPT_SHOWN = re.compile(r".*(?:kthread stack dump|Stack dump where)")
_CPU = re.compile(
    r"CPU:? ?(?P<cpu>\d+)(?:,"
    r"| )+(?:UID: \d+ )?PID: (?P<pid>\d+),? Comm: (?P<task>.{1,15}?)(?: (?:Tainted:|Not tainted|Kdump)|$)"
)
_TASK = (
    re.compile(r"Pid: (?P<pid>\d+), comm: (?P<task>.{1,15}?) "),
    re.compile(r"INFO: task (?P<task>.{1,64}?):(?P<pid>\d+) "),
    re.compile(r".* by task (?P<task>\S.{0,62}?)/(?P<pid>\d+)(?: on cpu (?P<cpu>\d+))?"),
    re.compile(r".*, CPU#(?P<cpu>\d+): (?P<task>.{1,15}?)/(?P<pid>\d+)$"),
    re.compile(r".*BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for .*\[(?P<task>.{1,30}?):(?P<pid>\d+)\]"),
    re.compile(r"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) "),
    re.compile(r".*hard LOCKUP on cpu (?P<cpu>\d+)"),
    re.compile(r"BUG: scheduling while atomic: (?P<task>.{1,15}?)/(?P<pid>\d+)/"),
    re.compile(r".*, pid: (?P<pid>\d+), name: (?P<task>.{1,15})$"),
    re.compile(r"  comm \"(?P<task>.{1,15}?)\", pid (?P<pid>\d+)"),
    re.compile(r"Process (?P<task>.{1,15}?) \(pid: (?P<pid>\d+)"),
    re.compile(r"task:(?P<task>.{1,15}?) +state:. .*pid: ?(?P<pid>\d+)"),
    re.compile(r"(?P<task>[^\s/]{1,15})/(?P<pid>\d+) is trying to (?:acquire|release) lock"),
)
_ADDRESS = (
    re.compile(
        r".*(?:dereference|paging request|page fault for address:?|access)[, ].*?(?:address:?"
        r"|at) +(?P<address>[0-9a-fx]{1,18})$"
    ),
    re.compile(r".*page fault for address: (?P<address>[0-9a-f]{1,16})"),
    re.compile(r"(?:Read|Write|Free) of (?:size \d+ )?(?:at )?addr (?P<address>[0-9a-f]{8,16})"),
    re.compile(r".*non-canonical address (?P<address>0x[0-9a-f]{1,16})"),
    re.compile(r".* at virtual address (?P<address>[0-9a-f]{4,16})"),
    re.compile(r"unreferenced object (?P<address>0x[0-9a-f]{4,16})"),
    re.compile(
        r"(?:Use-after-free|Out-of-bounds|Invalid) (?:read|write|free|access) at (?P<address>0x[0-9a-f]{4,16})"
    ),
)
_WORK = re.compile(r"Workqueue: +\S+ (?P<function>[A-Za-z_][\w.]*)(?: \[(?P<module>\w+)[^\]]*\])?")
_END = re.compile(r"Modules linked in:|---\[ end |={10,}$|Kernel Offset:|Kernel panic - not syncing")
_CONTEXTS = {"IRQ": "irq", "SOFTIRQ": "irq", "NMI": "nmi", "#DB": "nmi", "#DF": "task", "#MC": "nmi"}
_DIES = re.compile(
    r"__do_softirq|handle_softirqs|__irq_svc|el1h?_(?:64_)?irq|gic_handle_irq|do_IRQ|handle_irq_event"
)


def read_report(lines: Iterable[str]) -> Report:
    """Sort the lines of one report."""
    reader = _Reader(Report())
    for line in lines:
        reader.feed(line)
    reader.end_stack()
    report = reader.report
    main = report.main
    if main:
        report.context = next((frame.context for frame in main.frames if not frame.doubtful), "task")
        if report.context == "task" and any(_DIES.match(frame.function or "") for frame in main.frames):
            report.context = "irq"
    return report


class _Reader:
    """Where in a report we are."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.stack: Stack | None = None
        self.context = "task"
        self.next_role = Role.TRACE
        self.last: Frame | None = None  # arm: the caller that the line before named

    def feed(self, line: str) -> None:
        self._facts(line)
        if self._head(line) or self._mark(line) or self._registers(line):
            return
        entry = parse_entry(line)
        if entry and self.stack is None and self.report.stacks == [] and line.startswith((" ", "[<", "\t")):
            role, self.next_role = self.next_role, Role.TRACE
            self._open(role, "")  # the head of the trace is lost, or arm prints none
        if entry and self.stack:
            self._add(entry, line)
        elif self.stack and (_END.match(line) or (not line.strip() and self.stack.frames)):
            self.end_stack()

    def _facts(self, line: str) -> None:
        report = self.report
        if report.pid is None or report.cpu is None or report.task is None:
            for pattern in (_CPU, *_TASK):
                found = pattern.match(line)
                if found:
                    self._who(found.groupdict())
                    break
        work = _WORK.match(line) if report.work is None and line.startswith("Work") else None
        if work:
            report.work = Frame(work["function"], work["module"])
        if report.address is None:
            for pattern in _ADDRESS:
                found = pattern.match(line)
                if found:
                    report.address = found["address"]
                    break

    def _who(self, told: dict[str, str | None]) -> None:
        """What a line says about task and CPU; the first word on each counts."""
        report = self.report
        pid, cpu = told.get("pid"), told.get("cpu")
        if pid is not None and report.pid not in {None, int(pid)}:
            return
        report.task = report.task or told.get("task")
        report.pid = int(pid) if pid is not None else report.pid
        report.cpu = int(cpu) if cpu is not None and report.cpu is None else report.cpu

    def _head(self, line: str) -> bool:
        if _NMI_HEAD.match(line):
            self.end_stack()
            self.next_role = Role.NMI
            self._open(Role.NMI, line)
            return True
        role = next((role for role, pattern in _HEADS if pattern.match(line)), None)
        if role is None:
            return False
        self.end_stack()
        if role is Role.TRACE:
            self._trace(line)
        elif _KEPT_SHOWN.match(line):
            self.next_role = Role.OTHER
        else:
            self._open(role, line)
        return True

    def _trace(self, line: str) -> None:
        """A call trace begins; whose it is, an earlier line may have told."""
        role, self.next_role = self.next_role, Role.TRACE
        waiting = self.report.stacks[-1] if self.report.stacks else None
        if role is Role.NMI and waiting and waiting.role is role and not waiting.frames:
            self.stack = waiting
        else:
            self._open(role, line)

    def _open(self, role: Role, head: str) -> None:
        self.stack = Stack(role, head.strip())
        self.context = "task"
        self.report.stacks.append(self.stack)

    def _mark(self, line: str) -> bool:
        mark = context_mark(line)
        if mark is None or self.stack is None:
            return False
        what, begins = mark
        self.context = _CONTEXTS.get(what, "task") if begins else "task"
        return "+0x" not in line

    def _registers(self, line: str) -> bool:
        at = parse_instruction(line)
        if at:
            self.report.registers = self.report.registers or line
            self._instruction(at)
            return True
        link = parse_link(line)
        if link:
            self.report.link = self.report.link or (link if link.function else None)
        return link is not None

    def _instruction(self, at: Frame) -> None:
        """In the middle of a stack it is where an interrupt came in; before it, where the fault is."""
        stack = self.stack
        if stack and stack.role is Role.NMI and not stack.frames:
            stack.instruction = stack.instruction or at
        elif stack and stack.frames and stack.role in {Role.TRACE, Role.NMI, Role.ACCESS}:
            if at.function:
                stack.frames.append(replace(at, interrupted=True))
        elif not any(known.frames and known.role is Role.TRACE for known in self.report.stacks):
            known_at = self.report.instruction
            if known_at is None or (
                known_at.function is None and at.function and known_at.address == at.address
            ):
                self.report.instruction = at
            elif known_at.function is None and at.function and known_at.address is not None:
                self.report.instruction = at if known_at.address > 0xFFFF else known_at

    def _add(self, entry: Frame, line: str) -> None:
        stack = self.stack
        assert stack is not None
        last = self.last
        if last and last.function == entry.function and entry.offset is None:
            entry = replace(entry, offset=last.offset, size=last.size, module=entry.module or last.module)
        self.last = parse_caller(line)
        stack.frames.append(replace(entry, context=self.context))

    def end_stack(self) -> None:
        """A stack is over. Of arm's traces the last caller has no line of its own."""
        if self.stack and self.last:
            self.stack.frames.append(replace(self.last, context=self.context))
        self.last = None
        self.stack = None
