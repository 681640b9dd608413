# SPDX-License-Identifier: MIT
"""What `invoke build` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from kmod_harness.kbuild.make import Build
from kmod_harness.report.rows import unique
from kmod_harness.report.text import plain, seconds_text

STYLES = {
    "built": "green",
    "unchanged": "dim",
    "failed": "bold red",
    "excluded": "dim",
    "impossible": "bold yellow",
}


def print_builds(builds: Sequence[Build], stream: TextIO) -> None:
    """One line for each module and kernel, with where its .ko files are; failures with the compiler's lines."""
    console = Console(file=stream, highlight=False)

    def line(text: str, style: str = "") -> None:
        console.print(Text(plain(text), style=style), soft_wrap=True)

    for build in builds:
        took = f" in {seconds_text(build.seconds)}" if build.state == "built" else ""
        line(f"{build.module.name} for {build.kernel.spec}: {build.state}{took}", STYLES[build.state])
        for path in build.objects:
            line(f"  {path}")
        for text in build.notes:
            line(f"  note: {text}")
        for text in build.warnings:
            line(f"  warning: {text}", "yellow")
        for text in build.problems:
            line(f"  | {text}")
        if build.state == "failed":
            line(f"  full log: {build.log}")
        if build.hint:
            line(f"  next: {build.hint}")
    if builds and all(build.state == "unchanged" for build in builds):
        modules = unique([build.module.name for build in builds])
        kernels = unique([build.kernel.spec for build in builds])
        line(f"nothing to do: {', '.join(modules)} up to date for {', '.join(kernels)}")
