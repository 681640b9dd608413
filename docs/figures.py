# SPDX-License-Identifier: MIT
"""Makes the figures of the pages in this folder anew: each is what a command prints, which stands above it.

    make docs            all pages
    python docs/figures.py docs/how-modules-leave.md

A figure in a page: a comment with the command, a fenced block, a comment that ends it. `<<<` and a text after
the command is what the command reads. FIGURE.mmd in the command is a file, whose content is the figure then.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline

FIGURE = re.compile(r"(<!-- figure: (?P<command>[^\n]+?) -->\n).*?(<!-- end of figure -->)", re.DOTALL)
FILE = "FIGURE.mmd"
SECONDS = 600.0


def replace_figures(page: str, make: Callable[[str], tuple[str, str]]) -> str:
    """The page with each figure made by `make`: command -> (language of the block, text)."""

    def figure(match: re.Match[str]) -> str:
        language, text = make(match["command"])
        body = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        return f"{match[1]}```{language}\n{body}```\n{match[3]}"

    return FIGURE.sub(figure, page)


def run_command(command: str) -> tuple[str, str]:
    """Run a command of the harness; what it prints on standard output, or wrote to its file."""
    words, _, stdin = command.partition("<<<")
    program, *arguments = shlex.split(words)
    if program != "invoke":
        raise SystemExit(f"not a command of ours: {command}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        argv = [sys.executable, "-m", "invoke", *(str(file) if word == FILE else word for word in arguments)]
        # Progress and notes go to standard error.
        quiet = ["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *argv]
        text = " ".join(shlex.split(stdin)) + "\n"
        done = process.run(quiet, input=text.encode(), deadline=Deadline(SECONDS, command))
        return ("mermaid", file.read_text(encoding="utf-8")) if file.exists() else ("text", done.output)


def main(pages: list[str]) -> None:
    """Make the figures of these pages, or of all."""
    for page in map(Path, pages or sorted(map(str, Path(__file__).parent.glob("*.md")))):
        page.write_text(replace_figures(page.read_text(encoding="utf-8"), run_command), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main(sys.argv[1:])
