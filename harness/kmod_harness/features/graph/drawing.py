# SPDX-License-Identifier: MIT
"""The graph of modules as text: for people, for Graphviz (DOT), for Markdown pages (Mermaid). Pure.

An arrow leads from the user to the used. What holds a module and is no module is drawn as an oval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kmod_harness.features.graph.dependencies import ModuleGraph
from kmod_harness.report.text import plain
from kmod_harness.target.proc import LoadedModule

COLOURS = {"Live": "#e8f1e4", "Loading": "#fdf0c4", "Unloading": "#f8d7c8"}  # by state
STRANGER = "#eeeeee"  # what is no module


def table(graph: ModuleGraph) -> str:
    """One line a module: name, state, count, who uses it, what else holds it."""
    rows = [("module", "state", "count", "held by")]
    for name, module in sorted(graph.modules.items()):
        who = [*sorted(module.users), *graph.other_holders(name)]
        who += ["no exit function: permanent"] if module.permanent else []
        rows.append((name, module.state, str(module.references), ", ".join(who) or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}" for row in rows]
    return "".join(f"{plain(line)}\n" for line in lines)


def dot(graph: ModuleGraph) -> str:
    """Graphviz's language."""
    lines = [
        "digraph modules {",
        '\tgraph [rankdir=TB, fontname="sans-serif"];',
        '\tnode [shape=box, style="rounded,filled", fontname="sans-serif"];',
        *(f"\t{line}" for line in _dot_nodes(graph)),
        *(f"\t{_dot_text(user)} -> {_dot_text(used)};" for user, used in _edges(graph)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _dot_nodes(graph: ModuleGraph) -> Iterator[str]:
    for name, module in sorted(graph.modules.items()):
        colour = COLOURS.get(module.state, COLOURS["Unloading"])
        label = f"{name}\n{_caption(module)}"
        yield f'{_dot_text(name)} [label={_dot_text(label)}, fillcolor="{colour}"];'
        for number, holder in enumerate(graph.other_holders(name), 1):
            node = _dot_text(f"{name} {number}")  # no module's name has a blank in it
            style = f'shape=ellipse, style="dashed,filled", fillcolor="{STRANGER}"'
            yield f"{node} [label={_dot_text(holder)}, {style}];"
            yield f"{node} -> {_dot_text(name)} [style=dashed];"


def _dot_text(text: str) -> str:
    lines = [plain(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")]
    return '"' + "\\n".join(lines) + '"'


def mermaid(graph: ModuleGraph) -> str:
    """Mermaid's language, which many places that show Markdown draw by themselves."""
    lines = [
        "graph TD",
        *(f"    {line}" for line in _mermaid_nodes(graph)),
        *(f"    {_mermaid_id(user)} --> {_mermaid_id(used)}" for user, used in _edges(graph)),
        *(f"    classDef {state.lower()} fill:{colour}" for state, colour in COLOURS.items()),
        f"    classDef stranger fill:{STRANGER},stroke-dasharray:4",
    ]
    return "\n".join(lines) + "\n"


def _mermaid_nodes(graph: ModuleGraph) -> Iterator[str]:
    for name, module in sorted(graph.modules.items()):
        node = _mermaid_id(name)
        kind = module.state if module.state in COLOURS else "Unloading"
        yield f'{node}["{_mermaid_text(name)}<br>{_mermaid_text(_caption(module))}"]:::{kind.lower()}'
        for number, holder in enumerate(graph.other_holders(name), 1):
            yield f'{node}_{number}(["{_mermaid_text(holder)}"]):::stranger -.-> {node}'


def _mermaid_id(name: str) -> str:
    """A name that is none of Mermaid's own words ("end", "graph", ...)."""
    return "m_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)


def _mermaid_text(text: str) -> str:
    """Text in double quotes, in which Mermaid reads HTML and its own `#...;`."""
    escaped = plain(text).replace("#", "#35;")
    for letter, code in (('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        escaped = escaped.replace(letter, code)
    return escaped


def _caption(module: LoadedModule) -> str:
    count = f"{module.state}, count {module.references}"
    return f"{count}, no exit function" if module.permanent else count


def _edges(graph: ModuleGraph) -> list[tuple[str, str]]:
    """(user, used), sorted."""
    return sorted(
        (user, name) for name, module in graph.modules.items() for user in module.users if user in graph.modules
    )


TEXTS: dict[str, Callable[[ModuleGraph], str]] = {".dot": dot, ".mmd": mermaid, ".txt": table}
PICTURES = (".svg", ".png")  # which Graphviz draws from DOT
