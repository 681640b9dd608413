# SPDX-License-Identifier: MIT
"""cpio archives in the "newc" format (Linux Documentation/driver-api/early-userspace/buffer-format.rst).

Written here because the programs that make them need root for foreign owners and device nodes. The kernel
accepts several archives one after the other, each padded.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_PADDING = 512


@dataclass(frozen=True)
class Entry:
    """One file of an archive, owned by root."""

    path: str  # without leading slash
    mode: int  # file type and permissions
    data: bytes = b""  # contents; for a symbolic link its target


def folder(path: str, permissions: int = 0o755) -> Entry:
    """A folder; it must come before what lies in it."""
    return Entry(path, stat.S_IFDIR | permissions)


def file(path: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | permissions, data)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries as one archive."""
    result = bytearray()
    for inode, entry in enumerate((*entries, Entry("TRAILER!!!", 0)), start=1):
        name = entry.path.encode() + b"\0"
        fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        result += b"070701" + b"".join(b"%08X" % value for value in fields) + name
        result += bytes(-len(result) % 4) + entry.data
        result += bytes(-len(result) % 4)
    return bytes(result + bytes(-len(result) % _PADDING))
