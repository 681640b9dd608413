# SPDX-License-Identifier: MIT
from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.module import module as modules
from kmod_harness.module.expectation import (
    BuildPlan,
    Expectation,
    ExpectedLeft,
    ExpectedSplat,
    WarningRule,
    kernel_matches,
)
from kmod_harness.module.manifest import parse_manifest
from kmod_harness.module.module import resolve_module, resolve_modules
from kmod_harness.module.vocabulary import ARCH_NAMES


@pytest.fixture
def kmod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory's kmod/, with one module; there is no checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(modules, "PROJECT", tmp_path / "no-checkout")
    (tmp_path / "kmod" / "mouse").mkdir(parents=True)
    (tmp_path / "kmod" / "mouse" / "Kbuild").write_text("obj-m := mouse.o\n", encoding="utf-8")
    return tmp_path / "kmod"


def test_by_name_and_by_path(kmod: Path) -> None:
    by_name = resolve_module("mouse")
    assert by_name == resolve_module("./kmod/mouse") == resolve_module(str(kmod / "mouse"))
    assert (by_name.name, by_name.path, by_name.expectation) == ("mouse", kmod / "mouse", Expectation())
    assert hash(by_name) == hash(resolve_module("mouse"))


def test_unknown_name_lists_and_suggests(kmod: Path) -> None:
    with pytest.raises(UsageError, match="unknown module 'muose'; there is: mouse") as caught:
        resolve_module("muose")
    assert caught.value.hint == "did you mean mouse?"


def test_folder_without_kbuild_file(kmod: Path) -> None:
    (kmod / "empty").mkdir()
    with pytest.raises(UsageError, match="neither Kbuild nor Makefile nor"):
        resolve_module("kmod/empty")


@pytest.mark.parametrize("name", ["Kbuild", "module.yaml"])
def test_a_file_of_the_folder_means_the_folder(kmod: Path, name: str) -> None:
    (kmod / "mouse" / "module.yaml").write_text("reloads: 1\n", encoding="utf-8")
    assert resolve_module(f"kmod/mouse/{name}").path == kmod / "mouse"


@pytest.mark.parametrize(
    ("name", "kind", "called"),
    [
        ("x-y.ko", "object", "x-y"),
        ("x.ko.xz", "object", "x"),
        ("foo-dkms_1.2-3_all.deb", "deb", "foo"),
        ("dkms:v4l2loopback", "debian", "v4l2loopback"),
    ],
)
def test_what_is_no_folder(kmod: Path, name: str, kind: str, called: str) -> None:
    Path(name).touch()
    module = resolve_module(name)
    assert (module.kind, module.name) == (kind, called)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("a.tar.gz", "an archive", "tar xf"),
        ("a.c", "a single file", "give the folder"),
        ("a.txt", "neither a folder with sources, nor a .ko, nor a .deb", "give the folder"),
        ("https://example.org/a.git", "unknown module", "git clone https://example.org/a.git"),
        ("dkms:", "no name of a package", "dkms:v4l2loopback"),
    ],
)
def test_a_wrong_kind_of_argument_has_its_own_sentence(kmod: Path, name: str, message: str, hint: str) -> None:
    if "/" not in name and ":" not in name:
        Path(name).touch()
    with pytest.raises(UsageError, match=message) as caught:
        resolve_module(name)
    assert hint in str(caught.value.hint)


def test_a_folder_of_several_modules_lists_them_and_all_takes_them(tmp_path: Path, kmod: Path) -> None:
    repository = tmp_path / "repository"
    for name in ("drivers/one", "drivers/two"):
        (repository / name).mkdir(parents=True)
        (repository / name / "Makefile").write_text(f"obj-m += {Path(name).name}.o\n", encoding="utf-8")
    with pytest.raises(UsageError, match="drivers/one, drivers/two") as caught:
        resolve_module("repository")
    assert caught.value.hint == f"--module {repository} --all"
    assert [one.name for one in resolve_modules(["repository"], every=True)] == ["one", "two"]
    (repository / "drivers" / "two" / "Makefile").unlink()
    assert resolve_module("repository").path == repository / "drivers" / "one"


def test_a_folder_whose_name_says_nothing_is_named_with_the_one_above(tmp_path: Path, kmod: Path) -> None:
    (tmp_path / "repository" / "src").mkdir(parents=True)
    (tmp_path / "repository" / "src" / "Kbuild").touch()
    assert resolve_module("repository/src").name == "repository/src"


@pytest.mark.parametrize("name", ["lib-core", "lib_core", "libcore_mod", "libcore-mod"])
def test_dependencies_go_by_folder_or_module_and_dash_is_underscore(kmod: Path, name: str) -> None:
    (kmod / "lib-core").mkdir()
    (kmod / "lib-core" / "Kbuild").write_text("obj-m := libcore_mod.o\n", encoding="utf-8")
    (kmod / "mouse" / "module.yaml").write_text(f"depends: [{name}, 'kernel:i2c-stub']\n", encoding="utf-8")
    assert [one.path.name for one in resolve_module("mouse").needed] == ["lib-core"]


def test_manifest_of_the_module(kmod: Path) -> None:
    (kmod / "mouse" / "module.yaml").write_text("reloads: 0\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"mouse/module\.yaml:1: reloads: want 1 to 1000, found 0"):
        resolve_module("mouse")


FULL = """
params: {fault: true, off: no, count: 0x10, name: 'a b', version: "1"}
depends: [depend_s]
expect_log:
  - 'loaded \\d+'
expect_splat:
  class: null-deref
  pattern: init
  reason: that is what it is for
expect_taint: [D, W]
load: ENOENT
kernels: '>=5.10, <7'
reloads: 5
"""


def test_everything_a_manifest_can_say() -> None:
    assert parse_manifest(FULL, "m") == Expectation(
        params={"fault": "1", "off": "0", "count": "16", "name": "a b", "version": "1"},
        depends=("depend_s",),
        expect_log=(r"loaded \d+",),
        expect_splat=(ExpectedSplat("null-deref", "init", "that is what it is for"),),
        expect_taint=("D", "W"),
        load="ENOENT",
        kernels=">=5.10, <7",
        reloads=5,
    )


EXEMPTIONS = """
expect_splat:
  - {class: kasan, subclass: use-after-free, function: late, kernels: '<6', reason: bug 1}
  - {class: bug, pattern: x, reason: bug 2, expires: 2027-03-31}
expect_left: {pattern: ^class, reason: bug 3, arch: aarch64}
"""


def test_exemptions_hold_on_some_kernels() -> None:
    expectation = parse_manifest(EXEMPTIONS, "m")
    old, new = (
        ExpectedSplat("kasan", "", "bug 1", "use-after-free", "late", kernels="<6"),
        ExpectedSplat("bug", "x", "bug 2", expires=date(2027, 3, 31)),
    )
    assert expectation.expect_splat == (old, new)
    assert expectation.expect_left == (ExpectedLeft("^class", "bug 3", arch="aarch64"),)
    here = expectation.on("6.12.1-amd64", "x86_64")
    assert (here.expect_splat, here.expect_left) == ((new,), ())
    assert expectation.on("5.10.0", "aarch64") == expectation


def test_architectures_are_those_of_the_table() -> None:
    assert set(ARCH_NAMES) == set(ARCHES)


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_manifest_that_says_nothing(text: str) -> None:
    assert parse_manifest(text, "m") == Expectation()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reload: 3", "m:1: unknown key reload; did you mean reloads?"),
        ("load: ok\n\nload: ok", "m:3: key load for the second time (first in line 1)"),
        ("load: ok\nreloads: three", "m:2: reloads: want a whole number, found 'three'"),
        ("reloads: 1001", "m:1: reloads: want 1 to 1000, found 1001"),
        ("reloads: true", "m:1: reloads: want a whole number, found 'true'"),
        ("load: EWHAT", "m:1: load: want ok or the name of an errno, e.g. EINVAL, found 'EWHAT'"),
        ("load: 3", "m:1: load: want text, found '3'; put it in quotes"),
        ("kernels: newest", "m:1: kernels: cannot read 'newest'; want comparisons such as"),
        ("kernels: 5.10", "m:1: kernels: want text, found '5.10'; put it in quotes"),
        ("expect_log: text", "m:1: expect_log: want a list, found 'text'"),
        ("expect_log: ['(']", "m:1: expect_log: entry 1: no regular expression"),
        ("expect_taint: [Q]", "m:1: expect_taint: entry 1: 'Q' is no taint letter"),
        ("expect_taint: [G]", "m:1: expect_taint: entry 1: 'G' is no taint letter"),
        (
            "depends: [../x]",
            "m:1: depends: entry 1: '../x' is neither a folder beside this one nor kernel:NAME",
        ),
        ("params: {a: 1.5}", "m:1: params: a: want text, a whole number or true/false, found '1.5'"),
        ("params: {a: 1, a: 2}", "m:1: key a for the second time"),
        ("params: {'a b': 1}", "m:1: params: 'a b' cannot be the name of a parameter"),
        ("expect_splat: {class: bug}", "m:1: expect_splat: reason missing"),
        ("expect_splat: {class: bug, reason: x}", "m:1: expect_splat: pattern or function missing"),
        ("expect_splat:\n  - {class: bug, pattern: x}", "m:2: expect_splat: reason missing"),
        ("expect_left: {pattern: x, reason: ' '}", "m:1: expect_left.reason: want a reason"),
        (
            "expect_left: {pattern: x, reason: y, arch: i386}",
            "m:1: expect_left.arch: unknown architecture 'i386'",
        ),
        (
            "expect_left: [{pattern: x, reason: y, expires: soon}]",
            "m:1: expect_left[0].expires: want a date such",
        ),
        ("expect_left: {pattern: x, reason: y, until: z}", "m:1: unknown key expect_left.until; known: "),
        ("expect_splat:\n  clas: x", "m:2: unknown key expect_splat.clas; did you mean class?"),
        ("- a\n- b", "m:1: the file: want keys with values, found a list"),
        ("load: 'ok\nreloads: 3", "m:2: found unexpected end of stream"),
    ],
)
def test_mistakes_name_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_manifest(text, "m")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("kernels", "release", "expected"),
    [
        ("", "6.12.117+deb13-cloud-amd64", True),
        (">=5.10", "5.10.0-46-cloud-amd64", True),
        (">=5.10", "5.9.16", False),
        (">=6.1,<7", "7.3.4+deb13-cloud-amd64", False),
        (">=6.1,<7", "6.12.117+deb13-cloud-amd64", True),
        ("<=6.12", "6.12.117", True),
        ("==6.12", "6.12.117", True),
        ("!=6.12", "6.12.117", False),
        (">6.12", "6.12.117", False),
        (">=7.3", "7.3-rc7", True),
        (">=6.12.118", "6.12.117", False),
    ],
)
def test_kernels_a_module_is_for(kernels: str, release: str, expected: bool) -> None:
    assert kernel_matches(kernels, release) is expected


def test_how_it_is_built_and_what_single_modules_of_the_folder_expect() -> None:
    text = """
reloads: 5
depends:
  - my_core
  - kernel:i2c-stub: {chip_addr: 0x50}
build: {folder: src, before: [./configure], arguments: [CONFIG_X=m], tools: [flex]}
warnings:
  - {pattern: section mismatch, verdict: fail, reason: no excuse}
  - {pattern: DESCRIPTION, reason: internal}
modules:
  foo-bar: {load: EPROBE_DEFER}
"""
    read = parse_manifest(text, "m")
    assert read.depends == ("my_core", "kernel:i2c-stub")
    assert read.depends_params == {"kernel:i2c-stub": {"chip_addr": "80"}}
    assert read.build == BuildPlan("src", ("./configure",), ("CONFIG_X=m",), ("flex",))
    assert read.warnings == (
        WarningRule("section mismatch", True, "no excuse"),
        WarningRule("DESCRIPTION", False, "internal"),
    )
    assert (read.of("foo_bar").load, read.of("foo-bar").reloads, read.of("other").load) == (
        "EPROBE_DEFER",
        5,
        "ok",
    )
    assert parse_manifest("warnings: fail\n", "m").warnings == (WarningRule("", fails=True),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("build: {folder: ../x}", "build.folder: '../x' is no folder in the module's own"),
        ("build: {arguments: [clean]}", "build.arguments: entry 1: 'clean': want NAME=value"),
        ("build: {tools: ['a b']}", "cannot be the name of a package"),
        ("warnings: maybe", "want fail or tell"),
        ("warnings: [{pattern: x}]", "entry 1: pattern or reason missing"),
        ("modules: {a: {kernels: '>=5'}}", "unknown key modules.a.kernels"),
    ],
)
def test_mistakes_in_how_it_is_built(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_manifest(text + "\n", "m")
    assert message in str(caught.value)
