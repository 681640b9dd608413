# SPDX-License-Identifier: MIT
"""How fast it is, beside how fast it should be: python -m benchmarks.speed (or: make benchmark)."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console

from benchmarks import commands, host, logs, machines, rescue, virtme
from benchmarks.bench import Benchmark, Context, take
from benchmarks.explain import explain
from benchmarks.figures import LEGEND, Row, cells, markdown, remarks, table
from kmod_harness.base.errors import Failure, UsageError
from kmod_harness.base.settings import Settings
from kmod_harness.report.progress import open_progress

KERNEL = "6.12-cloud"  # small to fetch; the ordinary one takes as long
EXPLAIN_RUNS = 15


def all_benchmarks(*, first_run: bool) -> list[Benchmark]:
    """All rows, in the table's order."""
    extra = [commands.FIRST_RUN] if first_run else []
    return [
        *commands.BENCHMARKS,
        *extra,
        *machines.BENCHMARKS,
        *rescue.BENCHMARKS,
        *logs.BENCHMARKS,
        *virtme.BENCHMARKS,
    ]


def chosen_benchmarks(names: Sequence[str], *, first_run: bool) -> list[Benchmark]:
    """Those with these names, or all. UsageError lists the names there are."""
    known = all_benchmarks(first_run=first_run or commands.FIRST_RUN.name in names)
    unknown = sorted(set(names) - {one.name for one in known})
    if unknown:
        there_is = ", ".join(one.name for one in known)
        raise UsageError(f"no benchmark {', '.join(unknown)}; there is: {there_is}")
    return [one for one in known if not names or one.name in names]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one row; can be repeated")
    parser.add_argument(
        "--runs", type=int, default=0, metavar="N", help="measurements a row (default: the row's own)"
    )
    parser.add_argument(
        "--kernel", default=KERNEL, metavar="K", help=f"as for invoke vm-test (default {KERNEL})"
    )
    parser.add_argument("--first-run", action="store_true", help="also the first run: empty cache, downloads")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument(
        "--quiet",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="spend up to so long a row on waiting for quiet moments, and take disturbed samples again",
    )
    parser.add_argument("--explain", action="store_true", help="show where the time of a clone goes instead")
    parser.add_argument("--list", action="store_true", help="list the rows' names")
    return parser.parse_args(arguments)


def measure(chosen: argparse.Namespace, context: Context, console: Console) -> list[Row]:
    """Take all rows, telling each as it is done."""
    rows: list[Row] = []
    chosen_ones = chosen_benchmarks(chosen.only, first_run=chosen.first_run)
    for _, together in groupby(chosen_ones, key=lambda one: one.group or one.name):
        benchmarks = list(together)
        with context.progress.task(f"measure {', '.join(one.name for one in benchmarks)}") as task:
            taken = take(benchmarks, context, chosen.runs, chosen.quiet)
            task.conclude("median " + ", ".join(cells(row)[3] for row in taken))
        rows += taken
    console.print(table(rows))
    return rows


def run(chosen: argparse.Namespace) -> int:
    """Do what the command line says; 0 unless something could not be measured."""
    console = Console(highlight=False)
    before = host.load()
    host.adopt_orphans()
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        context = Context(chosen.kernel, Settings(), progress, scratch)
        if chosen.explain:
            steps, lines = explain(context, chosen.runs or EXPLAIN_RUNS)
            console.print(steps)
            rows: list[Row] = []
        else:
            rows = measure(chosen, context, console)
            lines = [LEGEND, *remarks(rows)]
    about = f"{host.description()}; kernel {chosen.kernel}; load average {before} before, {host.load()} after"
    for line in (*lines, about):
        console.print(line, soft_wrap=True, markup=False)
    if chosen.markdown:
        chosen.markdown.write_text(f"{markdown(rows)}\n{about}\n", encoding="utf-8")
    return 2 if any("FAILED" in row.note for row in rows) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        chosen = parse(arguments)
        if chosen.list:
            for one in all_benchmarks(first_run=True):
                print(f"{one.name:13} {one.what}")
            return 0
        return run(chosen)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
