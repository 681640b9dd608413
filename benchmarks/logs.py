# SPDX-License-Identifier: MIT
"""explain-log on big logs: seconds and memory. The goals: 100 MB in 10 s and 100 MiB, a word of 1 MB in 1 s."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.bench import Benchmark, Context, Once
from benchmarks.commands import invoke, run_command
from kmod_harness.base.settings import PROJECT

GOLDEN = PROJECT / "tests" / "unit" / "golden"
BIG = 100_000_000  # bytes
WORD = 1_000_000


def explain(make: Callable[[Path], None], expect: str) -> Callable[[Context], AbstractContextManager[Once]]:
    """The command on a file that `make` writes."""

    @contextlib.contextmanager
    def open_it(context: Context) -> Iterator[Once]:
        log = context.scratch / "kernel.log"
        make(log)
        # Code 1 for what it finds is no failure here.
        counted = ["sh", "-c", '"$@"; [ $? -le 1 ]', "sh", *invoke("explain-log", str(log))]
        yield lambda: run_command(counted, context.scratch, expect=expect)

    return open_it


def _boots(log: Path) -> None:
    """A kernel's own words from boot to boot, clean."""
    _repeated(log, GOLDEN / "real-6.12-boot.log")


def _crashes(log: Path) -> None:
    """Nothing but boots that end in an oops."""
    _repeated(log, GOLDEN / "real-6.12-vms-fault.log")


def _repeated(log: Path, golden: Path) -> None:
    lines = golden.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("# ")) + "\n"
    with log.open("w", encoding="utf-8") as file:
        for _ in range(BIG // len(text) + 1):
            file.write(text)


def _word(log: Path) -> None:
    """One word, where a report's title might stand."""
    log.write_text(f"[    1.000000] usb 1-1: fine\nINFO: task {'a:1(' * (WORD // 4)}\n", encoding="utf-8")


BENCHMARKS = (
    Benchmark("log-clean", "explain-log, 100 MB, clean", 10.0, 3, explain(_boots, "clean"), warm=False),
    Benchmark(
        "log-crashes", "explain-log, 100 MB of oopses", None, 1, explain(_crashes, "reports"), warm=False
    ),
    Benchmark("log-word", "explain-log, a word of 1 MB", 1.0, 3, explain(_word, "clean"), warm=False),
)
