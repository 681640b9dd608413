# SPDX-License-Identifier: MIT
"""`doctor --install` as an ordinary user: sudo asks for the password on the terminal (a fake sudo here)."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from kmod_harness.base import process
from tests.patience import patient

# As sudo does: the password comes from the controlling terminal, without echo, or not at all.
SUDO = """#!/usr/bin/env python3
import getpass, os, sys
try:
    password = getpass.unix_getpass("[sudo] password: ", open("/dev/tty", "w"))
except OSError:
    sys.exit("sudo: a terminal is required to read the password")
if password != "secret":
    sys.exit("sudo: 3 incorrect password attempts")
os.environ.pop("DEBIAN_FRONTEND", None)
os.execvp(sys.argv[1], sys.argv[1:])
"""
APT_GET = """#!/bin/sh
echo "apt-get $* frontend=$DEBIAN_FRONTEND"
[ "$1" != update ] || exit 100
"""
INSTALL = """
import os
os.geteuid = lambda: 1000
from kmod_harness.base.errors import Failure
from kmod_harness.front import doctor
try:
    doctor.install(["bubblewrap"])
except Failure as failure:
    print(failure)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH whose sudo and apt-get are ours."""
    for name, text in (("sudo", SUDO), ("apt-get", APT_GET)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def on_a_terminal(environment: dict[str, str], password: bytes) -> str:
    """What a user sees who types the password whenever he is asked."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", INSTALL], environment)
    seen, asked = b"", 0
    try:
        with contextlib.suppress(OSError):  # EIO: the end
            while data := os.read(terminal, 4096):
                seen += data
                if seen.count(b"[sudo] password: ") > asked:
                    asked += 1
                    os.write(terminal, password + b"\n")
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return seen.decode()


def test_sudo_can_ask(environment: dict[str, str]) -> None:
    seen = on_a_terminal(environment, b"secret")
    assert "installing bubblewrap (sudo may ask for your password)" in seen
    assert "apt-get update -qq frontend=noninteractive" in seen
    assert "apt-get install --yes --no-install-recommends bubblewrap frontend=noninteractive" in seen
    assert "next: " not in seen


def test_a_wrong_password_is_told_with_what_to_do(environment: dict[str, str]) -> None:
    seen = on_a_terminal(environment, b"wrong")
    assert "apt-get install" not in seen.partition("next: ")[0]
    assert "exit code 1" in seen
    assert "next: as root: apt-get install --yes --no-install-recommends bubblewrap" in seen


def test_without_a_terminal_it_is_told_with_what_to_do(environment: dict[str, str]) -> None:
    argv = [sys.executable, "-c", INSTALL]
    done = process.run(argv, env=environment, deadline=patient("doctor"))
    assert "a terminal is required" in done.output
    assert "next: as root: apt-get install --yes --no-install-recommends bubblewrap" in done.output
