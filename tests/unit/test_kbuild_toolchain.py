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
    complete_root,
    resolve_toolchain,
)
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.kernel import Kernel

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
        program.write_text("#!/bin/sh\nexit 1\n")  # as the real ones do when called without arguments
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
    (target.build_tree / "scripts/basic/fixdep").write_text(f"#!/bin/sh\n{script}\n")
    assert broken_programs(Toolchain(HOST_ROOT, "gcc", "x", View()), target)
    unpacked = Toolchain(Path("/unpacked"), "gcc-77", "x", View())
    monkeypatch.setattr(toolchains, "_unpacked_toolchain", lambda *_: unpacked)
    assert resolve_toolchain(target, settings, Silent()) == unpacked


def test_kernel_made_with_clang_is_refused(target: Kernel, settings: Settings) -> None:
    with pytest.raises(UsageError, match="made with clang-16"):
        resolve_toolchain(replace(target, compiler="clang-16"), settings, Silent())


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
    source.write_text(PROGRAM)
    (tmp_path / "answer.h").write_text("#define ANSWER 0\n")
    toolchain = Toolchain(HOST_ROOT, "gcc", "x", View())
    flags = ("-Os",)  # libc.a may be missing on this host
    first = build_program([source], toolchain, settings, flags=flags)
    assert first.read_bytes()[:4] == b"\x7fELF"
    stamp = first.stat().st_mtime_ns
    assert build_program([source], toolchain, settings, flags=flags).stat().st_mtime_ns == stamp
    (tmp_path / "answer.h").write_text("#define ANSWER 1\n")
    assert build_program([source], toolchain, settings, flags=flags) != first


@needs_sandbox
def test_program_with_an_error_shows_it_and_leaves_nothing(tmp_path: Path, settings: Settings) -> None:
    source = tmp_path / "probe.c"
    source.write_text("int main(void) { return nope; }\n")
    with pytest.raises(CommandError) as caught:
        build_program([source], Toolchain(HOST_ROOT, "gcc", "x", View()), settings, flags=())
    assert any(f"{source}:1:25: error: " in line for line in caught.value.evidence)
    assert list((settings.cache / "programs").iterdir()) == []
