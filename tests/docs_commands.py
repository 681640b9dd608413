# SPDX-License-Identifier: MIT
"""The commands in README.md and docs/: which there are, and how each is tried.

In a block that is marked `console`, "$ " begins a command on this host, "# " one on the machine whose modules
it is about (as root); what else stands there is output. A new command goes into one of the tables below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MADE = re.compile(r"<!-- figure: .*?<!-- end of figure -->", re.DOTALL)  # by docs/figures.py, from its command

# Command -> its exit codes. Run by tests/unit/test_docs_commands.py.
HERE = {
    "kmod-harness clean --help": (0,),
    "kmod-harness config": (0,),
    "kmod-harness doctor": (0, 2),
}
# Run by tests/vm/test_docs_commands.py, in a folder with a broken my_driver; the one in ~/src is whole.
IN_A_MACHINE = {
    "kmod-harness build --module vms": 0,
    "kmod-harness graph --module depend_a --module depend_b": 0,
    "kmod-harness kernels": 0,
    "kmod-harness shell --module ~/src/my_driver": 0,
    "kmod-harness trace-unload --module depend_s": 0,
    "kmod-harness unload-order depend_s --module depend_a --module depend_b --do": 0,
    "kmod-harness vm-test --module ./my_driver --kernel 6.12": 1,
    "kmod-harness vm-test --module ~/src/my_driver --guard": 0,
    "kmod-harness vm-test --module ~/src/my_driver --junit results.xml --json results.json": 0,
    "kmod-harness vm-test --module ~/src/my_driver --kernel 5.10 --kernel 6.12": 0,
    "kmod-harness vm-test --module ~/src/my_driver --module vms --together": 0,
    "kmod-harness vm-test --module ~/src/my_driver --kernel-arg slub_debug=FZP --reloads 10": 0,
    "pytest --kernel 5.10 --kernel 6.12 test_my_driver.py": 0,
}
# Command -> why no test runs it as it stands. `make` is asked what it would do.
_BOARD = "needs a board; tests/vm/test_rescue.py does it with a virtual machine as the board"
_PROGRAM = "built and run in a virtual machine by tests/vm/test_rescue.py"
NOT_RUN = {
    "kmod-harness rescue --host root@board vms": _BOARD,
    "kmod-harness unload-order depend_s --host root@board --do": _BOARD,
    "./kmod/force-rmmod vms": _PROGRAM,
    "./kmod/force-rmmod --explain faults": _PROGRAM,
    "pip install .": "a download; CI has installed the toolkit before it runs a test",
}


@dataclass(frozen=True)
class Command:
    """A command, and what the page says that it prints."""

    page: str
    prompt: str  # "$" or "#"
    text: str
    output: tuple[str, ...]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, content) of each fenced block that no program has made."""
    yield from BLOCK.findall(MADE.sub("", page.read_text(encoding="utf-8")))


def commands(*pages: Path) -> list[Command]:
    """All commands, in order; comments behind them are left out."""
    found: list[Command] = []
    for page in pages or PAGES:
        for language, content in blocks(page):
            if language != "console":
                continue
            for line in content.splitlines():
                if line[:2] in ("$ ", "# "):
                    found.append(Command(page.name, line[0], line[2:].split("  #")[0].strip(), ()))
                else:
                    last = found.pop()
                    found.append(Command(last.page, last.prompt, last.text, (*last.output, line)))
    return found
