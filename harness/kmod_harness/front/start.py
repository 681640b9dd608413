# SPDX-License-Identifier: MIT
"""Where the console script begins: Ctrl-C is heeded before the rest of the program is there."""

from __future__ import annotations

import os
import signal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals that end a command


def _end(*_: object) -> None:
    """Nothing has been begun that would have to be undone."""
    os.write(2, b"interrupted: no verdict\n")
    os._exit(2)


def main() -> None:
    """The console script kmod-harness."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from kmod_harness.front import tasks  # noqa: PLC0415 (this is what takes time)

    tasks.main()
