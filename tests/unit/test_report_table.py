# SPDX-License-Identifier: MIT
"""The closing report as it stands on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from kmod_harness.kernels.resolve import KernelRow
from kmod_harness.report.rows import ResultRow, next_command, summary_line
from kmod_harness.report.table import (
    DoctorRow,
    doctor_table,
    kernel_table,
    mending_commands,
    print_doctor,
    print_results,
)
from kmod_harness.report.text import plain, seconds_text

KERNELS = ("5.10", "6.1", "6.12", "7.2", "7.3")
CRASH = ResultRow(
    module="vms",
    kernel="7.2",
    outcome="crashed",
    seconds=12.4,
    reasons=("round 1: loading: expected ok, saw killed",),
    evidence=("BUG: kernel NULL pointer dereference, address: 0000000000000000",),
    log=Path("/somewhere/with/a/very/long/name/that/does/not/fit/one/line/of/a/terminal/console.log"),
)


@pytest.fixture(autouse=True)
def _terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(*rows: ResultRow, seconds: float = 34) -> str:
    stream = io.StringIO()
    print_results(rows, seconds, stream)
    return stream.getvalue()


def rendered(part: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(part)
    return stream.getvalue()


def row_of(text: str, first_word: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(first_word))


def test_five_kernels_fit_80_columns() -> None:
    rows = [ResultRow("force_rmmod", kernel, "build-failed", 12.3) for kernel in KERNELS]
    text = printed(*rows)
    assert row_of(text, "module").split() == ["module", *KERNELS]
    assert row_of(text, "force_rmmod").split() == ["force_rmmod", *["build-failed"] * 5]
    table = text.split("\n\n")[0].splitlines()
    assert max(len(line) for line in table) <= 80


def test_more_kernels_than_fit_go_to_a_second_table() -> None:
    kernels = [f"6.{number}" for number in range(8)]
    text = printed(*(ResultRow("vms", kernel, "passed", 3.3) for kernel in kernels))
    heads = [line.split()[1:] for line in text.splitlines() if line.startswith("module")]
    assert len(heads) == 2
    assert [*heads[0], *heads[1]] == kernels
    assert max(len(line) for line in text.splitlines()) <= 80


def test_cells_stand_in_the_column_of_their_kernel() -> None:
    text = printed(ResultRow("a", "5.10", "passed", 1), ResultRow("b", "6.1", "passed", 2.25))
    assert row_of(text, "a").split() == ["a", "passed", "1.0", "s", "-"]
    assert row_of(text, "b").split() == ["b", "-", "passed", "2.2", "s"]


def test_two_results_of_one_cell_are_both_shown() -> None:
    text = printed(ResultRow("a", "5.10", "passed", 1), ResultRow("a", "5.10", "failed", 2))
    assert "passed 1.0 s" in text
    assert "failed 2.0 s" in text


def test_no_colour_and_no_codes_without_a_terminal() -> None:
    assert "\x1b" not in printed(CRASH)


def test_failure_tells_everything() -> None:
    lines = printed(CRASH).splitlines()
    at = lines.index("CRASHED vms on 7.2 (12 s)")
    assert lines[at + 1 : at + 5] == [
        "  - round 1: loading: expected ok, saw killed",
        "  | BUG: kernel NULL pointer dereference, address: 0000000000000000",
        f"  full log: {CRASH.log}",  # whole, although longer than the terminal is wide
        "  next: invoke shell --kernel 7.2 --module vms",
    ]


def test_long_evidence_keeps_its_head_and_its_end() -> None:
    evidence = tuple(f"line {number}" for number in range(100))
    text = printed(ResultRow("vms", "7.2", "failed", 1, evidence=evidence))
    shown = [line.removeprefix("  | ").rstrip() for line in text.splitlines() if line.startswith("  | ")]
    assert shown == [
        *(f"line {number}" for number in range(8)),
        "... 89 lines ...",
        "line 97",
        "line 98",
        "line 99",
    ]


def test_control_codes_of_the_guest_do_not_reach_the_terminal() -> None:
    evidence = ("\x1b[2Jgone\x07 \x1b]0;title\x07",)
    assert "\x1b" not in printed(ResultRow("vms", "7.2", "failed", 1, evidence=evidence))
    assert plain("a\x1b[31mb\tc\x00") == "ab    c "


def test_passed_row_has_no_block() -> None:
    assert "next:" not in printed(ResultRow("vms", "7.2", "passed", 1), ResultRow("x", "7.2", "skipped", 0))


def test_remarks_of_several_kernels_are_told_once() -> None:
    rows = [ResultRow("vms", kernel, "passed", 1, warnings=("no MODULE_LICENSE",)) for kernel in KERNELS]
    text = printed(*rows, ResultRow("new", "5.10", "skipped", 0, ("kernels: >=6.1",)))
    assert text.count("no MODULE_LICENSE") == 1
    assert "warning: vms on 5.10, 6.1, 6.12, 7.2, 7.3: no MODULE_LICENSE" in text
    assert "skipped: new on 5.10: kernels: >=6.1" in text


def test_summary_line() -> None:
    rows = [ResultRow("m", str(number), "passed", 1) for number in range(12)]
    rows += [ResultRow("m", "x", "no-verdict", 1), ResultRow("m", "y", "failed", 1)]
    assert summary_line(rows, 34) == "12 passed, 1 failed, 1 no verdict in 34 s"
    assert summary_line([], 0) == "nothing tested in 0.0 s"
    assert summary_line([ResultRow("m", "k", "new-word", 1)], 1) == "1 new word in 1.0 s"
    assert printed(*rows).splitlines()[-1] == "12 passed, 1 failed, 1 no verdict in 34 s"


def test_next_command() -> None:
    assert next_command(ResultRow("m", "6.1", "build-failed", 1)) == "invoke build --kernel 6.1 --module m"
    assert next_command(ResultRow("m", "6.1", "no-verdict", 1)) == "invoke doctor"
    assert next_command(ResultRow("a b", "6.1", "hang", 1)) == "invoke shell --kernel 6.1 --module 'a b'"
    assert next_command(ResultRow("m", "6.1", "hang", 1, next_command="make vm-test")) == "make vm-test"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (200, "3 min 20 s"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def kernel_row(name: str, release: str, suite: str, compiler: str, *, cached: bool) -> KernelRow:
    return KernelRow(name, release, "1", suite, suite, compiler, cached, (), listed=True)


def test_kernel_table() -> None:
    newest = KernelRow(
        name="6.12-cloud",
        release="6.12.117+deb13-cloud-amd64",
        version="6.12.117-1",
        suite="trixie-security",
        debian="trixie",
        compiler="gcc-14",
        cached=True,
        cached_versions=("6.12.117-1",),
        listed=True,
    )
    rows = [
        newest,
        replace(newest, name="7.3", cached=False, cached_versions=()),
        replace(newest, name="7.2", cached=False, cached_versions=("7.2.1-1",)),
        replace(newest, name="7.1", listed=False),
    ]
    text = rendered(kernel_table(rows))
    shown = {line.split()[0]: line.split()[2:] for line in text.splitlines() if "gcc" in line}
    assert row_of(text, "kernel").split() == ["kernel", "release", "where", "compiler", "cached"]
    assert shown == {
        "6.12-cloud": ["trixie-security", "gcc-14", "yes"],
        "7.3": ["trixie-security", "gcc-14", "no"],
        "7.2": ["trixie-security", "gcc-14", "an", "older", "one"],
        "7.1": ["only", "in", "the", "cache", "gcc-14", "yes"],
    }


def test_doctor() -> None:
    command = "apt-get install " + " ".join(f"package-{number}" for number in range(20))
    rows = [
        DoctorRow("qemu", "missing", "not installed", command),
        DoctorRow("cpio", "missing", "not installed", command),
        DoctorRow("/dev/kvm", "limited", "no access", "usermod -aG kvm you"),
        DoctorRow("make", "ok", "4.3", "nothing to do"),
    ]
    assert mending_commands(rows) == [command, "usermod -aG kvm you"]
    assert row_of(rendered(doctor_table(rows)), "/dev/kvm").split() == [
        "/dev/kvm",
        "limited",
        "no",
        "access",
    ]
    stream = io.StringIO()
    print_doctor(rows, stream)
    assert stream.getvalue().endswith(f"\nTo mend it:\n  {command}\n  usermod -aG kvm you\n")
    stream = io.StringIO()
    print_doctor(rows[-1:], stream)
    assert "mend" not in stream.getvalue()
