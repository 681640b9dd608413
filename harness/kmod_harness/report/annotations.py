# SPDX-License-Identifier: MIT
"""The results as workflow commands of GitHub Actions, which shows them beside the line of source.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kmod_harness.report.rows import ResultRow
from kmod_harness.report.text import plain


def annotate(rows: Sequence[ResultRow], top: Path) -> Iterator[str]:
    """Lines for standard output: an error for what failed, a warning for each thing that should be mended.

    top: the folder that paths of the source are told from.
    """
    for row in rows:
        where = f"{row.module} on {row.kernel}"
        if row.bad:
            told = "\n".join((*row.reasons, *row.evidence[:10])) or row.outcome
            yield _command("error", f"{where}: {row.outcome}", told, row.place, top)
        for text in row.warnings:
            yield _command("warning", where, text, None, top)


def _command(kind: str, title: str, text: str, place: tuple[str, int] | None, top: Path) -> str:
    words = {"title": title}
    if place:
        words = {"file": _from(place[0], top), "line": str(place[1]), **words}
    told = ",".join(f"{key}={_property(value)}" for key, value in words.items())
    lines = "\n".join(map(plain, text.splitlines()))
    return f"::{kind} {told}::{_data(lines)}"


def _from(file: str, top: Path) -> str:
    path = Path(file)
    return str(path.relative_to(top)) if path.is_relative_to(top) else file


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(plain(text)).replace(":", "%3A").replace(",", "%2C")
