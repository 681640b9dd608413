# SPDX-License-Identifier: MIT
"""What a run shows while it is under way."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kmod_harness.base.progress import Progress
from kmod_harness.report.progress import LiveProgress, PlainProgress, open_progress
from tests.patience import SECONDS

ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(stream: io.StringIO, clock: Clock) -> PlainProgress:
    return PlainProgress(stream, clock)


def test_short_task_leaves_no_line(progress: PlainProgress, stream: io.StringIO, clock: Clock) -> None:
    with progress.task("fetch"):
        clock.now += 1.9
        progress.tick()
    assert stream.getvalue() == ""


def test_task_that_lasted_leaves_a_line(progress: PlainProgress, stream: io.StringIO, clock: Clock) -> None:
    with progress.task("fetch"):
        clock.now += 2.1
    assert stream.getvalue() == "fetch: done after 2.1 s\n"


def test_long_task(progress: PlainProgress, stream: io.StringIO, clock: Clock) -> None:
    with progress.task("build") as task:
        clock.now += 2
        progress.tick()
        task.update("vms.o", completed=1, total=4)
        clock.now += 29.5
        progress.tick()
        clock.now += 0.5
        progress.tick()
        progress.tick()
        task.update(completed=2)
        clock.now += 30
        progress.tick()
    assert stream.getvalue().splitlines() == [
        "build ...",
        "build: still running after 32 s 25 % vms.o",
        "build: still running after 62 s 50 % vms.o",
        "build: done after 62 s",
    ]


@pytest.mark.parametrize(("error", "word"), [(RuntimeError(), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_task_that_fails_says_so(
    progress: PlainProgress, stream: io.StringIO, clock: Clock, error: BaseException, word: str
) -> None:
    with pytest.raises(type(error)), progress.task("boot"):
        clock.now += 1
        raise error
    assert stream.getvalue() == f"boot: {word} after 1.0 s\n"


def test_notes_are_shown_at_once_and_cleaned(progress: PlainProgress, stream: io.StringIO) -> None:
    progress.note("accelerator: \x1b[31mtcg\nsecond")
    assert stream.getvalue() == "accelerator: tcg second\n"


def test_closed_stream_does_not_end_the_run(progress: PlainProgress, stream: io.StringIO) -> None:
    stream.close()
    progress.note("nobody hears this")


def test_many_threads(progress: PlainProgress, stream: io.StringIO) -> None:
    def work(number: int) -> None:
        for _ in range(50):
            with progress.task(f"task {number}") as task:
                task.update("x")
                progress.note("a line")
                progress.tick()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.getvalue().splitlines() == ["a line"] * 400


def test_plain_without_terminal(stream: io.StringIO) -> None:
    with open_progress(stream) as opened:
        assert isinstance(opened, PlainProgress)
        opened.note("hello")
    assert stream.getvalue() == "hello\n"
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "live"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "CI": "true"}, False)],
)
def test_choice_on_a_terminal(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], live: bool) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with open_progress(Terminal()) as opened:
        assert isinstance(opened, LiveProgress) is live


def test_live_task_that_fails_leaves_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()

    def work(opened: Progress) -> None:
        with opened.task("[boot] 6.12") as task:
            task.update("detail [bold]", completed=1, total=2)
            raise RuntimeError

    with pytest.raises(RuntimeError), open_progress(terminal) as opened:
        work(opened)
    assert "[boot] 6.12: failed after 0.0 s" in terminal.getvalue()


LIVE = """
import sys, time
from kmod_harness.report.progress import open_progress
with open_progress(sys.stderr) as progress:
    with progress.task("boot") as task:
        task.update("waiting", completed=1, total=2)
        time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_terminal_is_left_as_it_was_whatever_ends_the_run(how: signal.Signals) -> None:
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {
        "TERM": "xterm",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    shown = b""
    while b"waiting" not in shown:
        shown += os.read(master, 4096)
    process.send_signal(how)
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(master, 4096):
            shown += chunk
    os.close(master)
    assert process.wait(SECONDS) != 0
    assert b"\x1b[?25l" not in shown  # the cursor is never hidden
    assert b"\x1b[?1049h" not in shown  # nor the alternate screen used


def test_a_terminal_is_not_touched_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with open_progress(terminal) as opened:
        for _ in range(2):
            with opened.task("boot"):
                pass
            before = terminal.getvalue()
            time.sleep(0.4)  # several refreshes of a live display
            assert terminal.getvalue() == before


def test_outcome_instead_of_done(progress: PlainProgress, stream: io.StringIO, clock: Clock) -> None:
    with progress.task("vms on 6.12") as task:
        clock.now += 5
        task.conclude("crashed")
    assert stream.getvalue() == "vms on 6.12: crashed after 5.0 s\n"
