# SPDX-License-Identifier: MIT
"""A module's sources: what belongs to them, their work copy, and the headers they use from outside."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from kmod_harness.base import store

# What a build leaves in a source folder: neither copied nor looked at.
PRODUCT = re.compile(
    r"""(?x) .* \. (?: o | ko | mod | mod\.c | cmd | dwo | gcno | gcda | su | ll | i | o\.d | ko\.unsigned )
    | Module\.symvers | Module\.markers | modules\.order | .*~ """
)
# No source of a .ko, so a change there is no reason to build.
OTHER = frozenset(("module.yaml", "README.md", "README"))


def scan(folder: Path) -> dict[str, str]:
    """All source files below `folder`: relative path -> content key. Hidden ones are left out."""
    found = {}
    for path in _walk(folder):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            content = store.file_digest(path) if path.is_file() else ""
            found[name] = f"link {path.readlink()} {content}"
        else:
            found[name] = store.file_digest(path)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name in OTHER or PRODUCT.fullmatch(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file() or entry.is_symlink():
            yield Path(entry.path)


def mirror(folder: Path, copy: Path, wanted: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Bring the work copy from the state `present` to `wanted` (both as `scan` gives them).

    Only what differs is touched, so that make sees what has changed; a copied file is always newer than
    what was built from its predecessor.
    """
    for name in present.keys() - wanted.keys():
        (copy / name).unlink(missing_ok=True)
    for name, key in wanted.items():
        if present.get(name) == key and os.path.lexists(copy / name):
            continue
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        source = folder / name
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            shutil.copyfile(source, target)
            target.chmod(source.stat().st_mode & 0o777 | 0o600)


def parse_dependencies(text: str) -> list[str]:
    """The files that an object was made from, of one of kbuild's .cmd files."""
    names = []
    for line in text.splitlines():
        match = re.fullmatch(r"\s+([^$\s]\S*)\s*\\?", line) or re.fullmatch(r"source_\S+ := (\S+)", line)
        if match and match.group(1) != "\\":
            names.append(match.group(1))
    return names


def parse_includes(text: str, folder: Path) -> list[str]:
    """The files that a kbuild Makefile includes, as far as their names are plain."""
    names = []
    for match in re.finditer(r"^\s*[-s]?include\s+(.+)$", text, re.MULTILINE):
        for word in match.group(1).split("#")[0].split():
            for variable in ("$(src)", "$(M)", "$(CURDIR)", "$(obj)", "$(PWD)"):
                word = word.replace(variable, str(folder))  # noqa: PLW2901
            if "$" not in word:
                names.append(word)
    return names


def outside_files(copy: Path, folder: Path, tree: Path, settled: tuple[Path, ...]) -> list[str]:
    """Files that the build in `copy` used and that are neither the module's own nor below `settled`.

    folder: the module's own path. tree: the kernel's build tree. settled: folders whose content cannot
    change without the key of kernel or compiler changing.
    """
    names: set[str] = set()
    for path in copy.rglob(".*.cmd"):
        names.update(parse_dependencies(path.read_text(errors="replace", encoding="utf-8")))
    for makefile in (copy / "Kbuild", copy / "Makefile"):
        if makefile.is_file():
            names.update(parse_includes(makefile.read_text(errors="replace", encoding="utf-8"), folder))
    inside = (folder, *settled)
    located = (_locate(name, folder, tree) for name in names)
    found = {path for path in located if path and not any(path.is_relative_to(one) for one in inside)}
    return sorted(map(str, found))


def _locate(name: str, folder: Path, tree: Path) -> Path | None:
    # Relative names: to the module's folder since Linux commit 13b25489b6f8 ("kbuild: change working
    # directory to external module directory with M=") (in v6.13), to the build tree before.
    for base in (folder, tree):
        path = Path(os.path.normpath(base / name))
        if path.is_file():
            return path
    return None
