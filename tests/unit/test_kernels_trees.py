# SPDX-License-Identifier: MIT
from __future__ import annotations

import platform
from pathlib import Path

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.trees import parse_compiler, resolve_host, resolve_tree
from kmod_harness.kernels.unpack import make_links_relative, make_merged_usr, relocate_makefile

X86 = ARCHES["x86_64"]


def build_tree(folder: Path) -> Path:
    for name, text in {
        "arch/x86/boot/bzImage": "image",
        "include/config/kernel.release": "6.99.0-mine\n",
        "include/config/auto.conf": 'CONFIG_CC_VERSION_TEXT="gcc (GCC) 14.2.1 20240912"\n',
        "Module.symvers": "",
        "Makefile": "",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_compiled_tree(tmp_path: Path) -> None:
    tree = build_tree(tmp_path / "linux")
    kernel = resolve_tree("./linux", tree, X86)
    assert (kernel.release, kernel.compiler, kernel.arch) == ("6.99.0-mine", "gcc-14", "x86_64")
    assert kernel.image == tree / "arch/x86/boot/bzImage"
    assert kernel.build_tree == kernel.modules == tree


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("arch/x86/boot/bzImage", "no arch/x86/boot/bzImage"),
        ("Module.symvers", r"no Module\.symvers"),
        ("include/config/kernel.release", "not configured"),
        ("include/config/auto.conf", "does not say which compiler"),
    ],
)
def test_incomplete_tree_says_what_to_make(tmp_path: Path, missing: str, message: str) -> None:
    tree = build_tree(tmp_path)
    (tree / missing).unlink()
    with pytest.raises(UsageError, match=message) as caught:
        resolve_tree("tree", tree, X86)
    assert f"make -C {tree}" in (caught.value.hint or "")


def test_release_of_debians_older_headers_is_in_the_header(tmp_path: Path) -> None:
    tree = build_tree(tmp_path)
    (tree / "include/generated").mkdir()
    (tree / "include/generated/utsrelease.h").write_text(
        '#define UTS_RELEASE "6.99.0-1-cloud"\n', encoding="utf-8"
    )
    assert resolve_tree("tree", tree, X86).release == "6.99.0-1-cloud"


@pytest.mark.parametrize(
    ("text", "compiler"),
    [
        ("x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0", "gcc-14"),
        ("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc-12"),
        ("gcc (GCC) 15.1.1 20250425", "gcc-15"),
        ("gcc-10 (Debian 10.2.1-6) 10.2.1 20210110, GNU ld (GNU Binutils for Debian) 2.35.2", "gcc-10"),
        ("Debian clang version 16.0.6 (15~deb12u1)", "clang-16"),
    ],
)
def test_compiler_in_the_kernels_own_words(text: str, compiler: str) -> None:
    assert parse_compiler(text) == compiler


def test_unknown_compiler() -> None:
    with pytest.raises(UsageError, match="cannot tell the compiler"):
        parse_compiler("icc 2021")


def test_host_without_image_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no image") as caught:
        resolve_host(X86, root=tmp_path)
    assert "linux-image-" in (caught.value.hint or "")


def test_host_with_everything_installed(tmp_path: Path) -> None:
    release = platform.release()
    headers = build_tree(tmp_path / "usr/src/headers")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / f"vmlinuz-{release}").write_text("image", encoding="utf-8")
    modules = tmp_path / "lib/modules" / release
    modules.mkdir(parents=True)
    with pytest.raises(UsageError, match="no headers") as caught:
        resolve_host(X86, root=tmp_path)
    assert caught.value.hint == f"install the package linux-headers-{release}"
    (modules / "build").symlink_to(headers)
    kernel = resolve_host(X86, root=tmp_path)
    assert (kernel.spec, kernel.release, kernel.compiler) == ("host", release, "gcc-14")
    assert (kernel.build_tree, kernel.modules) == (headers, modules)


def test_debian_makefile_is_relocated() -> None:
    here = "$(dir $(lastword $(MAKEFILE_LIST)))"
    text = (
        "KBUILD_OUTPUT=/usr/src/linux-headers-7.3-cloud\ninclude /usr/src/linux-headers-7.3-common/Makefile\n"
    )
    assert relocate_makefile(text) == (
        # := since MAKEFILE_LIST grows with the next line
        f"KBUILD_OUTPUT:=$(realpath {here})\ninclude {here}../linux-headers-7.3-common/Makefile\n"
    )


def test_absolute_links_stay_inside_the_root(tmp_path: Path) -> None:
    make_merged_usr(tmp_path)
    (tmp_path / "usr/src/headers").mkdir(parents=True)
    (tmp_path / "lib/modules").mkdir()
    (tmp_path / "lib/modules/build").symlink_to("/usr/src/headers")
    make_links_relative(tmp_path)
    link = tmp_path / "usr/lib/modules/build"
    assert link.readlink() == Path("../../src/headers")
    assert link.is_dir()
