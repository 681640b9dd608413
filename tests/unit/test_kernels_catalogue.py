# SPDX-License-Identifier: MIT
"""What is read from real answers of apt-cache (tests/unit/golden/apt)."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from kmod_harness.kernels.apt import Package, parse_simulation
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.catalogue import (
    FRESH_SECONDS,
    Catalogue,
    KernelPackages,
    find_kernels,
    kernel_from_json,
    needed_names,
    order_key,
    parse_madison,
    parse_stanzas,
)

GOLDEN = Path(__file__).parent / "golden" / "apt"
AMD64 = ARCHES["x86_64"]


def kernels_of(debian: str, *, without: str = "") -> list[KernelPackages]:
    stanzas = parse_stanzas((GOLDEN / f"show-{debian}.txt").read_text(encoding="utf-8"))
    stanzas.pop(without, None)
    madison = GOLDEN / f"madison-{debian}.txt"
    suites = parse_madison(madison.read_text(encoding="utf-8")) if madison.exists() else {}
    return find_kernels(stanzas, suites, debian, AMD64)


def test_kernel_with_image_and_modules_in_one_package() -> None:
    kernel = kernels_of("trixie")[1]
    version = "6.12.117-1"
    assert kernel == KernelPackages(
        series="6.12",
        release="6.12.117+deb13-cloud-amd64",
        version=version,
        debian="trixie",
        suite="trixie-security",
        compiler="gcc-14",
        images=(
            Package("linux-image-6.12.117+deb13-cloud-amd64", version),
            Package("linux-image-6.12.117+deb13-cloud-amd64-unsigned", version),
        ),
        packages=(
            Package("linux-headers-6.12.117+deb13-cloud-amd64", version),
            Package("linux-headers-6.12.117+deb13-common", version),
            Package("linux-kbuild-6.12.117+deb13", version),
        ),
    )


def test_kernel_with_binary_modules_and_base_apart() -> None:
    kernel = kernels_of("trixie")[0]
    assert (kernel.series, kernel.suite) == ("7.3", "trixie-backports")
    assert [image.name for image in kernel.images] == [
        "linux-binary-7.3.4+deb13-cloud-amd64",
        "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
    ]
    assert {package.name for package in kernel.packages} == {
        "linux-headers-7.3.4+deb13-cloud-amd64",
        "linux-modules-7.3.4+deb13-cloud-amd64",
        "linux-base-7.3.4+deb13-cloud-amd64",
        "linux-headers-7.3.4+deb13-common",
        "linux-kbuild-7.3.4+deb13",
    }


def test_headers_whose_image_has_left_the_mirror_are_no_kernel() -> None:
    assert [kernel.series for kernel in kernels_of("trixie")] == ["7.3", "6.12"]  # golden has 7.2 headers too


def test_kernel_without_its_modules_is_left_out() -> None:
    kernels = kernels_of("trixie", without="linux-modules-7.3.4+deb13-cloud-amd64")
    assert [kernel.images[0].name for kernel in kernels if kernel.series == "7.3"] == []


def test_kbuild_in_the_version_of_the_headers_though_older_ones_are_listed() -> None:
    (kernel,) = kernels_of("bullseye")
    assert Package("linux-kbuild-5.10", "5.10.262-1") in kernel.packages
    assert kernel.compiler == "gcc-10"


def test_kbuild_of_the_same_version_not_of_the_newest() -> None:
    text = (GOLDEN / "show-bullseye.txt").read_text(encoding="utf-8")
    newer = "\nPackage: linux-kbuild-5.10\nVersion: 5.10.999-1\n"
    (kernel,) = find_kernels(parse_stanzas(text + newer), {}, "bullseye", AMD64)
    assert Package("linux-kbuild-5.10", "5.10.262-1") in kernel.packages


def test_only_what_modules_are_built_with_is_needed_of_the_dependencies() -> None:
    depends = "gcc-14-for-host, linux-base (>= 4.12~), linux-base-7.3(=1), linux-kbuild-7.3, linux-image-7.3"
    stanza = {"Package": "linux-headers-7.3", "Depends": depends}
    assert needed_names(stanza) == ["linux-base-7.3", "linux-kbuild-7.3"]


def test_messages_of_apt_between_the_stanzas_are_skipped() -> None:
    text = "W: Unable to read\nPackage: a\nVersion: 1\n\nE: No packages found\n"
    assert parse_stanzas(text) == {"a": [{"Package": "a", "Version": "1"}]}


def test_debian_order_of_versions() -> None:
    versions = ["6.12.117-1", "6.12.117-1~deb12u1", "6.12.99-1", "7.3~rc7-1~exp1", "7.3.4-1~bpo13+1"]
    assert sorted(versions, key=order_key) == [
        "6.12.99-1",
        "6.12.117-1~deb12u1",
        "6.12.117-1",
        "7.3~rc7-1~exp1",
        "7.3.4-1~bpo13+1",
    ]


def test_json_and_back() -> None:
    for kernel in kernels_of("trixie"):
        assert kernel_from_json(json.loads(json.dumps(asdict(kernel)))) == kernel


@pytest.mark.parametrize(
    ("age", "tried", "sources", "refresh", "due"),
    [
        (60, 60, "key", False, False),
        (60, 60, "key", True, True),
        (60, 60, "another key", False, True),
        (FRESH_SECONDS + 1, FRESH_SECONDS + 1, "key", False, True),
        (FRESH_SECONDS + 1, 60, "key", False, False),  # the network was away a minute ago
    ],
)
def test_when_a_catalogue_is_fetched_again(
    age: float, tried: float, sources: str, refresh: bool, due: bool
) -> None:
    now = time.time()
    catalogue = Catalogue("sid", fetched=now - age, tried=now - tried, sources="key")
    assert catalogue.due(sources, refresh=refresh) == due


def test_a_catalogue_that_never_was_fetched_is_due() -> None:
    assert Catalogue("sid", tried=time.time()).due("", refresh=False)


def test_simulated_installation() -> None:
    packages = parse_simulation((GOLDEN / "simulate-trixie.txt").read_text(encoding="utf-8"))
    assert Package("libgcc-s1", "14.2.0-19") in packages
    assert Package("zlib1g", "1:1.3") not in packages
    assert len(packages) == len({package.name for package in packages}) > 5
