# SPDX-License-Identifier: MIT
"""Which packages of a kernel are missing in a folder."""

from __future__ import annotations

import pytest

from kmod_harness.kernels.deb_folder import missing_packages

OLD = {
    "linux-image-6.1.0-56-amd64": "kmod, linux-base (>= 4.3~)",
    "linux-headers-6.1.0-56-amd64": "linux-headers-6.1.0-56-common (= 6.1.1), linux-kbuild-6.1, gcc-12",
    "linux-headers-6.1.0-56-common": "",
    "linux-kbuild-6.1": "libc6",
}
NEW = {
    "linux-binary-7.3.4+deb13-amd64": "",
    "linux-modules-7.3.4+deb13-amd64": "",
    "linux-headers-7.3.4+deb13-amd64": "linux-headers-7.3.4+deb13-common, linux-kbuild-7.3.4+deb13, "
    "linux-base-7.3.4+deb13-amd64, gcc-14",
    "linux-headers-7.3.4+deb13-common": "",
    "linux-kbuild-7.3.4+deb13": "",
    "linux-base-7.3.4+deb13-amd64": "",
}
BINDEB = {"linux-image-6.12.1": "", "linux-headers-6.12.1": "libc6-dev"}
IMAGE = "linux-image-{0} or linux-binary-{0} (or the -unsigned one)"


def missing(packages: dict[str, str], without: str = "", **more: str) -> list[str]:
    names = {name: depends for name, depends in {**packages, **more}.items() if name != without}
    return missing_packages({name: {"Package": name, "Depends": text} for name, text in names.items()})


@pytest.mark.parametrize("packages", [OLD, NEW, BINDEB])
def test_nothing_is_missing_of_a_whole_kernel(packages: dict[str, str]) -> None:
    assert missing(packages) == []


@pytest.mark.parametrize(
    ("packages", "without"), [(OLD, name) for name in list(OLD)[1:]] + [(NEW, name) for name in list(NEW)[1:]]
)
def test_the_package_that_is_missing_is_named(packages: dict[str, str], without: str) -> None:
    assert missing(packages, without) == [without]


def test_signed_or_unsigned() -> None:
    assert missing(OLD, "linux-image-6.1.0-56-amd64") == [IMAGE.format("6.1.0-56-amd64")]
    assert missing(OLD, "linux-image-6.1.0-56-amd64", **{"linux-image-6.1.0-56-amd64-unsigned": ""}) == []
    unsigned = {"linux-binary-unsigned-7.3.4+deb13-amd64": ""}
    assert missing(NEW, "linux-binary-7.3.4+deb13-amd64", **unsigned) == []


def test_an_image_package_that_only_brings_another_is_none() -> None:
    empty = {"linux-image-7.3.4+deb13-amd64": "linux-binary-7.3.4+deb13-amd64, linux-modules-7.3.4+deb13-amd64"}
    assert missing(NEW, **empty) == []
    assert missing(NEW, "linux-binary-7.3.4+deb13-amd64", **empty) == [IMAGE.format("7.3.4+deb13-amd64")]


def test_a_folder_without_a_kernel() -> None:
    assert missing({"hello": ""}) == ["linux-image-RELEASE", "linux-headers-RELEASE and what it depends on"]
