# SPDX-License-Identifier: MIT
"""A real SSH server in a thread; what its commands do is a Python function."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import paramiko
import pytest

from tests.patience import SECONDS

WINDOW = 1 << 27  # bytes that it takes without being asked to read them
# Gets the command line and the channel; whatever it does, the channel is closed behind it.
Handler = Callable[[str, paramiko.Channel], None]


class _Transport(paramiko.Transport):
    """Tells when a request has been answered: a channel may not close before that."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, default_window_size=WINDOW)
        self.granted: list[threading.Event] = []

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if data.asbytes()[:1] == paramiko.common.cMSG_CHANNEL_SUCCESS and self.granted:
            self.granted.pop(0).set()


class _Interface(paramiko.ServerInterface):
    def __init__(self, allowed: paramiko.PKey, handler: Handler, transport: _Transport) -> None:
        self._allowed = allowed
        self._handler = handler
        self._transport = transport

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == "root" and key.asbytes() == self._allowed.asbytes()
        return paramiko.common.AUTH_SUCCESSFUL if right else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self.check_channel_exec_request(channel, b"")

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        answered = threading.Event()
        self._transport.granted.append(answered)

        def run() -> None:
            answered.wait(SECONDS)
            with contextlib.suppress(OSError, EOFError), contextlib.closing(channel):
                self._handler(command.decode(), channel)

        threading.Thread(target=run, daemon=True).start()
        return True


@contextlib.contextmanager
def frozen(request: str) -> Iterator[None]:
    """The server goes no further, for anybody, at such a request: "channel", "pty", "exec", "shell"."""
    thawed = threading.Event()

    def freeze(*_: object) -> bool:
        thawed.wait(SECONDS)
        return False

    name = "check_channel_request" if request == "channel" else f"check_channel_{request}_request"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Interface, name, freeze)
        try:
            yield
        finally:
            thawed.set()


@contextlib.contextmanager
def serve(host: paramiko.PKey, client: paramiko.PKey, handler: Handler) -> Iterator[int]:
    """Serve one connection on a loopback port, which is yielded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                connection, _ = listener.accept()
                transport = _Transport(connection)
                transport.add_server_key(host)
                transport.start_server(server=_Interface(client, handler, transport))

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
