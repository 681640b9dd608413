# SPDX-License-Identifier: MIT
"""The rooms of the package: imports point backwards along a run, and nothing lies loose in the hallway."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import kmod_harness

PACKAGE = Path(kmod_harness.__file__).parent
# In the order of a run. A room imports itself and what stands before it.
ROOMS = (
    "base",
    "module",
    "kernels",
    "kbuild",
    "machine",
    "target",
    "verdict",
    "report",
    "run",
    "features",
    "front",
)


def imported_rooms(source: str) -> Iterator[str]:
    """The rooms that a file imports from, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == "kmod_harness":
            names = [f"kmod_harness.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("kmod_harness."))


def forward_imports(folder: Path, rooms: tuple[str, ...]) -> list[str]:
    """What points the wrong way, in words."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        here = path.relative_to(folder).parts[0]
        for room in imported_rooms(path.read_text(encoding="utf-8")):
            if room in rooms and (here not in rooms or rooms.index(room) > rooms.index(here)):
                found.append(f"{path.relative_to(folder)} imports {room}")
    return found


def test_imports_point_backwards_along_a_run() -> None:
    assert forward_imports(PACKAGE, ROOMS) == []


def test_an_import_that_points_forward_is_found(tmp_path: Path) -> None:
    for room in ("base", "front"):
        (tmp_path / room).mkdir()
    (tmp_path / "base" / "errors.py").write_text(
        "def f():\n    from kmod_harness.front import tasks\n", encoding="utf-8"
    )
    (tmp_path / "front" / "tasks.py").write_text(
        "from kmod_harness import base\nimport kmod_harness.base.errors\n",
        encoding="utf-8",
    )
    assert forward_imports(tmp_path, ROOMS) == ["base/errors.py imports front"]


def canonical(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonical(re.split(r"[<>=]", one)[0]) for one in project["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    for path in sorted(PACKAGE.rglob("*.py")):
        for top in imported(path.read_text(encoding="utf-8")) - sys.stdlib_module_names - {"kmod_harness"}:
            assert declared & set(map(canonical, providers[top])), f"{path.name} imports {top}"


def imported(source: str) -> set[str]:
    """The top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def test_every_room_is_known_and_nothing_lies_outside() -> None:
    inside = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert inside == {*ROOMS, "__init__.py", "py.typed"}
