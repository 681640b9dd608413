# SPDX-License-Identifier: MIT
"""Who uses whom: the links that the loader makes between modules, one pair at a time."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit
from kmod_harness.features.graph.command import unload_order
from kmod_harness.features.graph.view import open_view
from kmod_harness.machine.machine import Machine
from kmod_harness.run.targets import Choice
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import OK
from kmod_harness.verdict.splats import find_splats
from tests.vm.conftest import Build

pytestmark = pytest.mark.vm

Load = Callable[..., str]

RING = """// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
int ring_{other}_call(void);
int ring_{own}_call(void);
int ring_{own}_call(void) {{ return ring_{other}_call(); }}
EXPORT_SYMBOL_GPL(ring_{own}_call);
MODULE_DESCRIPTION("half of a ring");
MODULE_LICENSE("GPL");
"""


@pytest.fixture
def load(guest: Guest, build_module: Build) -> Load:
    """Builds a module of kmod/, puts it into the guest and loads it."""

    def insmod(name: str, **parameters: str) -> str:
        (ko,) = [one for one in build_module(name) if one.stem == name]
        return guest.load(guest.put(ko), parameters)

    return insmod


def uses(guest: Guest, name: str) -> tuple[int, tuple[str, ...]]:
    """Count and users of a module; all places that tell them have to agree."""
    listed = guest.modules()[name]
    assert guest.refcnt(name) == listed.references
    assert guest.holders(name) == tuple(sorted(listed.users))
    return listed.references, guest.holders(name)


def test_two_symbols_are_one_use(guest: Guest, build_module: Build, load: Load) -> None:
    (ko,) = build_module("depend_a")
    assert all(name in ko.read_bytes() for name in (b"depend_s_call\0", b"depend_s_calls_made\0"))
    assert load("depend_s") == OK
    assert uses(guest, "depend_s") == (0, ())
    assert load("depend_a") == OK  # resolves both: already_uses() finds the first link at the second symbol
    assert uses(guest, "depend_s") == (1, ("depend_a",))


def test_each_user_counts_once_and_is_released_when_it_goes(guest: Guest, load: Load) -> None:
    assert load("depend_s") == OK
    assert load("depend_a") == OK
    assert load("depend_b") == OK
    assert uses(guest, "depend_s") == (2, ("depend_a", "depend_b"))
    assert guest.unload("depend_a") == OK
    assert uses(guest, "depend_s") == (1, ("depend_b",))
    assert load("depend_a") == OK
    assert uses(guest, "depend_s") == (2, ("depend_a", "depend_b"))
    assert guest.unload("depend_b") == guest.unload("depend_a") == OK
    assert uses(guest, "depend_s") == (0, ())
    assert guest.unload("depend_s") == OK


@pytest.mark.parametrize(("parameters", "answer"), [({"error": "5"}, "EIO"), ({"error": "x"}, "EINVAL")])
def test_a_load_that_fails_leaves_no_use(
    guest: Guest, load: Load, parameters: dict[str, str], answer: str
) -> None:
    assert load("depend_s") == OK
    # Both fail after the symbols were resolved: in init, and in the parsing of parameters.
    assert load("depend_a", **parameters) == answer
    assert uses(guest, "depend_s") == (0, ())
    assert guest.unload("depend_s") == OK
    assert find_splats(guest.log()) == ()


def test_symbol_get_counts_but_is_no_use(guest: Guest, load: Load) -> None:
    borrow = "/sys/module/states/parameters/borrow"
    assert load("depend_s") == OK
    assert load("states", borrow="nosuch") == "ENOENT"
    assert load("states", borrow="depend_s_call") == OK
    assert uses(guest, "depend_s") == (1, ())  # the count alone: nobody is listed
    assert guest.unload("depend_s") == "EAGAIN"
    assert guest.write(borrow, "depend_s_calls_made\n") == OK
    assert uses(guest, "depend_s") == (1, ())
    assert guest.write(borrow, "\n") == OK  # symbol_put()
    assert uses(guest, "depend_s") == (0, ())
    assert guest.unload("depend_s") == OK
    assert "No such file" in guest.write(borrow, "depend_s_call\n")
    assert guest.unload("states") == OK
    assert find_splats(guest.log()) == ()


def test_a_ring_cannot_be_built(guest: Guest, build_module: Build, tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    (folder / "Kbuild").write_text(
        "# SPDX-License-Identifier: GPL-2.0-only\nobj-m := ring_a.o ring_b.o\n", encoding="utf-8"
    )
    for own, other in ("ab", "ba"):
        (folder / f"ring_{own}.c").write_text(RING.format(own=own, other=other), encoding="utf-8")
    # The compiler sees nothing wrong in it; the loader resolves a symbol only from a module that is there.
    paths = [guest.put(ko) for ko in build_module(str(folder))]
    assert len(paths) == 2
    for _ in range(2):
        assert [guest.load(path) for path in paths] == ["ENOENT", "ENOENT"]
    assert not any(name.startswith("ring") for name in guest.modules())
    unknown = [record.text for record in guest.log() if "Unknown symbol ring_" in record.text]
    assert unknown == [
        f"ring_{own}: Unknown symbol ring_{other}_call (err -2)"
        for _ in range(2)
        for own, other in ("ab", "ba")
    ]


def board_choice(machine: Machine, folder: Path, modules: list[str]) -> Choice:
    """The machine as a board that SSH reaches, with keys in files."""
    identity, known_hosts = folder / "id", folder / "known_hosts"
    identity.write_text(machine.keys.client_pem, encoding="utf-8")
    key = base64.b64encode(machine.keys.host_key_blob()).decode()
    known_hosts.write_text(f"[127.0.0.1]:{machine.port} ssh-ed25519 {key}\n", encoding="utf-8")
    host = f"root@127.0.0.1:{machine.port}"
    return Choice(host=host, modules=modules, identity=identity, known_hosts=known_hosts)


def test_a_board_is_looked_at_and_its_modules_unloaded(
    guest: Guest, machine: Machine, load: Load, workbench: Workbench, tmp_path: Path
) -> None:
    """As with `--host`: over a connection of its own, with keys in files and the programs that a board has."""
    assert [load(name) for name in ("depend_s", "depend_a", "depend_b")] == [OK] * 3
    choice = board_choice(machine, tmp_path, ["depend_a"])
    out = io.StringIO()
    with open_view(choice, workbench, holders=False) as board:
        assert set(board.graph().around(board.chosen).modules) == {"depend_a", "depend_s"}
        assert board.target.unload("depend_s") == "EAGAIN"
        assert unload_order(board, "depend_s", out, do=True) == Exit.OK
    assert out.getvalue().splitlines()[-3:] == [
        f"{name}: unloaded" for name in ("depend_a", "depend_b", "depend_s")
    ]
    assert not guest.modules().keys() & {"depend_a", "depend_b", "depend_s"}


@pytest.mark.spread
def test_who_else_holds_a_board_s_module(
    guest: Guest, machine: Machine, load: Load, workbench: Workbench, tmp_path: Path
) -> None:
    """`graph --holders`: force_rmmod is brought to the board, asked, and gone again."""
    assert load("faults", fault="0", scenario="misc") == OK
    assert [load(name) for name in ("depend_s", "depend_a")] == [OK] * 2
    guest.run("sh", "-c", "sleep 1000 7</dev/faults_misc > /dev/null 2>&1 & echo $! > /tmp/pid")
    held = f"pid {guest.read('/tmp/pid').strip()}, sleep, descriptor 7, /dev/faults_misc"
    choice = board_choice(machine, tmp_path, ["faults", "depend_a"])
    with open_view(choice, workbench, holders=True) as board:
        graph = board.graph()
        assert graph.other_holders("faults") == (held,)
        assert graph.modules["depend_s"].users == ("depend_a",)
        out = io.StringIO()
        assert unload_order(board, "faults", out, do=True) == Exit.CHECK_FAILED
    assert out.getvalue().splitlines()[0] == f"1. rmmod faults  (held by {held})"
    assert "force_rmmod" not in guest.modules()
    assert find_splats(guest.log()) == ()
