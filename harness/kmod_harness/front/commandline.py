# SPDX-License-Identifier: MIT
"""invoke's command line, made of our table of options: nothing is guessed, and wrong usage ends with code 3."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from invoke import Argument, Collection, Context, ParseError, Program, Task
from invoke import Exit as InvokeExit

from kmod_harness.base.errors import Exit, UsageError
from kmod_harness.front.configuration import configured
from kmod_harness.front.ending import carry_out
from kmod_harness.front.options import Given, Option, options_of, read

if TYPE_CHECKING:
    _Task = Task[..., None]
else:
    _Task = Task  # takes other type arguments at run time than its stubs say


class HarnessTask(_Task):
    """A command: a function that gets what the user typed and returns the exit code."""

    def __init__(self, function: Callable[[Given], Exit]) -> None:
        def body(_context: Context, **typed: object) -> None:
            code, last_words = carry_out(lambda: self._carry_out(function, typed))
            if code != Exit.OK:
                raise InvokeExit(last_words or None, code)

        body.__doc__ = function.__doc__
        super().__init__(body, name=function.__name__.replace("_", "-"), positional=())

    def _carry_out(self, function: Callable[[Given], Exit], typed: Mapping[str, object]) -> Exit:
        """Of what is wrong with an option, its help tells more."""
        try:
            values = configured().values if options_of(self.name) else {}
            return function(read(self.name, typed, values))
        except UsageError as error:
            if "--" in error.message:
                error.hint = error.hint or f"invoke {self.name} --help"
            raise

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """What the table says; what may come without its flag comes first."""
        options = sorted(options_of(self.name), key=lambda option: not option.positional)
        return [_argument(option) for option in options]


def _argument(option: Option) -> Argument:
    argument = Argument(
        names=(option.flag, option.short) if option.short else (option.flag,),
        attr_name=option.key if option.key != option.flag else None,
        kind=bool if option.switch else list if option.repeatable else str,
        default=False if option.switch else None,
        help=option.help,
        positional=option.positional,
    )
    if option.repeatable:
        argument.raw_value = None  # else invoke does not see that it needs a value too
    return argument


def with_flags(options: Sequence[Option], words: Sequence[str]) -> list[str]:
    """The same words; where an operand can be repeated, each has its flag: invoke itself takes one only."""
    operand = next((option for option in options if option.positional and option.repeatable), None)
    if operand is None:
        return list(words)
    names = [(f"--{option.flag}", f"-{option.short}") for option in options if not option.switch]
    valued = {name for pair in names for name in pair}
    told = []
    for before, word in zip(["", *words], words, strict=False):
        bare = word == "-" or not word.startswith("-")
        told.append(f"--{operand.flag}={word}" if bare and before not in valued else word)
    return told


class Commands(Collection):
    """The commands, in the order in which they are written down."""

    def command(self, function: Callable[[Given], Exit]) -> Callable[[Given], Exit]:
        """Make a function a command, under its own name."""
        self.add_task(HarnessTask(function))
        return function


class HarnessProgram(Program):
    """invoke's own program, with our exit code for wrong usage."""

    def __init__(self, name: str, version: str, namespace: Collection) -> None:
        super().__init__(name=name, binary=name, version=version, namespace=namespace)

    def ended(self) -> int:
        """Run; the exit code."""
        try:
            self.run()
        except SystemExit as end:
            return int(end.code or 0)
        return Exit.OK

    def parse_core(self, argv: Any) -> None:
        """Options before the command."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise self._usage(error) from error

    def parse_tasks(self) -> None:
        """The command and its options. `COMMAND --help` is help, and not a module of that name."""
        words = self.core.unparsed
        if self.core.remainder:
            raise InvokeExit(f"error: nothing is read after --: {self.core.remainder}", Exit.USAGE)
        if words[1:2] in (["--help"], ["-h"]):
            self.args.help.value, self.core.unparsed = words[0], []
        elif words:
            self.core.unparsed = [words[0], *with_flags(options_of(words[0]), words[1:])]
        try:
            super().parse_tasks()
        except ParseError as error:
            raise self._usage(error) from error

    def parse_cleanup(self) -> None:
        """Help for a command that there is not."""
        try:
            super().parse_cleanup()
        except ParseError as error:
            raise self._usage(error) from error

    def print_help(self) -> None:
        """The commands; invoke's own options are for programs that run shell commands."""
        for words in ("COMMAND [OPTIONS]", "COMMAND --help", "--version"):
            print(f"{'Usage:' if words.endswith('S]') else '':6} {self.called_as} {words}")
        print()
        self.list_tasks()

    def print_task_help(self, name: str) -> None:
        """The options of a command, in the order of the table."""
        options = options_of(name)
        bounds = {True: " [{}]", False: " {}"}  # what can be repeated can be left out
        operands = "".join(bounds[one.repeatable].format(one.operand) for one in options if one.positional)
        print(f"Usage: {self.called_as} {name}{operands} [OPTIONS]\n\n{self.collection[name].__doc__}\n")
        self.print_columns([(option.usage, option.help) for option in options])

    def _usage(self, error: ParseError) -> InvokeExit:
        context = getattr(error, "context", None)
        command = context.name if context and context.name in self.collection.task_names else ""
        message = re.sub(r"Flag <Argument: ([\w-]+)[^>]*>", r"--\1", str(error))
        if unknown := re.fullmatch(r"No idea what '(.*)' is!", message, re.DOTALL):
            message = self._unknown(unknown[1], command)
        more = f"{command} --help" if command else "--list"
        return InvokeExit(f"error: {message}\nnext: {self.called_as} {more}", Exit.USAGE)

    def _unknown(self, word: str, command: str) -> str:
        """What is said of a word that means nothing."""
        known = [f"--{option.flag}" for option in options_of(command)] if command else []
        if not command and not word.startswith("-"):
            known = list(self.collection.task_names)
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        kind = "option" if word.startswith("-") else "operand"
        what = f"{command} has no {kind}" if command else "there is no"
        return f"{what} {word!r}{f'; did you mean {near[0]}?' if near else ''}"
