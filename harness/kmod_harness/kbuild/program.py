# SPDX-License-Identifier: MIT
"""Static programs for the guest, made with the kernel's own toolchain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Progress, Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.sandbox import Mount, View, shown
from kmod_harness.kbuild.toolchain import Toolchain

FLAGS = ("-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s")
COMPILE_SECONDS = 120.0


def build_program(
    sources: Sequence[Path],
    toolchain: Toolchain,
    settings: Settings,
    progress: Progress | None = None,
    *,
    flags: Sequence[str] = FLAGS,
) -> Path:
    """A static, stripped program named after the first source, made once for each content.

    Headers beside the sources belong to the content. CommandError with the compiler's lines when it
    cannot be compiled.
    """
    files = [source.resolve() for source in sources]
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise HarnessError(f"{missing}: no such file", hint="git status: is the checkout complete?")
    beside = sorted({header for file in files for header in file.parent.glob("*.h")})
    content = [f"{file} {store.file_digest(file)}" for file in (*files, *beside)]
    key = store.digest(toolchain.identity, toolchain.compiler, *flags, *content)
    program = settings.cache / "programs" / key / files[0].stem
    if program.is_file():
        return program
    with store.explained(settings), store.locked(settings, f"program-{key}", progress or Silent()):
        if not program.is_file():
            with store.publishing(program.parent) as part:
                folders = dict.fromkeys(file.parent for file in files)
                view = View((*map(shown, folders), Mount(part, part, writable=True)))
                command = (toolchain.compiler, *flags, "-o", str(part / program.name), *map(str, files))
                argv = toolchain.argv(command, view)
                process.run(argv, deadline=Deadline(COMPILE_SECONDS, f"compile {program.name}"))
    return program
