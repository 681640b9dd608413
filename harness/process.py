# SPDX-License-Identifier: MIT
"""The one door to the outside: every process of the harness is started here.

Commands are argv lists, get no standard input unless given, run in a session of their own (Ctrl-C reaches
only us, and we end them), and die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.deadline import Deadline
from harness.errors import DeadlineError, HarnessError

log = logging.getLogger(__name__)

# setpriv (util-linux) asks the kernel to send SIGKILL when the parent thread ends; the same from Python
# (preexec_fn) is not safe once threads are running.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
EVIDENCE_LINES = 20


@dataclass(frozen=True)
class Completed:
    """A process that has ended."""

    argv: tuple[str, ...]
    returncode: int  # negative: ended by that signal
    output: str  # standard output and standard error, in order of arrival

    def lines(self) -> list[str]:
        """The output's lines without line ends."""
        return self.output.splitlines()


class CommandError(HarnessError):
    """A command ended with an exit code that was not expected."""

    def __init__(self, completed: Completed, *, hint: str | None = None, log: Path | None = None) -> None:
        self.completed = completed
        how = (
            f"exit code {completed.returncode}"
            if completed.returncode >= 0
            else f"signal {signal.Signals(-completed.returncode).name}"
        )
        super().__init__(
            f"{shlex.join(completed.argv)}: {how}",
            hint=hint,
            evidence=completed.lines()[-EVIDENCE_LINES:],
            log=log,
        )


class MissingToolError(HarnessError):
    """A program that the harness needs is not installed."""


def start(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that dies with the calling thread. The caller ends it with `end`."""
    if shutil.which(argv[0]) is None:
        raise MissingToolError(f"{argv[0]} is not installed", hint="invoke doctor")
    log.debug("start: %s", shlex.join(argv))
    return subprocess.Popen(
        [*DIE_WITH_PARENT, *argv],
        cwd=cwd,
        env=dict(os.environ if env is None else env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], grace: float = 0.0) -> None:
    """End a process and all of its session: SIGTERM, then after `grace` seconds SIGKILL; reap it."""
    if process.poll() is None and grace > 0:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _expiring(process: subprocess.Popen[bytes], deadline: Deadline) -> Iterator[threading.Event]:
    """Kill the process when the deadline passes; the event yielded tells whether that happened."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        end(process)

    timer = threading.Timer(deadline.remaining(), expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def run(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    log_to: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
    hint: str | None = None,
) -> Completed:
    """Run a command to its end and return what it printed (standard error included).

    log_to: file that receives the whole output as well. on_line: called with each line as it arrives.
    Raises CommandError for a non-zero exit when `check`, DeadlineError, MissingToolError. Whatever
    happens (an exception in on_line, Ctrl-C), the process and its children have ended on return.
    """
    process = start(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
    assert process.stdout is not None
    lines: deque[str] = deque()
    with contextlib.ExitStack() as stack:
        stack.callback(process.stdout.close)
        stack.callback(end, process)
        sink = stack.enter_context(log_to.open("w")) if log_to else None
        expired = stack.enter_context(_expiring(process, deadline))
        if input is not None:
            _feed(process, input)
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            lines.append(line)
            if sink:
                sink.write(line)
            if on_line:
                on_line(line.rstrip("\n"))
        returncode = process.wait()
    completed = Completed(tuple(argv), returncode, "".join(lines))
    if expired.is_set():
        raise DeadlineError(
            f"{deadline.what}: not done within {deadline.seconds:.0f} s ({shlex.join(argv)})",
            evidence=completed.lines()[-EVIDENCE_LINES:],
            log=log_to,
        )
    if check and returncode != 0:
        raise CommandError(completed, hint=hint, log=log_to)
    return completed


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write standard input from a thread, so that neither side waits for the other."""

    def write() -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(data)

    threading.Thread(target=write, daemon=True).start()
