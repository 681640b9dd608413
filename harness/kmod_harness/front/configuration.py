# SPDX-License-Identifier: MIT
"""What a project always wants of its tests: kmod-harness.toml, or [tool.kmod-harness] in pyproject.toml.

The nearest one counts, from the working folder upwards. Its keys are the flags of options; what is typed, and
the environment, count for more.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmod_harness.base.deadline import FACTOR_VARIABLE, timeout_factor
from kmod_harness.base.errors import UsageError
from kmod_harness.front.options import OPTIONS, Option

OWN_FILE, SHARED_FILE = "kmod-harness.toml", "pyproject.toml"
TABLE = "kmod-harness"  # below [tool] of the shared file
TIMEOUT_FACTOR = "timeout-factor"
_NAMES = (
    *("kernels", "modules", "every", "reloads", "guard", "require_device", "make_arguments"),
    *("kernel_arguments", "accelerator", "machine", "isolation", "jobs", "cold"),
)
CONFIGURABLE = {option.flag: option for option in OPTIONS if option.name in _NAMES}


@dataclass(frozen=True)
class Configuration:
    """What a file says."""

    file: Path | None = None  # None: there is none
    values: Mapping[str, object] = field(default_factory=dict)  # by the names of options


def find_configuration(folder: Path) -> Configuration:
    """That of this folder, or of one above it. UsageError names file and key."""
    for place in (folder, *folder.parents):
        for name in (OWN_FILE, SHARED_FILE):
            file = place / name
            if file.is_file() and (table := _table(file)) is not None:
                return Configuration(file, _values(table, file))
    return Configuration()


def configured() -> Configuration:
    """That of the working folder; its timeout factor holds from now on, unless the environment has one."""
    found = find_configuration(Path.cwd())
    if (factor := found.values.get(TIMEOUT_FACTOR)) is not None:
        os.environ.setdefault(FACTOR_VARIABLE, str(factor))
    return found


def _table(file: Path) -> Mapping[str, Any] | None:
    """Our part of the file; None if it has none. Somebody else's file that is broken is not our matter."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if file.name == SHARED_FILE:
            return None
        raise UsageError(f"{file}: {error}", hint=f"correct {file.name}") from error
    if file.name == OWN_FILE:
        return content
    tools = content.get("tool")
    return tools.get(TABLE) if isinstance(tools, dict) else None


def _values(table: object, file: Path) -> dict[str, object]:
    if not isinstance(table, dict):
        raise UsageError(f"{file}: {TABLE}: want a table", hint=f"correct {file.name}")
    values: dict[str, object] = {}
    for key, value in table.items():
        try:
            values |= _value(key, value, file.parent)
        except (ValueError, UsageError) as error:
            raise UsageError(f"{file}: {key}: {error}", hint=f"correct {file.name}") from None
    return values


def _value(key: str, value: object, folder: Path) -> dict[str, object]:
    if key == TIMEOUT_FACTOR:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000:
            raise ValueError("want a number above 0 and below 1000")
        return {key: value}
    if key not in CONFIGURABLE:
        known = (*CONFIGURABLE, TIMEOUT_FACTOR)
        near = difflib.get_close_matches(key, known, n=1)
        raise ValueError(f"unknown key; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(known)}")
    option = CONFIGURABLE[key]
    read = option.read(_typed(option, value))
    if option.name == "modules":
        read = tuple(_module(str(name), folder) for name in value)  # type: ignore[attr-defined]
    return {option.name: read}


def _typed(option: Option, value: object) -> object:
    """The value as if it had been typed. ValueError when it is of another kind."""
    if option.switch:
        if isinstance(value, bool):
            return value
        raise ValueError("want true or false")
    if option.repeatable:
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return value
        raise ValueError(f'want a list of texts, e.g. ["{option.metavar}"]')
    if option.kind == int | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise ValueError("want a whole number")
    if isinstance(value, str):
        return value
    raise ValueError(f'want a text, e.g. "{option.default}"')


def _module(name: str, folder: Path) -> str:
    """A path is meant from where the file is."""
    return str(folder / name) if (folder / name).exists() else name


def describe(found: Configuration) -> list[tuple[str, str, str]]:
    """What holds for vm-test: key, value, where it comes from."""
    rows = []
    for key, option in CONFIGURABLE.items():
        origin = str(found.file) if option.name in found.values else "default"
        rows.append((key, _shown(found.values.get(option.name, option.default)), origin))
    by_environment = os.environ.get(FACTOR_VARIABLE, "") not in ("", str(found.values.get(TIMEOUT_FACTOR)))
    by_file = str(found.file) if TIMEOUT_FACTOR in found.values else "default"
    return [*rows, (TIMEOUT_FACTOR, f"{timeout_factor():g}", FACTOR_VARIABLE if by_environment else by_file)]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
