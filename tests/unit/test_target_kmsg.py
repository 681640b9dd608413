# SPDX-License-Identifier: MIT
"""Records of /dev/kmsg."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.target.kmsg import KernelRecord, parse_kmsg
from kmod_harness.verdict.splats import find_splats

DUMPS = sorted((Path(__file__).parent / "golden").glob("*.kmsg"))


def test_one_record() -> None:
    assert parse_kmsg("4,329,1597902,-;vms: loading out-of-tree module taints kernel.\n") == (
        KernelRecord(329, 4, 1.597902, "vms: loading out-of-tree module taints kernel."),
    )


def test_dictionary_lines_are_left_out() -> None:
    dump = "6,339,5140900,-;input: Vms test\n SUBSYSTEM=input\n DEVICE=+input:input1\n6,340,5140901,-;next\n"
    assert [record.text for record in parse_kmsg(dump)] == ["input: Vms test", "next"]


def test_facility_is_no_part_of_the_level() -> None:
    assert parse_kmsg("30,1,2,-;systemd[1]: hello")[0].level == 6


def test_semicolons_belong_to_the_text() -> None:
    assert parse_kmsg("6,1,2,-;a;b")[0].text == "a;b"


def test_more_fields_than_today() -> None:
    assert parse_kmsg("6,1,2,-,caller=T1,new=field;text")[0].text == "text"


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"two\x0alines", "two\nlines"),
        (r"\xc3\xa4", "ä"),
        (r"tab\x09", "tab\t"),
        (r"back\x5cslash", "back\\slash"),
        (r"cut \x0", r"cut \x0"),
        (r"no \xzz", r"no \xzz"),
        ("none", "none"),
    ],
)
def test_escapes(escaped: str, text: str) -> None:
    assert parse_kmsg(f"6,1,2,-;{escaped}")[0].text == text


@pytest.mark.parametrize("line", ["", "garbage", ";text", "6,1;short", "x,1,2,-;text", " KEY=value;1"])
def test_what_is_no_record(line: str) -> None:
    assert parse_kmsg(line) == ()


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_real_dumps(path: Path) -> None:
    """Every line of a real dump is a record or a dictionary line, and the splat is found in it."""
    dump = path.read_text(encoding="utf-8")
    records = parse_kmsg(dump)
    assert len(records) == sum(1 for line in dump.splitlines() if not line.startswith((" ", "# ")))
    assert [record.sequence for record in records] == sorted(record.sequence for record in records)
    expected = [line.removeprefix("# expect: ") for line in dump.splitlines() if line.startswith("# expect: ")]
    assert [f"{s.kind} | {s.module} | {s.function}" for s in find_splats(records)] == expected
