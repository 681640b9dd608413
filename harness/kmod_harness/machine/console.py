# SPDX-License-Identifier: MIT
"""The serial console: a file that QEMU writes and we read as it grows."""

from __future__ import annotations

import re
from pathlib import Path

# printk's optional "[   12.345678] " and "[  T123] " before the text.
_PREFIX = r"^(?:\[\s*\d+\.\d+\]\s*)?(?:\[\s*[TC]\d+\]\s*)?"
PANIC = re.compile(_PREFIX + r"Kernel panic - not syncing")


class Console:
    """What the serial line has said so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")  # an earlier attempt may have left one
        self._stream = path.open("rb")
        self._pending = b""
        self.lines: list[str] = []

    def poll(self) -> list[str]:
        """The complete lines that are new since the last call, without line ends."""
        *complete, self._pending = (self._pending + self._stream.read()).split(b"\n")
        new = [line.decode(errors="replace").rstrip("\r") for line in complete]
        self.lines += new
        return new

    def panic(self) -> str | None:
        """The line that announces a kernel panic, or None."""
        self.poll()
        return next((line for line in self.lines if PANIC.match(line)), None)

    def tail(self, count: int = 20) -> tuple[str, ...]:
        """The last lines, an unfinished one included."""
        self.poll()
        last = [self._pending.decode(errors="replace")] if self._pending else []
        return tuple((self.lines + last)[-count:])

    def close(self) -> None:
        """Stop reading; the file stays."""
        self._stream.close()
