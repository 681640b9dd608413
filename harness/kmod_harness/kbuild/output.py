# SPDX-License-Identifier: MIT
"""What a build's output says: errors, warnings, modpost's complaints. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from kmod_harness.module.expectation import WarningRule

PROBLEM_LINES = 60
TAIL_LINES = 20

_PLACE = re.compile(r"^(?:In file included from |\s+from )?(?P<file>[^\s:/][^\s:]*):(?:\d+| In | At )")
_ERROR = re.compile(r"^\S+?:(?:\d+:)?(?:\d+:)? (?:fatal )?error:|^\S*ld(?:\.\w+)?: |undefined reference to")
_BEFORE = re.compile(r"^(?:In file included from |\s+from )|: In function |: At top level:|: in expansion of ")
_CONTEXT = re.compile(r"^\s+(?:\d+ )?\s*\||: note: |^\s+(?:inlined )?from ")
_LINKER_WARNING = re.compile(r"^\S*ld(?:\.\w+)?: warning: ")
# The second: Debian's headers of some versions lack what kbuild tries sparse with.
_WARNING = re.compile(r"^\S+?:\d+:(?:\d+:)? warning: |^\S+?:\d+: C=\d specified, but ")
_OBJTOOL = re.compile(r"\bwarning: objtool: |^objtool: ")
# modpost's own; the first form since v5.14, the others before and from kbuild itself.
_MODPOST = re.compile(r"^(?:WARNING|ERROR)(?:: modpost)?: |^\s*(?:see|Use) .*Module\.symvers")
_NOISE = re.compile(
    r"^\s+(?:CC|LD|AR|AS|MODPOST|CLEAN|CALL|DESCEND|CHECK|HOSTCC)\b|^make(?:\[\d+\])?: (?:Enter|Leav)"
    r"|^make(?:\[\d+\])?: Target '.*' not remade because of errors|^kmod-harness: "
)
_CAUSE = re.compile(
    r"\*\*\* (?!\[)|: (?:command )?not found$|No rule to make target|Permission denied|Read-only file system"
    r"|No such file or directory|[Ee]rror: |syntax error"
)
_KBUILD_FAILED = re.compile(
    r"\*\*\* .*(?:/scripts/Makefile\.\w+:\d+:|\bmodules\]|__sub-make\])|^ERROR: modpost"
)
# The kernel was made with another patch level of the same compiler: no matter of the module.
_COMPILER_NOTE = re.compile(
    r"the compiler differs from the one used|^\s+(?:The kernel was built by|You are using):"
)
# Warnings with which a module cannot be what it should be. All others are told.
FATAL = (
    WarningRule(r"^WARNING.* undefined!", fails=True, reason="the kernel has no such symbol"),
    WarningRule(
        "missing MODULE_LICENSE", fails=True, reason="without a licence the kernel refuses most symbols"
    ),
    WarningRule(r"Module\.symvers", fails=True, reason="symbols are unknown"),
    WarningRule(r"^ERROR", fails=True, reason="modpost calls it an error"),
    WarningRule(r"C=\d specified, but ", fails=False, reason="a check that was asked for did not take place"),
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


def find_problems(lines: Sequence[str], *, failed: bool, rules: Sequence[WarningRule] = ()) -> list[str]:
    """Why the build is no good: errors of compiler, linker and modpost, and warnings that count as such.

    rules: which warnings do; the first that matches decides, then FATAL. failed: make ended with an error, so
    that there must be a reason; when none is recognised, it is the last lines, the most telling one first.
    """
    problems = _error_blocks(lines)
    problems += [line for line in _warning_lines(lines) if _fails(line, rules)]
    if failed and not problems:
        problems = _tail(lines)
    return problems[:PROBLEM_LINES]


def _fails(line: str, rules: Sequence[WarningRule]) -> bool:
    rule = next((rule for rule in (*rules, *FATAL) if re.search(rule.pattern, line)), None)
    return rule is not None and rule.fails


def _tail(lines: Sequence[str]) -> list[str]:
    """The last lines; before them the first of those that name a cause."""
    last = [line for line in lines if line.strip() and not _NOISE.match(line)][-TAIL_LINES:]
    cause = next((line for line in last if _CAUSE.search(line)), None)
    return [cause, *(line for line in last if line is not cause)] if cause else last


def headline(problems: Sequence[str]) -> str | None:
    """The line that says most: the first error, where the first lines only say what it is about."""
    before = next((index for index, line in enumerate(problems) if not _BEFORE.search(line)), 0)
    return problems[before] if problems else None


def has_errors(lines: Sequence[str]) -> bool:
    """Whether the compiler, the linker or modpost have said why."""
    return bool(_error_blocks(lines)) or any(line.startswith("ERROR: modpost") for line in lines)


def kbuild_failed(lines: Sequence[str]) -> bool:
    """Whether make says that a rule of the kernel's build failed, or modpost that a module is no good."""
    return any(_KBUILD_FAILED.search(line) for line in lines)


def _error_blocks(lines: Sequence[str]) -> list[str]:
    result: list[str] = []
    before: list[str] = []
    inside = False
    for line in lines:
        if _ERROR.search(line) and not _LINKER_WARNING.match(line):
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


def _warning_lines(lines: Sequence[str]) -> list[str]:
    """What compiler, objtool, linker and modpost warn of, one line each, each once."""
    kinds = (_WARNING, _OBJTOOL, _MODPOST, _LINKER_WARNING)
    found = (line for line in lines if any(kind.search(line) for kind in kinds))
    return list(dict.fromkeys(line for line in found if not _COMPILER_NOTE.search(line)))


def find_warnings(lines: Sequence[str], rules: Sequence[WarningRule] = ()) -> list[str]:
    """The warnings that do not fail the build, one line each, each once."""
    return [line for line in _warning_lines(lines) if not _fails(line, rules)]


def undefined_symbols(lines: Sequence[str]) -> list[str]:
    """The symbols that modpost has not found, each once."""
    new = (re.match(r'(?:ERROR|WARNING): modpost: "(\w+)" \[.*\] undefined!', line) for line in lines)
    old = (re.match(r"(?:ERROR|WARNING): modpost: .*symbol '(\w+)' undefined!", line) for line in lines)
    return list(dict.fromkeys(match[1] for match in (*new, *old) if match))
