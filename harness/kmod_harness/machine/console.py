# SPDX-License-Identifier: MIT
"""The serial console: a file that QEMU writes and we read as it grows."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

# printk's optional "[   12.345678] " and "[  T123] " before the text.
_PREFIX = r"^(?:\[\s*\d+\.\d+\]\s*)?(?:\[\s*[TC]\d+\]\s*)?"
PANIC = re.compile(_PREFIX + r"Kernel panic - not syncing")
READY = "harness: ready"  # vm/guest/init.c

KEPT_LINES = 1000  # the file keeps all
LONGEST_LINE = 1 << 16  # bytes; printk's are shorter than 1100
CHUNK = 1 << 20  # bytes


class Console:
    """What the serial line says. Each byte is read once, and only the last lines stay in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")  # an earlier attempt may have left one
        self._stream = path.open("rb", buffering=0)
        self._pending = b""
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._panic: str | None = None
        self._ready = False

    def panic(self) -> str | None:
        """The first line that announces a kernel panic, or None."""
        self._poll()
        return self._panic

    def ready(self) -> bool:
        """Whether the guest has said that it accepts connections."""
        self._poll()
        return self._ready

    def tail(self, count: int = 20) -> tuple[str, ...]:
        """The last lines, an unfinished one included; at most KEPT_LINES."""
        self._poll()
        last = [self._pending.decode(errors="replace")] if self._pending else []
        return tuple([*self._last, *last][-count:])

    def close(self) -> None:
        """Stop reading; the file stays."""
        self._stream.close()

    def _poll(self) -> None:
        """Read what is new."""
        while data := self._stream.read(CHUNK):
            *complete, rest = (self._pending + data).split(b"\n")
            self._pending = rest[-LONGEST_LINE:]
            for raw in complete:
                self._look(raw.decode(errors="replace").rstrip("\r"))

    def _look(self, line: str) -> None:
        self._last.append(line)
        self._ready = self._ready or READY in line
        if self._panic is None and PANIC.match(line):
            self._panic = line
