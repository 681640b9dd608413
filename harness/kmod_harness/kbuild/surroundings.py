# SPDX-License-Identifier: MIT
"""What lies around a module's folder, and where it appears in the sandbox.

A folder keeps its own path inside, unless that has characters that make or shells stumble over; then it
appears under a plain one, and messages are translated back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.kbuild.sandbox import Mount

PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
# First components of paths that the sandbox needs for itself: a module below them appears elsewhere.
SYSTEM = frozenset(
    ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "sys", "run", "src")
)
PLACE = Path("/src")
MAX_SIBLINGS = 200  # shown one by one beside a folder whose own name is not plain


@dataclass(frozen=True)
class Surroundings:
    """A module's folder with what may be looked at beside it."""

    folder: Path
    around: Path | None  # the git checkout that it lies in, else its parent; None: nothing
    checkout: bool  # whether `around` is a git checkout

    @property
    def inside(self) -> Path:
        """Where the folder appears."""
        return self.to_inside(self.folder)

    def to_inside(self, path: Path) -> Path:
        """Where a path of the host appears (if it is shown at all)."""
        for outside, inside in self._moved():
            if path.is_relative_to(outside):
                return inside / path.relative_to(outside)
        return path

    def to_host(self, path: Path) -> Path:
        """The other way round."""
        for outside, inside in self._moved():
            if path.is_relative_to(inside):
                return outside / path.relative_to(inside)
        return path

    def name(self, line: str) -> str:
        """A line of output with the host's paths."""
        for outside, inside in self._moved():
            line = re.sub(rf"(?<![\w/]){re.escape(str(inside))}(?![\w-])", lambda _: str(outside), line)  # noqa: B023
        return line

    def _moved(self) -> list[tuple[Path, Path]]:
        """What does not appear at its own path, the innermost first: path of the host, path inside."""
        if PLAIN.fullmatch(str(self.folder)) and self.folder.parts[1:2] and self.folder.parts[1] not in SYSTEM:
            return []
        around = self.around or self.folder.parent
        base = PLACE / (_plain(around.name) or "parent")
        relative = self.folder.relative_to(around)
        return [(self.folder, base.joinpath(*map(_plain, relative.parts))), (around, base)]

    def mounts(self) -> list[Mount]:
        """The read-only sight of what is around; hidden files of a folder that is no checkout stay hidden."""
        result: list[Mount] = []
        if self.around and PLAIN.fullmatch(str(self.folder.relative_to(self.around))):
            result.append(Mount(self.to_inside(self.around), self.around))
            if not self.checkout:
                result += [Mount(self.to_inside(one), None) for one in _hidden_folders(self.around)]
                result += [Mount(self.to_inside(one), Path("/dev/null")) for one in _hidden_files(self.around)]
        elif self.around:
            result += [Mount(self.to_inside(one), one) for one in _siblings(self.folder)]
        git = self.folder / ".git"
        return [*result, Mount(self.inside / ".git", git)] if git.exists() else result


def find_surroundings(folder: Path) -> Surroundings:
    """What is around an absolute path: the nearest git checkout above, but never the home folder as one."""
    home = Path.home()
    for above in (folder, *folder.parents):
        if above in (home, Path("/")):
            break
        if (above / ".git").exists():
            parent = folder.parent if above == folder else above
            return Surroundings(folder, _not_root(parent), checkout=above != folder)
    return Surroundings(folder, _not_root(folder.parent), checkout=False)


def _not_root(path: Path) -> Path | None:
    return None if path == Path("/") else path


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)


def _hidden_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*") if path.is_dir() and not path.is_symlink()]


def _hidden_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*") if path.is_file() and not path.is_symlink()]


def _siblings(folder: Path) -> list[Path]:
    beside = (path for path in sorted(folder.parent.iterdir()) if path != folder)
    return [path for path in beside if not path.name.startswith(".") and not path.is_symlink()][:MAX_SIBLINGS]
