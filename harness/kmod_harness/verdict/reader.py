# SPDX-License-Identifier: MIT
"""Open a file that holds a kernel log, whatever it is packed and encoded in, and give its lines one by one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import lz4.frame
import zstandard

from kmod_harness.base.errors import UsageError

STDIN = "-"
_LONGEST = 1 << 16  # characters of a line that are kept; the rest of it is dropped unread
_PEEK = 4096
_MOST_OF_A_PART = 1 << 18  # bytes of the parts of a pstore dump that are put in order

# How each packing begins, and what unpacks it.
_PACKINGS: tuple[tuple[bytes, Callable[[BinaryIO], BinaryIO]], ...] = (
    (b"\x1f\x8b", lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file))),
    (b"\xfd7zXZ\x00", lambda file: cast(BinaryIO, lzma.LZMAFile(file))),  # noqa: SIM115
    (b"BZh", lambda file: cast(BinaryIO, bz2.BZ2File(file))),
    (b"\x28\xb5\x2f\xfd", lambda file: cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(file))),
    (b"\x04\x22\x4d\x18", lambda file: cast(BinaryIO, lz4.frame.LZ4FrameFile(file))),
)
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError, ValueError)
_PART = re.compile(r"(?:Panic|Oops|Emergency|Shutdown|Unknown)#\d+ Part(\d+)$")


def read_lines(source: str) -> Iterator[str]:
    """The lines of a log, without their ends. source: a path, or "-" for standard input.

    Unpacks gzip, xz, bzip2, zstd and lz4 by their first bytes; reads UTF-8 and UTF-16, with or without a byte
    order mark, and never fails on bytes that are neither. A packed file that ends early gives what it has.
    Lines end at line feeds and carriage returns; one that is longer than 64 Ki characters loses its end. Memory
    does not grow with the file. Raises UsageError when there is nothing to read.
    """
    with ExitStack() as stack:
        file = _open(source, stack)
        start = _peek(file)
        for magic, unpack in _PACKINGS:
            if start.startswith(magic):
                file = stack.enter_context(
                    io.BufferedReader(cast(io.RawIOBase, _Forgiving(unpack(file))), 1 << 16)
                )
                start = _peek(file)
                break
        text = io.TextIOWrapper(file, encoding=_encoding(start), errors="replace", newline=None)
        yield from _in_order(_lines(text))
        text.detach()


def _open(source: str, stack: ExitStack) -> io.BufferedReader:
    if source == STDIN:
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint="dmesg | kmod-harness explain-log -")
        return cast(io.BufferedReader, sys.stdin.buffer)
    path = Path(source).expanduser()
    if path.is_dir():
        raise UsageError(f"{source}: is a folder", hint="name the files in it that hold kernel logs")
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise UsageError(
            f"{source}: {error.strerror}", hint="name a file that can be read, or - for a pipe"
        ) from error


def _peek(file: io.BufferedReader) -> bytes:
    try:
        return file.peek(_PEEK)[:_PEEK]
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", hint="name a file, or - for a pipe") from error


def _encoding(start: bytes) -> str:
    """By the byte order mark, else by where the zero bytes are."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    head = start[:512]
    if len(head) >= 8 and head[1::2].count(0) > len(head) * 0.4:
        return "utf-16-le"
    if len(head) >= 8 and head[0::2].count(0) > len(head) * 0.4:
        return "utf-16-be"
    return "utf-8-sig"


class _Forgiving(io.RawIOBase):
    """A packed file that ends at the first byte which cannot be unpacked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            piece = self._file.read(len(buffer))
        except _BROKEN:
            return 0
        buffer[: len(piece)] = piece
        return len(piece)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LONGEST):
        if line.endswith("\n"):
            yield line[:-1]
            continue
        yield line
        while len(line) == _LONGEST and not line.endswith("\n"):
            line = text.readline(_LONGEST)


def _in_order(lines: Iterator[str]) -> Iterator[str]:
    """The same lines; the parts of a pstore dump, which begins with the newest, oldest first."""
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if not _PART.match(first):
        yield from lines
        return
    parts: list[tuple[int, list[str]]] = []
    size = 0
    for line in lines:
        part = _PART.match(line) if "#" in line else None
        if part and parts and int(part[1]) <= parts[-1][0]:  # another dump
            yield from _joined(parts)
            parts, size = [], 0
        if part:
            parts.append((int(part[1]), []))
        elif parts and size < _MOST_OF_A_PART:
            parts[-1][1].append(line)
            size += len(line)
        else:
            yield from _joined(parts)
            parts, size = [], 0
            yield line
    yield from _joined(parts)


def _joined(parts: list[tuple[int, list[str]]]) -> Iterator[str]:
    for _, lines in reversed(parts):
        yield from lines
