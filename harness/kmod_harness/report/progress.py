# SPDX-License-Identifier: MIT
"""Show what a run is doing: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich import progress as bars
from rich.console import Console, RenderableType
from rich.table import Column
from rich.text import Text

from kmod_harness.base.progress import Progress, Task
from kmod_harness.report.text import plain, seconds_text

SHOWN_AFTER = 2.0  # seconds; shorter tasks leave no line
HEARTBEAT = 30.0  # seconds between signs of life of a long task in a log


@contextlib.contextmanager
def open_progress(stream: TextIO) -> Iterator[Progress]:
    """A Progress that writes to this stream while the context is open.

    Live on a terminal; plain lines when the stream is none, when TERM is "dumb", or under CI. The terminal
    is left as it was, whatever ends the run: the display never changes its mode and never hides the cursor.
    """
    live = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    with _live(stream) if live else _plain(stream) as progress:
        yield progress


@contextlib.contextmanager
def _followed(
    label: str, running: _LiveTask | _PlainTask, clock: Callable[[], float], note: Callable[[str], None]
) -> Iterator[None]:
    """Say at the block's end how the task went, if it lasted or failed."""
    start = clock()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        seconds = clock() - start
        if seconds >= SHOWN_AFTER or error:
            note(f"{label}: {_end_word(error, running.outcome)} after {seconds_text(seconds)}")


def _end_word(error: BaseException | None, outcome: str) -> str:
    if error is None:
        return outcome
    return "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed"


class _SteadyConsole(Console):
    """A console that leaves the cursor alone: nothing has to be restored after SIGKILL."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _BarWhenKnown(bars.ProgressColumn):
    """A bar for tasks whose total is known, nothing for others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._bar = bars.BarColumn(bar_width=width)

    def render(self, task: bars.Task) -> RenderableType:
        return Text("") if task.total is None else self._bar.render(task)


class LiveProgress:
    """One line for each running task; a line stays for each that took longer than SHOWN_AFTER.

    Without running tasks nothing is refreshed: the terminal may be somebody else's, e.g. a shell's.
    """

    def __init__(self, display: bars.Progress) -> None:
        self._display = display
        self._lock = threading.Lock()
        self._running = 0

    def _count(self, change: int) -> None:
        with self._lock:
            self._running += change
            if self._running:
                self._display.start()
            else:
                self._display.stop()

    @contextlib.contextmanager
    def task(self, label: str) -> Iterator[Task]:
        """See kmod_harness.base.progress.Progress."""
        number = self._display.add_task(plain(label), total=None, detail="")
        self._count(1)
        running = _LiveTask(self._display, number)
        with _followed(label, running, time.monotonic, self.note):
            try:
                yield running
            finally:
                self._display.remove_task(number)
                self._count(-1)

    def note(self, text: str) -> None:
        """See kmod_harness.base.progress.Progress."""
        self._display.console.print(Text(plain(text)), soft_wrap=True)


@dataclass
class _LiveTask:
    display: bars.Progress
    number: bars.TaskID
    outcome: str = "done"

    def update(
        self, detail: str | None = None, *, completed: float | None = None, total: float | None = None
    ) -> None:
        self.display.update(self.number, completed=completed, total=total)
        if detail is not None:
            self.display.update(self.number, detail=plain(detail))

    def conclude(self, outcome: str) -> None:
        self.outcome = outcome


@contextlib.contextmanager
def _live(stream: TextIO) -> Iterator[LiveProgress]:
    """Programs and pytest own standard output: it is not redirected, only this stream is written."""
    display = bars.Progress(
        bars.SpinnerColumn("line"),
        bars.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        _BarWhenKnown(16),
        bars.TimeElapsedColumn(),
        bars.TextColumn(
            "{task.fields[detail]}",
            style="dim",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=_SteadyConsole(file=stream, highlight=False),
        expand=True,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        yield LiveProgress(display)
    finally:
        display.stop()


class PlainProgress:
    """Lines for a log: the start of each task that lasts, its end, and a sign of life in between.

    `tick` has to be called now and then; the clock counts seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._running: list[_PlainTask] = []

    @contextlib.contextmanager
    def task(self, label: str) -> Iterator[Task]:
        """See kmod_harness.base.progress.Progress."""
        running = _PlainTask(label, self._clock())
        with self._lock:
            self._running.append(running)
        with _followed(label, running, self._clock, self.note):
            try:
                yield running
            finally:
                with self._lock:
                    self._running.remove(running)

    def note(self, text: str) -> None:
        """See kmod_harness.base.progress.Progress. A stream that is closed or broken does not end the run."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(plain(text) + "\n")
            self._stream.flush()

    def tick(self) -> None:
        """Tell of tasks that have begun to last, and of those that were not heard of for long."""
        now = self._clock()
        with self._lock:
            running = list(self._running)
        for task in running:
            age = now - task.start
            if task.told is None and age >= SHOWN_AFTER:
                task.told = now
                self.note(f"{task.label} ...{task.state()}")
            elif task.told is not None and now - task.told >= HEARTBEAT:
                task.told = now
                self.note(f"{task.label}: still running after {seconds_text(age)}{task.state()}")


@dataclass
class _PlainTask:
    label: str
    start: float  # of the clock
    told: float | None = None  # when a line was last written
    detail: str = ""
    completed: float | None = None
    total: float | None = None
    outcome: str = "done"

    def update(
        self, detail: str | None = None, *, completed: float | None = None, total: float | None = None
    ) -> None:
        self.detail = self.detail if detail is None else detail
        self.completed = self.completed if completed is None else completed
        self.total = self.total if total is None else total

    def conclude(self, outcome: str) -> None:
        self.outcome = outcome

    def state(self) -> str:
        percent = f" {100 * (self.completed or 0) / self.total:.0f} %" if self.total else ""
        return percent + (f" {self.detail}" if self.detail else "")


@contextlib.contextmanager
def _plain(stream: TextIO) -> Iterator[PlainProgress]:
    progress = PlainProgress(stream)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.5):
            progress.tick()

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        over.set()
        thread.join()
