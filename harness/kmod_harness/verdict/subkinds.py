# SPDX-License-Identifier: MIT
"""What exactly a report of a kind is about, in the kernel's words without what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Where a kind's detail stands. Groups named a, b, c are joined by blanks; `always` comes before them."""

    kind: str
    pattern: re.Pattern[str]  # matched at the start of a line of the report
    always: str = ""


def _row(kind: str, pattern: str, always: str = "") -> Row:
    return Row(kind, re.compile(pattern), always)


# The first row that matches, over the lines from the first on; of rows for two lines, both count (KASAN).
ROWS: tuple[Row, ...] = (
    _row("kasan", r"BUG: KASAN: (?P<a>[\w-]+) (?:in|on) "),
    _row("kfence", r"BUG: KFENCE: (?P<a>.{1,60}?) in "),
    _row("kmsan", r"BUG: KMSAN: (?P<a>[\w-]+) in "),
    _row("kcsan", r"BUG: KCSAN: (?P<a>[\w-]+) in "),
    _row("ubsan", r"UBSAN: (?P<a>.{1,60}?) in "),
    _row("lockdep", r"(?:WARNING: |\[? ?(?:BUG|INFO): )(?P<a>[^!\]]{1,80}?) ?(?:!|\]|$)"),
    _row("list-corruption", r"(?P<a>list_\w+)"),
    _row("refcount", r"refcount_t: (?P<a>[\w -]{1,40})"),
    _row("fortify", r"(?P<a>\w+): detected (?P<b>buffer overflow|field-spanning write)"),
    _row("fortify", r"detected (?P<b>buffer overflow) in (?P<a>\w+)"),
    _row("fortify", r"usercopy: Kernel memory (?P<a>exposure|overwrite) attempt"),
    _row("null-deref", r".*(?P<a>jump) to NULL"),
    _row("null-deref", r"#PF: supervisor instruction fetch", "jump to NULL"),
    _row("null-deref", r"#PF: supervisor (?P<a>read|write) access"),
    _row("null-deref", r".*NULL pointer dereference on (?P<a>read|write)"),
    _row("null-deref", r".* when (?P<a>read|write|execute)"),
    _row("null-deref", r"\s+CM = \d, WnR = 1", "write"),
    _row("null-deref", r"\s+CM = \d, WnR = 0", "read"),
    _row("null-deref", r"\s+EC = 0x21: IABT", "jump to NULL"),
    _row("page-fault", r".* when (?P<a>read|write|execute)"),
    _row("page-fault", r"\s+CM = \d, WnR = 1", "write"),
    _row("page-fault", r"\s+CM = \d, WnR = 0", "read"),
    _row("page-fault", r"#PF: supervisor (?P<a>read|write) access"),
    _row("page-fault", r"#PF: supervisor instruction fetch", "jump to nowhere"),
    _row("page-fault", r"KASAN: (?P<a>[\w-]+) in range"),
    _row("page-fault", r"kernel tried to execute NX-protected page", "jump into data"),
    _row("general-protection", r"KASAN: (?P<a>[\w-]+) in range"),
    _row("general-protection", r".*(?P<a>non-canonical address|segment-related)"),
    _row("slab-corruption", r"BUG .{1,80}?\): (?P<a>[A-Z][\w ]{1,40})"),
    _row("bad-page", r"BUG: (?P<a>Bad \S+ \S+|non-zero pgtables_bytes)"),
    _row("sched-while-atomic", r"BUG: (?P<a>scheduling while atomic|sleeping function|using \w+)"),
    _row("hung-task", r"INFO: task .{1,80}? blocked (?P<a>in I/O wait|on an? [\w-]+)"),
    _row("warning", r"WARNING: .*?(?P<a>[\w./+-]+\.[chS]:\d+)"),
    _row("bug", r"kernel BUG at (?P<a>\S+:\d+)"),
    _row("spinlock", r"BUG: \w+ (?P<a>[a-z ]{1,40}?) on CPU"),
    _row("debug-object", r"ODEBUG: (?P<a>[a-z]+ [a-z]+)"),
    _row("kobject", r".*: (?P<a>tried to \w+ an \w+ object)"),
    _row("panic", r"Kernel panic - not syncing: (?P<a>[A-Za-z][\w /-]{1,60})"),
)
_ACCESS = re.compile(r"(?P<what>Read|Write|Free) of size (?P<size>\d+) at addr ")
_SIZE = re.compile(r".*?(?P<size>\d+) byte (?P<what>read|write) of buffer size \d+")


def find_subkind(kind: str, title: str, lines: Sequence[str]) -> str | None:
    """E.g. "slab-use-after-free read of size 8"; None when the report says no more than its kind."""
    rows = [row for row in ROWS if row.kind == kind]
    found = next((told for row in rows for line in (title, *lines) if (told := _told(row, line))), None)
    access = next((hit for line in lines if (hit := _ACCESS.match(line) or _SIZE.match(line))), None)
    if found and access and kind in {"kasan", "fortify"}:
        return f"{found} {access['what'].lower()} of size {access['size']}"
    return found


def _told(row: Row, line: str) -> str | None:
    found = row.pattern.match(line)
    if found is None:
        return None
    words = [row.always, *(word for _, word in sorted(found.groupdict().items()) if word)]
    return " ".join(word for word in words if word) or None
