# SPDX-License-Identifier: MIT
"""What was measured, and the tables that show it. Pure: nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

BUSY_SHARE = 0.1  # of all cores in the hands of others: from here on a figure says little about us
HEADER = ("what", "goal", "min", "median", "n", "CPU", "peak", "others")
LEGEND = (
    "CPU: median of the CPU seconds that the row's processes used. peak: largest process, resident. "
    "others: share of all cores that processes of others used meanwhile."
)


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    value: float  # in the row's unit
    cpu: float = 0.0  # CPU seconds used by us and all our processes
    others: float = 0.0  # 0..1: share of all cores that other processes used meanwhile
    peak: float = 0.0  # MiB resident in the largest process; 0: not measured


@dataclass(frozen=True)
class Row:
    """All samples of one thing."""

    name: str  # for --only
    what: str
    unit: str  # "s" or "MiB"
    goal: float | None  # the largest value that is good; None: there is no goal
    samples: tuple[Sample, ...] = ()
    discarded: int = 0  # samples thrown away because others used the machine
    note: str = ""  # why there are no samples, or fewer than wanted

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return min(sample.value for sample in self.samples)

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(sample.value for sample in self.samples)

    @property
    def others(self) -> float:
        """Mean share of all cores that others used, 0..1."""
        return statistics.fmean(sample.others for sample in self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median is within the goal; None without goal or samples."""
        return None if self.goal is None or not self.samples else self.median <= self.goal


def quantity(value: float, unit: str) -> str:
    """A value with its unit, as exact as it is worth: "6.4 ms", "0.297 s", "12.3 s", "594 MiB"."""
    if unit == "s" and value < 0.1:
        return f"{value * 1000:.1f} ms"
    if unit == "s":
        return f"{value:.3f} s" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value:.0f} {unit}"


def goal_text(goal: float | None, unit: str) -> str:
    """A goal as people wrote it: "0.4 s", "1536 MiB"."""
    return "" if goal is None else f"{goal:g} {unit}"


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts, in the order of HEADER."""
    goal = goal_text(row.goal, row.unit)
    if not row.samples:
        return (row.what, goal, "-", "-", "0", "", "", "")
    peak = max(sample.peak for sample in row.samples)
    return (
        row.what,
        goal,
        quantity(row.minimum, row.unit),
        quantity(row.median, row.unit),
        str(len(row.samples)),
        quantity(statistics.median(sample.cpu for sample in row.samples), "s"),
        quantity(peak, "MiB") if peak else "",
        f"{row.others:.0%}",
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal: the median is green within the goal and red beyond it."""
    result = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title in HEADER:
        words = title == "what"
        result.add_column(title, justify="left" if words else "right", no_wrap=not words)
    styles = {True: "bold green", False: "bold red", None: ""}
    for row in rows:
        texts = [Text(text) for text in cells(row)]
        texts[3].stylize(styles[row.met])
        texts[-1].stylize("bold yellow" if row.samples and row.others > BUSY_SHARE else "dim")
        result.add_row(*texts)
    return result


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; a median beyond its goal is bold."""
    lines = ["| " + " | ".join(HEADER) + " |", "| --- |" + " ---: |" * (len(HEADER) - 1)]
    for row in rows:
        texts = [text.replace("|", "\\|") for text in cells(row)]
        if row.met is False:
            texts[3] = f"**{texts[3]}**"
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def remarks(rows: Sequence[Row]) -> list[str]:
    """What has to be said beside the table: why rows are empty, what was thrown away, who disturbed."""
    result = [f"{row.name}: {row.note}" for row in rows if row.note]
    for row in rows:
        if row.discarded:
            result.append(f"{row.name}: {row.discarded} samples thrown away, the machine was busy")
        elif row.samples and row.others > BUSY_SHARE:
            result.append(f"{row.name}: others used {row.others:.0%} of the machine: measure again")
    return result
