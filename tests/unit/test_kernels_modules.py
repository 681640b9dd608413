# SPDX-License-Identifier: MIT
"""What is known of the kernel's own modules."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import dependencies, modinfo, provides, soft_dependencies


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An object file with the section that MODULE_INFO fills."""
    if shutil.which("as") is None:
        pytest.skip("needs as (package binutils)")
    folder = tmp_path_factory.mktemp("object")
    words = ("softdep=pre: crc32c virtio-net post: b", "depends=a,b-c", "softdep=pre: d", "depends=second")
    text = "".join(f'.asciz "{word}"\n' for word in words)
    (folder / "x.s").write_text(f'.section .modinfo,"a"\n{text}', encoding="utf-8")
    subprocess.run(["as", "-o", folder / "x.o", folder / "x.s"], check=True)
    return (folder / "x.o").read_bytes()


def test_soft_dependencies_before_it_of_all_lines(image: bytes) -> None:
    assert soft_dependencies(image) == ("crc32c", "virtio_net", "d")


def test_of_repeated_keys_the_first(image: bytes) -> None:
    assert modinfo(image)["depends"] == "a,b-c"
    assert dependencies(image) == ("a", "b_c")


def test_a_kernel_provides_what_is_a_file_or_built_in(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "virtio-blk.ko.xz").touch()
    own = Kernel("x", "6.12.1", "x86_64", tmp_path, tmp_path, tmp_path, "gcc-14", "nowhere")
    assert provides(own, "virtio_blk")
    assert not provides(own, "squashfs")
    (tmp_path / "modules.builtin").write_text("kernel/fs/squashfs/squashfs.ko\n", encoding="utf-8")
    assert provides(own, "squashfs")
