# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.kbuild.sandbox import Mount, View, sandbox_argv, shown
from kmod_harness.kbuild.sources import (
    TooLargeError,
    mirror,
    outside_files,
    parse_dependencies,
    parse_includes,
    scan,
)
from kmod_harness.kbuild.surroundings import find_surroundings


def test_products_version_control_and_the_manifest_are_no_sources(tmp_path: Path) -> None:
    kept = ["Kbuild", "a.c", "sub/b.h", "blob.o_shipped", "data.cmdline", ".config", "main.o", ".genconf/x.sh"]
    left = [
        "a.o", "a.ko", "a.mod", "a.mod.c", ".a.o.cmd", ".git/config", "Module.symvers", "modules.order",
        "module.yaml", "a.c~", "sub/b.o", ".sub.o.cmd", "sub.o", ".tmp_versions/a.mod",
    ]  # fmt: skip
    for name in (*kept, *left, "sub/b.S"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert sorted(scan(tmp_path)) == sorted([*kept, "sub/b.S"])


def test_more_than_a_modules_sources_can_be(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(TooLargeError, match="more than"):
        scan(tmp_path)


def test_key_of_a_link_changes_with_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "outside.c").write_text("1", encoding="utf-8")
    (tmp_path / "m" / "a.c").symlink_to("../outside.c")
    before = scan(tmp_path / "m")
    (tmp_path / "outside.c").write_text("2", encoding="utf-8")
    assert scan(tmp_path / "m") != before


def test_mirror_touches_only_what_differs(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    copy.mkdir()
    for name in ("same.c", "changed.c", "gone.c"):
        (source / name).write_text(name, encoding="utf-8")
    (source / "link.c").symlink_to("same.c")
    before = scan(source)
    mirror(source, copy, before, {})
    assert (copy / "link.c").readlink() == Path("same.c")
    stamp = (copy / "same.c").stat().st_mtime_ns
    (copy / "same.o").touch()
    (source / "changed.c").write_text("new", encoding="utf-8")
    (source / "gone.c").unlink()
    mirror(source, copy, scan(source), before)
    assert (copy / "changed.c").read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in copy.iterdir()) == ["changed.c", "link.c", "same.c", "same.o"]
    assert (copy / "same.c").stat().st_mtime_ns == stamp


def test_read_only_sources_can_be_brought_again(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "a.c").write_text("1", encoding="utf-8")
    (source / "a.c").chmod(0o444)
    mirror(source, copy, scan(source), {})
    mirror(source, copy, scan(source), {})
    assert (copy / "a.c").read_text(encoding="utf-8") == "1"


def test_file_in_place_of_a_link_does_not_write_through_it(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "a.c").write_text("a", encoding="utf-8")
    (source / "b.c").symlink_to("a.c")
    before = scan(source)
    mirror(source, copy, before, {})
    (source / "b.c").unlink()
    (source / "b.c").write_text("b", encoding="utf-8")
    mirror(source, copy, scan(source), before)
    assert ((copy / "a.c").read_text(encoding="utf-8"), (copy / "b.c").read_text(encoding="utf-8")) == (
        "a",
        "b",
    )


CMD = """savedcmd_a.o := gcc -c -o a.o a.c

source_a.o := /m/a.c

deps_a.o := \\
    $(wildcard include/config/FOO) \\
  /k/include/linux/module.h \\
  /src/include/compat.h \\
  ../beside/b.h \\

a.o: $(deps_a.o)
"""


def test_dependencies_of_an_object() -> None:
    assert parse_dependencies(CMD) == [
        "/m/a.c",
        "/k/include/linux/module.h",
        "/src/include/compat.h",
        "../beside/b.h",
    ]


def test_included_makefiles() -> None:
    text = "include $(src)/../common.mk\n-include $(M)/local.mk other.mk\ninclude $(KDIR)/x.mk\n"
    assert parse_includes(text, Path("/m")) == ["/m/../common.mk", "/m/local.mk", "other.mk"]


def test_outside_files_are_those_of_nobody_else(tmp_path: Path) -> None:
    names = ["m/a.c", "include/compat.h", "beside/b.h", "k/include/linux/module.h", "common.mk"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "Kbuild").write_text("include $(src)/../common.mk\n", encoding="utf-8")
    text = CMD.replace("/src", str(tmp_path)).replace("/m/", f"{tmp_path}/m/").replace("/k/", f"{tmp_path}/k/")
    (copy / ".a.o.cmd").write_text(text, encoding="utf-8")
    settled = (tmp_path / "k",)
    assert outside_files(copy, tmp_path / "m", tmp_path / "k", settled) == [
        str(tmp_path / name) for name in ("beside/b.h", "common.mk", "include/compat.h")
    ]


def test_sandbox_with_the_hosts_programs_does_not_show_the_host() -> None:
    argv = sandbox_argv(
        Path("/"), ["make", "x"], View((Mount(Path("/m"), Path("/cache/copy"), writable=True),))
    )
    text = " ".join(argv)
    assert "--ro-bind /usr /usr" in text
    assert "--bind /cache/copy /m" in text
    assert "--ro-bind / /" not in text
    assert " /etc " not in text
    assert argv[-3:] == ("--", "make", "x")


def test_sandbox_with_a_root_sees_only_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib" / "x86").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    mounts = (shown(Path("/home/me/src")), shown(Path("/home")), shown(Path("/home")))
    argv = sandbox_argv(tmp_path, ["true"], View(mounts))
    text = " ".join(argv)
    assert text.count("--ro-bind /home /home") == 1
    assert text.index("--ro-bind /home /home") < text.index("/home/me/src")
    assert "--symlink usr/lib64 /lib64" in text
    assert "--symlink /usr/lib/x86 /lib/x86" in text
    assert "--ro-bind / /" not in text


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/home/me/src/mod", "/home/me/src/mod"),
        ("/usr/src/mod-1.0", "/src/src/mod-1.0"),
        ("/home/me/my 'mod' [1]", "/src/me/my_mod_1_"),
        ("/home/me/Käse (2)/mod", "/src/K_se_2_/mod"),
    ],
)
def test_a_folder_appears_under_a_plain_path(path: str, inside: str) -> None:
    place = find_surroundings(Path(path))
    assert place.inside == Path(inside)
    assert place.to_host(Path(inside) / "a.c") == Path(path) / "a.c"
    assert place.name(f"{inside}/a.c:1: error: x") == f"{path}/a.c:1: error: x"


def test_around_is_the_checkout_but_never_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    mod = tmp_path / "repo" / "drivers" / "mod"
    mod.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    assert find_surroundings(mod).around == mod.parent
    (tmp_path / "repo" / ".git").mkdir()
    assert find_surroundings(mod).around == tmp_path / "repo"


def test_hidden_files_of_a_parent_stay_hidden(tmp_path: Path) -> None:
    mod = tmp_path / "mod"
    mod.mkdir()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".token").touch()
    mounts = find_surroundings(mod).mounts()
    assert Mount(tmp_path / ".ssh", None) in mounts
    assert Mount(tmp_path / ".token", Path("/dev/null")) in mounts
