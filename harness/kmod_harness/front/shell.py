# SPDX-License-Identifier: MIT
"""A prompt in a guest: this terminal, relayed over the SSH connection."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any

import paramiko

from kmod_harness.target.runner import Watch

CHUNK = 1 << 14


def interact(transport: paramiko.Transport, watch: Watch) -> None:
    """Relay the terminal to a login shell until it ends.

    Without a terminal, standard input is run as commands. Raises what ended the machine.
    """
    channel = transport.open_session()
    channel.set_combine_stderr(True)
    with contextlib.closing(channel), _raw_terminal(channel) as interactive:
        channel.invoke_shell() if interactive else channel.exec_command("sh")
        _relay(channel, watch)
        if not transport.is_active():
            watch.diagnose()


@contextlib.contextmanager
def _raw_terminal(channel: paramiko.Channel) -> Iterator[bool]:
    if not sys.stdin.isatty():
        yield False
        return

    def size() -> tuple[int, int]:
        return shutil.get_terminal_size()

    channel.get_pty(os.environ.get("TERM", "vt100"), *size())
    before = termios.tcgetattr(sys.stdin)
    handler = signal.signal(signal.SIGWINCH, lambda *_: channel.resize_pty(*size()))
    try:
        tty.setraw(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _relay(channel: paramiko.Channel, watch: Watch) -> None:
    sources: list[Any] = [channel, sys.stdin]
    while True:
        ready, _, _ = select.select(sources, [], [], 0.5)
        if channel in ready:
            data = channel.recv(CHUNK)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if sys.stdin in ready:
            typed = os.read(sys.stdin.fileno(), CHUNK)
            with contextlib.suppress(OSError):  # the shell has just ended: what it said comes next
                if typed:
                    channel.sendall(typed)
                else:
                    sources.remove(sys.stdin)
                    channel.shutdown_write()
        if not ready:
            watch.check()
