# SPDX-License-Identifier: MIT
"""The console while it grows."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from kmod_harness.machine.console import KEPT_LINES, Console


def test_lines_arrive_whole(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    with console.path.open("ab", buffering=0) as qemu:
        qemu.write(b"[    0.1] one\r\n[    0.2] tw")
        assert console.tail() == ("[    0.1] one", "[    0.2] tw")
        qemu.write(b"o\n")
        assert console.tail() == ("[    0.1] one", "[    0.2] two")
        qemu.write(b"\xff unfinished")
    assert console.tail(2) == ("[    0.2] two", "� unfinished")
    console.close()


@pytest.mark.parametrize(
    "line",
    [
        "[    3.141592] Kernel panic - not syncing: Fatal exception",
        "[    3.141592][  T123] Kernel panic - not syncing: Fatal exception",
        "Kernel panic - not syncing: VFS: Unable to mount root fs",
    ],
)
def test_panic_is_recognised(tmp_path: Path, line: str) -> None:
    console = Console(tmp_path / "console.log")
    console.path.write_text(f"before\n{line}\n", encoding="utf-8")
    assert console.panic() == line
    console.close()


def test_a_mention_of_panic_is_none(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    console.path.write_text("mod: Kernel panic - not syncing is what we avoid\npanic=-1\n", encoding="utf-8")
    assert console.panic() is None
    console.close()


class Reads(io.FileIO):
    """A file that counts the bytes that are read from it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self.total += len(data or b"")
        return data or b""


def test_every_byte_is_read_and_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(tmp_path / "console.log")
    monkeypatch.setattr(console, "_stream", reads := Reads(str(console.path)))
    looked: list[str] = []

    class Pattern:
        def match(self, line: str) -> None:
            looked.append(line)

    monkeypatch.setattr("kmod_harness.machine.console.PANIC", Pattern())
    text = "[    0.2] chatty: a line\n" * 3000
    for size in (1, 2, 3):
        with console.path.open("a", encoding="utf-8") as qemu:
            qemu.write(text)
        for _ in range(50):
            assert console.panic() is None
            assert not console.ready()
            assert len(console.tail()) == 20
        assert reads.total == size * len(text)
        assert len(looked) == size * 3000
    console.close()


def test_what_was_said_long_ago_is_remembered_but_not_kept(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    tracemalloc.start()
    try:
        for lines in (1, *[100_000] * 5):
            with console.path.open("a", encoding="utf-8") as qemu:
                first = "harness: ready\nKernel panic - not syncing: x\n" if lines == 1 else ""
                qemu.write(first + "[    0.2] chatty\n" * lines + "x" * (1 << 17))
            assert console.ready()
            assert console.panic() == "Kernel panic - not syncing: x"
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20  # of 9 MB
    assert len(console.tail(10**6)) <= KEPT_LINES + 1
    console.close()


def test_the_kernel_may_go_on_in_the_line_that_says_ready(tmp_path: Path) -> None:
    """Both write to the console, and neither waits for the other."""
    console = Console(tmp_path / "console.log")
    with console.path.open("a", encoding="utf-8") as qemu:
        qemu.write("harness: ready[    2.206292] tsc: Refined TSC clocksource calibration\n\n")
    assert console.ready()
    console.close()
