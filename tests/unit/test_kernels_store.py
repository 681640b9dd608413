# SPDX-License-Identifier: MIT
"""The cache's promises: whole or not at all, once, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import DeadlineError, HarnessError
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.process import Completed
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from tests.patience import SECONDS, After, patient, wait_until


def test_published_folder_appears_whole(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with store.publishing(final) as part:
        (part / "file").write_text("x", encoding="utf-8")
        assert not final.exists()
    assert (final / "file").read_text(encoding="utf-8") == "x"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_when_publishing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), store.publishing(tmp_path / "final") as part:
        (part / "sub").mkdir(mode=0o555)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".final.part").mkdir()
    (tmp_path / ".final.part" / "half").touch()
    with store.publishing(tmp_path / "final"):
        pass
    assert list((tmp_path / "final").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_removing_changes_nothing_above(tmp_path: Path, kind: str) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o750)
    target = above / "target"
    if kind == "file":
        target.touch()
    elif kind == "link":
        target.symlink_to(tmp_path)
    else:
        (target / "locked" / "deep").mkdir(parents=True)
        (target / "locked").chmod(0o500)
    store.remove(target)
    store.remove(target)  # none is fine
    assert list(above.iterdir()) == []
    assert above.stat().st_mode & 0o777 == 0o750
    assert tmp_path.is_dir()


def _as_nobody(work: Callable[[], None]) -> int:
    """The exit code of a child that does it without root's rights."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_folder_above_that_cannot_be_written_stays_so() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own lies where nobody else may look
        Path(name).chmod(0o777)
        above = Path(name) / "above"

        def work() -> None:
            (above / "target" / "locked" / "deep").mkdir(parents=True)
            (above / "target" / "locked").chmod(0o500)
            above.chmod(0o555)
            with contextlib.suppress(PermissionError):
                store.remove(above / "target")

        try:
            assert _as_nobody(work) == 0
            assert above.stat().st_mode & 0o777 == 0o555
            assert list((above / "target").iterdir()) == []  # what is in it went all the same
        finally:
            above.chmod(0o700)


def test_lock_excludes_threads(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        with store.locked(settings, "name with / and space", Silent()):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    run_parallel([work] * 4, workers=4)
    assert most == 1


def test_failure_ends_the_processes_beside_it(tmp_path: Path) -> None:
    began = tmp_path / "began"
    ended: list[int] = []

    def fail() -> None:
        wait_until(began.exists, "the other is under way")
        raise ValueError("first")

    def sleep() -> None:
        done = process.run(
            ("sh", "-c", f"touch {began}; exec sleep 600"), deadline=patient("sleep"), check=False
        )
        ended.append(done.returncode)

    with pytest.raises(ValueError, match="first"):
        run_parallel([sleep, fail], workers=2)
    assert ended == [-signal.SIGKILL]  # and no DeadlineError


def test_failure_ends_waiting_for_a_lock(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    waiting, cancelled = threading.Event(), threading.Event()

    class Telling(Silent):
        """Is told that somebody waits."""

        def note(self, text: str) -> None:
            waiting.set()

    def wait() -> None:
        try:
            with store.locked(settings, "x", Telling()):
                raise AssertionError
        except process.CancelledError:
            cancelled.set()
            raise

    def fail() -> None:
        assert waiting.wait(SECONDS)
        raise ValueError("first")

    with store.locked(settings, "x", Silent()), pytest.raises(ValueError, match="first"):
        run_parallel([wait, fail], workers=2)
    assert cancelled.is_set()


def test_results_in_the_order_of_the_work() -> None:
    last = threading.Event()

    def slow() -> int:
        assert last.wait(SECONDS)
        return 1

    def fast() -> int:
        last.set()
        return 3

    assert run_parallel([slow, lambda: 2, fast], workers=3) == [1, 2, 3]


def test_pipe_passes_bytes_on(tmp_path: Path) -> None:
    target = tmp_path / "out"
    process.pipe(("printf", "a\\000b"), ("dd", f"of={target}"), deadline=patient("pipe"))
    assert target.read_bytes() == b"a\0b"


@pytest.mark.parametrize("argv", [(("false",), ("cat",)), (("true",), ("false",))])
def test_pipe_fails_with_either_side(argv: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    with pytest.raises(process.CommandError, match="false"):
        process.pipe(*argv, deadline=patient("pipe"))


def test_pipe_waits_for_nothing_that_the_first_says() -> None:
    loud = ("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' '\\n' >&2; echo data")
    process.pipe(loud, ("grep", "-q", "data"), deadline=patient("pipe"))


def test_pipe_shows_the_first_when_the_second_waited_for_it(tmp_path: Path) -> None:
    said = tmp_path / "said"
    slow = ("sh", "-c", f"echo the disk is slow >&2; touch {said}; exec sleep 600")
    with pytest.raises(DeadlineError, match=r"sleep 600.*\|.*cat") as caught:
        process.pipe(slow, ("cat",), deadline=After(said, "pipe"))
    assert caught.value.evidence == ("the disk is slow",)


def test_pipe_has_a_deadline_for_both() -> None:
    with pytest.raises(DeadlineError, match=r"pipe: not done .*sleep 600"):
        process.pipe(("sh", "-c", "exec >&-; sleep 600"), ("cat",), deadline=Deadline(0.5, "pipe"))


def test_pipe_that_was_given_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[process.Process] = []
    end = process.end

    def see(one: process.Process) -> None:
        end(one)
        ended.append(one)

    monkeypatch.setattr(process, "end", see)
    with process.Scope() as scope, pytest.raises(process.CancelledError):
        scope.close()
        process.pipe(("sleep", "600"), ("cat",), deadline=patient("pipe"))
    assert [one.returncode for one in ended] == [-signal.SIGKILL]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(process.MissingToolError, match="setpriv is not installed"):
        process.start(["tool"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/cache/x"),
        process.CommandError(Completed(("tar",), 2, "tar: a: Cannot write: No space left on device\n")),
    ],
)
def test_full_disk_is_one_clear_sentence(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(HarnessError, match="No space left on device") as caught,
        store.explained(Settings(cache=tmp_path)),
    ):
        raise error
    assert "free some space" in (caught.value.hint or "")


def test_borders_count_in_keys() -> None:
    assert store.digest("ab", "c") != store.digest("a", "bc")
