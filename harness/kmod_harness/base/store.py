# SPDX-License-Identifier: MIT
"""The cache: locks between processes, and artefacts that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmod_harness.base import process
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import CACHE_VARIABLE, Settings

POLL_SECONDS = 0.05  # how often a lock that another run holds is tried again
NOTICE_SECONDS = 1.0  # waiting longer than this is told to the user


@contextlib.contextmanager
def locked(settings: Settings, name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock `name` against all threads and runs that share the cache.

    The kernel releases it when the holder dies, so there is no stale lock and no deadline.
    """
    path = settings.cache / "locks" / (re.sub(r"[^\w.+~-]", "_", name)[:200] + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        began = time.monotonic()
        told = False
        while not _try_lock(file.fileno()):
            process.check_cancelled()
            if not told and time.monotonic() - began > NOTICE_SECONDS:
                progress.note(f"waiting for another run that works on {name}")
                told = True
            time.sleep(POLL_SECONDS)
        yield


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def publishing(final: Path) -> Iterator[Path]:
    """Give an empty folder beside `final`, which becomes `final` when the block ends well.

    Needs the lock for `final`: what a killed run left behind is removed first. When the block fails,
    nothing is left.
    """
    part = final.with_name(f".{final.name}.part")
    remove(part)
    part.mkdir(parents=True)
    try:
        yield part
        remove(final)
        part.rename(final)
    except BaseException:
        remove(part)
        raise


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, also what is write-protected, or a file; none is fine."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path, onerror=_pass_over_vanished)
    except PermissionError:
        _unprotect(path)
        shutil.rmtree(path, onerror=_pass_over_vanished)


def _pass_over_vanished(_function: object, _name: str, error: Any) -> None:
    """Somebody else removes too."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def _unprotect(path: Path) -> None:
    """Allow us to remove what is in the folder; what is above it is not ours to change."""
    path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for inside in (Path(folder, name) for name in names):
            if not inside.is_symlink():
                inside.chmod(0o700)  # before os.walk() enters it


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that other runs see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The value in a file of the cache; None when there is none or it cannot be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def digest(*parts: str | bytes) -> str:
    """A short content key of several texts (their borders count)."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode(errors="surrogateescape")
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.hexdigest()[:32]


def file_digest(path: Path) -> str:
    """The content key of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@contextlib.contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn failures of the file system (full, read-only, no permission) into one clear sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or settings.cache
        raise HarnessError(
            f"{where}: {error.strerror or error}", hint=_storage_hint(settings, error)
        ) from error
    except process.CommandError as error:
        full = os.strerror(errno.ENOSPC)
        if full not in error.completed.output:
            raise
        hint = _storage_hint(settings, OSError(errno.ENOSPC, full))
        raise HarnessError(f"{settings.cache}: {full}", evidence=error.evidence[:3], hint=hint) from error


def _storage_hint(settings: Settings, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free some space for {settings.cache}, or put the cache elsewhere: {CACHE_VARIABLE}=<folder>"
    return f"check {settings.cache}, or put the cache elsewhere: {CACHE_VARIABLE}=<folder>"
