# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.kbuild.sandbox import sandbox_argv, surroundings
from kmod_harness.kbuild.sources import mirror, outside_files, parse_dependencies, parse_includes, scan


def test_products_hidden_files_and_the_manifest_are_no_sources(tmp_path: Path) -> None:
    kept = ["Kbuild", "a.c", "sub/b.h", "blob.o_shipped", "data.cmdline"]
    left = [
        "a.o", "a.ko", "a.mod", "a.mod.c", ".a.o.cmd", ".git/config", "Module.symvers", "modules.order",
        "module.yaml", "a.c~", "sub/b.o", ".tmp_versions/a.mod",
    ]  # fmt: skip
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert sorted(scan(tmp_path)) == sorted(kept)


def test_key_of_a_link_changes_with_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "outside.c").write_text("1")
    (tmp_path / "m" / "a.c").symlink_to("../outside.c")
    before = scan(tmp_path / "m")
    (tmp_path / "outside.c").write_text("2")
    assert scan(tmp_path / "m") != before


def test_mirror_touches_only_what_differs(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    copy.mkdir()
    for name in ("same.c", "changed.c", "gone.c"):
        (source / name).write_text(name)
    (source / "link.c").symlink_to("same.c")
    before = scan(source)
    mirror(source, copy, before, {})
    assert (copy / "link.c").readlink() == Path("same.c")
    stamp = (copy / "same.c").stat().st_mtime_ns
    (copy / "same.o").touch()
    (source / "changed.c").write_text("new")
    (source / "gone.c").unlink()
    mirror(source, copy, scan(source), before)
    assert (copy / "changed.c").read_text() == "new"
    assert sorted(path.name for path in copy.iterdir()) == ["changed.c", "link.c", "same.c", "same.o"]
    assert (copy / "same.c").stat().st_mtime_ns == stamp


def test_read_only_sources_can_be_brought_again(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "a.c").write_text("1")
    (source / "a.c").chmod(0o444)
    mirror(source, copy, scan(source), {})
    mirror(source, copy, scan(source), {})
    assert (copy / "a.c").read_text() == "1"


def test_file_in_place_of_a_link_does_not_write_through_it(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    (source / "a.c").write_text("a")
    (source / "b.c").symlink_to("a.c")
    before = scan(source)
    mirror(source, copy, before, {})
    (source / "b.c").unlink()
    (source / "b.c").write_text("b")
    mirror(source, copy, scan(source), before)
    assert ((copy / "a.c").read_text(), (copy / "b.c").read_text()) == ("a", "b")


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
    (copy / "Kbuild").write_text("include $(src)/../common.mk\n")
    text = CMD.replace("/src", str(tmp_path)).replace("/m/", f"{tmp_path}/m/").replace("/k/", f"{tmp_path}/k/")
    (copy / ".a.o.cmd").write_text(text)
    settled = (tmp_path / "k",)
    assert outside_files(copy, tmp_path / "m", tmp_path / "k", settled) == [
        str(tmp_path / name) for name in ("beside/b.h", "common.mk", "include/compat.h")
    ]


def test_sandbox_with_the_hosts_programs() -> None:
    argv = sandbox_argv(Path("/"), ["make", "x"], writable={Path("/m"): Path("/cache/copy")})
    assert argv == (
        *("bwrap", "--die-with-parent", "--unshare-all", "--ro-bind", "/", "/"),
        *("--proc", "/proc", "--dev", "/dev", "--bind", "/cache/copy", "/m", "--clearenv"),
        *("--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "LC_ALL", "C"),
        *("--setenv", "HOME", "/", "--setenv", "TMPDIR", "/dev/shm", "--chdir", "/", "--", "make", "x"),
    )


def test_sandbox_with_a_root_sees_only_what_it_is_given() -> None:
    argv = sandbox_argv(Path("/r"), ["true"], visible=[Path("/home"), Path("/home"), Path("/cache")])
    assert argv[:6] == ("bwrap", "--die-with-parent", "--unshare-all", "--ro-bind", "/r/usr", "/usr")
    text = " ".join(argv)
    assert text.count("--ro-bind /home /home") == 1
    assert "--symlink usr/lib64 /lib64" in text
    assert "--ro-bind / /" not in text


@pytest.mark.parametrize(
    ("path", "around"),
    [("/home/me/src/mod", "/home"), ("/usr/src/mod-1.0", "/usr/src"), ("/srv/mod", "/srv")],
)
def test_surroundings_never_cover_the_toolchain(path: str, around: str) -> None:
    assert surroundings(Path(path)) == Path(around)
