# SPDX-License-Identifier: MIT
"""`graph` and `unload-order`: draw who uses whom; tell, or do, what must go before a module can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TextIO

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Exit, HarnessError, UsageError
from kmod_harness.features.graph.dependencies import ModuleGraph
from kmod_harness.features.graph.drawing import PICTURES, TEXTS, dot, table
from kmod_harness.features.graph.view import View
from kmod_harness.report.files import check_writable
from kmod_harness.target.runner import OK

DRAW_SECONDS = 60.0


def check_output(file: Path) -> None:
    """Find out before anything is done whether a picture can be written there. UsageError otherwise."""
    kinds = (*PICTURES, *TEXTS)
    if file.suffix not in kinds:
        raise UsageError(f"--output {file}: want a name that ends in {', '.join(kinds)}")
    check_writable(file)
    if file.suffix in PICTURES and shutil.which("dot") is None:
        raise UsageError(
            f"--output {file}: drawing {file.suffix} needs Graphviz, whose program dot is not installed",
            hint="apt-get install graphviz; or an --output that ends in .dot or .mmd, which needs nothing",
        )


def draw(graph: ModuleGraph, file: Path) -> None:
    """Write the graph in the language that the file's name asks for."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.suffix in TEXTS:
            beside.write_text(TEXTS[file.suffix](graph), encoding="utf-8")
        else:
            argv = ["dot", f"-T{file.suffix[1:]}", "-o", str(beside)]
            process.run(argv, input=dot(graph).encode(), deadline=Deadline(DRAW_SECONDS, "draw the graph"))
        beside.rename(file)
    finally:
        beside.unlink(missing_ok=True)


def show(graph: ModuleGraph, file: Path | None, out: TextIO) -> Exit:
    """Print the graph as a table, or write it to a file."""
    if file is None:
        out.write(table(graph))
    else:
        draw(graph, file)
        print(f"{file}: {len(graph.modules)} modules", file=out)
    return Exit.OK


def unload_order(view: View, name: str, out: TextIO, *, do: bool) -> Exit:
    """Print what must go before a module, and why something cannot; with `do` unload it all, in that order."""
    graph = view.graph()
    order = graph.unload_order(name)
    stuck = False
    for number, one in enumerate(order, 1):
        obstacles = graph.obstacles(one)
        stuck = stuck or bool(obstacles)
        print(f"{number}. rmmod {one}", *(f"  ({text})" for text in obstacles), sep="", file=out)
    if stuck:
        print("it cannot go that way: see what stands in brackets", file=out)
        return Exit.CHECK_FAILED
    return _unload(view, order, out) if do else Exit.OK


def _unload(view: View, order: tuple[str, ...], out: TextIO) -> Exit:
    for one in order:
        answer = view.target.unload(one)
        print(f"{one}: {'unloaded' if answer == OK else answer}", file=out)
        if answer != OK:
            return Exit.CHECK_FAILED
    left = sorted(view.graph().modules.keys() & set(order))
    if left:
        raise HarnessError(f"unloaded, but there again: {', '.join(left)}")
    return Exit.OK
