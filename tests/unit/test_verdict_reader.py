# SPDX-License-Identifier: MIT
"""Files that hold kernel logs, however they are packed; and what no reader may stumble over."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_harness.base.errors import UsageError
from kmod_harness.verdict.reader import read_lines
from kmod_harness.verdict.splats import MOST_SPLATS, find_splats, read_log

GOLDEN = Path(__file__).parent / "golden"
LOG = """\
[    1.000000] usb 1-1: fine
[    2.000000] kernel BUG at a.c:1!
[    3.000000] RIP: 0010:f+0x1/0x2 [m]
"""

PACKED = {
    "plain": LOG.encode(),
    "gzip": gzip.compress(LOG.encode()),
    "xz": lzma.compress(LOG.encode()),
    "bzip2": bz2.compress(LOG.encode()),
    "zstd": zstandard.compress(LOG.encode()),
    "lz4": lz4.frame.compress(LOG.encode()),
    "UTF-8 with mark": LOG.encode("utf-8-sig"),
    "UTF-16": LOG.encode("utf-16"),
    "UTF-16, little": LOG.encode("utf-16-le"),
    "UTF-16, big": LOG.encode("utf-16-be"),
    "UTF-16 in gzip": gzip.compress(LOG.encode("utf-16")),
    "carriage returns": LOG.replace("\n", "\r\n").encode(),
    "returns only": LOG.replace("\n", "\r").encode(),
    "bytes that are no text": b"\xff\xfe\x00"[:1] + b"\x80\n" + LOG.encode(),
}


@pytest.mark.parametrize("packing", PACKED)
def test_packing(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[packing])
    (splat,) = find_splats(read_lines(str(path)))
    assert (splat.kind, splat.module, splat.seconds) == ("bug", "m", 2.0)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys,
        "stdin",
        io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(LOG.encode()))), encoding="utf-8"),
    )
    assert [splat.kind for splat in find_splats(read_lines("-"))] == ["bug"]


@pytest.mark.parametrize("packing", ["gzip", "xz"])
def test_packed_file_that_ends_early_gives_what_it_has(packing: str, tmp_path: Path) -> None:
    text = "".join(f"[{number:5}.000000] line {number * 7919 % 104729}\n" for number in range(9000))
    whole = (LOG + text).encode()
    packed = gzip.compress(whole) if packing == "gzip" else lzma.compress(whole)
    path = tmp_path / "log"
    path.write_bytes(packed[:-3000])
    assert [splat.kind for splat in find_splats(read_lines(str(path)))] == ["bug"]


def test_parts_of_a_pstore_dump_are_put_in_order(tmp_path: Path) -> None:
    first, second, third = LOG.splitlines()
    path = tmp_path / "dmesg"
    path.write_text(
        f"Panic#1 Part1\n<1>{third}\nPanic#1 Part2\n<0>{second}\nPanic#1 Part3\n<6>{first}\n", encoding="utf-8"
    )
    assert [line[3:] for line in read_lines(str(path))] == [first, second, third]


def test_long_line_loses_its_end_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 1_000_000 + "\n" + LOG, encoding="utf-8")
    first, *rest = read_lines(str(path))
    assert len(first) == 1 << 16
    assert rest == LOG.splitlines()


@pytest.mark.parametrize(
    ("name", "words"), [("", "is a folder"), ("none", "No such file"), ("none/x", "No such file")]
)
def test_what_cannot_be_read(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        list(read_lines(str(tmp_path / name)))


def test_reports_beyond_the_first_are_counted() -> None:
    log = read_log(["[    1.000000] BUG: Bad page state in process a  pfn:1"] * (MOST_SPLATS + 3))
    assert (len(log.splats), log.dropped) == (MOST_SPLATS, 3)


# Pieces of which hostile logs are made: beginnings of every expression, and what they repeat.
PIECES = st.sampled_from(
    [
        *"BUG:|WARNING: |INFO: task |CPU: 0 PID: |Call Trace:| <IRQ>| </IRQ>|RIP: 0010:|pc : |KASAN: ".split(
            "|"
        ),
        *"[    1.000000] |[  T1] |<4>|> |Nov 25 14:03:01 |2026-11-25T14:03:01Z |kernel: |box |4,1,2,-;".split(
            "|"
        ),
        *'"msg": "|{|}|f+0x1/0x2|[m]|(a.c:1)| from |[<c0100000>] |===========|---[ end |cut here|in |at '.split(
            "|"
        ),
        *"Modules linked in: |unreferenced object 0x1 (|Allocated by task |MESSAGE=|Workqueue: |by task ".split(
            "|"
        ),
        *"Panic#1 Part1|task:|, CPU#|:| |,|a|0|(|)|[|]|<|\\x|/|#|-|.|+|\x1b[|\r|\x00".split("|"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=30))
def test_any_pieces_in_any_order(lines: list[str]) -> None:
    for splat in read_log(lines).splats:
        assert splat.kind
        assert splat.title in splat.lines


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=20))
def test_any_text(lines: list[str]) -> None:
    read_log(lines)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(GOLDEN.glob("*.log"))), st.randoms(use_true_random=False))
def test_real_log_with_lines_lost_doubled_cut_and_swapped(path: Path, random: object) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for _ in range(8):
        at = random.randrange(len(lines))  # type: ignore[attr-defined]
        cut = random.randrange(len(lines[at]) + 1)  # type: ignore[attr-defined]
        lines[at : at + 2] = random.choice(([], [lines[at][:cut]], [lines[at]] * 2, lines[at : at + 2][::-1]))  # type: ignore[attr-defined]
        lines = lines or [""]
    read_log(lines)


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd", b"\xff\xfe"]),
)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "log"
    path.write_bytes(magic + data)
    read_log(read_lines(str(path)))


@pytest.mark.parametrize(
    "unit",
    ["x", "BUG: ", "a:1 ", "[", "(", "f+0x1/0x2 ", "a.b", " ", "<4>", "> ", "2026-", "\x1b[", "-", "m ["],
)
def test_steps_of_a_long_word_grow_with_its_length(unit: str) -> None:
    """No expression looks at more than the first 2 kB of a line: what follows does not change what is read."""
    for head in ("BUG: ", "INFO: task ", "WARNING: ", "RIP: 0010:", "Workqueue: ", ""):
        short = read_log([head + unit * 1000, "kernel BUG at a.c:1!"])
        long = read_log([head + unit * 40_000, "kernel BUG at a.c:1!"])
        assert len(short.splats) == len(long.splats)
