# SPDX-License-Identifier: MIT
"""What a build's output says: errors, warnings, modpost's complaints. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

PROBLEM_LINES = 60
TAIL_LINES = 20

_PLACE = re.compile(r"^(?:In file included from |\s+from )?(?P<file>[^\s:/][^\s:]*):(?:\d+| In | At )")
_ERROR = re.compile(r"^\S+?:(?:\d+:)?(?:\d+:)? (?:fatal )?error:|^\S*ld(?:\.\w+)?: |undefined reference to")
_BEFORE = re.compile(r"^(?:In file included from |\s+from )|: In function |: At top level:|: in expansion of ")
_CONTEXT = re.compile(r"^\s+(?:\d+ )?\s*\||: note: |^\s+(?:inlined )?from ")
# The second: Debian's headers of some versions lack what kbuild tries sparse with.
_WARNING = re.compile(r"^\S+?:\d+:(?:\d+:)? warning: |^\S+?:\d+: C=\d specified, but ")
# modpost's own; the first form since v5.14, the others before and from kbuild itself.
_MODPOST = re.compile(r"^(?:WARNING|ERROR)(?:: modpost)?: |^\s*(?:see|Use) .*Module\.symvers")
_NOISE = re.compile(
    r"^\s+(?:CC|LD|AR|AS|MODPOST|CLEAN|CALL|DESCEND|CHECK|HOSTCC)\b|^make\[\d+\]: (?:Enter|Leav)"
)
# The kernel was made with another patch level of the same compiler: no matter of the module.
_COMPILER_NOTE = re.compile(
    r"the compiler differs from the one used|^\s+(?:The kernel was built by|You are using):"
)


def name_files(lines: Sequence[str], folder: Path, files: Collection[str]) -> list[str]:
    """The same lines with the module's own files under their full path, wherever make ran."""
    named = []
    for line in lines:
        match = _PLACE.match(line)
        if match and match["file"].removeprefix("./") in files:
            start, end = match.span("file")
            line = f"{line[:start]}{folder / match['file']}{line[end:]}"  # noqa: PLW2901
        named.append(line)
    return named


def find_problems(lines: Sequence[str], *, failed: bool) -> list[str]:
    """Why the build is no good: the compiler's and modpost's own lines, with their context.

    Compiler warnings are no problem, modpost's are. failed: make ended with an error, so that there must
    be a reason; when none is recognised, it is the last lines.
    """
    problems = _error_blocks(lines)
    problems += [line for line in lines if _MODPOST.match(line)]
    if failed and not problems:
        problems = [line for line in lines if line.strip() and not _NOISE.match(line)][-TAIL_LINES:]
    return problems[:PROBLEM_LINES]


def _error_blocks(lines: Sequence[str]) -> list[str]:
    result: list[str] = []
    before: list[str] = []
    inside = False
    for line in lines:
        if _ERROR.search(line):
            result += [*before, line]
            before, inside = [], True
        elif _BEFORE.search(line):
            before.append(line)
            inside = False
        elif inside and _CONTEXT.search(line):
            result.append(line)
        else:
            inside = False
            before = [] if _WARNING.match(line) else before
    return result


def find_warnings(lines: Sequence[str]) -> list[str]:
    """The compiler's warnings, one line each, each once."""
    found = (line for line in lines if _WARNING.match(line) and not _COMPILER_NOTE.search(line))
    return list(dict.fromkeys(found))
