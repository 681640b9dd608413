# SPDX-License-Identifier: MIT
"""What `force-rmmod --explain --json` tells of a module, for the graph of modules."""

from __future__ import annotations

import json
from collections.abc import Callable

from kmod_harness.base.errors import HarnessError
from kmod_harness.features.graph.dependencies import Links, ModuleGraph
from kmod_harness.features.rescue.package import PROGRAM
from kmod_harness.target.runner import Result

EXPLAIN = ("--explain", "--json", "--no-scan", "--")
EXPLAIN_SECONDS = 60.0

Ask = Callable[[str], Result]  # runs the program with EXPLAIN and the name of a module


def parse_links(output: str) -> Links | None:
    """The links of a module; None when it is not there any more. HarnessError when that is no answer."""
    try:
        told = json.loads(output)
        if told["outcome"] == "refused":
            return None
        if told["outcome"] != "explained":
            raise HarnessError(f"{PROGRAM}: {told['reason']}")
        holders = tuple(holder["text"] for holder in told["holders"])
        return Links(tuple(told["used_by"]), tuple(told["uses"]), holders)
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{PROGRAM}: no answer", evidence=output.splitlines()[-5:]) from error


def explained(graph: ModuleGraph, chosen: tuple[str, ...], ask: Ask) -> ModuleGraph:
    """The graph with the real links of the chosen modules, and of those that somebody unknown holds."""
    links = {}
    for name in sorted(graph.modules):
        if name in chosen or graph.unnamed_holders(name):
            told = parse_links(ask(name).output)
            if told:
                links[name] = told
    return graph.with_links(links)
