# SPDX-License-Identifier: MIT
"""Whole commands, as a user types them: processes, from their start to their end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.bench import MODULE, Benchmark, Context, Once, Reading
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import CACHE_VARIABLE, PROJECT

ALL_KERNELS = ("5.10-cloud", "6.1-cloud", "6.12-cloud", "7.2-cloud", "7.3-cloud")
TAIL_LINES = 12
TESTS = 10
# Ten hand-written tests, each of which gets a machine of its own.
TEN_TESTS = f"""\
import pytest


@pytest.mark.vm
@pytest.mark.parametrize("number", range({TESTS}))
def test_load_and_unload(guest, build_module, number):
    (ko,) = build_module("{MODULE}")
    assert guest.load(guest.put(ko)) == "ok"
    assert guest.unload("{MODULE}") == "ok"
"""


def invoke(*words: str) -> list[str]:
    """The command `invoke ...` of this checkout."""
    return [sys.executable, "-m", "invoke", *words]


def run_command(
    argv: Sequence[str],
    scratch: Path,
    *,
    expect: str = "",
    answer: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Reading:
    """Run a command to its end; seconds, and the resident size of its largest process.

    expect: what its output must contain. answer: a file that must contain it instead, whatever the exit code.
    HarnessError when it is missing or the exit code is not 0.
    """
    log = scratch / "command.log"
    if answer:
        answer.unlink(missing_ok=True)
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": "100", **(environment or {})},
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # wait4 has reaped it
    text = log.read_text(errors="replace", encoding="utf-8")
    found = answer.read_text(encoding="utf-8") if answer and answer.exists() else "" if answer else text
    if expect not in found or not (answer or process.returncode == 0):
        why = f"exit code {process.returncode}" if process.returncode else f"no {expect!r} in its output"
        raise HarnessError(f"{shlex.join(argv)}: {why}", evidence=text.splitlines()[-TAIL_LINES:])
    return Reading(seconds, usage.ru_maxrss / 1024)


@contextlib.contextmanager
def build_unchanged(context: Context) -> Iterator[Once]:
    """`invoke build` of all modules when nothing has changed."""
    yield lambda: run_command(invoke("build", "--kernel", context.kernel), context.scratch)


@contextlib.contextmanager
def one_module(context: Context) -> Iterator[Once]:
    """From the command to the verdict, nothing to build."""
    argv = invoke("vm-test", "--kernel", context.kernel, "--module", MODULE)
    yield lambda: run_command(argv, context.scratch, expect="1 passed")


@contextlib.contextmanager
def one_edited_module(context: Context) -> Iterator[Once]:
    """The same after an edit: the module is compiled again each time."""
    folder = context.scratch / "edited"
    for name in (MODULE, "include"):
        shutil.copytree(PROJECT / "kmod" / name, folder / name, dirs_exist_ok=True)
    source = folder / MODULE / f"{MODULE}.c"
    argv = invoke("vm-test", "--kernel", context.kernel, "--module", str(folder / MODULE))

    def once() -> Reading:
        with source.open("a", encoding="utf-8") as file:
            file.write(f"/* {time.time_ns()} */\n")
        return run_command(argv, context.scratch, expect="1 passed")

    yield once


@contextlib.contextmanager
def all_modules(context: Context) -> Iterator[Once]:
    """The whole of vm-test on one kernel."""
    argv = invoke("vm-test", "--kernel", context.kernel)
    yield lambda: run_command(argv, context.scratch, expect=" passed in ")


@contextlib.contextmanager
def all_kernels(context: Context) -> Iterator[Once]:
    """All modules on all kernels."""
    kernels = [word for kernel in ALL_KERNELS for word in ("--kernel", kernel)]
    yield lambda: run_command(invoke("vm-test", *kernels), context.scratch, expect=" passed in ")


@contextlib.contextmanager
def ten_tests(context: Context) -> Iterator[Once]:
    """Ten tests under pytest, each in a fresh machine, pytest's own start included."""
    file = context.scratch / "test_ten.py"
    file.write_text(TEN_TESTS, encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(context.scratch)]
    argv += ["-c", os.devnull, "-p", "kmod_harness.front.plugin", "--kernel", context.kernel, str(file)]
    yield lambda: run_command(argv, context.scratch, expect=f"{TESTS} passed")


@contextlib.contextmanager
def first_run(context: Context) -> Iterator[Once]:
    """The whole of vm-test on one kernel, from an empty cache, downloads included."""

    def once() -> Reading:
        with tempfile.TemporaryDirectory(dir=context.scratch, prefix="cache-") as cache:
            argv = invoke("vm-test", "--kernel", context.kernel)
            return run_command(argv, context.scratch, expect=" passed in ", environment={CACHE_VARIABLE: cache})

    yield once


BENCHMARKS = (
    Benchmark("build", "invoke build, nothing to do", 1.0, 7, build_unchanged),
    Benchmark("one-module", "vm-test, one module, nothing to build", 8.0, 5, one_module),
    Benchmark("one-edited", "vm-test, one module, just edited", 8.0, 5, one_edited_module),
    Benchmark("vm-test", "vm-test, all modules, one kernel", 20.0, 3, all_modules),
    Benchmark("five-kernels", "vm-test, all modules, five kernels", 45.0, 3, all_kernels),
    Benchmark("ten-tests", "pytest: ten tests, ten fresh machines", 5.0, 5, ten_tests),
)
FIRST_RUN = Benchmark("first-run", "vm-test, empty cache, downloads", 240.0, 1, first_run, warm=False)
