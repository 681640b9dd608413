# SPDX-License-Identifier: MIT
"""The guest's agent itself, compiled for this host, at the other end of a socket."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import DATA
from kmod_harness.machine.agent import Agent
from tests.patience import SECONDS, patient

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc (invoke doctor)")
# What main() does beside finding its port. The second argument limits the memory, in bytes.
DRIVER = """
#define main agent_main
#include "agent.c"
#undef main
#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit limit = { atol(argv[argc - 1]), atol(argv[argc - 1]) };

	port = atoi(argv[1]);
	if (argc > 2 && setrlimit(RLIMIT_AS, &limit))
		return 2;
	for (;;)
		serve_next();
}
"""
Start = Callable[..., socket.socket]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent with another main()."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "driver.c").write_text(DRIVER, encoding="utf-8")
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{DATA / 'guest'}"]
    argv = ["gcc", *flags, "-o", str(folder / "agent"), str(folder / "driver.c")]
    process.run(argv, deadline=patient("gcc"))
    return folder / "agent"


@pytest.fixture
def start(program: Path) -> Iterator[Start]:
    """Starts the agent; returns the host's end."""
    with ExitStack() as stack:

        def begin(*limit: int) -> socket.socket:
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            argv = [str(program), str(theirs.fileno()), *map(str, limit)]
            stack.callback(
                process.end, process.start(argv, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            )
            return ours

        yield begin


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """The errno and text that a request is answered with."""
    connection.settimeout(SECONDS)
    connection.sendall(struct.pack("<I", len(request)) + request)
    error, size = struct.unpack("<II", connection.recv(8, socket.MSG_WAITALL))
    return error, connection.recv(size, socket.MSG_WAITALL) if size else b""


def alive(connection: socket.socket) -> bool:
    """Whether it still answers, and to the right question."""
    return ask(connection, b"h") == (0, Path("/proc/sys/kernel/random/boot_id").read_bytes().strip())


def test_a_file_of_any_size_arrives_whole(start: Start, tmp_path: Path) -> None:
    agent, deadline = Agent(start(), lambda: None), patient("write")
    large = tmp_path / "large.ko"
    large.write_bytes(b"an older and longer one" * (5 << 20))
    data = b"".join(os.urandom(1 << 20) * 5 for _ in range(14))  # 70 MiB
    agent.write(str(large), data, 0o600, deadline)
    assert large.read_bytes() == data
    for size in (0, 1, 4 << 20, (4 << 20) + 1):
        other = tmp_path / os.fsdecode(f"é {size}".encode())
        agent.write(str(other), data[:size], 0o640, deadline)
        assert other.read_bytes() == data[:size]


def test_what_is_too_long_is_refused_and_the_next_is_served(start: Start) -> None:
    connection = start()
    assert ask(connection, b"w" * (65 << 20)) == (errno.EMSGSIZE, b"")
    assert ask(connection, b"") == (errno.EINVAL, b"")
    assert ask(connection, b"?") == (errno.ENOSYS, b"")
    assert ask(connection, b"w\0\0\0\0" + bytes(8) + b"no-end") == (errno.EINVAL, b"")
    assert alive(connection)


def test_without_memory_for_it_a_request_is_refused(start: Start) -> None:
    connection = start(10 << 20)
    assert ask(connection, b"w" * (15 << 20)) == (errno.ENOMEM, b"")
    assert alive(connection)


def test_a_file_that_cannot_be_written_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"/missing/x\.ko: No such file or directory"):
        path = f"{tmp_path}/missing/x.ko"
        Agent(start(), lambda: None).write(path, b"", 0o600, patient("write"))
