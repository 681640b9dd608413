# SPDX-License-Identifier: MIT
"""module.yaml: read strictly, so that a typing error is found at once and not by a test that checks nothing."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kmod_harness.base.errors import UsageError
from kmod_harness.module.expectation import Expectation, ExpectedSplat, parse_kernels
from kmod_harness.module.vocabulary import SPLAT_KINDS, TAINT_FLAGS

MAX_RELOADS = 1000
_Keys = Mapping[str, Callable[[yaml.Node], Any]]  # a key and what reads its value
TAINT_LETTERS = tuple(sorted(flag.letter for flag in TAINT_FLAGS))
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
        return Expectation(**_fields(node, _KEYS, ""))
    except _WrongError as error:
        raise UsageError(f"{name}:{error.node.start_mark.line + 1}: {error}") from None


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
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a folder beside this one")
    return text


def _splat_class(node: yaml.Node) -> str:
    text = _text(node)
    if text not in SPLAT_KINDS:
        near = difflib.get_close_matches(text, SPLAT_KINDS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"unknown class {text!r}; {meant}known: {', '.join(SPLAT_KINDS)}")
    return text


def _splat(node: yaml.Node) -> ExpectedSplat:
    keys: _Keys = {"class": _splat_class, "pattern": _expression, "reason": _text}
    values = _fields(node, keys, "expect_splat.")
    missing = [key for key in keys if key not in values]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return ExpectedSplat(kind=values["class"], pattern=values["pattern"], reason=values["reason"])


def _taint(node: yaml.Node) -> str:
    text = _text(node)
    if text not in TAINT_LETTERS:
        raise ValueError(f"{text!r} is no taint letter; known: {' '.join(TAINT_LETTERS)}")
    return text


def _load(node: yaml.Node) -> str:
    text = _text(node)
    if text != "ok" and text not in errno.errorcode.values():
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


_KEYS: _Keys = {
    "params": _params,
    "depends": lambda node: _items(node, _module_name),
    "expect_log": lambda node: _items(node, _expression),
    "expect_splat": _splat,
    "expect_taint": lambda node: _items(node, _taint),
    "load": _load,
    "kernels": _kernels,
    "reloads": _reloads,
}
