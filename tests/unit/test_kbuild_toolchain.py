# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.base.process import CommandError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import toolchain as toolchains
from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.sandbox import View
from kmod_harness.kbuild.toolchain import (
    HOST_ROOT,
    Toolchain,
    broken_programs,
    compiler_arguments,
    complete_root,
    resolve_toolchain,
)
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.catalogue import Catalogue
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.packages import PACKAGES_FILE
from kmod_harness.kernels.unpack import make_merged_usr

needs_sandbox = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bwrap", "gcc", "make")),
    reason="needs bwrap, make and gcc (invoke doctor)",
)


@pytest.fixture
def target(tmp_path: Path) -> Kernel:
    tree = tmp_path / "tree"
    for name in toolchains.TREE_PROGRAMS:
        program = tree / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            "#!/bin/sh\nexit 1\n", encoding="utf-8"
        )  # as the real ones do when called without arguments
        program.chmod(0o755)
    return Kernel("test", "6.99", host_arch().name, tree, tree, tree, "gcc-77", "test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def host_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which gcc-77 is a command (the real gcc)."""
    gcc = Path(shutil.which("gcc") or "gcc").resolve()
    monkeypatch.setattr(toolchains, "_host_compiler", lambda _kernel: (str(gcc), gcc))
    return gcc


@needs_sandbox
def test_fitting_compiler_of_the_host_is_used_and_remembered(
    target: Kernel, settings: Settings, host_has_it: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolve_toolchain(target, settings, Silent())
    assert (found.root, found.compiler) == (HOST_ROOT, str(host_has_it))
    monkeypatch.setattr(toolchains, "_host_fits", lambda *_: pytest.fail("looked again"))
    assert resolve_toolchain(target, settings, Silent()) == found


@needs_sandbox
@pytest.mark.parametrize(
    "script",
    [
        'echo "fixdep: /lib/libc.so.6: version \\`GLIBC_2.99\' not found" >&2; exit 1',
        "echo 'fixdep: error while loading shared libraries: libelf.so.9' >&2; exit 127",
    ],
)
def test_host_whose_libraries_are_too_old_does_not_fit(
    target: Kernel, settings: Settings, host_has_it: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    (target.build_tree / "scripts/basic/fixdep").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    assert broken_programs(Toolchain(HOST_ROOT, "gcc", "x", View()), target)
    unpacked = Toolchain(Path("/unpacked"), "gcc-77", "x", View())
    monkeypatch.setattr(toolchains, "_unpacked_toolchain", lambda *_: unpacked)
    assert resolve_toolchain(target, settings, Silent()) == unpacked


def configure(tree: Path, *options: str) -> None:
    path = tree / "include" / "config" / "auto.conf"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"CONFIG_{option}=y\n" for option in options), encoding="utf-8")


def test_kernel_made_with_llvm_is_built_for_with_the_whole_of_it(target: Kernel) -> None:
    configure(target.build_tree, "CC_IS_CLANG", "LD_IS_LLD", "AS_IS_LLVM")
    assert compiler_arguments(replace(target, compiler="clang-16"), "clang-16") == [
        "CC=clang-16",
        "LLVM=1",
        "LD=ld.lld-16",
        "AR=llvm-ar-16",
        "NM=llvm-nm-16",
        "OBJCOPY=llvm-objcopy-16",
        "OBJDUMP=llvm-objdump-16",
        "READELF=llvm-readelf-16",
        "STRIP=llvm-strip-16",
        "LLVM_IAS=1",
    ]


def test_kernel_made_with_clang_and_gnu_binutils(target: Kernel) -> None:
    configure(target.build_tree, "CC_IS_CLANG")
    assert compiler_arguments(replace(target, compiler="clang-16"), "clang-16") == ["CC=clang-16"]


def test_kernel_made_with_gcc(target: Kernel) -> None:
    assert compiler_arguments(target, "x86_64-linux-gnu-gcc-77") == ["CC=x86_64-linux-gnu-gcc-77"]


def test_clang_comes_with_linker_and_tools_of_its_version(
    target: Kernel, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def unpack(release: str, names: tuple[str, ...], *_: object, **__: object) -> Path:
        asked.append((release, names))
        make_merged_usr(tmp_path)
        (tmp_path / PACKAGES_FILE).touch()
        return tmp_path

    monkeypatch.setattr(toolchains, "unpack_packages", unpack)
    monkeypatch.setattr(toolchains, "_check_once", lambda *_: None)
    catalogue = Catalogue("bookworm", compilers=("gcc-12", "clang-16"))
    monkeypatch.setattr(toolchains, "load_catalogues", lambda *_: [Catalogue("bullseye"), catalogue])
    found = resolve_toolchain(replace(target, compiler="clang-16"), settings, Silent())
    assert (asked[0][0], asked[0][1][:3]) == ("bookworm", ("clang-16", "lld-16", "llvm-16"))
    assert found.compiler == "clang-16"


def test_clang_that_no_release_has(target: Kernel, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue("bookworm", compilers=("gcc-9", "clang-16", "gcc-12"))
    monkeypatch.setattr(toolchains, "load_catalogues", lambda *_: [catalogue])
    with pytest.raises(UsageError, match="packages clang-77; there is: clang-16, gcc-9, gcc-12"):
        resolve_toolchain(replace(target, compiler="clang-77"), settings, Silent())


def test_links_that_maintainer_scripts_would_make(tmp_path: Path) -> None:
    programs = tmp_path / "usr" / "bin"
    programs.mkdir(parents=True)
    for name in ("gawk", "dash"):
        (programs / name).touch()
    complete_root(tmp_path)
    complete_root(tmp_path)
    assert (programs / "awk").readlink() == Path("gawk")
    assert (programs / "sh").readlink() == Path("dash")


PROGRAM = '#include "answer.h"\nint main(void) { return ANSWER; }\n'


@needs_sandbox
def test_program_is_made_once_for_each_content(tmp_path: Path, settings: Settings) -> None:
    source = tmp_path / "probe.c"
    source.write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "answer.h").write_text("#define ANSWER 0\n", encoding="utf-8")
    toolchain = Toolchain(HOST_ROOT, "gcc", "x", View())
    flags = ("-Os",)  # libc.a may be missing on this host
    first = build_program([source], toolchain, settings, flags=flags)
    assert first.read_bytes()[:4] == b"\x7fELF"
    stamp = first.stat().st_mtime_ns
    assert build_program([source], toolchain, settings, flags=flags).stat().st_mtime_ns == stamp
    (tmp_path / "answer.h").write_text("#define ANSWER 1\n", encoding="utf-8")
    assert build_program([source], toolchain, settings, flags=flags) != first


@needs_sandbox
def test_program_with_an_error_shows_it_and_leaves_nothing(tmp_path: Path, settings: Settings) -> None:
    source = tmp_path / "probe.c"
    source.write_text("int main(void) { return nope; }\n", encoding="utf-8")
    with pytest.raises(CommandError) as caught:
        build_program([source], Toolchain(HOST_ROOT, "gcc", "x", View()), settings, flags=())
    assert any(f"{source}:1:25: error: " in line for line in caught.value.evidence)
    assert list((settings.cache / "programs").iterdir()) == []
