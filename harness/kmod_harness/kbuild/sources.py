# SPDX-License-Identifier: MIT
"""A module's sources: what belongs to them, their work copy, and the headers they use from outside."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from kmod_harness.base import store

# What a build leaves in a source folder: neither copied nor looked at.
PRODUCT = re.compile(
    r"""(?x) .* \. (?: ko | mod | mod\.c | cmd | dwo | gcno | gcda | su | ll | i | o\.d | ko\.unsigned )
    | Module\.symvers | Module\.markers | modules\.order | built-in\.a | .*~ | \..*\.sw[a-p] | \.tmp_.*
    | \.(?: git | svn | hg | bzr | venv | tox | cache | idea | vscode | mypy_cache | pytest_cache ) """
)
OBJECT = re.compile(r"(.*)\.o")
# From which an object is made: one without is shipped with the sources.
SUFFIXES = (".c", ".S", ".s", ".rs", ".o_shipped", ".asm", ".cpp", ".cc")
# No source of a .ko, so a change there is no reason to build.
OTHER = frozenset(("module.yaml", "README.md", "README"))
MAX_FILES = 60_000
MAX_BYTES = 1 << 30


class TooLargeError(Exception):
    """A folder holds more than a module's sources can be."""


def scan(folder: Path) -> dict[str, str]:
    """All source files below `folder`: relative path -> content key.

    Products of a build, version control's own files and editors' are left out. TooLargeError before much is
    read, when there is more than MAX_FILES or MAX_BYTES.
    """
    paths, size = [], 0
    for entry in _walk(folder):
        size += entry.stat(follow_symlinks=False).st_size
        paths.append(Path(entry.path))
        if len(paths) > MAX_FILES or size > MAX_BYTES:
            raise TooLargeError(f"{folder}: more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB of sources")
    return {str(path.relative_to(folder)): _content(path) for path in paths}


def _content(path: Path) -> str:
    if not path.is_symlink():
        return store.file_digest(path)
    return f"link {path.readlink()} {store.file_digest(path) if path.is_file() else ''}"


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    for entry in entries:
        if entry.name in OTHER or PRODUCT.fullmatch(entry.name) or _is_made(entry.name, names):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file() or entry.is_symlink():
            yield entry


def _is_made(name: str, beside: Collection[str]) -> bool:
    """Whether it is an object that a build has made: from a source beside, or from others."""
    match = OBJECT.fullmatch(name)
    return match is not None and (
        any(match[1] + suffix in beside for suffix in SUFFIXES) or f".{name}.cmd" in beside
    )


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
        if source.is_symlink() and _stays(source, folder):
            target.symlink_to(source.readlink())
        elif not source.is_file():  # a link that leads nowhere, or to a folder elsewhere
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)
            target.chmod(source.stat().st_mode & 0o777 | 0o600)


def _stays(link: Path, folder: Path) -> bool:
    """Whether a link does not leave the folder."""
    target = link.readlink()
    inside = Path(os.path.normpath(link.parent / target)).is_relative_to(folder)
    return inside and not target.is_absolute()


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


def outside_files(
    copy: Path,
    folder: Path,
    tree: Path,
    settled: tuple[Path, ...],
    to_host: Callable[[Path], Path] = lambda path: path,
) -> list[str]:
    """Files that the build in `copy` used and that are neither the module's own nor below `settled`.

    folder: the module's path inside the sandbox. tree: the kernel's build tree. settled: folders whose content
    cannot change without the key of kernel or compiler changing. to_host: from a path inside to the host's.
    """
    names: set[str] = set()
    for path in copy.rglob(".*.cmd"):
        names.update(parse_dependencies(path.read_text(errors="replace", encoding="utf-8")))
    for makefile in (copy / "Kbuild", copy / "Makefile"):
        if makefile.is_file():
            names.update(parse_includes(makefile.read_text(errors="replace", encoding="utf-8"), folder))
    inside = (to_host(folder), *settled)
    located = (_locate(name, folder, tree, to_host) for name in names)
    found = {path for path in located if path and not any(path.is_relative_to(one) for one in inside)}
    return sorted(map(str, found))


def _locate(name: str, folder: Path, tree: Path, to_host: Callable[[Path], Path]) -> Path | None:
    # Relative names: to the module's folder since Linux commit 13b25489b6f8 ("kbuild: change working
    # directory to external module directory with M=") (in v6.13), to the build tree before.
    for base in (folder, tree):
        path = to_host(Path(os.path.normpath(base / name)))
        if path.is_file():
            return path
    return None
