# SPDX-License-Identifier: MIT
"""invoke's command line, made stricter: pytest's short options, no option without its value, exit code 3."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from invoke import Argument, ParseError, Program, Task
from invoke import Exit as InvokeExit

from kmod_harness.base.errors import Exit

if TYPE_CHECKING:
    _Task = Task[..., Any]
else:
    _Task = Task  # takes other type arguments at run time than its stubs say

SHORT = {"keyword": "k", "exitfirst": "x"}  # as pytest has them; no other option has a short form


def whole_number(text: str) -> int:
    """The value of an option that wants a number."""
    try:
        return int(text)
    except ValueError:
        raise ParseError(f"{text!r} is no whole number") from None


class HarnessTask(_Task):
    """A task whose options are what its parameters say, and nothing is guessed."""

    def arg_opts(self, name: str, default: Any, taken_names: Iterable[str]) -> dict[str, Any]:
        """Names and kind of one option."""
        options = super().arg_opts(name, default, taken_names)
        short = [SHORT[name]] if name in SHORT else []
        options["names"] = [options["names"][0], *short]
        if options.get("kind") is int:
            options["kind"] = whole_number
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """All options. One that can be repeated needs a value too, which invoke does not see by itself."""
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            if argument.kind is list:
                argument.raw_value = None
        return arguments


class HarnessProgram(Program):
    """The console script: invoke's own command line, with our exit code for a wrong one."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Options before the command."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise self._usage(error) from error

    def parse_tasks(self) -> None:
        """Unknown commands and options."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise self._usage(error) from error

    def print_help(self) -> None:
        """The commands; invoke's own options are for programs that run shell commands."""
        print(f"Usage: {self.binary} COMMAND [OPTIONS]\n       {self.binary} COMMAND --help\n")
        self.list_tasks()

    def _usage(self, error: ParseError) -> InvokeExit:
        context = getattr(error, "context", None)
        command = f"{context.name} --help" if context and context.name else "--list"
        message = re.sub(r"Flag <Argument: ([\w-]+)[^>]*>", r"--\1", str(error))
        return InvokeExit(f"error: {message}\nnext: {self.binary} {command}", Exit.USAGE)
