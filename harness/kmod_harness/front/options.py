# SPDX-License-Identifier: MIT
"""The options of all commands, each declared once: a field of Given.

A command takes the options whose declaration names it, and gets their values as a Given; "pytest" stands for
the pytest plugin. The annotation is the option's type and says how it is typed: a text, a number (1 or more),
a file, a switch, a tuple (can be repeated), one of the words of a Literal. An option whose name is that of a
field of Options, MachineOptions or whatever `chosen` makes gets there by itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import DEFAULT_KERNEL

T = TypeVar("T")
PYTEST = "pytest"
_TESTS = ("vm-test", PYTEST)
_BUILDS = ("build", *_TESTS)
_KERNEL = (
    "a series (6.12), a flavour of it (6.12-cloud), latest, host, a build tree or a folder of .debs "
    f"(default {DEFAULT_KERNEL})"
)
_MODULE = "a name under kmod/ or the path of a folder with a kbuild file"
_PLACES = ("graph", "unload-order")  # commands that look at a kernel, wherever it runs
_BOARDS = ("rescue", "explain-log")
_MACHINES = (*_TESTS, "shell", *_PLACES, "trace-unload")  # those that (may) start virtual machines


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    name: str  # of the field of Given
    kind: object  # type of the value
    default: object
    help: str
    commands: tuple[str, ...]
    flag: str  # what is typed after "--"
    short: str  # what is typed after "-"; "": nothing
    metavar: str  # stands for the value in a help text
    positional: bool  # the value may come without its flag

    @property
    def key(self) -> str:
        """The flag as a name in Python: what the fronts know the option by."""
        return self.flag.replace("-", "_")

    @property
    def switch(self) -> bool:
        """Whether it has no value."""
        return self.kind is bool

    @property
    def repeatable(self) -> bool:
        """Whether it may be given several times."""
        return self.kind == tuple[str, ...]

    @property
    def usage(self) -> str:
        """How it is typed, e.g. "-k WORDS, --keyword=WORDS"."""
        short = f"-{self.short} {self.metavar}".strip() + ", " if self.short else ""
        named = f"{short}--{self.flag}{'' if self.switch else '='}{self.metavar}"
        return f"{self.operand}, {named}" if self.operand else named

    @property
    def operand(self) -> str:
        """How it is typed without its flag, e.g. "FILE..."; "" if it cannot be."""
        return f"{self.metavar}{'...' if self.repeatable else ''}" if self.positional else ""

    def read(self, typed: Any) -> object:
        """The value of what was typed: True, a text, or a list of texts. UsageError when it cannot be."""
        if typed == "" or (self.repeatable and "" in typed):
            raise UsageError(f"--{self.flag}: the value is empty")
        words = get_args(self.kind) if get_origin(self.kind) is Literal else ()
        if words and typed not in words:
            raise UsageError(f"--{self.flag} {typed}: choose {', '.join(words[:-1])} or {words[-1]}")
        try:
            return _READERS.get(self.kind, str)(typed)
        except ValueError as error:
            raise UsageError(f"--{self.flag} {typed}: {error}") from None


def _count(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError("want a whole number")
    if int(text) < 1:
        raise ValueError("want 1 or more")
    return int(text)


_READERS: Mapping[object, Callable[[Any], object]] = {
    bool: bool,
    int | None: _count,
    Path | None: lambda text: Path(text).expanduser(),
    tuple[str, ...]: tuple,
}


def _option(
    help: str,
    commands: tuple[str, ...],
    default: T,
    metavar: str = "",
    *,
    flag: str = "",
    short: str = "",
    positional: bool = False,
) -> T:
    """Declare an option. flag: what is typed, if it is not the field's name."""
    row = {"help": help, "commands": commands, "metavar": metavar, "flag": flag, "short": short}
    return dataclasses.field(default=default, metadata=row | {"positional": positional})


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the user typed; for the rest, and for what a command does not take, the defaults."""

    # ---- what it is about ------------------------------------------------------------------------------
    name: str = _option("of the module", ("rescue", "unload-order"), "", "NAME", positional=True)
    kernels: tuple[str, ...] = _option(
        f"{_KERNEL}; a range (5.10..7.3) or all; can be repeated", _BUILDS, (), "SPEC", flag="kernel"
    )
    kernel: str = _option(f"of a virtual machine: {_KERNEL}", ("shell", *_PLACES, "trace-unload"), "", "SPEC")
    against: str = _option("a second kernel, shown beside the first", ("trace-unload",), "", "SPEC")
    modules: tuple[str, ...] = _option(
        f"{_MODULE}; can be repeated (default: this folder if it is one, else all of kmod/)",
        ("build", "vm-test"),
        (),
        "MODULE",
        flag="module",
        positional=True,
    )
    loaded: tuple[str, ...] = _option(
        f"{_MODULE}; loaded first in a virtual machine; graph shows only what belongs to it; can be repeated",
        _PLACES,
        (),
        "MODULE",
        flag="module",
    )
    at_hand: tuple[str, ...] = _option(
        f"{_MODULE}; can be repeated", ("shell",), (), "MODULE", flag="module", positional=True
    )
    watched: str = _option(
        f"{_MODULE} (default depend_s)", ("trace-unload",), "depend_s", "MODULE", flag="module"
    )

    files: tuple[str, ...] = _option(
        "a kernel log in any form, packed or not; - is standard input; can be repeated",
        ("explain-log",),
        (),
        "FILE",
        flag="file",
        positional=True,
    )
    crashed: tuple[str, ...] = _option(
        "a .ko, or a module's folder: names the lines of its source; can be repeated",
        ("explain-log",),
        (),
        "MODULE",
        flag="module",
    )
    crashed_kernel: str = _option(
        "what a module's folder is built for (default: where its .ko lies already, nothing is built)",
        ("explain-log",),
        "",
        "SPEC",
        flag="kernel",
    )

    # ---- how it is built and tested --------------------------------------------------------------------
    make_arguments: tuple[str, ...] = _option(
        "more for kbuild's make, e.g. W=1; can be repeated", _BUILDS, (), "ARG", flag="make-arg"
    )
    reloads: int | None = _option(
        "how often to load and unload each module, instead of what its module.yaml says", _TESTS, None, "N"
    )
    guard: bool = _option(
        "an oops in a module's init or exit is an error of its own, and not the end of the machine",
        _TESTS,
        False,
    )
    together: bool = _option(
        "the modules in one machine: while one is tested, the others are loaded", ("vm-test",), False
    )
    require_device: bool = _option(
        "a driver that says its hardware is absent has failed; without: that is shown, and no failure",
        _TESTS,
        False,
    )
    every: bool = _option(
        "of a folder given by --module, all its sub-folders with an obj-m",
        ("build", "vm-test"),
        False,
        flag="all",
    )
    keyword: str = _option(
        "only modules and kernels whose name matches, as pytest's -k", ("vm-test",), "", "WORDS", short="k"
    )
    first_bad: bool = _option(
        "search the kernels (default: all) by halves for the first that fails",
        ("vm-test",),
        False,
        flag="first-bad",
    )
    exitfirst: bool = _option("stop at the first failure", ("vm-test",), False, short="x")
    junit: Path | None = _option("write a JUnit file", ("vm-test",), None, "FILE")
    results: Path | None = _option(
        "write the results as JSON (docs/json.md)", ("vm-test",), None, "FILE", flag="json"
    )
    annotate: bool = _option(
        "print what failed as annotations of GitHub Actions, on the lines of source", ("vm-test",), False
    )
    markdown: Path | None = _option("write the table as Markdown", ("vm-test",), None, "FILE")

    # ---- on which machines -----------------------------------------------------------------------------
    accelerator: Literal["auto", "kvm", "tcg"] = _option(
        "how QEMU runs the guest: auto, kvm or tcg (default auto)", _MACHINES, "auto", "WORD", flag="accel"
    )
    machine: str = _option(
        "virtual machine, a file of vm/: q35 or microvm (default q35)", _MACHINES, "q35", "NAME"
    )
    kernel_arguments: tuple[str, ...] = _option(
        "more for the kernel's command line, e.g. slub_debug=FZP; can be repeated",
        (*_TESTS, "shell"),
        (),
        "ARG",
        flag="kernel-arg",
    )
    isolation: Literal["test", "module", "kernel"] = _option(
        "who gets a machine of its own: test, module or kernel (default test)", _TESTS, "test", "WORD"
    )
    jobs: int | None = _option("machines at a time (default: as cores and memory allow)", _TESTS, None, "N")
    cold: bool = _option("boot every machine instead of cloning a template", _TESTS, False)

    # ---- boards and this machine -----------------------------------------------------------------------
    host: str = _option("a board: user@board or user@board:port", (*_BOARDS, *_PLACES), "", "USER@BOARD")
    local: bool = _option("this machine", ("explain-log", *_PLACES), False)
    holders: bool = _option(
        "ask the kernel's own lists, by force_rmmod, and name who else holds a module", _PLACES, False
    )
    board_kernel: str = _option(
        "what the board runs: a series, or a folder of .debs (default: found out)",
        ("rescue",),
        "",
        "SPEC",
        flag="kernel",
    )
    kdir: str = _option("the build tree of the board's kernel", ("rescue",), "", "FOLDER")
    identity: Path | None = _option(
        "private key to log in with (default: the agent's, then ~/.ssh/id_*)",
        (*_BOARDS, *_PLACES),
        None,
        "FILE",
    )
    known_hosts: Path | None = _option(
        "file with the board's host key (default: ssh's own)", (*_BOARDS, *_PLACES), None, "FILE"
    )

    # ---- what is done ----------------------------------------------------------------------------------
    explain: bool = _option("tell about the module and what would be done; touch nothing", ("rescue",), False)
    force: bool = _option("take the risks that the rescue would refuse for", ("rescue",), False)
    keep: bool = _option("make the module removable, but do not remove it", ("rescue",), False)
    json: bool = _option("one JSON object instead of text", _BOARDS, False)
    output: Path | None = _option(
        "write .svg, .png (by Graphviz), .dot, .mmd (Mermaid) or .txt instead of printing a table",
        ("graph",),
        None,
        "FILE",
    )
    do: bool = _option("unload them, in that order", ("unload-order",), False)
    refresh: bool = _option("ask the mirror even if its package lists are fresh", ("kernels",), False)
    install: bool = _option("install what is missing (through sudo unless root)", ("doctor",), False)
    all: bool = _option("downloads, kernels and toolchains too", ("clean",), False)


def _table() -> Iterator[Option]:
    kinds = get_type_hints(Given)
    for field in dataclasses.fields(Given):
        row = dict(field.metadata)
        row["flag"] = row["flag"] or field.name.replace("_", "-")
        yield Option(field.name, kinds[field.name], field.default, **row)


OPTIONS = tuple(_table())


def options_of(command: str) -> list[Option]:
    """What a command takes, in the order of its help."""
    return [option for option in OPTIONS if command in option.commands]


def read(command: str, typed: Mapping[str, object], configured: Mapping[str, object] | None = None) -> Given:
    """The values of what was typed, by key. None, False and [] stand for "not given".

    configured: what holds for what was not given, by name. UsageError for a value that cannot be.
    """
    values = {one: typed[one.key] for one in options_of(command)}
    given = {one.name: one.read(value) for one, value in values.items() if value not in (None, False, [])}
    taken = {one.name for one in options_of(command)}
    settled = {name: value for name, value in (configured or {}).items() if name in taken}
    return Given(**(settled | given))  # type: ignore[arg-type]


def chosen(kind: type[T], given: Given, **more: object) -> T:
    """A dataclass from the options that have the names of its fields, and from what else it needs."""
    names = {field.name for field in dataclasses.fields(kind)} & {one.name for one in OPTIONS}  # type: ignore[arg-type]
    return kind(**{name: getattr(given, name) for name in names} | more)
