# SPDX-License-Identifier: MIT
"""Lines of the kernel log, whether they come from /dev/kmsg or from a serial console."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kmod_harness.target.kmsg import KernelRecord

# What printk puts before a line: "[   12.345678] ", with CONFIG_PRINTK_CALLER "[   12.345678][  T123] ",
# and the level "<4>" where the raw buffer is read. Searched, not matched: a shell prompt may stand before it.
_PREFIX = re.compile(r"(?:<\d{1,3}>)?\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+[^\]]*\])? ?")
_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])")
_LINE_END = re.compile(r"[\r\n]+")


@dataclass(frozen=True)
class Line:
    """One line of the kernel log."""

    text: str  # without prefix and line end; leading spaces are kept, they mark call traces
    seconds: float | None  # since boot; None: the console shows no times
    certain: bool  # surely printed by the kernel (a record, or with a time); else perhaps by a program


def kernel_lines(source: Iterable[KernelRecord | str]) -> tuple[Line, ...]:
    """What the kernel printed, in order.

    Records are split into their lines. Of console lines, the prefix, carriage returns and terminal codes are
    taken away. As soon as one console line carries a time, all that do not are the output of programs and
    are left out; without any times every line may be the kernel's.
    """
    lines = [line for item in source for line in _lines_of(item)]
    timed = any(line.certain for line in lines)
    return tuple(line for line in lines if line.certain or not timed)


def _lines_of(item: KernelRecord | str) -> Iterator[Line]:
    if isinstance(item, KernelRecord):
        for text in item.text.split("\n"):
            yield Line(text.rstrip(), item.seconds, certain=True)
        return
    for text in _LINE_END.split(_TERMINAL_CODE.sub("", item)):
        prefix = _PREFIX.search(text)
        if prefix:
            yield Line(text[prefix.end() :].rstrip(), float(prefix[1]), certain=True)
        elif text.strip():
            yield Line(text.rstrip(), None, certain=False)
