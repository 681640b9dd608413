# SPDX-License-Identifier: MIT
"""What a module's make files say, read without running them. Pure, and only for what to try and what to tell:
what they really do is seen when they run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KBUILD_FILES = ("Kbuild", "Makefile")  # in the order in which kbuild looks for them
MAKE_FILES = ("GNUmakefile", "makefile", "Makefile")  # and make itself

_ASSIGNED = r"\s*(?::::|::|:|\+|\?)?=\s*"
_OBJECTS = re.compile(
    rf"^\s*(?:export\s+|override\s+)*obj-(?P<kind>m|y|\$[({{]\w+[)}}]){_ASSIGNED}(?P<value>.*)$"
)
_OPTION = re.compile(r"^\s*(?:export\s+|override\s+)*(CONFIG_\w+)\s*(?::::|::|:|\+|\?)?=\s*(.*)$")
_DEFAULT_TARGET = re.compile(r"^(?!\.)([^\s:=#$%][^:=#]*?)\s*::?(?!=)")
_MAKE_IN = re.compile(r"\s(?:-C|--directory)[= ]?\s*[\"']?(?P<place>\$[({](?P<name>\w+)[)}](?![\w/])|\S+)")
_VARIABLE = re.compile(r"^\s*(?:export\s+|override\s+)*(\w+)\s*(?:::?:?|\?)?=\s*(.*)$")
# Variables that stand for the folder itself, whatever a make file sets them to.
FOLDERS = ("PWD", "CURDIR", "src", "obj", "M", "KBUILD_EXTMOD")
MAX_NESTED = 4  # of variables in the values of others
_MODULE = re.compile(r"\b(?:M|SUBDIRS|KBUILD_EXTMOD)=")
_WORD = re.compile(r"(?:\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\S)+")
# What a call of kbuild usually says; with anything else the author's own way is not the plain one.
_USUAL = re.compile(
    r"(?:M|SUBDIRS|KBUILD_EXTMOD|O|V|W|C|ARCH|CROSS_COMPILE|KERNELRELEASE|PWD|src|KBUILD_VERBOSE|CC|LD|LLVM)=.*"
    r"|-.*|@.*|modules|default|all|make|\$[({]MAKE[)}]|\$[({](?:MAKEFLAGS|MFLAGS|KERNEL_MAKE_ARGS|ARGS)[)}]"
)


@dataclass(frozen=True)
class MakeText:
    """One make file."""

    objects: tuple[str, ...] = ()  # stems in obj-m and obj-$(...): modules
    folders: tuple[str, ...] = ()  # sub-folders in obj-m and obj-y
    asks: bool = False  # it has an obj-m, obj-y or obj-$(...)
    options: tuple[str, ...] = ()  # CONFIG_X of obj-$(CONFIG_X) without a value here
    calls_make: bool = False  # a recipe of its own calls make
    unusual: bool = False  # ... with more than kbuild is usually called with
    tree_variables: tuple[str, ...] = ()  # names by which it calls kbuild in the kernel's build tree
    symbols: tuple[str, ...] = ()  # paths in KBUILD_EXTRA_SYMBOLS
    flags: tuple[str, ...] = field(default=())  # variables for the compiler that it sets


def parse_make_text(text: str) -> MakeText:
    """Read one Makefile or Kbuild."""
    lines = _logical_lines(text)
    kinds = [match for line in lines if (match := _OBJECTS.match(line))]
    words = [word for match in kinds for word in match["value"].split()]
    asked = [match["kind"][2:-1] for match in kinds if match["kind"].startswith("$")]
    given = {match[1] for line in lines if (match := _OPTION.match(line)) and match[2].strip() in ("m", "y")}
    calls = [line for line in lines if re.search(r"\$[({]MAKE[)}]|(?:^\t|[;&]\s*|^\s+@?)make\s", line)]
    return MakeText(
        objects=_unique(word[:-2] for word in words if re.fullmatch(r"[\w./+-]+\.o", word)),
        folders=_unique(word.rstrip("/") for word in words if word.endswith("/") and "$" not in word),
        asks=bool(kinds),
        options=_unique(name for name in asked if name.startswith("CONFIG_") and name not in given),
        calls_make=bool(calls),
        unusual=any(_is_unusual(line) for line in calls)
        or any(re.match(r"\s*export\s", line) for line in lines),
        tree_variables=_unique(name for line in calls for name in _tree_variables(line)),
        symbols=_unique(_symbols(lines)),
        flags=_unique(
            match[1] for line in lines if (match := re.match(r"^\s*(EXTRA_[ACL]\w*FLAGS)\b.*=", line))
        ),
    )


def _logical_lines(text: str) -> list[str]:
    """Without comments, continued lines in one."""
    joined = re.sub(r"\\\r?\n\s*", " ", text)
    return [re.sub(r"(?<!\\)#.*", "", line).rstrip() for line in joined.splitlines()]


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _calls_kbuild(line: str) -> bool:
    return bool(_MODULE.search(line) and re.search(r"\s(?:-C|--directory)", line))


def _is_unusual(line: str) -> bool:
    """Whether a call of kbuild that builds modules says more than usual."""
    if not _calls_kbuild(line) or re.search(r"\b(?:clean|modules_install|mrproper|help)\b", line):
        return False
    words = _WORD.findall(_MAKE_IN.sub(" ", line, count=1))
    return not all(_USUAL.fullmatch(word) for word in words)


def _tree_variables(line: str) -> list[str]:
    match = _MAKE_IN.search(line)
    name = match["name"] if match and _calls_kbuild(line) else None
    return [name] if name and name not in ("PWD", "CURDIR") else []


def _symbols(lines: list[str]) -> list[str]:
    """What KBUILD_EXTRA_SYMBOLS names, with the values of the file's own plain variables."""
    values = {match[1]: match[2].strip() for line in lines if (match := _VARIABLE.match(line))}
    result = []
    for line in lines:
        match = re.search(rf"\bKBUILD_EXTRA_SYMBOLS{_ASSIGNED}(.*)$", line)
        result += [word for word in _expanded(match[1], values).split() if "/" in word] if match else []
    return result


def _expanded(text: str, values: Mapping[str, str]) -> str:
    for _ in range(MAX_NESTED):
        text = re.sub(
            r"\$[({](\w+)[)}]", lambda one: one[0] if one[1] in FOLDERS else values.get(one[1], one[0]), text
        )
    return re.sub(r"\$\((?:realpath|abspath)\s+([^()\s]*(?:\([^()]*\)[^()\s]*)*)\)", r"\1", text)
