# SPDX-License-Identifier: MIT
"""The relay between this terminal and a shell far away."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
from collections.abc import Iterator

import paramiko
import pytest

from kmod_harness.base.errors import GuestFailure
from kmod_harness.front import shell
from kmod_harness.target.runner import GuestHang
from tests.unit.ssh_server import frozen
from tests.unit.test_target_ssh import Watch, runner


@contextlib.contextmanager
def typing(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> Iterator[int]:
    """Standard input is a pipe or a terminal; what is written to the descriptor is typed there."""
    writing, reading = pty.openpty() if terminal else reversed(os.pipe())
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing


def test_what_is_typed_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def handler(_: str, channel: paramiko.Channel) -> None:
        channel.sendall(b"you said " + channel.recv(100))

    with typing(monkeypatch) as keyboard, runner(handler, Watch()) as ssh:
        os.write(keyboard, b"hello")
        shell.interact(ssh)
    assert capsysbinary.readouterr().out == b"you said hello"


def test_typing_into_a_shell_that_has_just_ended(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def handler(_: str, channel: paramiko.Channel) -> None:
        channel.recv(5)
        channel.sendall(b"logout\n")

    with typing(monkeypatch) as keyboard, runner(handler, Watch()) as ssh:
        send = paramiko.Channel.send

        def send_and_end(channel: paramiko.Channel, data: bytes) -> int:
            send(channel, data)
            raise OSError("Socket is closed")

        monkeypatch.setattr(paramiko.Channel, "send", send_and_end)
        os.write(keyboard, b"exit\nmore\n")
        shell.interact(ssh)
    assert capsysbinary.readouterr().out == b"logout\n"


@pytest.mark.parametrize(
    ("request_", "terminal"),
    [("channel", False), ("exec", False), ("channel", True), ("pty", True), ("shell", True)],
)
def test_a_machine_that_begins_no_shell(monkeypatch: pytest.MonkeyPatch, request_: str, terminal: bool) -> None:
    monkeypatch.setattr(shell, "BEGIN_SECONDS", 0.3)
    with (
        typing(monkeypatch, terminal=terminal),
        runner(lambda *_: None, Watch()) as ssh,
        frozen(request_),
        pytest.raises(GuestHang, match="the shell did not return within"),
    ):
        shell.interact(ssh)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_machine_that_freezes_under_a_shell(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(shell, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(shell, "ANSWER_SECONDS", 0.3)
    with contextlib.ExitStack() as stack:

        def handler(_: str, channel: paramiko.Channel) -> None:
            stack.enter_context(frozen("channel"))
            channel.recv(1)

        stack.enter_context(typing(monkeypatch, terminal=terminal))
        ssh = stack.enter_context(runner(handler, Watch()))
        with pytest.raises(GuestHang, match="does not answer any more"):
            shell.interact(ssh)


def test_a_silent_shell_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(shell, "SILENCE_SECONDS", 0.1)
    asked: list[str] = []

    def handler(command: str, channel: paramiko.Channel) -> None:
        if command == "true":
            asked.append(command)
        elif command == "sh":
            while len(asked) < 2 and not channel.closed:
                channel.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    channel.recv(1)
            channel.sendall(b"done")

    with typing(monkeypatch), runner(handler, Watch()) as ssh:
        shell.interact(ssh)
    assert capsysbinary.readouterr().out == b"done"


def test_a_machine_that_ends_under_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()

    def handler(_: str, channel: paramiko.Channel) -> None:
        watch.ended = GuestFailure("Kernel panic")
        channel.recv(1)

    with (
        typing(monkeypatch),
        runner(handler, watch) as ssh,
        pytest.raises(GuestFailure, match="Kernel panic"),
    ):
        shell.interact(ssh)
