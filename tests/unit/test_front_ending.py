# SPDX-License-Identifier: MIT
"""How commands end: exit codes, signals, readers that leave; in every front."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import Exit, GuestFailure, HarnessError, UsageError
from kmod_harness.base.settings import PROJECT
from kmod_harness.front import ending
from tests.front import PROGRAM, Front, make_front
from tests.patience import SECONDS, patient

INVOKE = PROGRAM.with_name("invoke")


@pytest.fixture
def front(tmp_path: Path) -> Front:
    front = make_front(tmp_path)
    (front.folder / "plain").mkdir()
    (front.folder / "plain" / "Kbuild").write_text("obj-m := plain.o\n", encoding="utf-8")
    return front


def fail(error: BaseException) -> Exit:
    raise error


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("error", "code", "last_words"),
    [
        (UsageError("no such thing"), Exit.USAGE, "error: no such thing"),
        (HarnessError("no network"), Exit.NO_VERDICT, "error: no network"),
        (GuestFailure("it hangs"), Exit.CHECK_FAILED, "error: it hangs"),
        (KeyboardInterrupt(), Exit.NO_VERDICT, "interrupted: no verdict"),
        (ZeroDivisionError(), Exit.NO_VERDICT, "error: a defect of the harness: no verdict"),
    ],
)
def test_what_ends_a_command_has_its_code(error: BaseException, code: Exit, last_words: str) -> None:
    assert ending.carry_out(lambda: fail(error)) == (code, last_words)


# A board that accepts the connection and says nothing.
@contextlib.contextmanager
def waiting(front: Front, shell: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that waits; `shell` is what the shell that starts it does before."""
    with socket.create_server(("127.0.0.1", 0)) as board:
        words = ("graph", "--host", f"root@127.0.0.1:{board.getsockname()[1]}", "--known-hosts", os.devnull)
        argv = ["sh", "-c", f'{shell}; exec "$@"', "sh", str(PROGRAM), *words]
        run = process.start(argv, cwd=front.folder, env=front.environment())
        try:
            board.settimeout(SECONDS)
            with board.accept()[0]:
                yield run
        finally:
            process.end(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command(front: Front, number: signal.Signals) -> None:
    with waiting(front, "trap - INT") as run:
        run.send_signal(number)
        output = run.communicate(timeout=SECONDS)[0].decode()
    assert (run.returncode, output) == (Exit.NO_VERDICT, "interrupted: no verdict\n")


def test_a_command_under_nohup_outlives_the_terminal(front: Front) -> None:
    with waiting(front, "trap '' HUP") as run:
        run.send_signal(signal.SIGHUP)
        assert not process.wait(run, 1.0)
        run.send_signal(signal.SIGTERM)
        assert process.wait(run, SECONDS)
    assert run.returncode == Exit.NO_VERDICT


READERS = {
    "--list": Exit.OK,
    "graph --help": Exit.OK,
    "clean": Exit.OK,
    "vm-test --frobnicate": Exit.USAGE,
    "vm-test --reloads 0": Exit.USAGE,
    "build --module plain --kernel ./nowhere": Exit.USAGE,
}


@pytest.mark.parametrize("words", READERS)
def test_a_reader_that_leaves(front: Front, words: str) -> None:
    """As with "| head": the code is the command's own."""
    (front.cache / "kernels").mkdir()
    (front.cache / "logs").mkdir()
    run = process.start([str(PROGRAM), *words.split()], cwd=front.folder, env=front.environment())
    assert run.stdout is not None
    run.stdout.close()
    assert process.wait(run, SECONDS)
    assert run.returncode == READERS[words]


def test_nobody_ever_listened(front: Front) -> None:
    """Standard output and standard error are closed: a daemon starts programs so."""
    argv = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", str(PROGRAM), "clean"]
    deadline = patient("clean")
    assert process.run(argv, deadline=deadline, env=front.environment(), check=False).returncode == Exit.OK


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--frobnicate", "error: No idea what '--frobnicate' is!\nnext: invoke --list"),
        ("frobnicate", "error: No idea what 'frobnicate' is!\nnext: invoke --list"),
        ("--help frobnicate", "error: No idea what 'frobnicate' is!\nnext: invoke --list"),
        ("vm-test --frobnicate", "error: No idea what '--frobnicate' is!\nnext: invoke vm-test --help"),
        (
            "vm-test --kernel",
            "error: --kernel needed value and was not given one!\nnext: invoke vm-test --help",
        ),
        ("vm-test --reloads 0", "error: --reloads 0: want 1 or more"),
        ("build --kernel ./nowhere", "error: kernel ./nowhere: no such folder"),
    ],
)
def test_wrong_usage_of_bare_invoke(front: Front, words: str, message: str) -> None:
    argv = [str(INVOKE), *words.split()]
    deadline = patient("invoke")
    done = process.run(argv, deadline=deadline, cwd=PROJECT, env=front.environment(), check=False)
    assert message in done.output
    assert done.returncode == Exit.USAGE


@pytest.mark.parametrize("program", [PROGRAM, INVOKE])
def test_help_is_no_name_of_a_module(front: Front, program: Path) -> None:
    argv = [str(program), "unload-order", "--help"]
    deadline = patient("help")
    done = process.run(argv, deadline=deadline, cwd=PROJECT, env=front.environment(), check=False)
    assert done.returncode == Exit.OK
    assert done.lines()[0] == f"Usage: {program.name} unload-order NAME [OPTIONS]"


def test_what_a_killed_run_left_is_not_shared(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for name in ("root/usr", ".other.part"):
        (shared / "toolchains" / name).mkdir(parents=True)
    front = make_front(tmp_path, shared)
    assert [path.name for path in (front.cache / "toolchains").iterdir()] == ["root"]
    assert front.left_behind() == []
