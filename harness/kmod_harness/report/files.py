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
