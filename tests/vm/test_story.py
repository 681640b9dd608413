# SPDX-License-Identifier: MIT
"""The story that this project began with, on real kernels: a mouse, an oops, a rescue; a chain of modules."""

from __future__ import annotations

import base64
import struct
import time
from pathlib import Path

import pytest

from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import with_dependencies
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.splats import find_splats
from tests.patience import wait_until
from tests.vm.conftest import Upload

pytestmark = pytest.mark.vm

EV_SYN, EV_REL, REL_X, REL_Y = 0, 2, 0, 1
COORDINATES = "/sys/devices/platform/vms/coordinates"
INPUT_EVENT = struct.Struct("llHHi")  # struct input_event on a 64-bit machine


def read_events(guest: Guest, write: str, count: int) -> list[tuple[int, int, int]]:
    """(type, code, value) of what the mouse's evdev node reports while `write` is written to the attribute."""
    assert guest.read("/proc/bus/input/devices").count('Name="Vms test"') == 1
    (node,) = guest.run("sh", "-c", "ls -d /sys/devices/platform/vms/input/input*/event*").output.split()
    # Opened before the move is written, the node keeps the events until dd reads them.
    read = f"dd bs={INPUT_EVENT.size} count={count} <&3 2>/dev/null | base64"
    script = f'exec 3< "$1"; echo "$2" > {COORDINATES}; {read}'
    answer = guest.run("sh", "-c", script, "sh", f"/dev/input/{Path(node).name}", write)
    data = base64.b64decode(answer.output)
    return [fields[2:] for fields in INPUT_EVENT.iter_unpack(data)]


def load_evdev(guest: Guest, kernel: Kernel) -> None:
    """Load the kernel's own evdev, which makes /dev/input/event*."""
    for name, image in with_dependencies(kernel, ["evdev"]).items():
        assert guest.load(guest.put_bytes(image, f"{name}.ko")) == OK


def test_a_move_arrives_as_events(guest: Guest, kernel: Kernel, upload: Upload) -> None:
    load_evdev(guest, kernel)
    assert guest.load(upload("vms")) == OK
    events = read_events(guest, "5 -3", 3)
    assert events == [(EV_REL, REL_X, 5), (EV_REL, REL_Y, -3), (EV_SYN, 0, 0)]


@pytest.mark.parametrize("text", ["", "5", "5 x", "1 2 3", "99999999999 1", "1,2"])
def test_bad_coordinates_are_refused(guest: Guest, upload: Upload, text: str) -> None:
    assert guest.load(upload("vms")) == OK
    assert "Invalid argument" in guest.write(COORDINATES, text + "\n")


def test_a_module_that_died_in_init_is_rescued(guest: Guest, upload: Upload) -> None:
    vms, rescue = upload("vms"), upload("force_rmmod")

    # The oops, and what is seen of it.
    assert guest.load(vms, {"fault": "1"}) == KILLED
    (splat,) = find_splats(guest.log())
    assert (splat.kind, splat.module) == ("null-deref", "vms")
    assert guest.modules()["vms"].references == 1
    assert guest.modules()["vms"].state == "Loading"
    assert guest.initstate("vms") == "coming"
    assert any(symbol.name == "vms_dev" and symbol.address for symbol in guest.kallsyms(module="vms"))

    # Stuck: neither way of unloading helps, a second insert waits.
    assert guest.unload("vms") == "EBUSY"
    assert guest.unload("vms", force=True) == "EBUSY"
    for command in (("rmmod", "vms"), ("rmmod", "-f", "vms")):
        refused = guest.run(*command)
        assert refused.returncode != 0
        assert "busy" in refused.output.lower()
    guest.run("sh", "-c", f"kmodctl init {vms} > /tmp/waiter 2>&1 < /dev/null &")
    time.sleep(1)
    assert guest.read("/tmp/waiter") == ""

    # The rescue; init_module(2), since finit_module may walk the damaged table.
    assert guest.load(rescue, {"target": "vms"}, call="init") == OK
    log = [record.text for record in guest.log()]
    for expected in (
        "target: vms",
        "reference count: 1",
        "used by: no module",
        "vms can be removed now: rmmod vms",
    ):
        assert f"force_rmmod: {expected}" in log
    wait_until(lambda: guest.read("/tmp/waiter") != "", "the waiting insmod returns")
    assert guest.run("rmmod", "vms").returncode == 0
    assert "vms" not in guest.modules()
    assert guest.run("ls", "/sys/devices/platform/vms").returncode != 0

    # Good as new, through finit_module, with nothing new in the log.
    for _ in range(5):
        assert guest.load(vms, call="finit") == OK
        assert guest.write(COORDINATES, "1 1\n") == OK
        assert guest.unload("vms") == OK
    assert guest.unload("force_rmmod") == OK
    assert find_splats(guest.log()) == (splat,)


def test_rescue_refuses(guest: Guest, upload: Upload) -> None:
    rescue = upload("force_rmmod")
    assert guest.load(upload("depend_s")) == OK
    assert guest.load(upload("depend_a")) == OK
    for target, errno in {
        "nosuch": "ENOENT",
        "force_rmmod": "EINVAL",
        "depend_s": "EBUSY",
        "": "EINVAL",
        "x" * 300: "EINVAL",
    }.items():
        assert guest.load(rescue, {"target": target}, call="init") == errno, target
    assert guest.modules()["depend_s"].users == ("depend_a",)
    assert any("force_rmmod: refused: other modules use depend_s" in record.text for record in guest.log())
    assert guest.unload("depend_a") == OK
    assert guest.unload("depend_s") == OK
    assert find_splats(guest.log()) == ()


def test_a_used_module_cannot_go(guest: Guest, upload: Upload) -> None:
    for name in ("depend_s", "depend_a", "depend_b"):
        assert guest.load(upload(name)) == OK
    assert guest.holders("depend_s") == ("depend_a", "depend_b")
    assert guest.modules()["depend_s"].references == guest.refcnt("depend_s") == 2
    for _ in ("depend_a", "depend_b"):
        assert guest.unload("depend_s") == "EAGAIN"  # EWOULDBLOCK is the same number
        assert guest.unload("depend_s", force=True) == "EAGAIN"
        assert guest.unload(guest.holders("depend_s")[0]) == OK
    assert guest.holders("depend_s") == ()
    assert guest.unload("depend_s") == OK
    assert find_splats(guest.log()) == ()
