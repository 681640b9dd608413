# SPDX-License-Identifier: MIT
"""The kernel of a machine, as its module system calls, /proc and /sys show it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.target.kmsg import KernelRecord, parse_kmsg
from kmod_harness.target.runner import KILLED, OK, Result, Runner

STEP_SECONDS = 30.0
UPLOADS = "/tmp"  # noqa: S108 (in the guest, where we are alone)


@dataclass(frozen=True)
class LoadedModule:
    """A line of /proc/modules."""

    name: str
    size: int  # bytes
    references: int  # -1 while it is being unloaded
    users: tuple[str, ...]  # modules that use it
    state: str  # "Live", "Loading" or "Unloading"
    taints: str  # letters, e.g. "OE"
    permanent: bool = False  # has an init function but no exit function


@dataclass(frozen=True)
class Symbol:
    """A line of /proc/kallsyms."""

    address: int  # 0 when the reader may not know
    kind: str  # letter as in nm(1)
    name: str
    module: str  # "" for the kernel itself


def parse_modules(text: str) -> dict[str, LoadedModule]:
    """Parse /proc/modules (Linux kernel/module/procfs.c, m_show); keyed by name."""
    result = {}
    for line in text.splitlines():
        name, size, references, users, state, _address, *taints = line.split()
        result[name] = LoadedModule(
            name=name,
            size=int(size),
            references=int(references) if references != "-" else 0,
            users=tuple(user for user in users.split(",") if user not in ("", "-", "[permanent]")),
            state=state,
            taints="".join(taints).strip("()"),
            permanent="[permanent]" in users.split(","),
        )
    return result


def parse_kallsyms(text: str) -> tuple[Symbol, ...]:
    """Parse lines of /proc/kallsyms."""
    result = []
    for line in text.splitlines():
        address, kind, name, *module = line.split()
        result.append(Symbol(int(address, 16), kind, name, "".join(module).strip("[]")))
    return tuple(result)


class Guest:
    """Commands that read like the tools a developer knows, with answers a program can use."""

    def __init__(self, runner: Runner, *, step_seconds: float = STEP_SECONDS) -> None:
        self.runner = runner
        self.step_seconds = step_seconds

    def run(self, *argv: str, stdin: bytes = b"", seconds: float | None = None) -> Result:
        """Run any command; its exit code is the caller's to judge."""
        deadline = Deadline(seconds or self.step_seconds, argv[0])
        return self.runner.run(argv, deadline, stdin=stdin)

    def upload(self, source: Path) -> str:
        """Copy a file of the host into the guest and return its path there."""
        return self.upload_bytes(source.read_bytes(), source.name)

    def upload_bytes(self, data: bytes, name: str) -> str:
        """Write a file in the guest's folder for uploads and return its path."""
        path = f"{UPLOADS}/{name}"
        self.runner.put(path, data, Deadline(self.step_seconds, f"upload {name}"))
        return path

    def insmod(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        call: Literal["finit", "init"] = "finit",
        seconds: float | None = None,
    ) -> str:
        """Load a module from a file of the guest, by finit_module(2) or init_module(2).

        Returns OK, KILLED (the kernel killed the caller: an oops) or the errno's name.
        """
        text = " ".join(f"{key}={_quoted(value)}" for key, value in (parameters or {}).items())
        return self.system_call(call, path, text, seconds=seconds)

    def rmmod(self, name: str, *, force: bool = False, seconds: float | None = None) -> str:
        """Unload a module by delete_module(2), not waiting for its users. Returns as insmod does."""
        return self.system_call("delete", name, "nf" if force else "n", seconds=seconds)

    def system_call(self, *words: str, seconds: float | None = None) -> str:
        """Make a module system call through kmodctl, which explains the words. Returns as insmod does."""
        result = self.run("kmodctl", *words, seconds=seconds)
        if result.killed:
            return KILLED
        if result.returncode not in (0, 1) or not result.output.strip().isdigit():
            raise HarnessError(f"kmodctl {words[0]}: no answer", evidence=result.output.splitlines())
        number = int(result.output)
        return errno.errorcode.get(number, f"errno {number}") if number else OK

    def modules(self) -> dict[str, LoadedModule]:
        """What lsmod shows, keyed by name."""
        return parse_modules(self.read("/proc/modules"))

    def log(self, since: int = 0, *, seconds: float | None = None) -> tuple[KernelRecord, ...]:
        """Records of the kernel log whose sequence number is `since` or more."""
        return parse_kmsg(self._output("kmodctl", "kmsg", str(since), seconds=seconds))

    def log_mark(self) -> int:
        """The sequence number that the next record will have; for `log`."""
        records = self.log()
        return records[-1].sequence + 1 if records else 0

    def taint(self) -> int:
        """Bits of /proc/sys/kernel/tainted (Linux Documentation/admin-guide/tainted-kernels.rst)."""
        return int(self.read("/proc/sys/kernel/tainted"))

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

    def holders(self, name: str) -> tuple[str, ...]:
        """The modules that hold this one, sorted by name."""
        return tuple(sorted(self._output("ls", f"/sys/module/{name}/holders").split()))

    def kallsyms(self, *, module: str = "", name: str = "") -> tuple[Symbol, ...]:
        """Symbols of the running kernel, of one module and/or of one exact name."""
        # awk in the guest: the whole table is 6 MB.
        program = '(m == "" || $4 == "[" m "]") && (n == "" || $3 == n)'
        return parse_kallsyms(
            self._output("awk", "-v", f"m={module}", "-v", f"n={name}", program, "/proc/kallsyms")
        )

    def read(self, path: str) -> str:
        """The contents of a file, e.g. below /sys or /proc. Raises HarnessError when it cannot be read."""
        return self._output("cat", path)

    def write(self, path: str, text: str) -> str:
        """Write to an existing file, e.g. a sysfs attribute, in one write(2). Returns OK or an error text."""
        result = self.run("sh", "-c", 'cat > "$1"', "sh", path, stdin=text.encode())
        return OK if result.returncode == 0 else result.output.strip()

    def _output(self, *argv: str, seconds: float | None = None) -> str:
        result = self.run(*argv, seconds=seconds)
        if result.returncode != 0:
            raise HarnessError(f"in the guest: {' '.join(argv)}", evidence=result.output.splitlines()[-10:])
        return result.output


def _quoted(value: str) -> str:
    """A module parameter's value; the kernel takes double quotes around blanks (lib/cmdline.c, next_arg)."""
    return f'"{value}"' if " " in value else value
