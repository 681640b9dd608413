# SPDX-License-Identifier: MIT
"""How a command ends: its exit code, what is said, and what signals and a reader that leaves do to it."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable

from kmod_harness.base.errors import Exit, Failure
from kmod_harness.report.text import show_everything


def carry_out(work: Callable[[], Exit]) -> tuple[Exit, str]:
    """Do the work of a command. Returns the exit code and what remains to be said on standard error."""
    _heed_signals()
    outlive_readers()
    show_everything(sys.stdout)
    try:
        return work(), ""
    except Failure as failure:
        return failure.exit_code, f"error: {failure}"
    except KeyboardInterrupt:
        return Exit.NO_VERDICT, "interrupted: no verdict"
    except Exception:  # Python would end with 1, which says that a check failed
        traceback.print_exc()
        return Exit.NO_VERDICT, "error: a defect of the harness: no verdict"


def _heed_signals() -> None:
    """End as for Ctrl-C, with all cleaning up; what is ignored (nohup) stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


class _Outliving(io.FileIO):
    """A stream that is not troubled when nobody reads it any more, as after "| head": the rest is dropped."""

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
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
