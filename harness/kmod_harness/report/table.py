# SPDX-License-Identifier: MIT
"""Tables on the terminal: the closing table of a run, the kernels, the state of this host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from kmod_harness.kernels.resolve import KernelRow
from kmod_harness.report.rows import ResultRow, next_command, style_of, summary_line, unique
from kmod_harness.report.text import plain, seconds_text

_CELL_WIDTH = 12  # "build-failed", "passed 3.3 s"
_NAME_WIDTH = 15  # of a module, where five kernels have to stand beside it in 80 columns
_EVIDENCE_LINES = 12  # the rest is in the full log


def print_results(rows: Sequence[ResultRow], seconds: float, stream: TextIO) -> None:
    """Write the closing report of a run that took so many seconds: table, failures, warnings, summary."""
    console = Console(file=stream, highlight=False)
    for part in render_results(rows, seconds, console.width):
        # Soft wrapping leaves paths and commands whole, so that they can be copied.
        console.print(part, soft_wrap=isinstance(part, Text))


def render_results(rows: Sequence[ResultRow], seconds: float, width: int) -> Iterator[RenderableType]:
    """The parts of the closing report for a terminal of this width, in order."""
    yield from result_tables(rows, width)
    for row in rows:
        if row.bad:
            yield from _failure(row)
    yield from _remarks(rows)
    bad = any(row.bad for row in rows)
    yield Text(summary_line(rows, seconds), style="bold red" if bad else "bold green" if rows else "bold")


def result_tables(rows: Sequence[ResultRow], width: int) -> Iterator[Table]:
    """Modules down, kernels across; as many tables as it takes to fit the width."""
    modules = unique([row.module for row in rows])
    kernels = unique([row.kernel for row in rows])
    longest = max((len(name) for name in modules), default=0)
    roomy = longest + len(kernels) * (_CELL_WIDTH + 2) <= width
    gap = 2 if roomy else 1
    name_width = longest if roomy else min(longest, _NAME_WIDTH)
    at_once = max(1, (width - name_width) // (_CELL_WIDTH + gap))
    for first in range(0, len(kernels), at_once):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0), show_edge=False)
        table.add_column("module", overflow="fold", min_width=name_width, max_width=max(6, name_width))
        _fill(table, rows, modules, kernels[first : first + at_once])
        yield table


def _fill(table: Table, rows: Sequence[ResultRow], modules: Sequence[str], kernels: Sequence[str]) -> None:
    for kernel in kernels:
        table.add_column(Text(plain(kernel)), overflow="fold", max_width=_CELL_WIDTH)
    for module in modules:
        cells = [
            _cell([row for row in rows if row.module == module and row.kernel == kernel]) for kernel in kernels
        ]
        table.add_row(Text(plain(module)), *cells)


def _cell(rows: Sequence[ResultRow]) -> Text:
    """The outcome and how long it took, on two lines where one is too short."""
    if not rows:
        return Text("-", style="dim")
    cell = Text()
    for number, row in enumerate(rows):
        taken = "" if row.outcome == "skipped" else seconds_text(row.seconds)
        between = " " if len(row.outcome) + 1 + len(taken) <= _CELL_WIDTH else "\n"
        cell.append("\n" if number else "").append(row.outcome, style=style_of(row.outcome))
        cell.append(between + taken, style="dim")
    return cell


def _failure(row: ResultRow) -> Iterator[RenderableType]:
    yield Text("")
    yield Text.assemble(
        (row.outcome.replace("-", " ").upper(), style_of(row.outcome)),
        f" {plain(row.module)} on {plain(row.kernel)} ({seconds_text(row.seconds)})",
    )
    for reason in row.reasons:
        yield from _hanging("  - ", reason)
    hidden = len(row.evidence) - _EVIDENCE_LINES
    if hidden > 0:
        shown = (*row.evidence[: _EVIDENCE_LINES - 4], f"... {hidden + 1} lines ...", *row.evidence[-3:])
    else:
        shown = row.evidence
    for line in shown:
        yield from _hanging("  | ", line, style="dim")
    if row.log:
        yield Text(f"  full log: {row.log}")
    yield Text(f"  next: {next_command(row)}")


def _hanging(mark: str, text: str, style: str = "") -> Iterator[RenderableType]:
    """A mark and a text whose further lines are indented as far."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark), Text(plain(text), style=style))
    yield grid


def _remarks(rows: Sequence[ResultRow]) -> Iterator[RenderableType]:
    """Warnings, and why something was skipped; the same text of several kernels is told once."""
    kernels: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        texts = [("warning", text) for text in row.warnings]
        texts += [("note", text) for text in row.notes]
        if not row.bad and row.outcome != "passed":
            texts += [(row.outcome.replace("-", " "), text) for text in row.reasons]
        for word, text in texts:
            kernels.setdefault((word, row.module, text), []).append(row.kernel)
    if kernels:
        yield Text("")
    for (word, module, text), names in kernels.items():
        yield from _hanging(f"{word}: ", f"{module} on {', '.join(unique(names))}: {text}")
    yield Text("")


def kernel_table(rows: Sequence[KernelRow]) -> RenderableType:
    """For `invoke kernels`."""
    table = _plain_table("kernel", "release", "where", "compiler", "cached")
    for row in rows:
        where = row.suite if row.listed else "only in the cache"
        texts = (row.name, row.release or "-", where, row.compiler)
        table.add_row(*(Text(plain(text)) for text in texts), _cached(row))
    return table


def _cached(row: KernelRow) -> Text:
    if row.cached:
        return Text("yes", style="green")
    return Text("an older one", style="yellow") if row.cached_versions else Text("no", style="dim")


@dataclass(frozen=True)
class DoctorRow:
    """One thing that the harness needs of this host."""

    what: str
    state: str  # "ok", "missing", "limited"
    detail: str  # what was found, and what is limited by it
    mend: str = ""  # the command that mends it; "" when there is nothing to mend


_DOCTOR_STYLES = {"ok": "green", "missing": "bold red", "limited": "bold yellow"}


def doctor_table(rows: Sequence[DoctorRow]) -> RenderableType:
    """For `invoke doctor`; the commands that mend what is not ok are in `mending_commands`."""
    table = _plain_table("what", "state", "detail")
    for row in rows:
        state = Text(row.state, style=_DOCTOR_STYLES.get(row.state, ""))
        table.add_row(Text(plain(row.what)), state, Text(plain(row.detail)))
    return table


def mending_commands(rows: Sequence[DoctorRow]) -> list[str]:
    """What to type, without repetitions, in order."""
    return unique([plain(row.mend) for row in rows if row.mend and row.state != "ok"])


def print_doctor(rows: Sequence[DoctorRow], stream: TextIO) -> None:
    """Write the table and below it the commands that mend it, each whole on its line."""
    console = Console(file=stream, highlight=False)
    console.print(doctor_table(rows))
    commands = mending_commands(rows)
    if commands:
        console.print(Text("\nTo mend it:"))
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def _plain_table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
