# SPDX-License-Identifier: MIT
"""What goes into the guest's /lib/modules, and when it is made anew."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.unpack import make_merged_usr
from kmod_harness.machine import module_tree as trees

RELEASE = "6.12.1-amd64"


@pytest.fixture
def own(tmp_path: Path) -> Kernel:
    modules = tmp_path / "modules"
    files = {
        "kernel/fs/a.ko": b"a",
        "kernel/fs/b-c.ko.xz": lzma.compress(b"b"),
        "updates/dkms/d.ko.zst": zstandard.ZstdCompressor().compress(b"d"),
        "drivers/of-a-tree.ko": b"e",
        "modules.order": b"order",
        "kernel/fs/a.ko.cmd": b"no module",
    }
    for name, data in files.items():
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).write_bytes(data)
    (modules / "build").symlink_to(tmp_path)
    return Kernel("6.12", RELEASE, "x86_64", tmp_path, modules, tmp_path, "gcc-14", "nowhere")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, bytes]]:
    """The trees that mksquashfs was given, file -> contents; it and depmod are stand-ins."""
    seen: list[dict[str, bytes]] = []
    tools = tmp_path / "tools"
    make_merged_usr(tools)

    def run(argv: Sequence[str], **_: Any) -> None:
        command = argv[argv.index("--") + 1 :]
        if command[0] == "mksquashfs":
            root = Path(command[1])
            assert root.parts[-3:] == ("lib", "modules", RELEASE)
            files = (path for path in root.rglob("*") if path.is_file())
            seen.append({str(path.relative_to(root)): path.read_bytes() for path in files})
            Path(command[2]).write_text("image", encoding="utf-8")

    monkeypatch.setattr("kmod_harness.base.process.run", run)
    monkeypatch.setattr(trees, "unpack_image_packages", lambda *_: tools)
    return seen


def test_modules_lie_in_it_unpacked_where_modprobe_looks(
    own: Kernel, made: list[dict[str, bytes]], tmp_path: Path
) -> None:
    image = trees.module_tree(own, Settings(cache=tmp_path / "cache"), Silent())
    assert made == [
        {
            "kernel/fs/a.ko": b"a",
            "kernel/fs/b-c.ko": b"b",
            "updates/dkms/d.ko": b"d",
            "kernel/drivers/of-a-tree.ko": b"e",
            "modules.order": b"order",
        }
    ]
    assert sorted(path.name for path in image.parent.iterdir()) == [trees.IDENTITY, trees.IMAGE]


def test_it_is_made_anew_only_when_a_module_was(
    own: Kernel, made: list[dict[str, bytes]], tmp_path: Path
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    first = trees.module_tree(own, settings, Silent())
    assert trees.module_tree(own, settings, Silent()) == first
    assert len(made) == 1
    (own.modules / "kernel" / "fs" / "a.ko").write_bytes(b"compiled again")
    assert trees.module_tree(own, settings, Silent()) == first
    assert made[1]["kernel/fs/a.ko"] == b"compiled again"
