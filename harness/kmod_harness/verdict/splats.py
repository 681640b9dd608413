# SPDX-License-Identifier: MIT
"""Find the reports of kernel trouble ("splats") in a kernel log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.verdict.blame import Blame, find_blame
from kmod_harness.verdict.lines import Line, kernel_lines
from kmod_harness.verdict.patterns import Row, Span, Stage, find_row


@dataclass(frozen=True)
class Splat:
    """One report of the kernel about a fault of its own."""

    kind: str  # one of vocabulary.SPLAT_KINDS, e.g. "null-deref"
    title: str  # the line that names the fault, as printed
    module: str | None  # the module it happened in, else the one that led there; None: none is named
    function: str | None  # where it happened (without offset); None: not named
    lines: tuple[str, ...]  # the whole report, without times
    seconds: float | None  # since boot; None: the console shows no times


def find_splats(source: Iterable[KernelRecord | str]) -> tuple[Splat, ...]:
    """All splats of a log, in order of appearance.

    source: records of /dev/kmsg, or lines of a serial console (with or without times, caller ids, carriage
    returns and lines of programs in between). A second oops inside a report and a panic after one are splats
    of their own. Lines that only contain words such as BUG or WARNING are none.
    """
    scanner = _Scanner()
    for line in kernel_lines(source):
        scanner.feed(line)
    scanner.close()
    return tuple(scanner.found)


# From these lines on, the head of a report is complete.
_BODY = re.compile(r"CPU: \d+ |RIP: |pc : |epc : |Call [Tt]race:|Modules linked in:|Hardware name: ")
_TRACE = re.compile(r"Call [Tt]race:|Backtrace:")
_END_MARK = re.compile(r"---\[ end ")
_RULE_LINE = re.compile(r"={10,}$")
# What the kernel prints inside a report.
_INSIDE = re.compile(
    "|".join(
        (
            r"\s|$|\[<|[<>?]|-{3,}|={10,}",  # trace entries, dumps, contexts, separating lines
            r"(?:RIP|EIP|Code|FS|CS|DS|PKRU|ORIG_RAX|EFLAGS|pstate|pc|lr|sp|ra|epc|gp|tp) ?: ",
            r"(?:R[A-Z0-9]{2}|E[A-Z]{2}|CR\d|DR\d|[xrast]\d+) *: ?[0-9a-f]",  # registers
            r"(?:CPU|Hardware name|Workqueue|Tainted|Modules linked in|Call [Tt]race): ?",
            r"(?:Backtrace|Kernel Offset): ?",
            r"(?:#PF: |PGD |Mem abort info|Data abort info|swapper pgtable|Internal error: |Stack : |KASAN: )",
            r"(?:task:|Process |NMI backtrace for cpu|Sending NMI|rcu: |Showing |Preemption disabled)",
            r"(?:hardirqs last|softirqs last|irq event stamp|INFO: lockdep is turned off|\d+ locks? held)",
            r"(?:other info|stack backtrace|handlers:|Disabling IRQ|Disabling lock debugging)",
            r"(?:Allocated |Freed |The buggy|Memory state|which belongs|Last potentially)",  # KASAN
            r"(?:Slab 0x|INFO: (?:Slab|Object) |Object |Redzone|Padding|Bytes b4)",
            r"(?:page: ?|page_type|raw: |head: )",
        )
    )
)
_MAX_LINES = 400  # of one report; a longer one has lost its end
_MAX_STRANGE = 25  # lines in a row that do not belong to a report: its end was lost


@dataclass
class _Report:
    """A report that is being read."""

    span: Span
    lines: list[Line]
    heads: list[tuple[Row, Line]]
    body: bool = False  # the head is complete
    traced: bool = False  # a call trace has begun
    marked: bool = False  # the end mark has been seen; only registers may follow
    strange: int = 0  # lines at the end that are perhaps not part of it

    def takes_head(self, row: Row) -> bool:
        """Whether a line that begins a report is rather the next line of this report's head."""
        if self.body or row.kind == "panic":
            return False
        stages = {head.stage for head, _ in self.heads}
        if row.stage is Stage.OPENING:
            return stages <= {Stage.OPENING, Stage.CAUSE}
        if row.stage is Stage.CAUSE:  # since 6.19 it may stand below the line with WARNING
            return stages <= {Stage.OPENING, Stage.HEADLINE} and not self.traced
        return row.stage > max(stages)

    def add_head(self, row: Row, line: Line) -> None:
        self.heads.append((row, line))
        self.lines.append(line)
        self.strange = 0
        if row.stage is not Stage.OPENING:
            self.span = row.span

    def naming(self) -> tuple[Row, Line]:
        """The line that names the kind: the first stage after OPENING."""
        named = [head for head in self.heads if head[0].stage is not Stage.OPENING] or self.heads
        return min(named, key=lambda head: head[0].stage)

    def splat(self) -> Splat:
        row, title = self.naming()
        kept = self.lines[: len(self.lines) - self.strange]
        while kept and not kept[-1].text:
            kept.pop()
        texts = tuple(line.text for line in kept)
        blame: Blame = find_blame(title.text, texts)
        return Splat(row.kind, title.text, blame.module, blame.function, texts, kept[0].seconds)


@dataclass
class _Scanner:
    """Cuts a log into reports."""

    found: list[Splat] = field(default_factory=list)
    report: _Report | None = None
    rule: Line | None = None  # a line of ===== just before: the first line of some reports

    def feed(self, line: Line) -> None:
        row = find_row(line.text, certain=line.certain)
        if row:
            self._begin(row, line)
        elif self.report:
            self._continue(self.report, line)
        self.rule = line if _RULE_LINE.match(line.text) else None

    def close(self) -> None:
        """The report that is being read, if any, is over."""
        if self.report:
            self.found.append(self.report.splat())
        self.report = None

    def _begin(self, row: Row, line: Line) -> None:
        if self.report and self.report.takes_head(row):
            self.report.add_head(row, line)
        else:
            if self.report and self.rule and self.report.lines[-1] is self.rule:
                self.report.lines.pop()
            self.close()
            self.report = _Report(row.span, [self.rule] if self.rule else [], [])
            self.report.add_head(row, line)
        if self.report.span is Span.LINE:
            self.close()

    def _continue(self, report: _Report, line: Line) -> None:
        inside = bool(_INSIDE.match(line.text))
        if not inside and (report.marked or (report.traced and report.span is Span.TRACE)):
            self.close()
            return
        report.lines.append(line)
        report.strange = 0 if inside else report.strange + 1
        report.body = report.body or bool(_BODY.match(line.text))
        report.traced = report.traced or bool(_TRACE.match(line.text))
        report.marked = report.marked or bool(_END_MARK.match(line.text))
        ruled = report.span is Span.RULE and _RULE_LINE.match(line.text)
        if ruled or report.strange >= _MAX_STRANGE or len(report.lines) >= _MAX_LINES:
            self.close()
