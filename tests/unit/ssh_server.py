# SPDX-License-Identifier: MIT
"""A real SSH server in a thread; what its commands do is a Python function."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import paramiko

# Gets the command line and the channel; whatever it does, the channel is closed behind it.
Handler = Callable[[str, paramiko.Channel], None]


class _Interface(paramiko.ServerInterface):
    def __init__(self, allowed: paramiko.PKey, handler: Handler) -> None:
        self._allowed = allowed
        self._handler = handler

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == "root" and key.asbytes() == self._allowed.asbytes()
        return paramiko.common.AUTH_SUCCESSFUL if right else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def run() -> None:
            time.sleep(0.05)  # paramiko answers the request when we return; a channel may not close before that
            with contextlib.closing(channel), contextlib.suppress(OSError, EOFError):
                self._handler(command.decode(), channel)

        threading.Thread(target=run, daemon=True).start()
        return True


@contextlib.contextmanager
def serve(host: paramiko.PKey, client: paramiko.PKey, handler: Handler) -> Iterator[int]:
    """Serve one connection on a loopback port, which is yielded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                connection, _ = listener.accept()
                transport = paramiko.Transport(connection)
                transport.add_server_key(host)
                transport.start_server(server=_Interface(client, handler))

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
