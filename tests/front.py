# SPDX-License-Identifier: MIT
"""The commands as a user runs them: in a process of their own, with a cache of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.process import Completed
from kmod_harness.base.settings import CACHE_VARIABLE
from tests.patience import patient

PROGRAM = Path(sys.executable).with_name("kmod-harness")
SHARED = ("kernels", "toolchains", "guest", "programs", "initramfs", "vmlinux")  # of a cache


@dataclass(frozen=True)
class Front:
    """Runs kmod-harness in `folder`; `cache` and `scratch` (TMPDIR) are this front's alone."""

    folder: Path
    cache: Path
    scratch: Path

    def environment(self, **environment: str) -> dict[str, str]:
        """Ours, with changes."""
        own = {CACHE_VARIABLE: str(self.cache), "TMPDIR": str(self.scratch), "COLUMNS": "80"}
        return os.environ | own | environment

    def run(self, *words: str, stdin: bytes | None = None, **environment: str) -> Completed:
        """Run a command to its end."""
        deadline = patient("kmod-harness")
        argv = [str(PROGRAM), *words]
        return process.run(
            argv,
            deadline=deadline,
            cwd=self.folder,
            env=self.environment(**environment),
            input=stdin,
            check=False,
        )

    @contextlib.contextmanager
    def start(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command, to be disturbed; it has ended when the context is left."""
        started = process.start([str(PROGRAM), *words], cwd=self.folder, env=self.environment())
        try:
            yield started
        finally:
            process.end(started, grace=10)

    def processes(self) -> dict[int, str]:
        """The command lines of all processes that belong to this front, by id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                about = words + (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue  # gone already
            if str(self.cache) in about:
                found[int(entry.name)] = words
        return found

    def find(self, wanted: Callable[[str], bool]) -> int | None:
        """The id of a process of this front whose command line is the wanted one."""
        return next((pid for pid, words in self.processes().items() if wanted(words)), None)

    def left_behind(self) -> list[str]:
        """Processes, half-made and temporary files that outlived the commands; there should be none."""
        parts = [str(path) for path in self.cache.rglob("*.part")]
        mounts = [
            line
            for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
            if str(self.cache) in line
        ]
        return [*self.processes().values(), *parts, *map(str, self.scratch.iterdir()), *mounts]


def make_front(folder: Path, shared: Path | None = None) -> Front:
    """A front below `folder`. shared: a cache whose kernels and programs are used; else an empty one."""
    front = Front(folder / "work", folder / "cache", folder / "scratch")
    for path in (front.folder, front.cache, front.scratch):
        path.mkdir()
    for source in [shared / name for name in SHARED] if shared else []:
        if source.is_dir():  # there is no toolchain where the host's own compiler fits
            half_made = shutil.ignore_patterns("*.part")  # by a run that was killed, or is at it
            target = front.cache / source.name
            shutil.copytree(source, target, ignore=half_made, symlinks=True, copy_function=_link)
    return front


def _link(source: str, target: str) -> None:
    """A hard link where that can be; links out of the cache would not be seen in the sandbox."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
