# SPDX-License-Identifier: MIT
"""Undefined symbols, explained by what other kernels export; the mirror is a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import resolve
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.releases import Release, Releases, Suite
from kmod_harness.kernels.symbols import explain_missing, option_of_module
from tests.unit.fake_apt import VERSION, FakeMirror, add_kernel, kernel_files

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb (package dpkg)")

EXPORTS = """0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t
0x2\tvideo_devdata\tdrivers/media/v4l2-core/videodev\tEXPORT_SYMBOL\t
0x3\tvideo_ioctl2\tdrivers/media/v4l2-core/videodev\tEXPORT_SYMBOL\t
0x4\todd_one\tdrivers/odd/strange\tEXPORT_SYMBOL_GPL\t
0x5\ti2c_transfer\tvmlinux\tEXPORT_SYMBOL\t
0x6\told_one\tvmlinux\tEXPORT_SYMBOL\t
"""
OPTIONS = "CONFIG_VIDEO_DEV=m\nCONFIG_I2C=y\n"
CLOUD = "6.12.1-cloud-amd64"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMirror:
    """It has a cloud kernel, and the ordinary one of the same series, whose image it does not have."""
    fake = FakeMirror(tmp_path / "mirror")
    monkeypatch.setenv("PATH", f"{fake.folder / 'bin'}:{os.environ['PATH']}")
    flavours = {"generic": "{arch}", "cloud": "cloud-{arch}"}
    table = Releases(
        {"trixie": Release("trixie", (Suite("trixie", "main"),))}, flavours, {}, (), "trixie", (), "", ()
    )
    for module in ("catalogue", "debian", "packages", "flavours", "symbols"):
        monkeypatch.setattr(f"kmod_harness.kernels.{module}.load_releases", lambda: table)
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr("kmod_harness.kernels.sources.KEYRINGS", (keyring,))
    monkeypatch.setattr(resolve, "host_arch", lambda: ARCHES["x86_64"])
    add_kernel(fake, CLOUD)
    add_with_symbols(fake, "6.12.1-amd64", VERSION, EXPORTS)
    return fake


def add_with_symbols(mirror: FakeMirror, release: str, version: str, exports: str) -> None:
    for name, files in kernel_files(release).items():
        if "image" in name:
            mirror.list(name, version)
            continue
        tree = f"/usr/src/linux-headers-{release}"
        auto = f"{tree}/include/config/auto.conf"
        more = {f"{tree}/Module.symvers": exports, auto: files[auto] + OPTIONS}
        mirror.add(name, version, files | more, "gcc-14")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", mirror="http://m.invalid/debian", security_mirror=None)


WANTED = ("video_devdata", "video_ioctl2", "odd_one", "i2c_transfer", "old_one", "nobody_has_it")
TOLD = [
    "2 symbols of videodev (video_devdata, video_ioctl2): "
    "CONFIG_VIDEO_DEV is off in 6.12-cloud; 6.12-amd64 has it",
    "1 symbol of strange (odd_one): 6.12-amd64 has it, 6.12-cloud has not",
    "1 symbol of the kernel itself (i2c_transfer): CONFIG_I2C is off in 6.12-cloud; 6.12-amd64 has it",
    "1 symbol of the kernel itself (old_one): 6.12-amd64 has it, 6.12-cloud has not",
    "nobody_has_it: a symbol that no kernel here exports to modules; if another module of yours does, name its "
    "folder under `depends` in module.yaml",
]


def test_missing_symbols_are_told_by_the_part_that_has_them(mirror: FakeMirror, settings: Settings) -> None:
    kernel = resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert sorted(explain_missing(WANTED, kernel, settings, Silent())) == sorted(TOLD)
    downloads = [call for call in mirror.calls() if call.startswith("download")]
    assert len(downloads) == 2
    assert "linux-image-6.12.1-amd64" not in downloads[1]  # the headers alone
    assert len(explain_missing(WANTED, kernel, settings, Silent())) == len(TOLD)
    assert len([call for call in mirror.calls() if call.startswith("download")]) == 2


def test_a_series_nearby_when_the_own_one_never_had_it(mirror: FakeMirror, settings: Settings) -> None:
    exports = "0x7\told_cloud\tvmlinux\tEXPORT_SYMBOL\t\n"
    olds = {"5.10.1-cloud-amd64": "5.10.1-1", "6.1.1-cloud-amd64": "6.1.1-1"}
    for release, version in olds.items():
        add_with_symbols(mirror, release, version, exports)
        image = f"linux-image-{release}"
        mirror.add(image, version, kernel_files(release)[image])
    for release in olds:
        resolve.resolve_kernel(release, settings, Silent())
    kernel = resolve.resolve_kernel("6.12-cloud", settings, Silent())
    assert explain_missing(["old_cloud"], kernel, settings, Silent()) == [
        "1 symbol of the kernel itself (old_cloud): 6.1-cloud-amd64 has it, 6.12-cloud has not"
    ]


def test_without_a_network_it_says_what_it_can(mirror: FakeMirror, settings: Settings) -> None:
    kernel = resolve.resolve_kernel("6.12-cloud", settings, Silent())
    mirror.offline()
    assert explain_missing(WANTED, kernel, settings, Silent()) == []
    assert explain_missing([], kernel, settings, Silent()) == []


@pytest.mark.parametrize(
    ("owner", "option"),
    [
        ("drivers/media/v4l2-core/videodev", "CONFIG_VIDEO_DEV"),
        ("drivers/iio/industrialio", "CONFIG_IIO"),
        ("drivers/usb/core/usbcore", "CONFIG_USB"),
        ("net/mac80211/mac80211", "CONFIG_MAC80211"),
        ("drivers/odd/strange", None),
    ],
)
def test_option_that_builds_a_module(owner: str, option: str | None) -> None:
    off = {
        "videodev": "CONFIG_VIDEO_DEV",
        "iio": "CONFIG_IIO",
        "usb": "CONFIG_USB",
        "mac80211": "CONFIG_MAC80211",
    }
    assert option_of_module(owner, off) == option
