# SPDX-License-Identifier: MIT
"""When a template is used, and which go."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError, HarnessError
from kmod_harness.machine import template
from kmod_harness.machine.agent import Agent
from kmod_harness.machine.qemu import BootFiles
from kmod_harness.machine.template import Recipe
from tests.patience import patient
from tests.unit.test_machine_files import SPEC


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for name in ("kernel", "initramfs", "qemu"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "qemu").chmod(0o755)
    spec = replace(SPEC, qemu=str(tmp_path / "qemu"))
    return Recipe(spec, "tcg", BootFiles(tmp_path / "kernel", tmp_path / "initramfs", "quiet"))


def test_a_key_depends_on_all_that_matters(recipe: Recipe, tmp_path: Path) -> None:
    keys = {recipe.key()}
    keys.add(replace(recipe, accelerator="kvm").key())
    keys.add(replace(recipe, spec=replace(recipe.spec, memory=512)).key())
    keys.add(replace(recipe, files=replace(recipe.files, command_line="debug")).key())
    for name in ("kernel", "initramfs", "qemu"):
        (tmp_path / name).write_bytes(b"another")
        keys.add(recipe.key())
    assert len(keys) == 7
    assert recipe.key() in keys


def _saved(folder: Path, size: int = 4096) -> Path:
    folder.mkdir(parents=True)
    for name in ("memory", "state"):
        (folder / name).write_bytes(b"x" * size)
    facts = {"boot_id": "b", "sizes": {"memory": size, "state": size}}
    (folder / "template.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_only_whole_templates_are_loaded(recipe: Recipe, tmp_path: Path) -> None:
    folder = _saved(tmp_path / "t")
    assert template._load(recipe, folder) is not None
    (folder / "memory").write_bytes(b"short")
    assert template._load(recipe, folder) is None
    (folder / "memory").unlink()
    assert template._load(recipe, folder) is None
    assert template._load(recipe, tmp_path / "none") is None


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "middle", "oldest")):
        _saved(tmp_path / name, 1 << 16)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    template.evict(tmp_path, keep=tmp_path / "newest", limit=300_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "newest"]
    template.evict(tmp_path, keep=tmp_path / "newest", limit=1)
    assert [path.name for path in tmp_path.iterdir()] == ["newest"]


class FakeAgent(threading.Thread):
    """The other end, from the protocol's description in vm/guest/agent.c."""

    def __init__(self, errno: int = 0) -> None:
        super().__init__(daemon=True)
        self.host, self._guest = socket.socketpair()
        self._errno = errno
        self.requests: list[bytes] = []

    def run(self) -> None:
        stream = self._guest.makefile("rwb", buffering=0)
        while head := stream.read(4):
            (size,) = struct.unpack("<I", head)
            data = b""
            while len(data) < size:
                data += stream.read(size - len(data)) or b""
            self.requests.append(data)
            text = b"boot-id" if data == b"h" else b""
            stream.write(struct.pack("<II", self._errno, len(text)) + text)


def test_agent_requests() -> None:
    fake = FakeAgent()
    fake.start()
    agent, deadline = Agent(fake.host, lambda: None), patient("agent")
    assert agent.boot_id(deadline) == "boot-id"
    before = time.time_ns()
    agent.settle(deadline)
    agent.write("/etc/x", b"y" * 3_000_000, 0o600, deadline)
    hello, clock, seed, file = fake.requests
    assert hello == b"h"
    assert before <= struct.unpack("<cQ", clock)[1] <= time.time_ns()
    assert seed[:1] == b"r" and len(seed) == 65
    assert file == b"w" + struct.pack("<IQ", 0o600, 0) + b"/etc/x\0" + b"y" * 3_000_000


def test_agent_errors_are_named() -> None:
    fake = FakeAgent(errno=28)
    fake.start()
    with pytest.raises(HarnessError, match="/etc/x: No space left on device"):
        Agent(fake.host, lambda: None).write("/etc/x", b"", 0o600, patient("agent"))


def test_an_agent_that_never_answers_costs_its_deadline() -> None:
    ours, _theirs = socket.socketpair()
    with pytest.raises(DeadlineError):
        Agent(ours, lambda: None).boot_id(Deadline(0.2, "hello"))


def test_an_agent_that_is_gone_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(HarnessError, match="broke"):
        Agent(ours, lambda: None).boot_id(patient("hello"))
