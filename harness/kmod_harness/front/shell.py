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
import time
import tty
from collections.abc import Iterator
from typing import Any

import paramiko

from kmod_harness.base.deadline import Deadline
from kmod_harness.target.runner import GuestHang
from kmod_harness.target.ssh import SshRunner

CHUNK = 1 << 14
BEGIN_SECONDS = 20.0
LOOK_SECONDS = 0.5  # how often the machine's health is looked at
# A shell may be silent for as long as it likes, a machine may not: after this it is asked.
SILENCE_SECONDS = 30.0
ANSWER_SECONDS = 20.0


def interact(ssh: SshRunner) -> None:
    """Relay the terminal to a login shell until it ends.

    Without a terminal, standard input is run as commands. Raises what ended the machine, and GuestHang when it
    does not answer any more.
    """
    terminal = (os.environ.get("TERM", "vt100"), *shutil.get_terminal_size()) if sys.stdin.isatty() else None
    with ssh.shell(Deadline(BEGIN_SECONDS, "begin the shell"), terminal) as channel:
        with _raw_terminal(channel) if terminal else contextlib.nullcontext():
            _relay(channel, ssh)
        if not ssh.alive():
            ssh.watch.diagnose()


@contextlib.contextmanager
def _raw_terminal(channel: paramiko.Channel) -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    handler = signal.signal(signal.SIGWINCH, lambda *_: channel.resize_pty(*shutil.get_terminal_size()))
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _relay(channel: paramiko.Channel, ssh: SshRunner) -> None:
    channel.settimeout(0.0)
    typed = b""  # and not sent yet
    reading = True
    heard = time.monotonic()
    while True:
        sources: list[Any] = [channel, *([sys.stdin] if reading and not typed else [])]
        ready, _, _ = select.select(sources, [], [], LOOK_SECONDS)
        if channel in ready:
            data = channel.recv(CHUNK)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            heard = time.monotonic()
        if sys.stdin in ready:
            typed = os.read(sys.stdin.fileno(), CHUNK)
            reading = bool(typed)
        typed = _send(channel, typed, end=sys.stdin in ready and not reading)
        if not ready:
            ssh.watch.check()
        if time.monotonic() - heard > SILENCE_SECONDS:
            _ask(ssh)
            heard = time.monotonic()


def _send(channel: paramiko.Channel, typed: bytes, *, end: bool) -> bytes:
    """Send as much as the far side takes; returns the rest. end: nothing follows."""
    try:
        if end:
            channel.shutdown_write()
        return typed[channel.send(typed) :] if typed else b""
    except TimeoutError:  # it takes nothing now
        return typed
    except OSError:  # the shell has just ended: what it said comes next
        return b""


def _ask(ssh: SshRunner) -> None:
    """Whether the machine behind a silent shell is still there."""
    try:
        ssh.run(["true"], Deadline(ANSWER_SECONDS, "the machine answers"))
    except GuestHang as hang:
        raise GuestHang("the machine does not answer any more") from hang
