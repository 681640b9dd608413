# SPDX-License-Identifier: MIT
"""Records of the kernel log as /dev/kmsg gives them.

Format (Linux Documentation/ABI/testing/dev-kmsg): "prio,sequence,microseconds,flags[,...];text", followed by
lines that begin with a space and hold key=value pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import hexdigits


@dataclass(frozen=True)
class KernelRecord:
    """One record of the kernel log."""

    sequence: int  # 64-bit, counts up by one for each record
    level: int  # 0 (emerg) to 7 (debug)
    seconds: float  # since boot
    text: str  # without line end; escapes such as \\x0a undone
    caller: str | None = None  # "T123" the task, "C0" the CPU in an interrupt: CONFIG_PRINTK_CALLER


def unescape(text: str) -> str:
    """Undo the \\xNN escapes that the kernel uses for unprintable bytes (utf-8 is restored)."""
    if "\\x" not in text:
        return text
    raw = bytearray()
    position = 0
    while position < len(text):
        if text.startswith("\\x", position):
            digits = text[position + 2 : position + 4]
            if len(digits) == 2 and all(digit in hexdigits for digit in digits):
                raw.append(int(digits, 16))
                position += 4
                continue
        raw += text[position].encode()
        position += 1
    return raw.decode(errors="replace")


def parse_kmsg(dump: str) -> tuple[KernelRecord, ...]:
    """Parse what was read from /dev/kmsg; lines that are no records (dictionary lines) are left out."""
    records = []
    for line in dump.splitlines():
        head, semicolon, text = line.partition(";")
        fields = head.split(",")
        if not semicolon or line.startswith(" ") or len(fields) < 4 or not fields[0].isdigit():
            continue
        caller = next((more[7:] for more in fields[4:] if more.startswith("caller=")), None)
        records.append(
            KernelRecord(
                sequence=int(fields[1]),
                level=int(fields[0]) & 7,
                seconds=int(fields[2]) / 1e6,
                text=unescape(text),
                caller=caller,
            )
        )
    return tuple(records)
