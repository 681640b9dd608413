# SPDX-License-Identifier: MIT
"""Builds in the real sandbox, with a tiny kernel tree that has its own Makefile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import make as kbuild
from kmod_harness.kbuild.artefacts import Request
from kmod_harness.kbuild.make import Build, build_all, build_module, check_arguments
from kmod_harness.kbuild.objects import object_problems
from kmod_harness.kbuild.shell import kernel_view
from kmod_harness.kbuild.toolchain import HOST_ROOT, Toolchain
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.expectation import Expectation
from kmod_harness.module.module import Module, resolve_module

RELEASE = "6.99.0-test"

# As kbuild does it, in a dozen lines: obj-m, .cmd files, modules.order, Module.symvers.
MAKEFILE = r"""
src := $(M)
include $(wildcard $(M)/Kbuild)
modules: $(patsubst %.o,$(M)/%.ko,$(obj-m))
	@printf '%s\n' $^ > $(M)/modules.order
	@cat $(KBUILD_EXTRA_SYMBOLS) /dev/null > $(M)/Module.symvers
	@for name in $(obj-m); do echo "$$name" >> $(M)/Module.symvers; done
$(M)/%.ko: $(M)/%.o
	@cp $< $@
	@$(after)
$(M)/%.o: $(M)/%.c
	@echo "  CC [M]  $@"
	@$(CC) -Wall $(ccflags-y) -MMD -MF $(M)/.$*.d -include $(CURDIR)/vermagic.h -c $< -o $@
	@echo 'deps_x := \' > $(M)/.$*.o.cmd
	@sed -e 's/^[^:]*://' -e 's/\\$$//' $(M)/.$*.d | xargs -n1 printf '  %s \\\n' >> $(M)/.$*.o.cmd
.SECONDARY:
-include $(wildcard $(M)/.*.d)
"""

needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bwrap", "make", "gcc")),
    reason="needs bwrap, make and gcc (invoke doctor)",
)
pytestmark = needs_tools


def host_toolchain(target: Kernel, settings: Settings) -> Toolchain:
    """The host's compiler, whichever it is."""
    return Toolchain(HOST_ROOT, "gcc", "test", kernel_view(target, HOST_ROOT, "gcc", settings))


@pytest.fixture
def target(tmp_path: Path) -> Kernel:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "Makefile").write_text(MAKEFILE)
    set_vermagic(tree, RELEASE)
    return Kernel("test", RELEASE, host_arch().name, tree / "image", tree, tree, "gcc-0", "test")


def set_vermagic(tree: Path, release: str) -> None:
    attributes = '__attribute__((used, section(".modinfo")))'
    text = f'static const char vermagic[] {attributes} = "vermagic={release} SMP mod_unload ";\n'
    (tree / "vermagic.h").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "user" / "mod"
    path.mkdir(parents=True)
    (tmp_path / "user" / "compat.h").write_text("#define COMPAT 1\n")
    (path / "Kbuild").write_text("obj-m := mod.o\nccflags-y := -include $(src)/../compat.h\n")
    (path / "mod.c").write_text('#include "mod.h"\nint x = COMPAT + HERE;\n')
    (path / "mod.h").write_text("#define HERE 1\n")
    return path


Builder = Callable[..., Build]


@pytest.fixture
def build(tmp_path: Path, target: Kernel, folder: Path) -> Builder:
    settings = Settings(cache=tmp_path / "cache")
    toolchain = host_toolchain(target, settings)

    def run(*arguments: str) -> Build:
        module = Module("mod", folder, Expectation())
        return build_module(Request(module, target, toolchain, arguments, ()), settings, Silent())

    return run


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_built_once_then_unchanged(build: Builder, folder: Path) -> None:
    before = tree_of(folder.parent)
    first = build()
    assert (first.state, first.problems) == ("built", ())
    assert [path.name for path in first.objects] == ["mod.ko"]
    assert first.symvers is not None
    assert first.symvers.read_text() == "mod.o\n"
    assert "CC [M]" in first.log.read_text()
    second = build()
    assert (second.state, second.objects) == ("unchanged", first.objects)
    assert tree_of(folder.parent) == before


def test_second_build_starts_no_process(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    build()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert build().state == "unchanged"


@pytest.mark.parametrize("name", ["mod.c", "mod.h", "Kbuild", "../compat.h"])
def test_any_change_is_a_build_and_going_back_is_none(build: Builder, folder: Path, name: str) -> None:
    first = build()
    text = (folder / name).read_text()
    old = (folder / name).stat().st_mtime - 1000
    (folder / name).write_text(text + "\n")
    os.utime(folder / name, (old, old))  # as a checkout of an older version may do
    assert build().state == "built"
    (folder / name).write_text(text)
    again = build()
    assert (again.state, again.objects) == ("unchanged", first.objects)


def test_changed_outside_header_reaches_the_object(build: Builder, folder: Path) -> None:
    before = build().objects[0].read_bytes()
    header = folder.parent / "compat.h"
    header.write_text("#define COMPAT 77\n")
    os.utime(header, (1, 1))
    assert build().objects[0].read_bytes() != before


def test_only_what_changed_is_compiled_again(build: Builder, folder: Path) -> None:
    (folder / "two.c").write_text("int two;\n")
    (folder / "Kbuild").write_text((folder / "Kbuild").read_text() + "obj-m += two.o\n")
    both = build()
    assert [path.name for path in both.objects] == ["mod.ko", "two.ko"]
    assert both.log.read_text().count("CC [M]") == 2
    (folder / "two.c").write_text("int two = 2;\n")
    again = build()
    assert [path.name for path in again.objects] == ["mod.ko", "two.ko"]
    assert again.log.read_text().count("CC [M]") == 1


def test_what_is_no_longer_in_obj_m_is_gone(build: Builder, folder: Path) -> None:
    (folder / "two.c").write_text("int two;\n")
    before = (folder / "Kbuild").read_text()
    (folder / "Kbuild").write_text(before + "obj-m += two.o\n")
    build()
    (folder / "Kbuild").write_text(before + "# one less\n")
    assert [path.name for path in build().objects] == ["mod.ko"]


def test_arguments_for_make_belong_to_the_content(build: Builder) -> None:
    assert build("W=1").state == "built"
    assert build().state == "built"
    assert build("W=1").state == "unchanged"


def test_products_of_the_user_do_not_disturb(build: Builder, folder: Path) -> None:
    (folder / "mod.ko").write_text("old")
    (folder / "Module.symvers").write_text("old")
    result = build()
    assert result.state == "built"
    assert result.objects[0].read_bytes()[:4] == b"\x7fELF"
    assert (folder / "mod.ko").read_text() == "old"


def test_compile_error_names_the_users_file_then_works_when_mended(build: Builder, folder: Path) -> None:
    good = (folder / "mod.c").read_text()
    (folder / "mod.c").write_text("int x = nope;\n")
    for _ in range(2):  # told again, not only the first time
        failed = build()
        assert (failed.state, failed.objects) == ("failed", ())
        assert failed.problems[0].startswith(f"{folder}/mod.c:1:9: error: ")
        assert "nope" in failed.log.read_text()
    (folder / "mod.c").write_text(good)
    assert build().state == "built"


def test_file_that_has_gone_since_a_failed_build_is_gone(build: Builder, folder: Path) -> None:
    (folder / "gone.h").write_text("")
    (folder / "mod.c").write_text('#include "gone.h"\nint x = nope;\n')
    assert build().state == "failed"
    (folder / "gone.h").unlink()
    (folder / "mod.c").write_text('#include "gone.h"\nint x;\n')
    assert "gone.h: No such file or directory" in build().problems[0]


def test_warnings_are_told_again_when_unchanged_and_when_another_file_changes(
    build: Builder, folder: Path
) -> None:
    (folder / "mod.c").write_text("static int unused;\n")
    (folder / "two.c").write_text("int two;\n")
    (folder / "Kbuild").write_text("obj-m := mod.o two.o\n")
    (warning,) = build().warnings
    assert warning.startswith(f"{folder}/mod.c:1:12: warning: ")
    assert build().warnings == (warning,)
    (folder / "two.c").write_text("int two = 2;\n")
    assert build().warnings == (warning,)


@pytest.mark.parametrize(
    ("kbuild_line", "problem"),
    [
        ("after = echo 'WARNING: modpost: missing MODULE_LICENSE() in mod.o'", "WARNING: modpost: missing"),
        ("after = : > $(M)/mod.ko", "mod.ko is empty"),
        ("after = rm $(M)/mod.ko", "mod.ko was not built"),
        ("after = echo text > $(M)/mod.ko", "mod.ko is no ELF object"),
        ("after = objcopy --remove-section=.modinfo $(M)/mod.ko", "mod.ko has no vermagic"),
        ("obj-m :=", "no module was built"),
        ("after = exit 3", "Error 3"),
    ],
)
def test_what_is_no_module_fails(build: Builder, folder: Path, kbuild_line: str, problem: str) -> None:
    with (folder / "Kbuild").open("a") as file:
        file.write(kbuild_line + "\n")
    result = build()
    assert result.state == "failed"
    assert any(problem in line for line in result.problems), result.problems


def test_module_of_another_kernel(build: Builder, target: Kernel) -> None:
    set_vermagic(target.build_tree, "5.10.0-other")
    result = build()
    assert result.problems == (f"mod.ko was built for 5.10.0-other, kernel test is {RELEASE}",)


def test_module_of_another_processor(build: Builder, target: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "mod.ko"
    data = bytearray(build().objects[0].read_bytes())
    data[18:20] = (0xF3).to_bytes(2, "little")  # e_machine: RISC-V
    path.write_bytes(data)
    assert "is for the processor EM_RISCV" in object_problems(path, target)[0]


def test_threads_that_build_at_once_build_once(build: Builder) -> None:
    states = [result.state for result in run_parallel([build, build, build], workers=3)]
    assert sorted(states) == ["built", "unchanged", "unchanged"]


def test_what_is_written_beside_the_module_is_written_to_a_copy(build: Builder, folder: Path) -> None:
    with (folder / "Kbuild").open("a") as file:
        file.write("after = touch $(M)/../stray\n")
    before = tree_of(folder.parent)
    result = build()
    assert (result.state, result.problems) == ("built", ())
    assert tree_of(folder.parent) == before
    assert build().state == "unchanged"


@pytest.fixture
def depending(tmp_path: Path, folder: Path, target: Kernel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `top` beside `mod` that depends on it."""
    top = folder.parent / "top"
    top.mkdir()
    (top / "Kbuild").write_text("obj-m := top.o\n")
    (top / "top.c").write_text("int top;\n")
    (top / "module.yaml").write_text("depends: [mod]\n")
    toolchain = host_toolchain(target, Settings(cache=tmp_path / "cache"))
    monkeypatch.setattr(kbuild, "resolve_toolchain", lambda *_, **__: toolchain)
    return top


def test_dependency_is_built_before_and_gives_its_symbols(
    depending: Path, target: Kernel, tmp_path: Path
) -> None:
    top = resolve_module(str(depending))
    (result,) = build_all([(top, target)], Settings(cache=tmp_path / "cache"), Silent())
    assert result.state == "built"
    assert result.symvers is not None
    assert result.symvers.read_text() == "mod.o\ntop.o\n"


def test_failed_dependency_is_named(depending: Path, folder: Path, target: Kernel, tmp_path: Path) -> None:
    (folder / "mod.c").write_text("int x = nope;\n")
    module = Module("mod", folder, Expectation())
    top = resolve_module(str(depending))
    settings = Settings(cache=tmp_path / "cache")
    results = build_all([(top, target), (module, target)], settings, Silent())
    assert [result.module.name for result in results] == ["top", "mod"]
    assert results[0].problems == ("depends on mod, which failed to build",)
    assert results[1].state == "failed"


@pytest.mark.parametrize(("argument", "tools"), [("C=1", ("sparse",)), ("C=0", ()), ("W=1", ())])
def test_checking_with_sparse_needs_sparse(
    target: Kernel,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: str,
    tools: tuple[str, ...],
) -> None:
    asked = []

    def resolve(kernel: Kernel, tools: tuple[str, ...], **_: object) -> Toolchain:
        asked.append((kernel, tools))
        return host_toolchain(kernel, Settings(cache=tmp_path / "cache"))

    monkeypatch.setattr(kbuild, "resolve_toolchain", resolve)
    module = Module("mod", folder, Expectation())
    build_all([(module, target)], Settings(cache=tmp_path / "cache"), Silent(), [argument])
    assert asked == [(target, tools)]


@pytest.mark.parametrize("argument", ["M=/x", "-k", "clean"])
def test_arguments_that_would_build_something_else(argument: str) -> None:
    with pytest.raises(UsageError, match="cannot be given to make"):
        check_arguments([argument])
