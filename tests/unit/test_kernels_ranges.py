# SPDX-License-Identifier: MIT
"""Ranges of kernels, and the search in them."""

from __future__ import annotations

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.catalogue import KernelPackages
from kmod_harness.kernels.debian import Choice
from kmod_harness.kernels.flavours import find_flavour
from kmod_harness.kernels.ranges import expand_kernels, in_range, is_range
from kmod_harness.run.first_bad import Border, search

ARCH = ARCHES["x86_64"]


def choice(release: str) -> Choice:
    series = ".".join(release.split("-")[0].split(".")[:2])
    flavour = find_flavour(release, ARCH)
    assert flavour
    packages = KernelPackages(series, release, "1", "sid", "sid", "gcc-14", (), ())
    return Choice(packages, flavour, cached=False, listed=True)


CHOICES = [
    choice(f"{series}.1-{ending}")
    for series in ("7.3", "6.12", "6.1", "5.10")
    for ending in ("amd64", "cloud-amd64", "rt-amd64")
    if (series, ending) != ("6.1", "rt-amd64")
]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("5.10..7.3", "5.10 6.1 6.12 7.3"),
        ("all", "5.10 6.1 6.12 7.3"),
        ("6.0..6.12", "6.1 6.12"),
        ("6.12..", "6.12 7.3"),
        ("..6.1", "5.10 6.1"),
        ("all-rt", "5.10-rt 6.12-rt 7.3-rt"),
        ("5.10-cloud..6.1-cloud", "5.10-cloud 6.1-cloud"),
        ("5.10..6.1-cloud", "5.10-cloud 6.1-cloud"),
        ("5.10..6.1-cloud-amd64", "5.10-cloud 6.1-cloud"),
    ],
)
def test_kernels_of_a_range(spec: str, names: str) -> None:
    assert is_range(spec)
    assert in_range(spec, CHOICES, ARCH) == names.split()


@pytest.mark.parametrize("spec", ["6.2..6.11", "7.3..5.10", "5.10-rt..6.1-cloud", "all-nosuch"])
def test_a_range_without_kernels_is_wrong_usage(spec: str) -> None:
    with pytest.raises(UsageError, match=r"there is: 5\.10, 6\.1, 6\.12, 7\.3"):
        in_range(spec, CHOICES, ARCH)


@pytest.mark.parametrize(
    "spec", ["6.12", "6.12-cloud", "latest", "host", "..", "../linux", "./5.10..6.1", "a..b"]
)
def test_other_names_are_no_ranges_and_nothing_is_looked_up(spec: str) -> None:
    assert expand_kernels([spec, spec], Settings(), Silent()) == [spec]


ROW = [str(number) for number in range(9)]


@pytest.mark.parametrize("first_bad", range(1, 9))
def test_the_first_that_fails_is_found_with_few_tries(first_bad: int) -> None:
    asked: list[str] = []

    def passes(name: str) -> bool:
        asked.append(name)
        return int(name) < first_bad

    assert search(ROW, passes) == Border(str(first_bad - 1), str(first_bad), ())
    assert len(asked) == len(set(asked)) <= 5


@pytest.mark.parametrize(
    ("verdicts", "border", "sentence"),
    [
        ("++++", Border("3", None, ()), "first bad kernel: none, the oldest and the newest pass"),
        ("----", Border(None, "0", ()), "first bad kernel: 0, the oldest; the newest fails too"),
        ("--++", Border("2", "1", (), fixed=True), "last bad kernel: 1; first that passes: 2"),
        ("????", Border(None, None, tuple("0123")), "first bad kernel: not known, there was no verdict"),
        ("+??-", Border("0", "3", ("1", "2")),
         "first bad kernel: 3; last that passes: 0; no verdict on 1, 2"),
        ("?+-?", Border("1", "2", ()), "first bad kernel: 2; last that passes: 1"),
        ("?+??", Border("1", None, ()), "first bad kernel: none, the oldest and the newest pass"),
        ("-", Border(None, "0", ()), "first bad kernel: 0, the oldest; the newest fails too"),
    ],
)  # fmt: skip
def test_borders_of_all_kinds(verdicts: str, border: Border, sentence: str) -> None:
    told = {"+": True, "-": False, "?": None}
    found = search(ROW[: len(verdicts)], lambda name: told[verdicts[int(name)]])
    assert found == border
    assert found.sentence() == sentence
