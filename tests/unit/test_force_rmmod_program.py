# SPDX-License-Identifier: MIT
"""The program force-rmmod as `make force-rmmod` makes it, as far as it can be tried without a kernel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import PROJECT
from kmod_harness.features.rescue.package import build_there, carry, source_names
from kmod_harness.target.board import Board
from kmod_harness.target.runner import CommandFailed, Result
from kmod_harness.target.target import Facts
from tests.patience import patient

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("make", "cc", "gcc", "tar")),
    reason="needs make, cc and gcc (invoke doctor)",
)
# What the program looks at in a .ko: that it is an ELF file, and the lines of .modinfo.
KO = b"\177ELF...\0license=GPL\0name=force_rmmod\0parmtype=force:bool\0vermagic=1.2.3 SMP \0" + bytes(
    range(256)
)
TREE = """
modules:
	cp $(CURDIR)/ready.ko $(M)/force_rmmod.ko
clean:
	rm -f $(M)/force_rmmod/force_rmmod.ko
"""


def make(folder: Path, tree: Path, *arguments: str) -> process.Completed:
    """`make -C kmod` with the warnings that the kernel's own programs are built with, and no mercy."""
    argv = ["make", "-C", str(folder), f"KDIR={tree}", *arguments]
    flags = "CLI_CFLAGS=-std=gnu11 -Os -Wall -Wextra -Werror"
    return process.run([*argv, flags], deadline=patient("make"))


@pytest.fixture
def kmod(tmp_path: Path) -> Path:
    """A copy of kmod/ without what was built there."""
    folder = tmp_path / "kmod"
    for name in source_names(PROJECT / "kmod"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / "kmod" / name, folder / name)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel build tree that has the module ready."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "Makefile").write_text(TREE, encoding="utf-8")
    (folder / "ready.ko").write_bytes(KO)
    return folder


def ask(program: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and reason."""
    done = process.run([str(program), "--json", *arguments], deadline=patient("force-rmmod"), check=False)
    answer = json.loads(done.output)
    assert answer["exit_code"] == done.returncode
    return done.returncode, answer["reason"]


def test_made_with_plain_make(kmod: Path, tree: Path) -> None:
    make(kmod, tree, "force-rmmod")
    program = kmod / "force-rmmod"
    whole = program.read_bytes()
    bare = whole[: -len(KO) - 32]
    assert whole == carry(bare, KO)
    # It has read what it carries: a module without this parameter.
    assert ask(program, "--explain", "vms") == (
        3,
        "the carried force_rmmod.ko has no parameter explain: build a newer one",
    )
    make(kmod, tree, "clean")
    assert not program.exists()
    assert not (kmod / "force_rmmod" / "force_rmmod.ko").exists()


def test_the_cross_compiler_is_asked_for(kmod: Path, tree: Path) -> None:
    with pytest.raises(HarnessError) as failed:
        make(kmod, tree, "force-rmmod", "CROSS_COMPILE=no-such-")
    assert "no-such-gcc" in str(failed.value)
    assert not (kmod / "force-rmmod").exists()


def test_what_it_carries_is_looked_at(kmod: Path, tree: Path) -> None:
    for ko, reason in {
        b"\177ELF\0name=other\0": "is not the rescue module, but other",
        b"\177ELF": "is not the rescue module, but no module at all",
        b"\xfd7zXZ\0 compressed": "is no kernel module, or a compressed one: unpack it first",
        # What only looks like a line of .modinfo.
        b"\177ELF\0name=force_rmmod\0xparmtype=explain:bool\0parmtype=explain:": (
            "has no parameter explain: build a newer one"
        ),
    }.items():
        (tree / "ready.ko").write_bytes(ko)
        make(kmod, tree, "force-rmmod")
        assert ask(kmod / "force-rmmod", "--explain", "vms") == (3, f"the carried force_rmmod.ko {reason}")


def test_a_damaged_trailer_is_none(kmod: Path, tree: Path, tmp_path: Path) -> None:
    make(kmod, tree, "force-rmmod")
    whole = (kmod / "force-rmmod").read_bytes()
    for damaged in (
        whole[:-1],
        whole[: -len(KO) - 32],
        whole[:-17] + b"9" * 16 + b"\n",
        whole[:-17] + b"0" * 16 + b"\n",
    ):
        program = tmp_path / "alone" / "force-rmmod"
        program.parent.mkdir(exist_ok=True)
        program.write_bytes(damaged)
        program.chmod(0o755)
        code, reason = ask(program, "vms")
        assert code == 3
        assert reason.startswith("no force_rmmod.ko is found")


def test_json_is_json(kmod: Path, tree: Path) -> None:
    make(kmod, tree, "force-rmmod")
    path = '/tmp/no "such"\\file\t\x01'
    assert ask(kmod / "force-rmmod", "--module", path, "vms") == (3, f"{path}: No such file or directory")


def test_the_risk_needs_both_words(kmod: Path, tree: Path) -> None:
    make(kmod, tree, "force-rmmod")
    program = kmod / "force-rmmod"
    assert ask(program, "--risk-panic", "vms") == (
        3,
        "--risk-panic counts with --force only (--help tells more)",
    )
    assert ask(program, "--force", "--risk-panic", "vms") == (
        3,
        "the carried force_rmmod.ko has no parameter risk_panic: build a newer one",
    )
    assert ask(program, "--list", "vms") == (3, "--list takes no name (--help tells more)")
    refusal = "--sweep has no --json: take the names of --list one by one (--help tells more)"
    assert ask(program, "--sweep") == (3, refusal)


class Here:
    """This host as a board, as far as one folder of it goes."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        done = process.run(argv, deadline=deadline, env=self._environment, check=False)
        return Result(tuple(argv), done.returncode, done.output)

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        Path(path).write_bytes(data)

    def alive(self) -> bool:
        return True


def board(folder: Path, tree: Path, **environment: str) -> Board:
    folder.mkdir()
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    here = Board(Here({"PATH": path, "KDIR": str(tree), **environment}), lambda _: "")
    here.facts = Facts("1.2.3", "x86_64", root=True, builds=True)
    here.folder = str(folder)
    return here


def test_built_on_the_board(tmp_path: Path, tree: Path) -> None:
    program = build_there(board(tmp_path / "far", tree))
    assert Path(program).parent == tmp_path / "far"
    assert ask(Path(program), "--explain", "vms")[1].startswith("the carried force_rmmod.ko")


def test_a_board_without_a_static_library(tmp_path: Path, tree: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-static*) exit 1;; esac\nexec cc "$@"\n', encoding="utf-8")
    compiler.chmod(0o755)
    program = build_there(board(tmp_path / "far", tree, MAKEFLAGS=f"CC={compiler}"))
    assert ask(Path(program), "--explain", "vms")[0] == 3


def test_a_board_that_cannot_build_it(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="exit code 2") as failed:
        build_there(board(tmp_path / "far", tmp_path / "no tree"))
    assert "no tree" in str(failed.value)
