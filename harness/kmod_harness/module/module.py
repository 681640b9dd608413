# SPDX-License-Identifier: MIT
"""A module's source folder and what its module.yaml says is expected of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import PROJECT
from kmod_harness.module.expectation import Expectation

MANIFEST = "module.yaml"
KBUILD_FILES = ("Kbuild", "Makefile")  # in the order in which kbuild looks for them


@dataclass(frozen=True)
class Module:
    """A folder with a kbuild Makefile or Kbuild file."""

    name: str  # of the folder; for people and on the command line
    path: Path  # absolute
    expectation: Expectation
    needed: tuple[Module, ...] = ()  # what module.yaml wants loaded first, theirs before them, each once


def module_folders() -> list[Path]:
    """The folders whose modules are known by name: kmod/ of the working directory and of the checkout."""
    return list(dict.fromkeys((Path("kmod").resolve(), PROJECT / "kmod")))


def known_modules() -> dict[str, Path]:
    """The modules that have a name, with their folders."""
    known: dict[str, Path] = {}
    for folder in module_folders():
        known |= {path.name: path for path in modules_in(folder) if path.name not in known}
    return known


def modules_in(folder: Path) -> list[Path]:
    """The folders below this one that are modules, sorted by name."""
    return [path for path in sorted(folder.glob("*/")) if any((path / name).is_file() for name in KBUILD_FILES)]


def resolve_module(path_or_name: str) -> Module:
    """The module with this name under kmod/, or in this folder.

    UsageError when there is none (it lists those there are), or for a wrong module.yaml: its own or that of a
    module it depends on, directly or not.
    """
    return resolve_modules([path_or_name])[0]


def resolve_modules(names: Iterable[str]) -> list[Module]:
    """The same for several, each once, in order; what several need is read once."""
    read: dict[Path, Module] = {}
    return list(dict.fromkeys(_read(_find_folder(name), read) for name in names))


def _read(path: Path, read: dict[Path, Module], above: tuple[Path, ...] = ()) -> Module:
    """The module in this folder, which those in the folders `above` depend on."""
    if path in above:
        circle = " -> ".join(one.name for one in (*above[above.index(path) :], path))
        raise UsageError(f"modules depend on each other in a circle: {circle} (depends in module.yaml)")
    if path not in read:
        expectation = _expectation(path)
        needed: dict[Path, Module] = {}
        for name in expectation.depends:
            folder = path.parent / name
            if not folder.is_dir():
                raise UsageError(f"{path / MANIFEST}: depends: {name}: there is no folder {folder}")
            direct = _read(folder.resolve(), read, (*above, path))
            needed |= {one.path: one for one in (*direct.needed, direct) if one.path not in needed}
        read[path] = Module(path.name, path, expectation, tuple(needed.values()))
    return read[path]


def _expectation(path: Path) -> Expectation:
    """What the module.yaml of a module's folder says."""
    if not any((path / name).is_file() for name in KBUILD_FILES):
        raise UsageError(
            f"{path}: neither {' nor '.join(KBUILD_FILES)} in it, so it is no module",
            hint=f"echo 'obj-m := {path.name}.o' > {path / 'Kbuild'}",
        )
    manifest = path / MANIFEST
    if not manifest.is_file():
        return Expectation()
    from kmod_harness.module.manifest import read_manifest  # noqa: PLC0415 (PyYAML is slow to import)

    return read_manifest(manifest)


def _find_folder(path_or_name: str) -> Path:
    known = known_modules()
    if path_or_name in known:
        return known[path_or_name]
    path = Path(path_or_name).expanduser()
    if path_or_name and path.is_dir():
        return path.resolve()
    near = difflib.get_close_matches(path_or_name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "give one of them, or the path of a folder"
    if path.is_file():
        hint = f"give the folder: {path.parent}"
    raise UsageError(
        f"unknown module {path_or_name!r}; there is: {', '.join(known) or 'none under kmod/'}", hint=hint
    )
