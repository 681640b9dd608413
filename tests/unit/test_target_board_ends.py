# SPDX-License-Identifier: MIT
"""What a board is left like, after commands that nobody waits for: a real shell behind a real SSH server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.target.board import Board, open_board
from kmod_harness.target.runner import GuestHang
from tests.patience import SECONDS, wait_until
from tests.unit.test_target_ssh import Watch, runner

# Writes its pid, does not go when asked, and has a child in a session of its own that outlives it.
STUBBORN = """
trap '' TERM
setsid sh -c 'echo $$ > "$0/child"; sleep 600' "$1" &
echo $$ > "$1/parent"
sleep 600
"""


def shell(command: str, channel: paramiko.Channel) -> None:
    """As sshd does: the command goes on when the channel is closed."""
    process = subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin
    assert process.stdout

    def feed() -> None:
        assert process.stdin
        with contextlib.suppress(OSError), process.stdin as stream:
            while data := channel.recv(1 << 15):
                stream.write(data)

    threading.Thread(target=feed, daemon=True).start()
    with process.stdout:
        while data := os.read(process.stdout.fileno(), 1 << 15):
            channel.sendall(data)
    channel.send_exit_status(process.wait())


@contextlib.contextmanager
def board(watch: Watch, told: list[str]) -> Iterator[Board]:
    def no_program(_: object) -> str:
        raise UsageError("no compiler")

    with runner(shell, watch) as ssh, open_board(ssh, no_program, told.append) as opened:
        yield opened


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def pid_in(file: Path) -> int:
    """What a process writes there, when it has."""
    wait_until(lambda: file.exists() and file.read_text(encoding="utf-8").endswith("\n"), str(file))
    return int(file.read_text(encoding="utf-8"))


class Ending(Watch):
    """What ends the wait comes once, when a file is there."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.file: Path | None = None

    def check(self) -> None:
        if self.file and self.file.exists():
            self.file = None
            raise self.error

    diagnose = check


@pytest.mark.parametrize("error", [GuestHang("the deadline"), KeyboardInterrupt()])
def test_what_nobody_waits_for_is_ended_before_the_folder_goes(error: BaseException) -> None:
    watch, told = Ending(error), list[str]()
    with pytest.raises(type(error)), board(watch, told) as at:
        folder = Path(at.folder)
        watch.file = folder / "child"
        try:
            at.run("sh", "-c", STUBBORN, "sh", at.folder, seconds=SECONDS)
        finally:
            pids = [pid_in(folder / name) for name in ("parent", "child")]
            assert all(map(alive, pids))
    assert not any(map(alive, pids))
    assert not folder.exists()
    assert told == []


def test_what_cannot_be_ended_is_told_and_keeps_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_harness.target.board.END", "exit 1")
    told: list[str] = []
    with pytest.raises(GuestHang), board(Watch(), told) as at:
        folder = Path(at.folder)
        at.run("sleep", "60", seconds=0.3)
    assert folder.exists()
    folder.rmdir()
    assert "a command on the board cannot be ended" in told[0]


def test_a_board_that_is_only_looked_at_gets_no_folder() -> None:
    with board(Watch(), []) as at:
        assert at.run("true").returncode == 0
        assert "folder" not in at.__dict__
