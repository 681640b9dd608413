# SPDX-License-Identifier: MIT
"""The pure parts of the benchmarks: statistics and tables. Nothing is measured here."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.figures import Row, Sample, goal_text, markdown, quantity, remarks, table
from benchmarks.speed import chosen_benchmarks
from kmod_harness.base.errors import UsageError

CLONE = Row(
    name="clone",
    what="fresh machine to first command",
    unit="s",
    goal=0.4,
    samples=(Sample(0.5, 0.6, 0.0), Sample(0.297, 0.5, 0.02), Sample(0.31, 0.4, 0.01)),
)
MEMORY = Row("memory", "memory of 16 clones", "MiB", 500.0, (Sample(594.4, 8.0, 0.5, 61.0),))
SKIPPED = Row("vng-uname", "virtme-ng: a|b", "s", None, note="skipped: no vng on the PATH")


def test_statistics() -> None:
    assert (CLONE.minimum, CLONE.median) == (0.297, 0.31)
    assert CLONE.others == pytest.approx(0.01)


def test_goal_is_compared_with_the_median_and_only_when_there_is_one() -> None:
    assert [CLONE.met, MEMORY.met, SKIPPED.met] == [True, False, None]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0064, "s", "6.4 ms"),
        (0.297, "s", "0.297 s"),
        (8.254, "s", "8.25 s"),
        (12.34, "s", "12.3 s"),
        (594.4, "MiB", "594 MiB"),
    ],
)
def test_quantity(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_goal_text() -> None:
    assert [goal_text(0.05, "s"), goal_text(1536.0, "MiB"), goal_text(None, "s")] == ["0.05 s", "1536 MiB", ""]


def test_markdown() -> None:
    lines = markdown([CLONE, MEMORY, SKIPPED]).splitlines()
    assert lines[2] == "| fresh machine to first command | 0.4 s | 0.297 s | 0.310 s | 3 | 0.500 s |  | 1% |"
    assert "| **594 MiB** |" in lines[3]
    assert lines[4].startswith("| virtme-ng: a\\|b |  | - | - | 0 |")
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_table_fits_80_columns_with_its_numbers_whole() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(table([CLONE, MEMORY, SKIPPED]))
    text = stream.getvalue()
    assert all(word in text for word in ("0.297 s", "0.310 s", "594 MiB", "500 MiB"))
    assert max(map(len, text.splitlines())) <= 80


def test_remarks_name_who_disturbed_and_what_is_missing() -> None:
    assert remarks([CLONE, MEMORY, SKIPPED]) == [
        "vng-uname: skipped: no vng on the PATH",
        "memory: others used 50% of the machine: measure again",
    ]


def test_names() -> None:
    assert [one.name for one in chosen_benchmarks(["clone", "first-run"], first_run=False)] == [
        "first-run",
        "clone",
    ]
    assert "first-run" not in {one.name for one in chosen_benchmarks([], first_run=False)}
    with pytest.raises(UsageError, match="no benchmark nonsense; there is: build, "):
        chosen_benchmarks(["nonsense"], first_run=False)
