# SPDX-License-Identifier: MIT
"""Lines of the kernel log, wherever they come from: /dev/kmsg, a console, a file that somebody else kept."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kmod_harness.target.kmsg import KernelRecord, unescape
from kmod_harness.verdict.prefixes import (
    AFTER_STAMP,
    DMESG_FACILITY,
    FIELD_OF_TEXT,
    INNER_STAMP,
    KMSG_CALLER,
    KMSG_RECORD,
    LAVA_LINE,
    LETTERED,
    PLAIN_STAMP,
    RARE,
    STAMPS,
    TIME_OF_LETTERS,
    TIMED,
    TIMES,
    UNTIMED,
    Origin,
    Wrapper,
)

# printk cuts a record at 1 kB and a console line at 2 kB; what is longer is no line of the kernel.
LONGEST = 2048
_WIDEST_PREFIX = 300
_MAX_WRAPPERS = 4  # syslog in a CI log in a mail
_TERMINAL_CODE = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[\]_P^][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])|[\x00\x07\x08\ufeff]"
)
_CODES = frozenset("\x1b\x00\x07\x08\ufeff")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\ufeff]")
_LINE_END = re.compile(r"[\r\n]+")
_Wrappers = tuple[re.Pattern[str], tuple[Origin, ...]]


def _combined(time: str | None, untimed: Iterable[Wrapper]) -> _Wrappers:
    """One expression for what may begin a line; the number of its last group tells which row matched."""
    rows: list[Wrapper] = []
    ways = []
    for wrapper in untimed:
        ways.append(f"(?P<w{len(rows)}>{wrapper.pattern})")
        rows.append(wrapper)
    after = []
    for wrapper in TIMED if time else ():
        after.append(f"(?P<w{len(rows)}>{wrapper.pattern})")
        rows.append(wrapper)
    if time:
        ways.append(f"(?:{time})(?:{'|'.join(after)})")
    return re.compile("|".join(ways)), tuple(row.origin for row in rows)


def _by_first_character() -> dict[str, _Wrappers]:
    times = {character: time for characters, time in TIMES for character in characters}
    untimed = {character: rows for characters, rows in UNTIMED for character in characters}
    return {
        character: _combined(times.get(character), untimed.get(character, ()))
        for character in {*times, *untimed}
    }


_WRAPPERS = _by_first_character()
_LETTERED = _combined(TIME_OF_LETTERS, LETTERED)
_RARE = tuple((needed, re.compile(wrapper.pattern)) for needed, wrapper in RARE)
_STAMPS = {
    character: tuple(stamp.pattern for stamp in STAMPS if character in stamp.first)
    for character in {character for stamp in STAMPS for character in stamp.first}
}


class Line(NamedTuple):
    """One line of the kernel log."""

    text: str  # without prefix and line end; leading spaces are kept, they mark call traces
    seconds: float | None  # since boot; None: the log has no times
    certain: bool  # surely printed by the kernel (a record, or with its stamp); else perhaps by a program
    caller: str | None = None  # "T123" the task, "C0" the CPU in an interrupt; None: the log does not tell


def kernel_lines(source: Iterable[KernelRecord | str]) -> Iterator[Line]:
    """What the kernel printed, and what it may have printed, in order.

    Records are split into their lines. Of other lines, whatever stands before the kernel's words is taken
    away: times, levels, syslog's and CI systems' prefixes, quote marks, terminal codes, carriage returns. A
    line that another program surely wrote is left out; one that nobody signs is not `certain`. Takes linear
    time and keeps nothing.
    """
    for item in source:
        if isinstance(item, KernelRecord):
            for text in item.text.split("\n"):
                yield Line(text.rstrip(), item.seconds, certain=True, caller=item.caller)
            continue
        # The usual case first: one line with printk's own time.
        if "&lt;" in item or "&gt;" in item:
            item = html.unescape(item)  # noqa: PLW2901 (a log saved from a web page)
        if _CONTROLS.search(item) is None:
            plain = PLAIN_STAMP.match(item)
            if plain:
                yield _after_stamp(item[plain.end() : LONGEST].rstrip(), float(plain[1]), plain[2])
                continue
            line = _line_of(item[:LONGEST].rstrip())
            if line and (line.text or line.certain):
                yield line
            continue
        bare = item if _CODES.isdisjoint(item) else _TERMINAL_CODE.sub("", item)
        for text in _LINE_END.split(bare):
            line = _line_of(text[:LONGEST].rstrip())
            if line and (line.text or line.certain):
                yield line


def _line_of(text: str) -> Line | None:
    """The line, or None when another program signed it."""
    if text[:1] in " \t" and len(text) > 1:  # a whole log may be indented, but so are entries of traces
        shifted = text.lstrip()
        if PLAIN_STAMP.match(shifted) or _unwrapped(shifted):
            text = shifted
    for _ in range(_MAX_WRAPPERS):
        stamped = _stamped(text)
        if stamped:
            return stamped
        wrapper = _unwrapped(text)
        if wrapper is None:
            break
        length, origin = wrapper
        if origin is Origin.PROGRAM:
            return None
        text = text[length:]
        if origin is Origin.KERNEL:
            return _stamped(text) or Line(text, None, certain=True)
    return _inside(text)


def _unwrapped(text: str) -> tuple[int, Origin] | None:
    """How long the outermost wrapper is, and who it says is speaking."""
    first = text[:1]
    known = _LETTERED if first.isalpha() else _WRAPPERS.get(first)
    found = known[0].match(text) if known else None
    if known and found:
        assert found.lastgroup is not None
        return found.end(), known[1][int(found.lastgroup[1:])]
    for needed, pattern in _RARE:
        if needed not in text:
            continue
        found = pattern.match(text)
        if found:
            return found.end(), Origin.OPEN
    return None


def _inside(text: str) -> Line:
    """A line that begins with nothing known: perhaps the kernel's words stand further on."""
    if text[:1] in {"{", "-"} or text.lstrip()[:1] in {'"', "M"}:
        told = _structured(text)
        if told:
            return told
    bracket = text.find("[", 0, _WIDEST_PREFIX)
    inner = INNER_STAMP.search(text, max(0, bracket - 5), _WIDEST_PREFIX) if bracket >= 0 else None
    if inner:
        return Line(text[inner.end() :], float(inner["time"]), certain=True, caller=inner["caller"])
    return Line(text, None, certain=False)


def _stamped(text: str) -> Line | None:
    """The line when it begins with a stamp of the kernel's own."""
    first = text[:1]
    if first in "[<":
        found = PLAIN_STAMP.match(text)
        if found:
            return _after_stamp(text[found.end() :], float(found["time"]), found["caller"])
    elif first.isdigit():
        record = KMSG_RECORD.match(text)
        if record:
            caller = KMSG_CALLER.search(record["more"] or "")
            told = unescape(text[record.end() :])
            return Line(told, int(record["time"]) / 1e6, certain=True, caller=caller[1] if caller else None)
    elif first in "kumdaslncfr" and first:
        facility = DMESG_FACILITY.match(text)
        if facility:
            rest = text[facility.end() :]
            return _stamped(rest) or Line(rest, None, certain=True)
    for pattern in _STAMPS.get(first, ()):
        found = pattern.match(text)
        if found and found.end():
            groups = found.groupdict()
            seconds = groups.get("time")
            return _after_stamp(text[found.end() :], float(seconds) if seconds else None, groups.get("caller"))
    return None


def _after_stamp(text: str, seconds: float | None, caller: str | None) -> Line:
    """The line whose stamp is off. A program's line that journalctl has stamped is left empty."""
    found = AFTER_STAMP.match(text)
    if found is None:
        return Line(text, seconds, certain=True, caller=caller)
    if found["program"]:
        return Line("", seconds, certain=True, caller=caller)
    groups = found.groupdict()
    task, cpu = (groups[f"{what}1"] or groups[f"{what}2"] or groups[f"{what}3"] for what in ("pid", "cpu"))
    if task:
        caller = f"T{task}" if task != "0" else f"C{cpu}"
    return Line(text[found.end() :], seconds, certain=True, caller=caller)


def _structured(text: str) -> Line | None:
    """A line of JSON or YAML that holds one of the kernel's."""
    lava = LAVA_LINE.match(text)
    if lava:
        return _stamped(lava["text"]) or Line(lava["text"], None, certain=False)
    field = FIELD_OF_TEXT.match(text)
    if field:
        told = _unquoted(field["text"]) if field["text"] else text[field.end() :]
        return _stamped(told) or Line(told, None, certain=True)
    if not text.startswith("{") or '"MESSAGE"' not in text:
        return None
    entry = re.search(r'"MESSAGE" ?: ?("(?:[^"\\]|\\.)*")', text)
    return Line(_unquoted(entry[1]), None, certain='"kernel"' in text) if entry else None


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text.strip('"')
