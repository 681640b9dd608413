# SPDX-License-Identifier: MIT
"""Builds in the real sandbox, with a tiny kernel tree that has its own Makefile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import make as kbuild
from kmod_harness.kbuild.advice import hint_for
from kmod_harness.kbuild.artefacts import Request
from kmod_harness.kbuild.make import Build, build_all, build_beside, build_module, check_arguments
from kmod_harness.kbuild.objects import object_problems
from kmod_harness.kbuild.shell import kernel_view
from kmod_harness.kbuild.toolchain import HOST_ROOT, Toolchain
from kmod_harness.kernels.arch import host_arch
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.expectation import BuildPlan, Expectation
from kmod_harness.module.module import Module, resolve_module

RELEASE = "6.99.0-test"

# As kbuild does it, in a dozen lines: obj-m, .cmd files, modules.order, Module.symvers.
MAKEFILE = r"""
src := $(M)
obj := $(M)
KERNELRELEASE := 6.99.0-test
include $(firstword $(wildcard $(M)/Kbuild $(M)/Makefile))
.DEFAULT_GOAL := modules
.PHONY: modules
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
    (tree / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (tree / "System.map").touch()
    set_vermagic(tree, RELEASE)
    return Kernel("test", RELEASE, host_arch().name, tree / "image", tree, tree, "gcc-0", "test")


def set_vermagic(tree: Path, release: str) -> None:
    attributes = '__attribute__((used, section(".modinfo")))'
    text = f'static const char vermagic[] {attributes} = "vermagic={release} SMP mod_unload ";\n'
    (tree / "vermagic.h").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "user" / "mod"
    path.mkdir(parents=True)
    (tmp_path / "user" / "compat.h").write_text("#define COMPAT 1\n", encoding="utf-8")
    (path / "Kbuild").write_text("obj-m := mod.o\nccflags-y := -include $(src)/../compat.h\n", encoding="utf-8")
    (path / "mod.c").write_text('#include "mod.h"\nint x = COMPAT + HERE;\n', encoding="utf-8")
    (path / "mod.h").write_text("#define HERE 1\n", encoding="utf-8")
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
    assert first.symvers.read_text(encoding="utf-8") == "mod.o\n"
    assert "CC [M]" in first.log.read_text(encoding="utf-8")
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
    text = (folder / name).read_text(encoding="utf-8")
    old = (folder / name).stat().st_mtime - 1000
    (folder / name).write_text(text + "\n", encoding="utf-8")
    os.utime(folder / name, (old, old))  # as a checkout of an older version may do
    assert build().state == "built"
    (folder / name).write_text(text, encoding="utf-8")
    again = build()
    assert (again.state, again.objects) == ("unchanged", first.objects)


def test_changed_outside_header_reaches_the_object(build: Builder, folder: Path) -> None:
    before = build().objects[0].read_bytes()
    header = folder.parent / "compat.h"
    header.write_text("#define COMPAT 77\n", encoding="utf-8")
    os.utime(header, (1, 1))
    assert build().objects[0].read_bytes() != before


def test_only_what_changed_is_compiled_again(build: Builder, folder: Path) -> None:
    (folder / "two.c").write_text("int two;\n", encoding="utf-8")
    (folder / "Kbuild").write_text(
        (folder / "Kbuild").read_text(encoding="utf-8") + "obj-m += two.o\n", encoding="utf-8"
    )
    both = build()
    assert [path.name for path in both.objects] == ["mod.ko", "two.ko"]
    assert both.log.read_text(encoding="utf-8").count("CC [M]") == 2
    (folder / "two.c").write_text("int two = 2;\n", encoding="utf-8")
    again = build()
    assert [path.name for path in again.objects] == ["mod.ko", "two.ko"]
    assert again.log.read_text(encoding="utf-8").count("CC [M]") == 1


def test_what_is_no_longer_in_obj_m_is_gone(build: Builder, folder: Path) -> None:
    (folder / "two.c").write_text("int two;\n", encoding="utf-8")
    before = (folder / "Kbuild").read_text(encoding="utf-8")
    (folder / "Kbuild").write_text(before + "obj-m += two.o\n", encoding="utf-8")
    build()
    (folder / "Kbuild").write_text(before + "# one less\n", encoding="utf-8")
    assert [path.name for path in build().objects] == ["mod.ko"]


def test_arguments_for_make_belong_to_the_content(build: Builder) -> None:
    assert build("W=1").state == "built"
    assert build().state == "built"
    assert build("W=1").state == "unchanged"


def test_products_of_the_user_do_not_disturb(build: Builder, folder: Path) -> None:
    (folder / "mod.ko").write_text("old", encoding="utf-8")
    (folder / "Module.symvers").write_text("old", encoding="utf-8")
    result = build()
    assert result.state == "built"
    assert result.objects[0].read_bytes()[:4] == b"\x7fELF"
    assert (folder / "mod.ko").read_text(encoding="utf-8") == "old"


def test_compile_error_names_the_users_file_then_works_when_mended(build: Builder, folder: Path) -> None:
    good = (folder / "mod.c").read_text(encoding="utf-8")
    (folder / "mod.c").write_text("int x = nope;\n", encoding="utf-8")
    for _ in range(2):  # told again, not only the first time
        failed = build()
        assert (failed.state, failed.objects) == ("failed", ())
        assert failed.problems[0].startswith(f"{folder}/mod.c:1:9: error: ")
        assert "nope" in failed.log.read_text(encoding="utf-8")
    (folder / "mod.c").write_text(good, encoding="utf-8")
    assert build().state == "built"


def test_file_that_has_gone_since_a_failed_build_is_gone(build: Builder, folder: Path) -> None:
    (folder / "gone.h").write_text("", encoding="utf-8")
    (folder / "mod.c").write_text('#include "gone.h"\nint x = nope;\n', encoding="utf-8")
    assert build().state == "failed"
    (folder / "gone.h").unlink()
    (folder / "mod.c").write_text('#include "gone.h"\nint x;\n', encoding="utf-8")
    assert "gone.h: No such file or directory" in build().problems[0]


def test_warnings_are_told_again_when_unchanged_and_when_another_file_changes(
    build: Builder, folder: Path
) -> None:
    (folder / "mod.c").write_text("static int unused;\n", encoding="utf-8")
    (folder / "two.c").write_text("int two;\n", encoding="utf-8")
    (folder / "Kbuild").write_text("obj-m := mod.o two.o\n", encoding="utf-8")
    (warning,) = build().warnings
    assert warning.startswith(f"{folder}/mod.c:1:12: warning: ")
    assert build().warnings == (warning,)
    (folder / "two.c").write_text("int two = 2;\n", encoding="utf-8")
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
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
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
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
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
    (top / "Kbuild").write_text("obj-m := top.o\n", encoding="utf-8")
    (top / "top.c").write_text("int top;\n", encoding="utf-8")
    (top / "module.yaml").write_text("depends: [mod]\n", encoding="utf-8")
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
    assert result.symvers.read_text(encoding="utf-8") == "mod.o\ntop.o\n"


def test_failed_dependency_is_named(depending: Path, folder: Path, target: Kernel, tmp_path: Path) -> None:
    (folder / "mod.c").write_text("int x = nope;\n", encoding="utf-8")
    module = Module("mod", folder, Expectation())
    top = resolve_module(str(depending))
    settings = Settings(cache=tmp_path / "cache")
    results = build_all([(top, target), (module, target)], settings, Silent())
    assert [result.module.name for result in results] == ["top", "mod"]
    assert results[0].problems == ("depends on mod, which failed to build",)
    assert results[1].state == "failed"


@pytest.mark.parametrize(
    "lines",
    [
        "KBUILD_EXTRA_SYMBOLS := $(MOD)/Module.symvers\n",
        "KBUILD_EXTRA_SYMBOLS := $(shell echo $(M))/../mod/Module.symvers\n",
    ],
)
def test_a_folder_beside_whose_symvers_is_named_is_built_first(
    depending: Path, target: Kernel, tmp_path: Path, lines: str
) -> None:
    (depending / "module.yaml").unlink()
    (depending / "Kbuild").unlink()
    head = "MOD_ROOT ?= $(PWD)/..\nMOD = $(realpath $(MOD_ROOT)/mod)\nobj-m := top.o\n"
    (depending / "Makefile").write_text(head + lines, encoding="utf-8")
    top = resolve_module(str(depending))
    (result,) = build_all([(top, target)], Settings(cache=tmp_path / "cache"), Silent())
    assert (result.state, [one.module.name for one in result.needs]) == ("built", ["mod"]), result.problems


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


# ---- as the author's own shell -----------------------------------------------------------------------------


def own_makefile(folder: Path, text: str, objects: str = "mod.o") -> None:
    """An author's Makefile that kbuild reads too."""
    (folder / "Kbuild").unlink()
    (folder / "mod.c").write_text("int x;\n", encoding="utf-8")
    head = f"ifneq ($(KERNELRELEASE),)\nobj-m := {objects}\nelse\n" if objects else ""
    (folder / "Makefile").write_text(head + text + ("\nendif\n" if objects else ""), encoding="utf-8")


def test_the_sandbox_is_the_authors_own_shell(build: Builder, folder: Path, target: Kernel) -> None:
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("$(info PWD=$(PWD) uname=$(shell uname -r) KVER=$(KVER) KDIR=$(KDIR))\n")
        file.write("$(info tree=$(shell ls /lib/modules/$(shell uname -r)/build/Makefile))\n")
        file.write("$(info here=$(shell ls -A $(PWD)))\n")
    (folder / ".hidden").touch()
    (target.build_tree / ".config").write_text("CONFIG_MODULES=y\n", encoding="utf-8")
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("$(info conf=$(shell grep MODULES /boot/config-$(KVER)) $(wildcard /boot/System.map-*))\n")
        file.write('$(info system=$(shell . /etc/os-release && test -n "$$ID" && getconf LONG_BIT))\n')
    log = build().log.read_text(encoding="utf-8")
    assert f"conf=CONFIG_MODULES=y /boot/System.map-{RELEASE}\nsystem=64\n" in log
    assert f"PWD={folder} uname={RELEASE} KVER={RELEASE} KDIR=/lib/modules/{RELEASE}/build\n" in log
    assert f"tree=/lib/modules/{RELEASE}/build/Makefile\nhere=.hidden Kbuild mod.c mod.h\n" in log


def test_a_foreign_makefile_sees_nothing_else_of_the_host(build: Builder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (folder.parent / ".token").write_text("token", encoding="utf-8")
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write(
            f"$(info sees=$(shell cat {tmp_path}/secret {folder.parent}/.token /etc/shadow 2>/dev/null))\n"
        )
        file.write("$(info net=$(shell cat /proc/net/route | wc -l) root=$(shell ls -A / | xargs))\n")
    log = build().log.read_text(encoding="utf-8")
    assert "sees=\n" in log
    assert "net=1 root=" in log
    assert " home " not in log.partition("root=")[2].partition("\n")[0]


@pytest.mark.parametrize("name", ["a b", "it's", "x(1);$y,[2]", "\u00e4\u00f6\u00fc"])
def test_any_name_of_a_folder(target: Kernel, folder: Path, tmp_path: Path, name: str) -> None:
    moved = folder.rename(folder.parent / name)
    settings = Settings(cache=tmp_path / "cache")
    request = Request(Module("m", moved, Expectation()), target, host_toolchain(target, settings), (), ())
    result = build_module(request, settings, Silent())
    assert (result.state, result.problems) == ("built", ())
    (moved / "mod.c").write_text("int x = nope;\n", encoding="utf-8")
    assert build_module(request, settings, Silent()).problems[0].startswith(f"{moved}/mod.c:1:9: error: ")


def test_shipped_objects_and_those_of_a_folder_beside(build: Builder, folder: Path) -> None:
    (folder / "blob.o").write_bytes(b"")
    (folder.parent / "common").mkdir()
    (folder.parent / "common" / "util.c").write_text("int util;\n", encoding="utf-8")
    rule = "after = cp $(M)/blob.o /dev/null && $(CC) -c $(M)/../common/util.c -o $(M)/../common/util.o\n"
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write(rule)
    result = build()
    assert (result.state, result.problems) == ("built", ())
    assert not (folder.parent / "common" / "util.o").exists()


def test_one_broken_file_does_not_hide_another(build: Builder, folder: Path) -> None:
    (folder / "Kbuild").write_text("obj-m := one.o two.o\n", encoding="utf-8")
    for name in ("one", "two"):
        (folder / f"{name}.c").write_text(f"int {name} = nope;\n", encoding="utf-8")
    text = "\n".join(build().problems)
    assert f"{folder}/one.c:1:11: error: " in text
    assert f"{folder}/two.c:1:11: error: " in text


def test_a_tool_that_is_missing_is_named(build: Builder, folder: Path) -> None:
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("after = frobnicate $@\n")
    result = build()
    assert "frobnicate" in result.problems[0]
    assert result.hint == (
        "the build calls frobnicate, which is not there: "
        f"add `build: {{tools: [frobnicate]}}` to {folder}/module.yaml"
    )


def test_a_tool_that_should_have_made_a_header_tells_more_than_the_compiler(
    build: Builder, folder: Path
) -> None:
    own_makefile(folder, "all: t.h\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\nt.h:\n\tautoreconf t > $@")
    (folder / "mod.c").write_text('#include "t.h"\n', encoding="utf-8")
    assert "add `build: {tools: [automake]}`" not in str(build().hint)
    assert "add `build: {tools: [autoconf]}`" in str(build().hint)
    (folder / "mod.c").write_text('#include "t.h"\nint x = nope;\n', encoding="utf-8")
    (folder / "t.h").touch()
    assert "nope" in build().problems[0]


@pytest.mark.parametrize(
    "fetch",
    [
        "curl -f https://example.org/t.h -o t.h",
        "python3 -c 'import socket; socket.create_connection((\"example.org\", 80), 1)'",
        "git clone https://example.org/t t",
    ],
)
def test_a_build_that_wants_the_network(build: Builder, folder: Path, fetch: str) -> None:
    own_makefile(folder, f"all: t.h\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\nt.h:\n\t{fetch}")
    (folder / "mod.c").write_text('#include "t.h"\n', encoding="utf-8")
    hint = f"the build wants the network, which it has not here: fetch that into {folder} first"
    assert build().hint == hint


def test_a_source_that_is_not_there(folder: Path) -> None:
    said = f"make[2]: *** No rule to make target '{folder}/zz.o', needed by '{folder}/'."
    says = "the kbuild file names zz.o, but there is no"
    assert hint_for([said], [], folder) == f"{says} {folder}/zz.c to make it of"


@pytest.mark.parametrize("ending", ["gz", "xz", "zst"])
def test_a_packed_ko_that_is_damaged(target: Kernel, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"my.ko.{ending}"
    path.write_bytes(b"no such thing")
    settings = Settings(cache=tmp_path / "cache")
    module = resolve_module(str(path))
    request = Request(module, target, host_toolchain(target, settings), (), ())
    with pytest.raises(HarnessError, match=f"my.ko.{ending}: cannot be unpacked"):
        build_beside(request, settings, Silent())


def test_a_header_that_a_script_makes_is_told(build: Builder, folder: Path) -> None:
    (folder / "mod.c").write_text('#include "gen/conf.h"\n', encoding="utf-8")
    assert build().hint is None
    (folder / "tools").mkdir()
    (folder / "tools" / "make conf.sh").write_text("echo > gen/conf.h\n", encoding="utf-8")
    says = "gen/conf.h has to be made first: add `build: {before: [sh 'tools/make conf.sh']}` to"
    assert build().hint == f"{says} {folder}/module.yaml"
    (folder / "configure").touch()
    assert "before: [./configure]" in str(build().hint)


def test_what_lies_higher_up_than_is_shown_is_told(build: Builder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "up.h").touch()
    (folder / "Kbuild").write_text("obj-m := mod.o\nccflags-y := -I$(src)/../../include\n", encoding="utf-8")
    (folder / "mod.c").write_text("#include <up.h>\n", encoding="utf-8")
    assert str(build().hint).endswith(f"make it part of one checkout, `git init {tmp_path}`")
    (tmp_path / ".git").mkdir()
    assert build().problems == ()


def test_a_subsystem_that_the_kernel_is_without(build: Builder, folder: Path, target: Kernel) -> None:
    (folder / "mod.c").write_text("#include <linux/i2c.h>\nmodule_i2c_driver(x)\n", encoding="utf-8")
    (target.build_tree / "linux").mkdir()
    (target.build_tree / "linux" / "i2c.h").touch()
    (folder / "Kbuild").write_text("obj-m := mod.o\nccflags-y := -I$(CURDIR)\n", encoding="utf-8")
    assert build().hint == "<linux/i2c.h> is used, but CONFIG_I2C is off in test: try --kernel 6.99"


def test_a_submodule_that_was_not_cloned(build: Builder, folder: Path) -> None:
    (folder / "mod.c").write_text('#include "lib/x.h"\n', encoding="utf-8")
    (folder.parent / ".gitmodules").write_text('[submodule "x"]\n\tpath = lib\n', encoding="utf-8")
    (folder.parent / "lib").mkdir()
    assert build().hint == f"git -C {folder.parent} submodule update --init --recursive"
    (folder.parent / "lib" / "x.h").touch()
    assert build().hint is None


def test_an_include_that_only_the_authors_make_finds(build: Builder, folder: Path) -> None:
    (folder.parent / "common.mk").write_text("obj-m := mod.o\n", encoding="utf-8")
    (folder / "Kbuild").write_text("include ../common.mk\n", encoding="utf-8")
    assert str(build().hint).startswith(f"write `include $(src)/../common.mk` in {folder}/Kbuild")


def test_what_must_not_be_done_here_is_not_done_and_told(build: Builder, folder: Path) -> None:
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("after = sudo depmod -a\n")
    result = build()
    assert (result.state, result.notes) == ("built", ("the build calls sudo depmod -a: not done here",))


# ---- ways to build -----------------------------------------------------------------------------------------


def test_a_makefile_for_both_is_built_by_kbuild(build: Builder, folder: Path) -> None:
    own_makefile(folder, "all:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules")
    assert (build().way, [path.name for path in build().objects]) == ("kbuild", ["mod.ko"])


def test_a_step_before_is_run_by_the_authors_own_target(build: Builder, folder: Path) -> None:
    own_makefile(
        folder,
        "KDIR := /home/me/linux\nall: version.h\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\n"
        "version.h:\n\techo '#define VERSION 3' > $@",
    )
    (folder / "mod.c").write_text('#include "version.h"\nint x = VERSION;\n', encoding="utf-8")
    result = build()
    assert (result.state, result.way, result.problems) == ("built", "make", ())
    assert not (folder / "version.h").exists()
    (folder / "mod.c").write_text('#include "version.h"\nint x = VERSION + 1;\n', encoding="utf-8")
    assert (build().state, build().way) == ("built", "make") or build().state == "unchanged"


def test_more_than_the_usual_is_said_by_the_author(build: Builder, folder: Path) -> None:
    own_makefile(folder, 'all:\n\t$(MAKE) -C $(KDIR) M=$(PWD) ccflags-y="-DTHE_FLAG=7" modules')
    (folder / "mod.c").write_text("#ifdef THE_FLAG\nint x = THE_FLAG;\n#endif\n", encoding="utf-8")
    result = build()
    assert result.way == "make"
    assert "-DTHE_FLAG=7" in build("V=1").log.read_text(encoding="utf-8") or result.state == "built"


@pytest.mark.parametrize("after", ["cp $(CURDIR)/mod.ko /work/", "$(CC) -o tool tool.c", "frobnicate"])
def test_what_the_author_makes_beside_the_modules_does_not_count(
    build: Builder, folder: Path, after: str
) -> None:
    build_it = "v.h:\n\techo > $@\nmods:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\n"
    own_makefile(folder, f"all: v.h mods\n\t{after}\n{build_it}")
    (folder / "mod.c").write_text('#include "v.h"\nint x;\n', encoding="utf-8")
    (folder / "tool.c").write_text("#include <nowhere.h>\n", encoding="utf-8")
    result = build()
    assert (result.state, result.way, result.problems) == ("built", "make", ())
    assert result.notes[0].startswith("make failed at something else than the modules, which are built: ")
    (folder / "mod.c").write_text('#include "v.h"\nint x = nope;\n', encoding="utf-8")
    assert build().state == "failed"


@pytest.mark.parametrize("step", ["", "all: v.h\n"])
def test_pwd_is_where_make_was_called_however_deep(build: Builder, folder: Path, step: str) -> None:
    """In the shell of an author it stays so while kbuild goes elsewhere; kbuild calls itself again."""
    own_makefile(folder, f"{step}all:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\nv.h:\n\techo > v.h\n")
    (folder / "mod.c").write_text('#include "v.h"\nint x;\n' if step else "int x;\n", encoding="utf-8")
    with (folder / "Makefile").open("a", encoding="utf-8") as file:
        file.write("after = $(MAKE) -f $(M)/deep.mk\n")
    (folder / "deep.mk").write_text("all:\n\t@echo deep=$(PWD)\n", encoding="utf-8")
    result = build()
    assert (result.state, result.way) == ("built", "make" if step else "kbuild"), result.problems
    assert f"deep={folder}\n" in result.log.read_text(encoding="utf-8")


def test_a_tool_that_kbuild_made_but_does_not_find(folder: Path) -> None:
    (folder / "mktab.c").touch()
    assert "$(abspath $(obj)/mktab)" in str(hint_for(["x"], ["/bin/sh: 1: mktab: not found"], folder))


def test_a_default_target_that_cleans_first(build: Builder, folder: Path) -> None:
    """Its parts are done one after the other, only those of kbuild side by side."""
    lines = "all: clean gen mods\nclean:\n\tsleep 0.5; rm -f t.h\ngen:\n\techo > t.h; echo own=$(MAKEFLAGS)\n"
    own_makefile(folder, f"{lines}mods:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\n")
    (folder / "mod.c").write_text('#include "t.h"\nint x;\n', encoding="utf-8")
    with (folder / "Makefile").open("a", encoding="utf-8") as file:
        file.write("after = echo kbuild=$(MAKEFLAGS)\n")
    result = build()
    assert (result.way, result.problems) == ("make", ())
    said = dict(line.partition("=")[::2] for line in result.log.read_text(encoding="utf-8").splitlines())
    assert "-j" not in said["own"]
    assert "-j" in said["kbuild"]


def test_a_makefile_that_only_leads_to_another_folder(build: Builder, folder: Path) -> None:
    own_makefile(folder, "all:\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)/src modules\n", objects="")
    (folder / "src").mkdir()
    (folder / "src" / "deep.c").write_text("int deep;\n", encoding="utf-8")
    (folder / "src" / "Kbuild").write_text("obj-m := deep.o\n", encoding="utf-8")
    result = build()
    assert (result.state, result.way, [path.name for path in result.objects]) == ("built", "make", ["deep.ko"])


def test_the_only_folder_below_that_has_modules(build: Builder, folder: Path) -> None:
    own_makefile(folder, "help:\n\t@echo nothing here\n", objects="")
    (folder / "src").mkdir()
    (folder / "src" / "deep.c").write_text("int deep;\n", encoding="utf-8")
    (folder / "src" / "Makefile").write_text("obj-m := deep.o\n", encoding="utf-8")
    result = build()
    assert (result.way, result.notes) == ("below", ("built in src/",))


def test_several_folders_below_are_listed(build: Builder, folder: Path) -> None:
    own_makefile(folder, "help:\n\t@echo nothing here\n", objects="")
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "Kbuild").write_text(f"obj-m := {name}.o\n", encoding="utf-8")
    result = build()
    assert result.problems == (f"no module was built in {folder}; an obj-m is in one, two",)
    assert result.hint == f"--module {folder} --all"


def test_an_option_that_nobody_gives_a_value(build: Builder, folder: Path) -> None:
    (folder / "Kbuild").write_text("obj-$(CONFIG_MY_MOD) := mod.o\n", encoding="utf-8")
    (folder / "mod.c").write_text("int x;\n", encoding="utf-8")
    result = build()
    assert (result.way, [path.name for path in result.objects]) == ("options", ["mod.ko"])
    assert result.notes == ("nobody gives CONFIG_MY_MOD a value: built with =m",)


def dkms_conf(folder: Path, text: str) -> None:
    (folder / "Kbuild").write_text("obj-m := mod.o\n", encoding="utf-8")
    (folder / "mod.c").write_text("int x;\n", encoding="utf-8")
    head = 'PACKAGE_NAME="mod"\nPACKAGE_VERSION="1.0"\nDEST_MODULE_LOCATION[0]="/updates"\n'
    (folder / "dkms.conf").write_text(head + text, encoding="utf-8")


def test_dkms_conf_with_patch_scripts_and_its_own_command(build: Builder, folder: Path) -> None:
    dkms_conf(
        folder,
        'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build DIR=$PWD"\n'
        'PRE_BUILD="prepare.sh $kernelver"\nPATCH[0]=add.patch\nPATCH[1]=no.patch\nPATCH_MATCH[1]="^5"\n',
    )
    (folder / "prepare.sh").write_text(
        '#!/bin/sh\necho "#define RELEASE \\"$1\\"" > release.h\n', encoding="utf-8"
    )
    (folder / "prepare.sh").chmod(0o755)
    (folder / "patches").mkdir()
    patch = '--- a/mod.c\n+++ b/mod.c\n@@ -1 +1,2 @@\n-int x;\n+#include "release.h"\n+char x[] = RELEASE;\n'
    (folder / "patches" / "add.patch").write_text(patch, encoding="utf-8")
    for _ in range(2):  # the patch is not applied twice
        result = build()
        assert (result.way, result.problems, [path.name for path in result.objects]) == (
            "dkms.conf",
            (),
            ["mod.ko"],
        )
        assert RELEASE.encode() in result.objects[0].read_bytes().replace(b"vermagic=" + RELEASE.encode(), b"")
        (folder / "other.h").touch()
    assert (folder / "mod.c").read_text(encoding="utf-8") == "int x;\n"


def test_what_the_user_says_reaches_every_make(build: Builder, folder: Path) -> None:
    dkms_conf(folder, 'MAKE[0]="cd sub/; make BUILD_KERNEL=$kernelver"\nBUILT_MODULE_NAME[0]=mod\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "Makefile").write_text(
        "all:\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)/.. modules\n", encoding="utf-8"
    )
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("$(info btf=$(origin CONFIG_DEBUG_INFO_BTF_MODULES) mine=$(MINE))\n")
    result = build("MINE=a b")
    assert (result.way, result.problems) == ("dkms.conf", ())
    assert "btf=command line mine=a b\n" in result.log.read_text(encoding="utf-8")


def test_name_and_version_that_dkms_conf_computes(build: Builder, folder: Path) -> None:
    dkms_conf(
        folder, 'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build"\n'
    )
    text = (folder / "dkms.conf").read_text(encoding="utf-8")
    (folder / "dkms.conf").write_text(text.replace('"1.0"', '"$(echo 2.5)"'), encoding="utf-8")
    assert (build().way, build().problems) == ("dkms.conf", ())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('BUILD_EXCLUSIVE_KERNEL="^5\\."', "dkms.conf: BUILD_EXCLUSIVE_KERNEL=^5\\."),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=7.0", "dkms.conf: BUILD_EXCLUSIVE_KERNEL_MIN=7.0"),
        ("BUILD_EXCLUSIVE_KERNEL_MAX=6.1", "dkms.conf: BUILD_EXCLUSIVE_KERNEL_MAX=6.1"),
        ("BUILD_EXCLUSIVE_ARCH=sparc", "dkms.conf: BUILD_EXCLUSIVE_ARCH=sparc"),
        ('BUILD_EXCLUSIVE_CONFIG="CONFIG_NOPE"', "dkms.conf: BUILD_EXCLUSIVE_CONFIG=CONFIG_NOPE"),
        ('[[ $kernelver = 6.99* ]] && BUILD_EXCLUSIVE_KERNEL="^4"', "dkms.conf: BUILD_EXCLUSIVE_KERNEL=^4"),
    ],
)
def test_dkms_conf_that_excludes_the_kernel(
    build: Builder, folder: Path, target: Kernel, line: str, why: str
) -> None:
    (target.build_tree / ".config").touch()
    dkms_conf(folder, line + "\n")
    result = build()
    assert (result.state, result.problems) == ("excluded", (why,))


def test_the_last_make_that_matches_the_kernel_counts(build: Builder, folder: Path) -> None:
    dkms_conf(
        folder,
        'MAKE[0]="make -C $kernel_source_dir M=$PWD WHICH=zero"\nMAKE[1]="make -C $kernel_source_dir '
        'M=$PWD WHICH=one"\nMAKE_MATCH[1]="^6\\.99"\nMAKE[2]="false"\nMAKE_MATCH[2]="^5"\n',
    )
    with (folder / "Kbuild").open("a", encoding="utf-8") as file:
        file.write("$(info which=$(WHICH))\n")
    assert "which=one\n" in build().log.read_text(encoding="utf-8")


def test_what_dkms_conf_promises_must_be_built(build: Builder, folder: Path) -> None:
    dkms_conf(folder, "BUILT_MODULE_NAME[0]=other\nBUILT_MODULE_LOCATION[0]=src\n")
    (folder / "Kbuild").unlink()
    (folder / "Makefile").write_text("all:\n\ttrue\n", encoding="utf-8")
    assert "other.ko was not built" in build().problems


def test_dkms_conf_that_cannot_be_read_or_is_hostile(build: Builder, folder: Path, tmp_path: Path) -> None:
    dkms_conf(folder, f"touch {tmp_path}/hostile\nif then fi\n")
    result = build()  # dkms itself takes what stands before the mistake
    assert (result.way, result.state) == ("dkms.conf", "built")
    assert any("syntax error" in line for line in result.warnings)
    (folder / "dkms.conf").write_text("if then fi\n", encoding="utf-8")
    assert build().way == "kbuild"  # there is another way
    (folder / "Kbuild").unlink()
    result = build()
    assert result.problems[0] == f"{folder}/dkms.conf cannot be read"
    assert any("syntax error" in line for line in result.problems)
    assert not (tmp_path / "hostile").exists()


def planned(folder: Path, target: Kernel, tmp_path: Path, plan: BuildPlan) -> Build:
    settings = Settings(cache=tmp_path / "cache")
    module = Module("m", folder, Expectation(build=plan))
    return build_module(Request(module, target, host_toolchain(target, settings), (), ()), settings, Silent())


def test_module_yaml_says_how(folder: Path, target: Kernel, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "Kbuild").write_text("obj-$(CONFIG_X) := deep.o\n", encoding="utf-8")
    (folder / "deep" / "deep.c").write_text('#include "version.h"\nint x = V;\n', encoding="utf-8")
    plan = BuildPlan("deep", ("echo '#define V 1' > deep/version.h",), ("CONFIG_X=m",))
    result = planned(folder, target, tmp_path, plan)
    assert (result.way, result.problems, [path.name for path in result.objects]) == (
        "module.yaml",
        (),
        ["deep.ko"],
    )


def test_a_makefile_that_calls_itself_for_ever_ends(build: Builder, folder: Path) -> None:
    own_makefile(folder, "all:\n\t@while :; do echo again; done\n\t$(MAKE) all", objects="")
    result = build()
    assert "more than" in result.problems[0]
    assert "lines of output" in result.problems[0]


# ---- what the build says about the module -------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_extra_cflags_that_the_kernel_ignores(
    build: Builder, folder: Path, target: Kernel, known: bool
) -> None:
    (target.build_tree / "scripts").mkdir()
    library = "ccflags-y += $(EXTRA_CFLAGS)\n" if known else "# nothing\n"
    (target.build_tree / "scripts" / "Makefile.lib").write_text(library, encoding="utf-8")
    (folder / "Kbuild").write_text("obj-m := mod.o\nEXTRA_CFLAGS += -DFEATURE=1 -Wall -O2\n", encoding="utf-8")
    (folder / "mod.c").write_text("int x;\n", encoding="utf-8")
    result = build()
    if known:
        assert result.state == "built"
        return
    assert result.problems == (
        "the kernel's kbuild ignores EXTRA_CFLAGS (since 6.15): -DFEATURE=1 did not reach the compiler",
    )
    assert str(result.hint).startswith("write ccflags-y instead of EXTRA_CFLAGS")


def test_a_header_that_is_there_but_not_found(build: Builder, folder: Path) -> None:
    (folder / "include").mkdir()
    (folder / "include" / "lost.h").touch()
    (folder / "mod.c").write_text('#include "lost.h"\n', encoding="utf-8")
    result = build()
    assert "lost.h: No such file" in result.problems[0]
    assert "add `ccflags-y += -I$(src)/include`" in str(result.hint)


def test_rust_has_no_verdict(build: Builder, folder: Path) -> None:
    (folder / "tool.rs").write_text("//! of a program\n", encoding="utf-8")
    assert build().state == "built"
    (folder / "mod.c").rename(folder / "mod.rs")
    result = build()
    assert (result.state, result.problems) == (
        "impossible",
        ("a module in Rust, and this kernel has no CONFIG_RUST: no verdict",),
    )
