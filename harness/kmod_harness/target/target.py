# SPDX-License-Identifier: MIT
"""The one noun for what we reach: a kernel, whoever runs it and however it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kmod_harness.target.census import Census
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.target.proc import LoadedModule, Opened
from kmod_harness.target.runner import Result


@dataclass(frozen=True)
class Facts:
    """What a target tells about itself."""

    release: str  # uname -r
    arch: str  # uname -m
    root: bool  # whether our account is root's
    builds: bool  # whether it has its kernel's headers, make and gcc


class Target(Protocol):
    """A kernel that can be reached: of a virtual machine, of a board, of this host.

    Whatever it is asked may raise GuestFailure when it does not answer: GuestPanic, GuestHang, ConnectionLost.
    HarnessError says that the question or the way there was wrong.
    """

    @property
    def facts(self) -> Facts:
        """What it tells about itself."""

    def run(
        self,
        *argv: str,
        root: bool = False,
        stdin: bytes = b"",
        seconds: float | None = None,
        check: bool = True,
    ) -> Result:
        """Run a command, each word an argument, as root if asked for.

        Raises CommandFailed for an exit code other than 0; without `check` it is the caller's to judge.
        """

    def put(self, source: Path, *, program: bool = False) -> str:
        """Copy a file of this host into a folder of our own there and return its path."""

    def put_bytes(self, data: bytes, name: str, *, program: bool = False) -> str:
        """Write a file of that name in our folder there and return its path. program: it can be run."""

    def modules(self) -> dict[str, LoadedModule]:
        """The modules that are loaded, keyed by name, and their states."""

    def load(self, path: str, parameters: Mapping[str, str] | None = None) -> str:
        """Load a module from a file there. Returns OK, KILLED (the kernel killed the caller: an oops) or the
        errno's name."""

    def unload(self, name: str) -> str:
        """Unload a module, neither by force nor waiting for its users. Returns as `load` does."""

    def unload_and_look(self, name: str) -> tuple[str, Census]:
        """Unload a module as `unload` does, and if it went, look at once what it has left: what `census` tells.
        The next command may be the one that meets a thing that was left, and dies of it."""

    def open_nodes(self, name: str, nodes: Sequence[str]) -> tuple[Opened, ...]:
        """Open each node of /dev once, as far as it can be, and tell how a module counts that."""

    def drivers(self, name: str) -> dict[str, int]:
        """The drivers of a loaded module ("pci:e1000"), and to how many devices each is bound."""

    def holders(self, name: str) -> tuple[str, ...]:
        """The modules that hold this one, sorted by name."""

    def take_census(self) -> Census:
        """Note all that the kernel has; returns how much memory is in use."""

    def census(self) -> Census:
        """What the kernel has beyond what was noted."""

    def log(self, since: int = 0, *, seconds: float | None = None) -> tuple[KernelRecord, ...]:
        """Records of the kernel log whose sequence number is `since` or more."""

    def log_mark(self) -> int:
        """The sequence number that the next record will have; for `log`."""

    def taint(self) -> int:
        """Bits of /proc/sys/kernel/tainted (Linux Documentation/admin-guide/tainted-kernels.rst)."""

    def last_lines(self, count: int) -> tuple[str, ...]:
        """What was heard from outside, e.g. on a serial console; empty where nobody listens. Never waits."""

    def heard(self) -> Path | None:
        """The file with all that was heard from outside; None where nobody listens."""
