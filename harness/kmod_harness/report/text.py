# SPDX-License-Identifier: MIT
"""Text as every report shows it."""

from __future__ import annotations

import io
import re
from typing import TextIO

_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def show_everything(stream: TextIO) -> None:
    """Let a stream write what its encoding (ASCII in the C locale) has not as an escape, instead of failing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def plain(text: str) -> str:
    """One line without terminal codes and control characters: a guest's log must not steer our terminal."""
    return _CONTROL.sub(" ", _TERMINAL_CODE.sub("", text).replace("\t", "    "))


def seconds_text(seconds: float) -> str:
    """A time as people read it: "0.4 s", "12 s", "3 min 20 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
