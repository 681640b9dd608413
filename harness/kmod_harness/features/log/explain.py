# SPDX-License-Identifier: MIT
"""`explain-log`: read kernel logs from anywhere and tell what went wrong in them, and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from kmod_harness.base.errors import Exit
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.verdict.frames import Frame
from kmod_harness.verdict.generic import Skip, find_skip
from kmod_harness.verdict.reader import read_lines
from kmod_harness.verdict.source import Place, Symbols, source_lines
from kmod_harness.verdict.splats import Log, Splat, read_log

SCHEMA = "kmod-harness/explain-log/1"  # docs/explain-log.md; a field that changes its meaning makes it 2
Source = Callable[[], Iterable[KernelRecord | str]]


@dataclass(frozen=True)
class Report:
    """A splat, and how often the log has it."""

    splat: Splat  # the first of them
    times: int


def explain(sources: Sequence[tuple[str, Source]], symbols: Symbols, out: TextIO, *, as_json: bool) -> Exit:
    """Read each source, given as its name and what yields its lines, and print what it tells.

    Returns 1 when there is a report in any, else 2 when one of them was not understood, else 0. A log that was
    not understood is never called clean. Raises UsageError for a source that cannot be read.
    """
    logs = [(name, read_log(read())) for name, read in sources]
    if as_json:
        told = [_as_object(name, log, symbols) for name, log in logs]
        print(json.dumps({"schema": SCHEMA, "logs": told}, indent=1), file=out)
    else:
        for number, (name, log) in enumerate(logs):
            print(*([""] if number else []), *_as_text(name, log, symbols), sep="\n", file=out)
    if any(log.splats for _, log in logs):
        return Exit.CHECK_FAILED
    return Exit.OK if all(log.understood for _, log in logs) else Exit.NO_VERDICT


def file_source(path: str) -> tuple[str, Source]:
    """A file, or "-" for standard input."""
    return ("standard input" if path == "-" else path), lambda: read_lines(path)


def fold(splats: Iterable[Splat]) -> list[Report]:
    """The same report again, except for times, addresses and task, is only counted."""
    seen: dict[tuple[object, ...], list[Splat]] = {}
    for splat in splats:
        path = tuple(frame.function for frame in splat.frames)
        seen.setdefault((splat.kind, splat.summary, path or splat.title), []).append(splat)
    return [Report(same[0], len(same)) for same in seen.values()]


# ---- text ------------------------------------------------------------------------------------------------


def _as_text(name: str, log: Log, symbols: Symbols) -> Iterator[str]:
    if not log.understood:
        why = f"none of its {log.lines} lines is known to be a kernel's" if log.lines else "it is empty"
        yield f"{name}: not understood: {why}"
        return
    if not log.splats:
        yield f"{name}: clean: no report in {log.lines} lines"
        return
    reports = fold(log.splats)
    more = f" ({log.dropped} more were only counted)" if log.dropped else ""
    yield f"{name}: {len(log.splats)} report{'s' * (len(log.splats) > 1)} in {log.lines} lines{more}"
    for number, report in enumerate(reports, 1):
        yield f"{number}. {_headline(report)}"
        yield from (f"   {line}" for line in _details(report.splat, symbols))


def _headline(report: Report) -> str:
    splat = report.splat
    when = [f"{splat.seconds:.6f} s"] if splat.seconds is not None else []
    when += [f"boot {splat.boot}"] if splat.boot > 1 else []
    when += [f"{report.times} times"] if report.times > 1 else []
    return splat.summary + (f" ({', '.join(when)})" if when else "")


def _details(splat: Splat, symbols: Symbols) -> Iterator[str]:
    yield splat.title
    facts = [
        f"task {splat.task or '?'}/{splat.pid}" if splat.pid is not None else "",
        f"CPU {splat.cpu}" if splat.cpu is not None else "",
        {"irq": "in an interrupt", "nmi": "in an NMI"}.get(splat.context, ""),
        f"address {splat.address}" if splat.address else "",
        f"waits for a lock that {splat.holder} holds" if splat.holder else "",
    ]
    if told := ", ".join(fact for fact in facts if fact):
        yield told
    if splat.module is None:
        yield "no module: " + ("the kernel's own code" if splat.function else "nobody who is known")
    yield from source_lines(splat, symbols)
    for origin in splat.origins:
        module = f" [{origin.module}]" if origin.module else ""
        yield f"{origin.role}: {origin.function or 'nobody who is known'}{module}"
    yield from symbols.complaints(splat.module)


# ---- JSON ------------------------------------------------------------------------------------------------


def _as_object(name: str, log: Log, symbols: Symbols) -> dict[str, Any]:
    return {
        "source": name,
        "understood": log.understood,
        "lines": log.lines,
        "uncounted": log.dropped,
        "reports": [_report_object(report, symbols) for report in fold(log.splats)],
    }


def _report_object(report: Report, symbols: Symbols) -> dict[str, Any]:
    splat = report.splat
    plain = (
        "title",
        "summary",
        "module",
        "function",
        "address",
        "task",
        "pid",
        "cpu",
        "context",
        "seconds",
        "boot",
    )
    return {
        "class": splat.kind,
        "subclass": splat.subkind,
        **{field: getattr(splat, field) for field in plain},
        "times": report.times,
        "holder": splat.holder,
        "at": _frame_object(splat.frame, symbols, exact=splat.exact) if splat.frame else None,
        "frames": [_frame_object(frame, symbols, exact=False) for frame in splat.frames],
        "origins": [
            {
                "role": origin.role,
                "function": origin.function,
                "module": origin.module,
                "frames": [_frame_object(frame, symbols, exact=False) for frame in origin.frames],
            }
            for origin in splat.origins
        ],
        "notes": list(symbols.complaints(splat.module)),
        "lines": list(splat.lines),
    }


def _frame_object(frame: Frame, symbols: Symbols, *, exact: bool) -> dict[str, Any]:
    skip = find_skip(frame.function) if frame.function and not frame.module else None
    return {
        "function": frame.function,
        "offset": frame.offset,
        "size": frame.size,
        "module": frame.module,
        "address": f"0x{frame.address:x}" if frame.address is not None else None,
        "doubtful": frame.doubtful,
        "context": frame.context,
        "passed_over": skip.name.lower() if isinstance(skip, Skip) else None,
        "places": [_place_object(place) for place in symbols.places(frame, exact=exact)],
    }


def _place_object(place: Place) -> dict[str, Any]:
    return {"function": place.function, "file": place.file, "line": place.line, "inlined": place.inlined}
