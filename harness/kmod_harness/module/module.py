# SPDX-License-Identifier: MIT
"""A module's source folder and what its module.yaml says is expected of it."""

from __future__ import annotations

import difflib
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
    module it depends on.
    """
    module = _load(path_or_name)
    needed_modules(module)
    return module


def _load(path_or_name: str) -> Module:
    path = _find_folder(path_or_name)
    if not any((path / name).is_file() for name in KBUILD_FILES):
        raise UsageError(
            f"{path}: neither {' nor '.join(KBUILD_FILES)} in it, so it is no module",
            hint=f"echo 'obj-m := {path.name}.o' > {path / 'Kbuild'}",
        )
    manifest = path / MANIFEST
    if not manifest.is_file():
        return Module(path.name, path, Expectation())
    from kmod_harness.module.manifest import read_manifest  # noqa: PLC0415 (PyYAML is slow to import)

    return Module(path.name, path, read_manifest(manifest))


def needed_modules(module: Module, above: tuple[Path, ...] = ()) -> list[Module]:
    """The modules that module.yaml wants loaded first, theirs before them, each once.

    UsageError for one that is not there and for those that need each other.
    """
    if module.path in above:
        circle = " -> ".join(path.name for path in (*above, module.path))
        raise UsageError(f"modules depend on each other in a circle: {circle} (depends in module.yaml)")
    result: dict[Path, Module] = {}
    for name in module.expectation.depends:
        folder = module.path.parent / name
        if not folder.is_dir():
            raise UsageError(f"{module.path / MANIFEST}: depends: {name}: there is no folder {folder}")
        needed = _load(str(folder))
        for one in (*needed_modules(needed, (*above, module.path)), needed):
            result.setdefault(one.path, one)
    return list(result.values())


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
