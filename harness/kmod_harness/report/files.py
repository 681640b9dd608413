# SPDX-License-Identifier: MIT
"""Files that the user wants a report in."""

from __future__ import annotations

import os
from pathlib import Path

from kmod_harness.base.errors import UsageError


def check_writable(file: Path) -> None:
    """Find out before the work and not after it that its report cannot be written. UsageError says why."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {file}: there is no folder {folder}", hint=f"mkdir -p {folder}")
    if file.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        reason = "it is a folder" if file.is_dir() else "no permission"
        raise UsageError(f"cannot write {file}: {reason}", hint="name another file")
    if not file.exists():
        _try(file)


def _try(file: Path) -> None:
    """There are folders, such as those of /proc, in which nobody makes a file."""
    try:
        file.touch(exist_ok=False)
        file.unlink()
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}", hint="name another file") from error
