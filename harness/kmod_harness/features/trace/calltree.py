# SPDX-License-Identifier: MIT
"""The way out of a module as a commented tree, or of two kernels side by side. Pure: steps in, text out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from kmod_harness.features.trace.way_out import Shown, Taken
from kmod_harness.report.text import plain

NO_CALL = "no call is seen: inlined, or hidden from ftrace"
LEGEND = (
    "Times in milliseconds, tracing included: begin, duration.\n"
    "+ marks a call that the text of Linux 5.15 does not have there, or not under this name."
)


def tree(title: str, steps: Sequence[Taken]) -> str:
    """One kernel's way, with a comment at each step."""
    lines = [title, *LEGEND.split("\n"), ""]
    for number, taken in enumerate(steps, 1):
        lines.append(f"{number:2}. {taken.step.title}: {taken.step.meaning}")
        lines += [f"      {_call(call)}" for call in taken.calls]
        lines += [f"              # {note}" for note in taken.notes]
        if not taken.calls:
            lines.append(f"              - {NO_CALL}")
    return "".join(f"{plain(line).rstrip()}\n" for line in lines)


def _call(call: Shown) -> str:
    mark = " " if call.new is None else "+"
    known = f"  ({call.new})" if call.new else ""
    return f"{call.at:8.3f} {call.milliseconds:8.3f}  {'   ' * call.depth}{mark} {_named(call)}{known}"


def _named(call: Shown) -> str:
    return f"{call.name} x{call.times}" if call.times > 1 else call.name


def side_by_side(titles: tuple[str, str], left: Sequence[Taken], right: Sequence[Taken]) -> str:
    """Two kernels' ways: what both call in one line, what only one calls with a - in the other's column."""
    rows = [("", *titles)]
    for number, (one, other) in enumerate(zip(left, right, strict=True), 1):
        rows.append((f"{number:2}. {one.step.title}", _total(one), _total(other)))
        rows += [
            (f"      {'   ' * depth}{name}", here, there) for depth, name, here, there in _paired(one, other)
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
    return "".join(f"{plain(line).rstrip()}\n" for line in lines)


def _total(taken: Taken) -> str:
    return f"{taken.milliseconds:.3f} ms" if taken.calls else "not seen"


def _paired(one: Taken, other: Taken) -> Iterator[tuple[int, str, str, str]]:
    """(depth, name, duration here, duration there), in an order that both can agree on."""
    here, there = one.calls, other.calls
    keys = [[(call.depth, call.name) for call in calls] for calls in (here, there)]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if kind == "equal":
            for first, second in zip(here[a:b], there[c:d], strict=True):
                yield first.depth, _named(first), _time(first), _time(second)
        else:
            for call in here[a:b]:
                yield call.depth, _named(call), _time(call), "-"
            for call in there[c:d]:
                yield call.depth, _named(call), "-", _time(call)


def _time(call: Shown) -> str:
    return f"{call.milliseconds:.3f}"
