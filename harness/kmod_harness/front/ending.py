# SPDX-License-Identifier: MIT
"""How a command ends: its exit code, what is said, and what signals and a reader that leaves do to it."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from kmod_harness.base.errors import Exit, Failure, HarnessError, UsageError
from kmod_harness.report.text import show_everything


def carry_out(work: Callable[[], Exit]) -> tuple[int, str]:
    """Do the work of a command. Returns the exit code and what remains to be said on standard error."""
    _heed_signals()
    outlive_readers()
    show_everything(sys.stdout)
    try:
        return printed(work())
    except Failure as failure:
        return failure.exit_code, f"error: {failure}"
    except KeyboardInterrupt:
        return Exit.NO_VERDICT, "interrupted: no verdict"
    except Exception as error:  # Python would end with 1, which says that a check failed
        if refused := _of_the_system(error):
            return refused.exit_code, f"error: {refused}"
        traceback.print_exc()
        return Exit.NO_VERDICT, "error: a defect of the harness: no verdict"


def _of_the_system(error: Exception) -> HarnessError | None:
    """What the system has refused is no defect of ours: a file that it names, a full disk, a lost folder."""
    if not isinstance(error, OSError):
        return None
    try:
        Path.cwd()
    except FileNotFoundError:
        return UsageError("the working folder has been removed", hint="cd to one that is there")
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return None
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else "a file cannot be written: "
    return HarnessError(where + (error.strerror or str(error)), hint="invoke doctor")


def printed(code: int) -> tuple[int, str]:
    """The exit code of a command that has ended, and what is said if its output could not be written."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Outliving) or raw.error is None:
        return code, ""
    reason, raw.error = raw.error.strerror, None
    return code or Exit.NO_VERDICT, f"error: standard output: {reason}"


def _heed_signals() -> None:
    """End as for Ctrl-C, with all cleaning up; what is ignored (nohup) stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


class _Outliving(io.FileIO):
    """A stream that goes on when nobody reads it any more, as after "| head", or the disk is full.

    The rest is dropped. error: what was in the way, if it was not the reader who left.
    """

    error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def outlive_readers() -> None:
    """Let the exit code be the command's own, whatever becomes of those who read what it prints."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # A stream that is closed, or that somebody else has put there, is left alone.
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        stream.flush()
        raw = io.BufferedWriter(_Outliving(stream.fileno(), "wb", closefd=False))  # type: ignore[type-var]
        outliving = io.TextIOWrapper(
            raw, encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering
        )
        setattr(sys, name, outliving)
