# SPDX-License-Identifier: MIT
"""QEMU's monitor, played by a few lines."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from kmod_harness.machine.monitor import Monitor, MonitorError
from tests.patience import patient


def play(far: socket.socket) -> None:
    """Greet, then answer every command with an empty object."""
    version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}
    far.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
    while received := far.recv(1 << 16):
        command = json.loads(received)
        answer: dict[str, object] = {"return": {}}
        if command["execute"] == "refuse":
            answer = {"error": {"class": "GenericError", "desc": "not so"}}
        whose = {"id": command["id"]} if "id" in command else {}
        far.sendall(json.dumps(answer | whose).encode() + b"\n")


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    near, far = socket.socketpair()
    player = threading.Thread(target=play, args=(far,), daemon=True)
    player.start()
    opened = Monitor(near, patient("monitor"))
    yield opened
    opened.close()
    player.join(timeout=10)
    far.close()


def test_a_refused_command(monitor: Monitor) -> None:
    assert monitor.execute("stop", patient("stop")) == {}
    with pytest.raises(MonitorError, match="not so"):
        monitor.execute("refuse", patient("refuse"))


def test_an_interruption_inside_the_loop_is_told_once(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A signal's exception may be raised in whatever task of the loop is running."""

    async def struck(*_: object) -> None:
        raise KeyboardInterrupt

    # Not pytest.raises(), which keeps the exception, and with it the task that would complain when it goes.
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(monitor._client, "execute", struck)
        monitor.execute("stop", patient("stop"))
        pytest.fail("it was not told at all")
    assert monitor.execute("stop", patient("stop")) == {}
    gc.collect()
    assert caplog.text == ""
