# SPDX-License-Identifier: MIT
"""The results as data: one JSON document (docs/json.md), and the properties of a test in JUnit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kmod_harness.report.rows import ResultRow, next_command
from kmod_harness.verdict.residue import Leftover
from kmod_harness.verdict.splat import Splat

SCHEMA = "kmod-harness/vm-test/1"


def json_results(rows: Sequence[ResultRow], seconds: float) -> str:
    """The document. Ends with a line end."""
    document = {"schema": SCHEMA, "seconds": round(seconds, 3), "results": list(map(_row, rows))}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _row(row: ResultRow) -> dict[str, Any]:
    file, line = row.place or (None, None)
    return {
        "module": row.module,
        "argument": row.module_argument or row.module,
        "kernel": row.kernel,
        "release": row.release,
        "arch": row.arch,
        "compiler": row.compiler,
        "outcome": row.outcome,
        "bad": row.bad,
        "seconds": round(row.seconds, 3),
        "reasons": list(row.reasons),
        "evidence": list(row.evidence),
        "file": file,
        "line": line,
        "splats": list(map(_splat, row.splats)),
        "left": list(map(_left, row.left)),
        "warnings": list(row.warnings),
        "notes": list(row.notes),
        "log": str(row.log) if row.log else None,
        "next": next_command(row) if row.bad else None,
    }


def _splat(splat: Splat) -> dict[str, Any]:
    return {
        "class": splat.kind,
        "subclass": splat.subkind,
        "summary": splat.summary,
        "title": splat.title,
        "module": splat.module,
        "function": splat.function,
        "context": splat.context,
    }


def _left(left: Leftover) -> dict[str, Any]:
    return {"kind": left.kind, "name": left.name, "call": left.call}


def properties(row: ResultRow) -> list[tuple[str, object]]:
    """Of a test in JUnit: what the row knows."""
    known = [
        ("kernel", row.release),
        ("arch", row.arch),
        ("compiler", row.compiler),
        ("outcome", row.outcome),
        ("place", f"{row.place[0]}:{row.place[1]}" if row.place else ""),
        ("log", str(row.log or "")),
        *(("splat", splat.summary or splat.title) for splat in row.splats),
        *(("left", left.text) for left in row.left),
    ]
    return [(name, value) for name, value in known if value]
