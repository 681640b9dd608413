# SPDX-License-Identifier: MIT
"""The table of the field trial, and what counts as worse than dkms."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.field_trial import HEAD, Trial, write_table


def test_rows_are_replaced_and_others_stay(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    write_table(
        table, [Trial("trixie", "6.12", "b", "failed", "built"), Trial("bookworm", "6.1", "a", "x", "y")]
    )
    write_table(table, [Trial("trixie", "6.12", "b", "built 2 .ko", "built", "a | b")])
    assert table.read_text(encoding="utf-8") == (
        f"{HEAD}| bookworm | 6.1 | a | x | y |  |\n| trixie | 6.12 | b | built 2 .ko | built | a / b |\n"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "worse"),
    [("built 1 .ko", "built", False), ("failed", "built", True), ("failed", "failed (10)", False)],
)
def test_worse_is_what_dkms_builds_and_we_do_not(ours: str, theirs: str, worse: bool) -> None:
    assert Trial("r", "k", "p", ours, theirs).worse is worse
