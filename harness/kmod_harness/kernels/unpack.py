# SPDX-License-Identifier: MIT
"""Unpack .deb files into a folder, without installing them, and make what is unpacked relocatable."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.progress import Progress

UNPACK_SECONDS = 600.0
TAR_OPTIONS = (
    "--keep-directory-symlink",
    "--no-same-owner",
    *(f"--exclude=./usr/share/{name}" for name in ("doc", "man", "locale", "info", "lintian", "bug")),
)
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # folders that are links into /usr


def unpack_files(files: Sequence[Path], root: Path, progress: Progress, label: str) -> None:
    """Unpack .deb files side by side into `root`, which gets a merged /usr; links become relative."""
    make_merged_usr(root)
    with progress.task(f"unpack {label}") as task:
        done: list[Path] = []

        def unpack(file: Path) -> None:
            # Not dpkg-deb --extract: it replaces the links of the merged /usr by folders.
            process.pipe(
                ("dpkg-deb", "--fsys-tarfile", str(file)),
                ("tar", "--extract", f"--directory={root}", *TAR_OPTIONS),
                deadline=Deadline(UNPACK_SECONDS, f"unpack {file.name}"),
                hint="remove the file and run the command again",
            )
            done.append(file)
            task.update(f"{len(done)} of {len(files)}", completed=len(done), total=len(files))

        # The largest first, so that it does not end up alone at the end.
        largest_first = sorted(files, key=lambda file: file.stat().st_size, reverse=True)
        run_parallel([partial(unpack, file) for file in largest_first])
    make_links_relative(root)


def make_merged_usr(root: Path) -> None:
    """Make root/bin, root/lib... links into root/usr, as base-files does on a real system."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        link = root / name
        if not link.is_symlink():
            link.symlink_to(f"usr/{name}")


def make_links_relative(root: Path) -> None:
    """Rewrite absolute links below `root` (meant for an installed system) to stay inside it."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and (target := path.readlink()).is_absolute():
                path.unlink()
                inside = root / target.relative_to("/")
                path.symlink_to(os.path.relpath(inside, Path(folder).resolve()))


def relocate_headers(root: Path) -> None:
    """Make Debian's header trees work wherever `root` lies: their Makefiles name /usr/src."""
    for makefile in root.glob("usr/src/linux-headers-*/Makefile"):
        text = makefile.read_text(encoding="utf-8", errors="surrogateescape")
        relocated = relocate_makefile(text)
        if relocated != text:
            makefile.write_text(relocated, encoding="utf-8", errors="surrogateescape")


def relocate_makefile(text: str) -> str:
    """The text of a headers package's Makefile, with paths relative to the Makefile itself."""
    here = "$(dir $(lastword $(MAKEFILE_LIST)))"
    text = re.sub(
        r"^KBUILD_OUTPUT=/usr/src/\S+$", f"KBUILD_OUTPUT:=$(realpath {here})", text, flags=re.MULTILINE
    )
    return re.sub(r"^include /usr/src/", f"include {here}../", text, flags=re.MULTILINE)
