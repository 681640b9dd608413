# SPDX-License-Identifier: MIT
"""The one door to the outside: every process of the harness is started here.

Commands are argv lists, get no standard input unless given, run in a session of their own (Ctrl-C reaches
only us, and we end them), and die with the thread that started them. `talk` is for the few that ask the user.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError, HarnessError

log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes]

# setpriv (util-linux) asks the kernel to send SIGKILL when the parent thread ends; the same from Python
# (preexec_fn) is not safe once threads are running.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
EVIDENCE_LINES = 20
TALK_GRACE_SECONDS = 5.0  # for apt-get and dpkg to stop in an orderly way


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


class CancelledError(HarnessError):
    """Work was given up because other work beside it failed or was interrupted."""


class Scope:
    """The processes that a group of threads has under way, so that they can be ended together.

    A context manager: what `run` starts inside it (also in threads that copied the context) belongs to it.
    """

    def __init__(self) -> None:
        self._outer = _scope.get()
        self._lock = threading.Lock()
        self._live: set[Process] = set()
        self._closed = False

    def __enter__(self) -> Scope:
        self._token = _scope.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._token)

    def close(self) -> None:
        """End all processes of the scope; from now on `run` raises CancelledError in it."""
        with self._lock:
            self._closed = True
            live = list(self._live)
        for process in live:
            end(process)

    @property
    def closed(self) -> bool:
        """Whether this scope or one around it was closed."""
        return self._closed or (self._outer is not None and self._outer.closed)

    @contextlib.contextmanager
    def holding(self, process: Process) -> Iterator[None]:
        """Count the process as under way, here and in the scopes around."""
        with self._lock:
            self._live.add(process)
        try:
            with self._outer.holding(process) if self._outer else contextlib.nullcontext():
                if self.closed:
                    raise CancelledError("given up: other work failed")
                yield
        finally:
            with self._lock:
                self._live.discard(process)


_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("scope", default=None)


def check_cancelled() -> None:
    """Raise CancelledError when the work that this thread belongs to was given up."""
    scope = _scope.get()
    if scope is not None and scope.closed:
        raise CancelledError("given up: other work failed")


def start(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
    own_session: bool = True,
) -> Process:
    """Start a process that dies with the calling thread. The caller ends it with `end`."""
    for program in (DIE_WITH_PARENT[0], argv[0]):
        if shutil.which(program) is None:
            raise MissingToolError(f"{program} is not installed", hint="invoke doctor")
    log.debug("start: %s", shlex.join(argv))
    return subprocess.Popen(
        [*DIE_WITH_PARENT, *argv],
        cwd=cwd,
        env=dict(os.environ if env is None else env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=own_session,
    )


def wait(process: Process, seconds: float) -> bool:
    """Wait for a process to end; False when it has not after so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: Process, grace: float = 0.0) -> None:
    """End a process and all of its session: SIGTERM, then after `grace` seconds SIGKILL; reap it."""
    if process.poll() is None and grace > 0:
        process.terminate()
        wait(process, grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _expiring(process: Process, deadline: Deadline) -> Iterator[threading.Event]:
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
    stdin: IO[bytes] | None = None,
    log_to: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
    hint: str | None = None,
) -> Completed:
    """Run a command to its end and return what it printed (standard error included).

    input, stdin: what it reads (default: nothing). log_to: file that receives the whole output as well.
    on_line: called with each line as it arrives.
    Raises CommandError for a non-zero exit when `check`, DeadlineError, MissingToolError. Whatever
    happens (an exception in on_line, Ctrl-C), the process and its children have ended on return.
    """
    source = stdin.fileno() if stdin else subprocess.DEVNULL if input is None else subprocess.PIPE
    process = start(argv, cwd=cwd, env=env, stdin=source)
    assert process.stdout is not None
    lines: deque[str] = deque()
    with contextlib.ExitStack() as stack:
        stack.callback(process.stdout.close)
        stack.callback(end, process)
        if (scope := _scope.get()) is not None:
            stack.enter_context(scope.holding(process))
        sink = stack.enter_context(log_to.open("w", encoding="utf-8")) if log_to else None
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
        raise _too_late(completed, deadline, log_to)
    if check and returncode != 0:
        raise CommandError(completed, hint=hint, log=log_to)
    return completed


def talk(argv: Sequence[str], *, deadline: Deadline) -> int:
    """Run a command that may ask the user, on our own terminal; returns its exit code.

    Ctrl-C reaches the command too. One that has become root, as sudo does, is beyond our signals: when the
    deadline passes (DeadlineError) it may go on.
    """
    process = start(argv, stdin=None, stdout=None, stderr=None, own_session=False)
    try:
        if not wait(process, deadline.remaining()):
            raise _too_late(Completed(tuple(argv), 0, ""), deadline)
    finally:
        if process.poll() is None:
            with contextlib.suppress(PermissionError):
                process.terminate()
            wait(process, TALK_GRACE_SECONDS)
    return process.returncode


def _too_late(completed: Completed, deadline: Deadline, log: Path | None = None) -> DeadlineError:
    return DeadlineError(
        f"{deadline.what}: not done within {deadline.seconds:.0f} s ({shlex.join(completed.argv)})",
        evidence=completed.lines()[-EVIDENCE_LINES:],
        log=log,
    )


def pipe(first: Sequence[str], second: Sequence[str], *, deadline: Deadline, hint: str | None = None) -> None:
    """Run `first | second` to their ends. Raises what `run` raises when one of them fails.

    Which of the two reached the deadline first says nothing of which was slow: the error shows both.
    """
    with contextlib.ExitStack() as stack:
        complaints = stack.enter_context(tempfile.TemporaryFile())  # a pipe would fill while nobody reads it
        source = start(first, stderr=complaints)
        assert source.stdout is not None
        stack.enter_context(source.stdout)
        stack.callback(end, source)
        if (scope := _scope.get()) is not None:
            stack.enter_context(scope.holding(source))
        expired = stack.enter_context(_expiring(source, deadline))
        try:
            sink = run(second, deadline=deadline, stdin=source.stdout, check=False)
        except DeadlineError as error:
            raise _too_late(_piped(first, second, complaints, error.evidence), deadline) from error
        source.stdout.close()  # so that `first` ends when `second` ended early
        source_ended = Completed(tuple(first), source.wait(), _content(complaints))
        if expired.is_set():
            raise _too_late(_piped(first, second, complaints, sink.output.splitlines()), deadline)
    # When `second` fails, `first` fails of a broken pipe: the second is the cause.
    for completed in (sink, source_ended):
        if completed.returncode != 0:
            raise CommandError(completed, hint=hint)


def _piped(
    first: Sequence[str], second: Sequence[str], complaints: IO[bytes], said: Sequence[str]
) -> Completed:
    return Completed((*first, "|", *second), 0, _content(complaints) + "\n".join(said))


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _feed(process: Process, data: bytes) -> None:
    """Write standard input from a thread, so that neither side waits for the other."""

    def write() -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(data)

    threading.Thread(target=write, daemon=True).start()
