# SPDX-License-Identifier: MIT
"""The results as Markdown, for a README or the summary page of a CI run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kmod_harness.report.rows import ResultRow, next_command, sign_of, summary_line, unique
from kmod_harness.report.text import plain, seconds_text


def markdown_matrix(rows: Sequence[ResultRow], seconds: float | None = None) -> str:
    """A table, modules down and kernels across, and below it what went wrong. Ends with a line end.

    seconds: how long the run took; None leaves the summary line out.
    """
    parts = ["\n".join(_table(rows))]
    if seconds is not None:
        parts.append(summary_line(rows, seconds))
    parts += ["\n".join(_failure(row)) for row in rows if row.bad]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[ResultRow]) -> Iterator[str]:
    kernels = unique([row.kernel for row in rows])
    yield _line(["module", *map(_escape, kernels)])
    yield _line(["---"] * (len(kernels) + 1))
    for module in unique([row.module for row in rows]):
        cells = [
            "<br>".join(_cell(row) for row in rows if row.module == module and row.kernel == kernel)
            for kernel in kernels
        ]
        yield _line([_escape(module), *cells])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: ResultRow) -> str:
    return f"{sign_of(row.outcome)} {row.outcome} ({seconds_text(row.seconds)})"


def _failure(row: ResultRow) -> Iterator[str]:
    yield f"**{_escape(row.module)} on {_escape(row.kernel)}: {row.outcome}**"
    yield ""
    for reason in row.reasons:
        yield f"- {_escape(reason)}"
    if row.evidence:
        # A fence longer than any run of backticks in the log.
        fence = "`" * (max(len(run) for line in row.evidence for run in _backticks(line)) + 1)
        yield from ("", f"{fence}text", *map(plain, row.evidence), fence)
    yield from ("", f"Next: `{next_command(row)}`")


def _backticks(line: str) -> list[str]:
    runs = "".join(character if character == "`" else " " for character in line).split()
    return [*runs, "``"]


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
