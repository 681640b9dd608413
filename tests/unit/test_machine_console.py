# SPDX-License-Identifier: MIT
"""The console while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.machine.console import Console


def test_lines_arrive_whole(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    with console.path.open("ab", buffering=0) as qemu:
        qemu.write(b"[    0.1] one\r\n[    0.2] tw")
        assert console.poll() == ["[    0.1] one"]
        qemu.write(b"o\n")
        assert console.poll() == ["[    0.2] two"]
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
    console.path.write_text(f"before\n{line}\n")
    assert console.panic() == line
    console.close()


def test_a_mention_of_panic_is_none(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    console.path.write_text("mod: Kernel panic - not syncing is what we avoid\npanic=-1\n")
    assert console.panic() is None
    console.close()
