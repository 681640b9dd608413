# SPDX-License-Identifier: MIT
"""The rooms of kmod/force_rmmod: who may include and call whom, and that nobody does so in a circle."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from kmod_harness.base.settings import PROJECT

MODULE = PROJECT / "kmod/force_rmmod"
# Each may use those before it. What is in no folder: what all use, and what uses them all.
ROOMS = ("rescue", "facts", "kernel", "victim", "evidence", "undo", "guard", "explain", "main")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
# A definition that other files can use: at the beginning of a line, and not static.
DEFINED = re.compile(
    r"^(?!static |extern |typedef |struct \w+;)[a-zA-Z][^\n;{}()#=]*?\b(fr_\w+)(?=\(|\[| =|;)", re.MULTILINE
)
DEFINED_BY_MACRO = re.compile(r"^DEFINE_\w+\((fr_\w+)\)", re.MULTILINE)
USED = re.compile(r"\bfr_\w+\b")


def sources(folder: Path) -> dict[str, str]:
    """Path below the folder -> text without comments."""
    return {
        str(path.relative_to(folder)): COMMENT.sub("", path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.[ch]"))
    }


def room(name: str) -> int:
    """Which of ROOMS a file belongs to."""
    first = Path(name).parts[0]
    return ROOMS.index(first if first in ROOMS else Path(first).stem)


def definitions(text: str) -> set[str]:
    return set(DEFINED.findall(text)) | set(DEFINED_BY_MACRO.findall(text))


def uses(files: dict[str, str]) -> dict[str, set[str]]:
    """Each .c file and the other ones that define what it names."""
    own = {name: definitions(text) for name, text in files.items() if name.endswith(".c")}
    used = {name: set(USED.findall(files[name])) - own[name] for name in own}
    return {name: {other for other in own if own[other] & used[name]} for name in own}


def includes(files: dict[str, str]) -> dict[str, set[str]]:
    return {name: set(INCLUDE.findall(text)) for name, text in files.items()}


def wrong_way(links: dict[str, set[str]]) -> list[str]:
    """Those links that lead to a room further up."""
    return [f"{name} -> {other}" for name in links for other in links[name] if room(other) > room(name)]


def circle(links: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(links).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_rooms_include_one_way() -> None:
    links = includes(sources(MODULE))
    assert all((MODULE / other).is_file() for others in links.values() for other in others)
    assert wrong_way(links) == []
    assert circle(links) == []


def test_rooms_call_one_way() -> None:
    links = uses(sources(MODULE))
    assert "victim/victim.c" in links["undo/proc.c"]  # what is there is seen
    assert wrong_way(links) == []
    assert circle(links) == []


def test_what_goes_the_wrong_way_is_found() -> None:
    files = {
        "kernel/peek.c": '#include "undo/undo.h"\nbool fr_peek(void)\n{\n\treturn fr_undo();\n}\n',
        "undo/undo.c": "static int fr_own;\nint fr_undo(void)\n{\n\treturn fr_own + fr_peek();\n}\n",
        "main.c": "static int fr_own;\n",
    }
    assert wrong_way(includes(files)) == ["kernel/peek.c -> undo/undo.h"]
    assert wrong_way(uses(files)) == ["kernel/peek.c -> undo/undo.c"]
    assert set(circle(uses(files))) == {"kernel/peek.c", "undo/undo.c"}


def test_kbuild_lists_all() -> None:
    """Each source is built, on one architecture or another."""
    words = set(re.findall(r"\b(?:\w+/)?\w+(?=\.o\b)", (MODULE / "Kbuild").read_text(encoding="utf-8")))
    named = {Path(word).name for word in words}
    assert {path.stem for path in MODULE.rglob("*.c")} == named - {"force_rmmod"}


def test_kinds_are_listed() -> None:
    """Each row is in the table, once."""
    files = sources(MODULE / "undo")
    rows = [
        row for text in files.values() for row in re.findall(r"^const struct fr_kind (fr_kind_\w+)", text, re.M)
    ]
    table = files["undo.c"].partition("fr_kinds[] = {")[2].partition("};")[0]
    assert sorted(re.findall(r"&(fr_kind_\w+)", table)) == sorted(rows)


def test_scenarios_are_tried() -> None:
    """Each row of kmod/faults is named by a test."""
    text = COMMENT.sub("", (PROJECT / "kmod/faults/main.c").read_text(encoding="utf-8"))
    rows = re.findall(r'^\t(?:FA_LEFT\(|\{ ")(\w+)', text, re.M)
    tests = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests/vm").glob("test_*.py"))
    assert len(rows) > 50
    assert [row for row in rows if not re.search(rf"""["'=]{row}\b""", tests)] == []
