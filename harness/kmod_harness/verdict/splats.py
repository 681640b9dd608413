# SPDX-License-Identifier: MIT
"""Find the reports of kernel trouble ("splats") in a kernel log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.verdict.lines import Line, kernel_lines
from kmod_harness.verdict.patterns import Row, Span, Stage, find_row
from kmod_harness.verdict.shapes import (
    BODY,
    BOOT,
    END_MARK,
    INSIDE,
    KERNELS_OWN,
    OTHER_CPU,
    RULE_LINE,
    TRACE,
)
from kmod_harness.verdict.splat import Splat, make_splat

__all__ = ["Log", "Splat", "find_splats", "read_log"]


@dataclass(frozen=True)
class Log:
    """What a log tells."""

    splats: tuple[Splat, ...]  # in order of appearance
    understood: bool  # whether any line is surely the kernel's; else the absence of splats proves nothing
    lines: int  # how many were read
    dropped: int = 0  # reports beyond the first MOST_SPLATS, which are only counted


MOST_SPLATS = 2000


def find_splats(source: Iterable[KernelRecord | str]) -> tuple[Splat, ...]:
    """All splats of a log, in order of appearance.

    source: records of /dev/kmsg, or lines of a log in any form that lines.py knows. Reports that are woven
    together are told apart where the log names the caller of each line. A second oops inside a report and a
    panic after one are splats of their own. Lines that only contain words such as BUG or WARNING are none.
    """
    return read_log(source).splats


def read_log(source: Iterable[KernelRecord | str]) -> Log:
    """The same, and whether the log was understood at all. Time is linear, memory that of the reports."""
    scanner = _Scanner()
    for line in kernel_lines(source):
        scanner.feed(line)
    return scanner.finish()


_MAX_LINES = 400  # of one report; a longer one has lost its end
_MAX_STRANGE = 25  # lines in a row that do not belong to a report: its end was lost
_ENOUGH = 2  # lines that look like a kernel's, and the log is one
_PLAIN = "plain"  # the stream of the lines that nobody signs
_STALLS = {"soft-lockup", "hard-lockup", "rcu-stall"}


@dataclass
class _Report:
    """A report that is being read."""

    order: int  # number of its first line
    boot: int
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
        last, line = self.heads[-1]
        if last is row and line.text.endswith(" [inline]"):  # the same title, for the function around it
            return True
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

    def add(self, line: Line) -> None:
        """A line of the body, or one that may be part of it."""
        text = line.text
        inside = bool(INSIDE.match(text))
        self.lines.append(line)
        self.strange = 0 if inside else self.strange + 1
        self.body = self.body or bool(BODY.match(text))
        self.traced = self.traced or bool(TRACE.match(text))
        self.marked = self.marked or bool(END_MARK.match(text))

    def naming(self) -> tuple[Row, Line]:
        """The line that names the kind: the first stage after OPENING."""
        named = [head for head in self.heads if head[0].stage is not Stage.OPENING] or self.heads
        first = min(named, key=lambda head: head[0].stage)[0]
        return [head for head in named if head[0] is first][-1]

    @property
    def weak(self) -> bool:
        """Whether nothing but the words of one line says that this is the kernel's."""
        return not self.lines[0].certain and not self.body

    def splat(self) -> Splat:
        row, title = self.naming()
        kept = self.lines[: len(self.lines) - self.strange]
        while kept and not kept[-1].text:
            kept.pop()
        return make_splat(row.kind, title.text, tuple(line.text for line in kept), kept[0], boot=self.boot)


@dataclass
class _Scanner:
    """Cuts a log into reports, one stream of lines for each caller."""

    found: list[tuple[int, bool, Splat]] = field(default_factory=list)  # order, weak, splat
    reports: dict[str, _Report] = field(default_factory=dict)
    rules: dict[str, Line] = field(
        default_factory=dict
    )  # a line of ===== just before: the first of some reports
    number: int = 0
    boot: int = 1
    certain: bool = False  # a line was surely the kernel's
    likely: int = 0  # how many unsigned lines are such as only kernels print
    dropped: int = 0

    def feed(self, line: Line) -> None:
        self.number += 1
        if line.certain:
            self.certain = True
            stream = line.caller or ""
        else:
            stream = _PLAIN
            self.likely += self.likely < _ENOUGH and bool(KERNELS_OWN.match(line.text))
        row = find_row(line.text, certain=line.certain)
        ended = False
        if row:
            self._begin(stream, row, line)
        elif self.reports:
            ended = self._continue(stream, line)
        if line.text[:1] == "=" and not ended and RULE_LINE.match(line.text):
            self.rules[stream] = line
        elif self.rules:
            self.rules.pop(stream, None)
        if line.text[:1] in "LB-" and BOOT.match(line.text):
            self._next_boot()

    def finish(self) -> Log:
        """The log is over, and so are the reports that are being read."""
        for stream in list(self.reports):
            self._close(stream)
        kept = [
            splat
            for _, weak, splat in sorted(self.found, key=lambda one: one[0])
            if not (weak and self.certain)
        ]
        understood = self.certain or self.likely >= _ENOUGH or bool(kept)
        return Log(tuple(kept), understood, self.number, self.dropped)

    def _next_boot(self) -> None:
        if self.number > 1:
            self.boot += 1
        for stream in list(self.reports):
            self._close(stream)

    def _keep(self, report: _Report) -> None:
        if len(self.found) < MOST_SPLATS:
            self.found.append((report.order, report.weak, report.splat()))
        else:
            self.dropped += 1

    def _close(self, stream: str) -> None:
        """The report that is being read in this stream, if any, is over."""
        report = self.reports.pop(stream, None)
        if report:
            for other in [name for name, same in self.reports.items() if same is report]:
                del self.reports[other]
            self._keep(report)

    def _begin(self, stream: str, row: Row, line: Line) -> None:
        report, rule = self.reports.get(stream), self.rules.get(stream)
        if report and report.takes_head(row):
            report.add_head(row, line)
        elif row.span is Span.LINE or (row.kind == "panic" and report and not (report.traced or report.marked)):
            # A panic that was asked for ("panic_on_warn set") stands before the trace of the report it is for.
            self._keep(_Report(self.number, self.boot, row.span, [line], [(row, line)]))
            return
        else:
            if report and rule and report.lines[-1] is rule:
                report.lines.pop()
            self._close(stream)
            report = _Report(self.number, self.boot, row.span, [rule] if rule else [], [])
            report.add_head(row, line)
            self.reports[stream] = report

    def _continue(self, stream: str, line: Line) -> bool:
        """The next line of a report, or the end of it. Whether the line was its closing line of =====."""
        report = self.reports.get(stream) or self._adopted(stream, line)
        if report is None:
            return False
        inside = bool(INSIDE.match(line.text))
        if not inside and (report.marked or (report.traced and report.span is Span.TRACE)):
            self._close(stream)
            return False
        report.add(line)
        ruled = report.span is Span.RULE and RULE_LINE.match(line.text) is not None
        if ruled or report.strange >= _MAX_STRANGE or len(report.lines) >= _MAX_LINES:
            self._close(stream)
        return ruled

    def _adopted(self, stream: str, line: Line) -> _Report | None:
        """The report of another stream that this line belongs to: what a CPU that was asked answers to a stall,
        and a report whose first line has lost its stamp.
        """
        if stream == _PLAIN:
            return None
        head = self.reports.get(_PLAIN)
        if head and not head.body and len(head.lines) == 1 and INSIDE.match(line.text):
            self.reports[stream] = self.reports.pop(_PLAIN)
            head.lines = [one._replace(certain=True) for one in head.lines]
            return head
        if stream and OTHER_CPU.match(line.text):
            for report in self.reports.values():
                if report.naming()[0].kind in _STALLS:
                    self.reports[stream] = report
                    return report
        return None
