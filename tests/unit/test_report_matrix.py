# SPDX-License-Identifier: MIT
"""The Markdown matrix."""

from __future__ import annotations

from kmod_harness.report.matrix import markdown_matrix
from kmod_harness.report.rows import ResultRow

ROWS = (
    ResultRow("vms", "5.10", "passed", 3.3),
    ResultRow("vms", "6.1", "failed", 12, ("round 1: loading: a_b | <c>",), ("```", "log line")),
    ResultRow("my_driver", "6.1", "skipped", 0),
)


def test_matrix() -> None:
    assert markdown_matrix(ROWS, 34).splitlines() == [
        "| module | 5.10 | 6.1 |",
        "| --- | --- | --- |",
        "| vms | ✅ passed (3.3 s) | ❌ failed (12 s) |",
        "| my\\_driver |  | ➖ skipped (0.0 s) |",  # noqa: RUF001
        "",
        "1 passed, 1 failed, 1 skipped in 34 s",
        "",
        "**vms on 6.1: failed**",
        "",
        "- round 1: loading: a\\_b \\| &lt;c>",
        "",
        "````text",
        "```",
        "log line",
        "````",
        "",
        "Next: `invoke shell --kernel 6.1 --module vms`",
    ]


def test_without_summary() -> None:
    assert markdown_matrix(ROWS[:1]).endswith("| vms | ✅ passed (3.3 s) |\n")


def test_nothing_tested() -> None:
    assert markdown_matrix(()) == "| module |\n| --- |\n"
