# SPDX-License-Identifier: MIT
"""module.yaml: read strictly, so that a typing error is found at once and not by a test that checks nothing."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from kmod_harness.base.errors import UsageError
from kmod_harness.module.devices import resolve_devices
from kmod_harness.module.expectation import (
    IN_TREE,
    BuildPlan,
    Expectation,
    ExpectedLeft,
    ExpectedSplat,
    WarningRule,
    parse_kernels,
)
from kmod_harness.module.vocabulary import ARCH_NAMES, KERNEL_ERRORS, SPLAT_KINDS, TAINT_FLAGS

MAX_RELOADS = 1000
_Keys = Mapping[str, Callable[[yaml.Node], Any]]  # a key and what reads its value
TAINT_LETTERS = tuple(sorted(flag.letter for flag in TAINT_FLAGS))
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_PARAMETER = re.compile(r"\w+")


class _WrongError(Exception):
    """A value that cannot be; `node` is where."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.node = node


def read_manifest(path: Path) -> Expectation:
    """What the file says. UsageError names file, line and key."""
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error


def parse_manifest(text: str, name: str) -> Expectation:
    """What a module.yaml with this text says; `name` is the file's, for messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{name}:{line}: {error.problem or error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: {error}") from error
    if node is None:
        return Expectation()
    try:
        return _expectation(_fields(node, _KEYS, ""))
    except _WrongError as error:
        raise UsageError(f"{name}:{error.node.start_mark.line + 1}: {error}") from None


def _expectation(values: dict[str, Any]) -> Expectation:
    """From the values of the keys; each of `modules` has what it does not say from the whole."""
    if "depends" in values:
        values["depends"], values["depends_params"] = values["depends"]
    each = {name: _part(own) for name, own in values.pop("modules", {}).items()}
    whole = Expectation(**values)
    return replace(whole, modules={name: replace(whole, **own) for name, own in each.items()})


def _part(own: dict[str, Any]) -> dict[str, Any]:
    if "depends" in own:
        own["depends"], own["depends_params"] = own["depends"]
    return own


def _fields(node: yaml.Node, keys: _Keys, prefix: str) -> dict[str, Any]:
    """The values of a mapping with known keys; all complaints name the key."""
    values: dict[str, Any] = {}
    for key, key_node, value in _pairs(node, prefix.rstrip(".") or "the file"):
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            known = f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}"
            raise _WrongError(key_node, f"unknown key {prefix}{key}; {known}")
        try:
            values[key] = keys[key](value)
        except ValueError as error:
            raise _WrongError(value, f"{prefix}{key}: {error}") from None
    return values


def _pairs(node: yaml.Node, what: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _WrongError(node, f"{what}: want keys with values, found {_describe(node)}")
    pairs: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _WrongError(key, f"{what}: a key must be a word")
        if key.value in pairs:
            first = pairs[key.value][1].start_mark.line + 1
            raise _WrongError(key, f"key {key.value} for the second time (first in line {first})")
        pairs[key.value] = (key.value, key, value)
    return list(pairs.values())


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys with values"


def _kind(node: yaml.Node) -> str:
    """The type of a plain value as YAML sees it: str, int, bool, float, null..."""
    return node.tag.rpartition(":")[2]


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or _kind(node) != "str":
        raise ValueError(f"want text, found {_describe(node)}; put it in quotes")
    return str(node.value)


def _whole(node: yaml.Node) -> int:
    if not isinstance(node, yaml.ScalarNode) or _kind(node) != "int":
        raise ValueError(f"want a whole number, found {_describe(node)}")
    return int(yaml.SafeLoader.construct_yaml_int(yaml.SafeLoader(""), node))


def _items(node: yaml.Node, read: Callable[[yaml.Node], str]) -> tuple[str, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError(f"want a list, found {_describe(node)}")
    values: list[str] = []
    for item in node.value:
        try:
            values.append(read(item))
        except ValueError as error:
            raise ValueError(f"entry {len(values) + 1}: {error}") from None
    return tuple(values)


def _expression(node: yaml.Node) -> str:
    text = _text(node)
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


def _params(node: yaml.Node) -> dict[str, str]:
    values = {}
    for name, _, value in _pairs(node, "params"):
        if not _PARAMETER.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a parameter")
        kind = _kind(value)
        if not isinstance(value, yaml.ScalarNode) or kind not in ("str", "int", "bool"):
            raise ValueError(f"{name}: want text, a whole number or true/false, found {_describe(value)}")
        if kind == "bool":
            values[name] = "1" if value.value.lower() in ("true", "yes", "on") else "0"
        else:
            values[name] = str(_whole(value)) if kind == "int" else value.value
    return values


def _module_name(node: yaml.Node) -> str:
    text = _text(node)
    if not _NAME.fullmatch(text.removeprefix(IN_TREE)):
        raise ValueError(f"{text!r} is neither a folder beside this one nor {IN_TREE}NAME")
    return text


def _depends(node: yaml.Node) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """Names, each alone or as a key with parameters; and these."""
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError(f"want a list, found {_describe(node)}")
    names: list[str] = []
    parameters: dict[str, dict[str, str]] = {}
    for number, item in enumerate(node.value, 1):
        try:
            if isinstance(item, yaml.MappingNode) and len(item.value) == 1:
                names.append(_module_name(item.value[0][0]))
                parameters[names[-1]] = _params(item.value[0][1])
            else:
                names.append(_module_name(item))
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
    return tuple(names), parameters


def _device(node: yaml.Node) -> str:
    try:
        return resolve_devices([_text(node)])[0].name
    except UsageError as error:
        raise ValueError(error.message) from None


def _folder(node: yaml.Node) -> str:
    text = _text(node)
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{text!r} is no folder in the module's own")
    return str(path)


def _argument(node: yaml.Node) -> str:
    text = _text(node)
    if not re.match(r"[A-Za-z_][\w.-]*=", text):
        raise ValueError(f"{text!r}: want NAME=value")
    return text


def _tool(node: yaml.Node) -> str:
    text = _text(node)
    if not _PACKAGE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be the name of a package")
    return text


def _build(node: yaml.Node) -> BuildPlan:
    keys: _Keys = {
        "folder": _folder,
        "before": lambda node: _items(node, _text),
        "arguments": lambda node: _items(node, _argument),
        "tools": lambda node: _items(node, _tool),
    }
    return BuildPlan(**_fields(node, keys, "build."))


def _warnings(node: yaml.Node) -> tuple[WarningRule, ...]:
    """fail or tell for all; or a list of patterns, each with one of these and perhaps a reason."""
    if isinstance(node, yaml.ScalarNode):
        return (WarningRule("", fails=_fails(node)),)
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError("want fail, tell or a list of patterns")
    keys: _Keys = {"pattern": _expression, "verdict": _fails, "reason": _text}
    rules = []
    for number, item in enumerate(node.value):
        values = _fields(item, keys, f"warnings[{number}].")
        if "pattern" not in values or "reason" not in values:
            raise ValueError(f"entry {number + 1}: pattern or reason missing")
        rules.append(WarningRule(values["pattern"], values.get("verdict", False), values["reason"]))
    return tuple(rules)


def _fails(node: yaml.Node) -> bool:
    text = _text(node)
    if text not in ("fail", "tell"):
        raise ValueError(f"want fail or tell, found {text!r}")
    return text == "fail"


def _modules(node: yaml.Node) -> dict[str, dict[str, Any]]:
    """The keys of single modules of the folder, by name."""
    return {
        name.replace("-", "_"): _fields(value, _KEYS_OF_ONE, f"modules.{name}.")
        for name, _, value in _pairs(node, "modules")
    }


def _splat_class(node: yaml.Node) -> str:
    text = _text(node)
    if text not in SPLAT_KINDS:
        near = difflib.get_close_matches(text, SPLAT_KINDS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"unknown class {text!r}; {meant}known: {', '.join(SPLAT_KINDS)}")
    return text


def _each(node: yaml.Node, name: str, read: Callable[[yaml.Node, str], Any]) -> tuple[Any, ...]:
    """One mapping, or a list of them."""
    if not isinstance(node, yaml.SequenceNode):
        return (read(node, f"{name}."),)
    return tuple(read(item, f"{name}[{number}].") for number, item in enumerate(node.value))


def _exemption(node: yaml.Node, prefix: str, keys: _Keys, required: Sequence[str]) -> dict[str, Any]:
    """Its values: keys of its own, and those that all exemptions have."""
    values = _fields(node, {**keys, **_EXEMPTION_KEYS}, prefix)
    missing = [key for key in (*required, "reason") if key not in values]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return values


def _splat(node: yaml.Node, prefix: str) -> ExpectedSplat:
    keys: _Keys = {"class": _splat_class, "subclass": _expression, "pattern": _expression, "function": _text}
    values = _exemption(node, prefix, keys, ["class"])
    if not values.keys() & {"pattern", "function"}:
        raise ValueError("pattern or function missing")
    names = {"class": "kind", "subclass": "subkind"}
    return ExpectedSplat(**{"pattern": "", **{names.get(key, key): value for key, value in values.items()}})


def _left(node: yaml.Node, prefix: str) -> ExpectedLeft:
    return ExpectedLeft(**_exemption(node, prefix, {"pattern": _expression}, ["pattern"]))


def _reason(node: yaml.Node) -> str:
    text = _text(node)
    if not text.strip():
        raise ValueError("want a reason, for those who read the report")
    return text


def _arch(node: yaml.Node) -> str:
    text = _text(node)
    if text not in ARCH_NAMES:
        raise ValueError(f"unknown architecture {text!r}; known: {', '.join(ARCH_NAMES)}")
    return text


def _date(node: yaml.Node) -> date:
    try:
        return date.fromisoformat(node.value)
    except (TypeError, ValueError):
        raise ValueError(f"want a date such as 2027-01-31, found {_describe(node)}") from None


def _taint(node: yaml.Node) -> str:
    text = _text(node)
    if text not in TAINT_LETTERS:
        raise ValueError(f"{text!r} is no taint letter; known: {' '.join(TAINT_LETTERS)}")
    return text


def _load(node: yaml.Node) -> str:
    text = _text(node)
    if text not in ("ok", *KERNEL_ERRORS.values(), *errno.errorcode.values()):
        raise ValueError(f"want ok or the name of an errno, e.g. EINVAL, found {text!r}")
    return text


def _kernels(node: yaml.Node) -> str:
    text = _text(node)
    parse_kernels(text)
    return text


def _reloads(node: yaml.Node) -> int:
    number = _whole(node)
    if not 1 <= number <= MAX_RELOADS:
        raise ValueError(f"want 1 to {MAX_RELOADS}, found {number}")
    return number


_EXEMPTION_KEYS: _Keys = {"reason": _reason, "kernels": _kernels, "arch": _arch, "expires": _date}
_KEYS_OF_ONE: _Keys = {
    "params": _params,
    "depends": _depends,
    "devices": lambda node: _items(node, _device),
    "expect_log": lambda node: _items(node, _expression),
    "expect_splat": lambda node: _each(node, "expect_splat", _splat),
    "expect_left": lambda node: _each(node, "expect_left", _left),
    "expect_taint": lambda node: _items(node, _taint),
    "load": _load,
    "reloads": _reloads,
}
_KEYS: _Keys = {
    **_KEYS_OF_ONE,
    "kernels": _kernels,
    "build": _build,
    "warnings": _warnings,
    "modules": _modules,
}
