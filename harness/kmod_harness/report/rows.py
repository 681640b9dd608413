# SPDX-License-Identifier: MIT
"""What a report is made of: one row for each module on each kernel."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base.errors import as_called
from kmod_harness.report.text import seconds_text
from kmod_harness.verdict.residue import Leftover
from kmod_harness.verdict.splat import Splat


@dataclass(frozen=True)
class ResultRow:
    """How one module did on one kernel."""

    module: str  # name, for people
    kernel: str  # as the user named it, e.g. "6.12"
    outcome: str  # a value of verdict.finding.Outcome, or "build-failed", "no-verdict", "skipped"
    seconds: float  # from the first step to the verdict
    reasons: tuple[str, ...] = ()  # why it did not pass, or why it was skipped
    evidence: tuple[str, ...] = ()  # the log lines that show it, oldest first
    log: Path | None = None  # the full log
    warnings: tuple[str, ...] = ()  # what should be mended although it passed
    module_argument: str = ""  # what --module takes; "": the name
    notes: tuple[str, ...] = ()  # what the reader should know, though nothing has to be mended
    required: bool = False  # whether it does not do that its device is absent
    release: str = ""  # uname -r; "": no kernel was there
    arch: str = ""  # uname -m
    compiler: str = ""  # e.g. "gcc-14"
    place: tuple[str, int] | None = None  # file and line of the source that the failure is about
    splats: tuple[Splat, ...] = ()  # all that were found, expected ones included
    left: tuple[Leftover, ...] = ()  # all that was left behind, expected things included
    next_command: str | None = None  # what to type next; None: the usual one for this outcome

    @property
    def bad(self) -> bool:
        """Whether something has to be done about it."""
        return self.outcome not in GOOD_OUTCOMES or (self.required and self.outcome == "no-device")


GOOD_OUTCOMES = ("passed", "no-device", "skipped")

# Order of the summary line, style on a terminal, sign for Markdown.
OUTCOMES: tuple[tuple[str, str, str], ...] = (
    ("passed", "green", "✅"),
    ("no-device", "yellow", "➖"),  # noqa: RUF001 - a sign, not a minus
    ("failed", "bold red", "❌"),
    ("crashed", "bold red", "❌"),
    ("panic", "bold red", "❌"),
    ("hang", "bold red", "❌"),
    ("lost", "bold red", "❌"),
    ("build-failed", "bold red", "❌"),
    ("no-verdict", "bold yellow", "⚠️"),
    ("skipped", "dim", "➖"),  # noqa: RUF001 - a sign, not a minus
)
_STYLES = {outcome: style for outcome, style, _ in OUTCOMES}
_SIGNS = {outcome: sign for outcome, _, sign in OUTCOMES}


def style_of(outcome: str) -> str:
    """The rich style of an outcome."""
    return _STYLES.get(outcome, "bold red")


def sign_of(outcome: str) -> str:
    """The sign that stands for an outcome in Markdown."""
    return _SIGNS.get(outcome, "❌")


def next_command(row: ResultRow) -> str:
    """The command that takes the reader further."""
    return as_called(_next_command(row))


def _next_command(row: ResultRow) -> str:
    if row.next_command:
        return row.next_command
    where = f"--kernel {shlex.quote(row.kernel)} --module {shlex.quote(row.module_argument or row.module)}"
    if row.outcome == "build-failed":  # building again would only fail again
        return f"less {shlex.quote(str(row.log))}" if row.log else f"invoke build {where}"
    if row.outcome == "no-verdict":
        return "invoke doctor"
    return f"invoke shell {where}"


def summary_line(rows: Sequence[ResultRow], seconds: float) -> str:
    """For example "12 passed, 1 failed, 1 no verdict in 34 s"."""
    counts = Counter(row.outcome for row in rows)
    known = [outcome for outcome, _, _ in OUTCOMES]
    order = known + sorted(outcome for outcome in counts if outcome not in known)
    parts = [f"{counts[outcome]} {outcome.replace('-', ' ')}" for outcome in order if counts[outcome]]
    return f"{', '.join(parts) or 'nothing tested'} in {seconds_text(seconds)}"


def unique(names: Sequence[str]) -> list[str]:
    """The names without repetitions, in order of appearance."""
    return list(dict.fromkeys(names))
