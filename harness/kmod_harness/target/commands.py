# SPDX-License-Identifier: MIT
"""A target that is reached by commands, whoever carries them there; its kinds differ in a few properties."""

from __future__ import annotations

import abc
import errno
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.module.vocabulary import KERNEL_ERRORS
from kmod_harness.target.census import Census, parse_census
from kmod_harness.target.kmsg import KernelRecord, parse_kmsg
from kmod_harness.target.proc import LoadedModule, Opened, Symbol, parse_kallsyms, parse_modules
from kmod_harness.target.runner import KILLED, OK, CommandFailed, ConnectionLost, Result, Runner
from kmod_harness.target.target import Facts

STEP_SECONDS = 30.0
EVIDENCE_LINES = 10
NOT_RUN = (126, 127)  # exit codes of a shell that cannot run a program
# What it prints, one fact a line; what is needed to build a module is looked at as a whole.
FACTS = """
uname -r
uname -m
id -u
build=/lib/modules/$(uname -r)/build
[ -f "$build/Makefile" ] && command -v make gcc tar > /dev/null && echo yes || echo no
"""


# A driver's folder in sysfs has a link for each device that is bound to it, and one to its module.
DRIVERS = """
for driver in /sys/module/$1/drivers/*; do
  [ -e "$driver" ] || continue
  count=0
  for link in "$driver"/*; do
    [ ! -L "$link" ] || [ "${link##*/}" = module ] || count=$((count + 1))
  done
  echo "${driver##*/} $count"
done
"""


def checked(result: Result, hint: str | None = None) -> Result:
    """The result, if its exit code is 0; CommandFailed otherwise, ConnectionLost if the kernel killed it."""
    if result.killed:
        raise ConnectionLost(f"`{' '.join(result.argv)}` was killed")
    if result.returncode != 0:
        raise CommandFailed(
            f"{' '.join(result.argv)}: exit code {result.returncode}",
            evidence=result.output.splitlines()[-EVIDENCE_LINES:],
            hint=hint,
        )
    return result


class CommandTarget(abc.ABC):
    """See Target. Commands that read like the tools a developer knows, with answers a program can use."""

    as_root: tuple[str, ...] = ()  # what a command begins with, to be root's

    def __init__(
        self, runner: Runner, *, step_seconds: float = STEP_SECONDS, upload_seconds: float = STEP_SECONDS
    ) -> None:
        self.runner = runner
        self.step_seconds = step_seconds
        self.upload_seconds = upload_seconds

    # ---- what its kinds differ in ------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def folder(self) -> str:
        """A folder there that nobody else uses."""

    @property
    @abc.abstractmethod
    def kmodctl(self) -> str:
        """The program kmodctl there (vm/guest/kmodctl.c)."""

    def last_lines(self, count: int) -> tuple[str, ...]:
        """See Target.last_lines."""
        return ()

    def heard(self) -> Path | None:
        """See Target.heard."""
        return None

    # ---- the vocabulary of every target ------------------------------------------------------------------

    @functools.cached_property
    def facts(self) -> Facts:
        """See Target.facts. HarnessError when it is no Linux machine with a shell."""
        lines = self.run("sh", "-c", FACTS, check=False).output.splitlines()
        if len(lines) != 4 or not lines[2].isdigit():
            raise HarnessError("the target does not tell its kernel", evidence=lines[-EVIDENCE_LINES:])
        return Facts(release=lines[0], arch=lines[1], root=lines[2] == "0", builds=lines[3] == "yes")

    def run(
        self,
        *argv: str,
        root: bool = False,
        stdin: bytes = b"",
        seconds: float | None = None,
        check: bool = True,
    ) -> Result:
        """See Target.run."""
        if len(argv) == 1 and len(words := argv[0].split()) > 1:
            raise ValueError(f"run({argv[0]!r}) is one word: want run({', '.join(map(repr, words))})")
        result = self._carry_out(argv, root=root, stdin=stdin, seconds=seconds)
        return checked(result) if check else result

    def _carry_out(self, argv: tuple[str, ...], *, root: bool, stdin: bytes, seconds: float | None) -> Result:
        deadline = Deadline(seconds or self.step_seconds, argv[0])
        return self.runner.run((*self.as_root, *argv) if root else argv, deadline, stdin=stdin)

    def check_root(self) -> None:
        """Find out now whether commands can be run as root there. UsageError if not."""
        self.run("true", root=True)

    def put(self, source: Path, *, program: bool = False) -> str:
        """See Target.put."""
        return self.put_bytes(source.read_bytes(), source.name, program=program)

    def put_bytes(self, data: bytes, name: str, *, program: bool = False) -> str:
        """See Target.put_bytes."""
        path = f"{self.folder}/{name}"
        self.runner.put(path, data, Deadline(self.upload_seconds, f"upload {name}"))
        if program:
            self.run("chmod", "700", path)
        return path

    def modules(self) -> dict[str, LoadedModule]:
        """See Target.modules."""
        listed = checked(
            self.run("cat", "/proc/modules", check=False), "is this a kernel with modules (CONFIG_MODULES)?"
        )
        return parse_modules(listed.output)

    def load(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        call: Literal["finit", "init"] = "finit",
        seconds: float | None = None,
    ) -> str:
        """See Target.load. call: by finit_module(2) or init_module(2)."""
        text = " ".join(f"{key}={_quoted(value)}" for key, value in (parameters or {}).items())
        return self.system_call(call, path, text, seconds=seconds)

    def unload(self, name: str, *, force: bool = False, seconds: float | None = None) -> str:
        """See Target.unload. force: ask for O_TRUNC, which few kernels obey."""
        return self.system_call("delete", name, "nf" if force else "n", seconds=seconds)

    def unload_and_look(self, name: str) -> tuple[str, Census]:
        """See Target.unload_and_look."""
        result = self.run(self.kmodctl, "delete", name, "n", self._census_file, root=True, check=False)
        outcome, _, told = result.output.partition("\n")
        if not outcome.isdigit():
            return _answer(result, result.output), Census()
        if int(outcome) == 0:
            checked(result)
        return _answer(replace(result, returncode=int(outcome != "0")), outcome), parse_census(told)

    def open_nodes(self, name: str, nodes: Sequence[str]) -> tuple[Opened, ...]:
        """See Target.open_nodes."""
        lines = self._output(self.kmodctl, "open", name, *nodes, root=True).splitlines() if nodes else ()
        words = (line.split(" ", 3) for line in lines)
        return tuple(
            Opened(int(major), int(before), int(meanwhile), path) for major, before, meanwhile, path in words
        )

    def system_call(self, *words: str, seconds: float | None = None) -> str:
        """Make a module system call through kmodctl, which explains the words. Returns as `load` does."""
        result = self.run(self.kmodctl, *words, root=True, seconds=seconds, check=False)
        return _answer(result, result.output)

    @property
    def _census_file(self) -> str:
        return f"{self.folder}/census"

    def drivers(self, name: str) -> dict[str, int]:
        """See Target.drivers."""
        lines = self._output("sh", "-c", DRIVERS, "sh", name).splitlines()
        return {driver: int(count) for driver, _, count in (line.rpartition(" ") for line in lines)}

    def holders(self, name: str) -> tuple[str, ...]:
        """See Target.holders."""
        return tuple(sorted(self._output("ls", f"/sys/module/{name}/holders").split()))

    def take_census(self) -> Census:
        """See Target.take_census."""
        return parse_census(self._output(self.kmodctl, "census", self._census_file, root=True))

    def census(self) -> Census:
        """See Target.census."""
        return parse_census(self._output(self.kmodctl, "census", self._census_file, "new", root=True))

    def log(self, since: int = 0, *, seconds: float | None = None) -> tuple[KernelRecord, ...]:
        """See Target.log."""
        return parse_kmsg(self._output(self.kmodctl, "kmsg", str(since), root=True, seconds=seconds))

    def log_mark(self) -> int:
        """See Target.log_mark."""
        records = self.log()
        return records[-1].sequence + 1 if records else 0

    def taint(self) -> int:
        """See Target.taint."""
        return int(self.read("/proc/sys/kernel/tainted"))

    # ---- more, for those who know the kernel -------------------------------------------------------------

    def oops_count(self) -> int:
        """How many tasks the kernel has killed for an oops.

        Linux kernel commit 9db89b411170 ("exit: Expose "oops_count" to sysfs") (in v6.2, and v5.10.168).
        """
        return int(self.read("/sys/kernel/oops_count"))

    def initstate(self, name: str) -> str:
        """A module's state as sysfs tells it: "live", "coming" or "going"."""
        return self.read(f"/sys/module/{name}/initstate").strip()

    def refcnt(self, name: str) -> int:
        """A module's reference count as sysfs tells it."""
        return int(self.read(f"/sys/module/{name}/refcnt"))

    def kallsyms(self, *, module: str = "", name: str = "") -> tuple[Symbol, ...]:
        """Symbols of the running kernel, of one module and/or of one exact name."""
        # awk over there: the whole table is 6 MB.
        program = '(m == "" || $4 == "[" m "]") && (n == "" || $3 == n)'
        argv = ("awk", "-v", f"m={module}", "-v", f"n={name}", program, "/proc/kallsyms")
        return parse_kallsyms(self._output(*argv, root=True))

    def read(self, path: str, *, root: bool = False) -> str:
        """The contents of a file, e.g. below /sys or /proc. Raises CommandFailed when it cannot be read."""
        return self._output("cat", path, root=root)

    def write(self, path: str, text: str) -> str:
        """Write to an existing file, e.g. a sysfs attribute, in one write(2). Returns OK or an error text."""
        result = self.run("sh", "-c", 'cat > "$1"', "sh", path, root=True, stdin=text.encode(), check=False)
        return OK if result.returncode == 0 else result.output.strip()

    def _output(self, *argv: str, root: bool = False, seconds: float | None = None) -> str:
        return checked(self._carry_out(argv, root=root, stdin=b"", seconds=seconds)).output


def _answer(result: Result, text: str) -> str:
    """What kmodctl says of a system call: OK, KILLED or the errno's name."""
    if result.killed:
        return KILLED
    if result.returncode in NOT_RUN:
        checked(result)
    if result.returncode not in (0, 1) or not text.strip().isdigit():
        raise HarnessError(f"kmodctl {result.argv[1]}: no answer", evidence=result.output.splitlines())
    number = int(text)
    names = {**errno.errorcode, **KERNEL_ERRORS}
    return names.get(number, f"errno {number}") if number else OK


def _quoted(value: str) -> str:
    """A module parameter's value; the kernel takes double quotes around blanks (lib/cmdline.c, next_arg)."""
    return f'"{value}"' if " " in value else value
