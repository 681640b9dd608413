# SPDX-License-Identifier: MIT
"""How commands end: exit codes, signals, readers that leave; in every front."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import Exit, GuestFailure, HarnessError, UsageError
from kmod_harness.base.settings import PROJECT
from kmod_harness.front import ending, tasks
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
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            *(Exit.NO_VERDICT, "error: /a: Permission denied\nnext: invoke doctor"),
        ),
        (BrokenPipeError(), Exit.NO_VERDICT, "error: a defect of the harness: no verdict"),
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
        ("--frobnicate", "error: there is no '--frobnicate'\nnext: invoke --list"),
        ("frobnicate", "error: there is no 'frobnicate'\nnext: invoke --list"),
        ("--help frobnicate", "error: there is no 'frobnicate'\nnext: invoke --list"),
        ("vm-test --frobnicate", "error: vm-test has no option '--frobnicate'\nnext: invoke vm-test --help"),
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


@pytest.mark.parametrize(
    ("words", "code"),
    [("--list", Exit.NO_VERDICT), ("explain-log ./log", Exit.NO_VERDICT), ("graph --frobnicate", Exit.USAGE)],
)
def test_a_full_disk_under_standard_output(front: Front, words: str, code: Exit) -> None:
    """What was asked for is not there: that is no success, and no defect."""
    (front.folder / "log").write_text("no log\n", encoding="utf-8")
    argv = ["sh", "-c", 'exec "$@" > /dev/full', "sh", str(PROGRAM), *words.split()]
    done = process.run(argv, deadline=patient(words), cwd=front.folder, env=front.environment(), check=False)
    assert done.returncode == code
    assert "Traceback" not in done.output
    assert (code == Exit.USAGE) or "error: standard output: No space left on device" in done.output


@pytest.mark.parametrize("words", ["vm-test plain", "vm-test", "graph --local --output x.dot", "build ./plain"])
def test_a_working_folder_that_is_gone(front: Front, words: str) -> None:
    argv = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", str(PROGRAM), *words.split()]
    gone = front.folder / "gone"
    gone.mkdir()
    done = process.run(argv, deadline=patient(words), cwd=gone, env=front.environment(), check=False)
    assert done.output == "error: the working folder has been removed\nnext: cd to one that is there\n"
    assert done.returncode == Exit.USAGE


@pytest.mark.parametrize("words", ["explain-log -", "vm-test " + "x" * 5000, "vm-test /proc/1"])
def test_what_the_system_refuses_is_no_defect(front: Front, words: str) -> None:
    argv = ["sh", "-c", 'exec "$@" <&-', "sh", str(PROGRAM), *words.split()]
    done = process.run(argv, deadline=patient(words), cwd=front.folder, env=front.environment(), check=False)
    assert done.returncode in (Exit.USAGE, Exit.NO_VERDICT)
    assert done.output.startswith("error: ")
    assert "\nnext: " in done.output
    assert "defect" not in done.output


EARLY = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "kmod_harness.front.tasks":
            os.kill(os.getpid(), signal.{number})
        return None

sys.meta_path.insert(0, Finder())
from kmod_harness.front.start import main
main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_before_the_program_is_there(front: Front, number: str) -> None:
    argv = [sys.executable, "-c", EARLY.replace("{number}", number)]
    done = process.run(argv, deadline=patient(number), env=front.environment(), check=False)
    assert (done.returncode, done.output) == (Exit.NO_VERDICT, "interrupted: no verdict\n")


def test_the_module_of_the_working_folder(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(front.folder / "plain")
    assert tasks._all_modules() == ["."]
