# SPDX-License-Identifier: MIT
"""On which kernel of a row a module begins to fail: searched by halves, so that few have to be tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Border:
    """Two neighbours of a row of kernels, one of which passes; None for what there is not."""

    good: str | None
    bad: str | None
    unknown: tuple[str, ...]  # what lies between them, where no verdict was possible
    fixed: bool = False  # the good one comes after the bad one

    def sentence(self) -> str:
        """For people."""
        if self.good is None and self.bad is None:
            return "first bad kernel: not known, there was no verdict"
        if self.bad is None:
            return "first bad kernel: none, the oldest and the newest pass"
        if self.good is None:
            return f"first bad kernel: {self.bad}, the oldest; the newest fails too"
        between = f"; no verdict on {', '.join(self.unknown)}" if self.unknown else ""
        if self.fixed:
            return f"last bad kernel: {self.bad}; first that passes: {self.good}{between}"
        return f"first bad kernel: {self.bad}; last that passes: {self.good}{between}"


def search(names: Sequence[str], passes: Callable[[str], bool | None]) -> Border:
    """Where a row of kernels, oldest first, changes from passing to failing, or the other way round.

    passes: None where no verdict is possible; such a kernel is passed over. Asked once for each that matters:
    for both ends, then always for the middle one of those that are left.
    """
    low, begins = _first_verdict(names, range(len(names)), passes)
    high, ends = _first_verdict(names, range(len(names) - 1, low, -1), passes)
    if begins is None:
        return Border(None, None, tuple(names))
    if ends is None or begins == ends:
        last = names[low if ends is None else high]
        return Border(last, None, ()) if begins else Border(None, names[low], ())
    left = list(range(low + 1, high))
    while left:
        middle = left[len(left) // 2]
        verdict = passes(names[middle])
        left.remove(middle)
        if verdict is None:
            continue
        low, high = (middle, high) if verdict == begins else (low, middle)
        left = [one for one in left if low < one < high]
    good, bad = (low, high) if begins else (high, low)
    return Border(names[good], names[bad], tuple(names[low + 1 : high]), fixed=not begins)


def _first_verdict(
    names: Sequence[str], order: Sequence[int], passes: Callable[[str], bool | None]
) -> tuple[int, bool | None]:
    """The first of `order` on which a verdict is possible, and the verdict."""
    for number in order:
        verdict = passes(names[number])
        if verdict is not None:
            return number, verdict
    return len(names), None
