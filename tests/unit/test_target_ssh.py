# SPDX-License-Identifier: MIT
"""The Runner over SSH, against a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestFailure
from kmod_harness.machine.keys import MachineKeys
from kmod_harness.target.runner import ConnectionLost, GuestHang
from kmod_harness.target.ssh import HostKeyError, SshRunner, connect
from tests.patience import SECONDS, patient
from tests.unit.ssh_server import Handler, frozen, serve


class Watch:
    """A machine that lives until told otherwise."""

    def __init__(self) -> None:
        self.ended: GuestFailure | None = None

    def check(self) -> None:
        if self.ended:
            raise self.ended

    diagnose = check


def _host_key(keys: MachineKeys) -> paramiko.PKey:
    import io

    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = keys._host.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return paramiko.Ed25519Key.from_private_key(io.StringIO(pem))


@contextlib.contextmanager
def runner(handler: Handler, watch: Watch) -> Iterator[SshRunner]:
    keys = MachineKeys()
    with (
        serve(_host_key(keys), keys.client, handler) as port,
        connect(port, keys.host_key_blob(), keys.client, watch, patient("connect")) as connected,
    ):
        yield connected


def test_arguments_arrive_quoted_and_output_whole() -> None:
    def handler(command: str, channel: paramiko.Channel) -> None:
        channel.sendall(b"x" * 3_000_000)
        channel.sendall_stderr(command.encode())
        channel.send_exit_status(3)

    with runner(handler, Watch()) as ssh:
        result = ssh.run(["echo", "a b", "$HOME"], patient("echo"))
    assert result.returncode == 3
    assert not result.killed
    assert len(result.output) == 3_000_000 + len("echo 'a b' '$HOME'")
    assert "echo 'a b' '$HOME'" in result.output


def test_input_is_sent() -> None:
    received = bytearray()

    def handler(command: str, channel: paramiko.Channel) -> None:
        while data := channel.recv(65536):
            received.extend(data)
        channel.send_exit_status(0)

    data = bytes(range(256)) * 8000
    with runner(handler, Watch()) as ssh:
        ssh.put("/tmp/x", data, patient("put"))
    assert bytes(received) == data


def test_a_killed_command_is_told_from_one_that_failed() -> None:
    def handler(command: str, channel: paramiko.Channel) -> None:
        channel.send_exit_status(139)

    with runner(handler, Watch()) as ssh:
        assert ssh.run(["insmod"], patient("insmod")).killed


def test_a_command_that_does_not_return_is_a_hang() -> None:
    def handler(command: str, channel: paramiko.Channel) -> None:
        time.sleep(20)

    with runner(handler, Watch()) as ssh, pytest.raises(GuestHang, match="`sleep` did not return within 0 s"):
        ssh.run(["sleep"], Deadline(0.3, "sleep"))


@pytest.mark.parametrize("request_", ["channel", "exec"])
def test_a_machine_that_answers_no_request_hangs(request_: str) -> None:
    with (
        runner(lambda *_: None, Watch()) as ssh,
        frozen(request_),
        pytest.raises(GuestHang, match="`true` did not return within"),
    ):
        ssh.run(["true"], Deadline(0.3, "x"))


def test_a_machine_that_stops_reading_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent fills the sockets, long before it fills what the far side has promised to take."""

    def handler(command: str, channel: paramiko.Channel) -> None:
        assert channel.transport
        monkeypatch.setattr(channel.transport.packetizer, "read_message", lambda: time.sleep(20))
        time.sleep(20)

    with (
        runner(handler, Watch()) as ssh,
        pytest.raises(GuestHang, match=r"`sh .*` did not return within"),
    ):
        ssh.put("/tmp/x", bytes(1 << 26), Deadline(1.0, "put"))


@pytest.mark.parametrize("request_", ["channel", "exec"])
def test_the_machines_end_is_noticed_while_it_answers_no_request(request_: str) -> None:
    watch = Watch()
    with (
        runner(lambda *_: None, watch) as ssh,
        frozen(request_),
        pytest.raises(GuestFailure, match="Kernel panic"),
    ):
        watch.ended = GuestFailure("Kernel panic")
        ssh.run(["insmod"], patient("insmod"))


def test_the_machines_end_is_noticed_while_connecting() -> None:
    watch = Watch()
    watch.ended = GuestFailure("Kernel panic")
    keys = MachineKeys()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(GuestFailure, match="Kernel panic"),
        connect(silent.getsockname()[1], keys.host_key_blob(), keys.client, watch, patient("x")),
    ):
        pass


def test_nothing_goes_on_after_a_hang() -> None:
    """What was given up is not begun later, when the machine answers again."""
    begun: list[str] = []
    with runner(lambda command, _: begun.append(command), Watch()) as ssh:
        with frozen("channel"), pytest.raises(GuestHang):
            ssh.run(["late"], Deadline(0.3, "x"))
        assert ssh.run(["true"], patient("x")).killed
    assert begun == ["true"]


def test_the_machines_end_is_noticed_while_waiting() -> None:
    watch, over = Watch(), threading.Event()

    def handler(command: str, channel: paramiko.Channel) -> None:
        watch.ended = GuestFailure("Kernel panic")
        over.wait(SECONDS)

    with runner(handler, watch) as ssh, pytest.raises(GuestFailure, match="Kernel panic"):
        ssh.run(["insmod"], patient("insmod"))
    over.set()


def test_a_broken_connection_is_lost_not_passed() -> None:
    def handler(command: str, channel: paramiko.Channel) -> None:
        assert channel.transport
        channel.transport.close()

    with runner(handler, Watch()) as ssh, pytest.raises(ConnectionLost):
        ssh.run(["true"], patient("true"))


def test_a_channel_that_ends_without_exit_status_was_killed() -> None:
    with runner(lambda command, channel: None, Watch()) as ssh:
        assert ssh.run(["true"], patient("true")).killed


def test_a_foreign_host_key_is_refused() -> None:
    keys, foreign = MachineKeys(), MachineKeys()
    with (
        serve(_host_key(foreign), keys.client, lambda command, channel: None) as port,
        pytest.raises(HostKeyError),
        connect(port, keys.host_key_blob(), keys.client, Watch(), patient("connect")),
    ):
        pass
