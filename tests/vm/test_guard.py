# SPDX-License-Identifier: MIT
"""force_rmmod that stays: a rescue on demand, and the guard."""

from __future__ import annotations

import pytest

from harness.guest.guest import Guest
from harness.guest.observation import KILLED, OK
from harness.verdict.splats import find_splats
from tests.vm.conftest import Upload, rescue_log

pytestmark = [pytest.mark.vm, pytest.mark.outer_kernels]

PARAMETERS = "/sys/module/force_rmmod/parameters"


def test_another_target(guest: Guest, upload: Upload) -> None:
    """While it is loaded, a name that is written is rescued."""
    rescue, faults = upload("force_rmmod"), upload("faults")
    assert guest.insmod(upload("depend_s")) == OK
    assert guest.insmod(rescue, {"target": "depend-s"}, call="init") == OK
    assert guest.read(f"{PARAMETERS}/target") == "depend_s\n"
    assert guest.insmod(faults, {"scenario": "null"}, call="init") == KILLED
    assert guest.write(f"{PARAMETERS}/explain", "1") == OK
    assert guest.write(f"{PARAMETERS}/target", "faults\n") == OK
    assert "outcome: would be undone and reset" in rescue_log(guest)
    assert guest.initstate("faults") == "coming"
    assert guest.write(f"{PARAMETERS}/explain", "0") == OK
    assert guest.write(f"{PARAMETERS}/target", "faults\n") == OK
    assert guest.rmmod("faults") == OK
    assert "No such file or directory" in guest.write(f"{PARAMETERS}/target", "faults\n")
    for wrong in ("\n", "force-rmmod\n", "x" * 300):
        assert "Invalid argument" in guest.write(f"{PARAMETERS}/target", wrong)
    assert guest.rmmod("force_rmmod") == OK
    assert len(find_splats(guest.log())) == 1


# ---- the guard -----------------------------------------------------------------------------------------------


def guarded(guest: Guest, upload: Upload, names: str = "*") -> None:
    """Load force_rmmod as the guard of these modules."""
    assert guest.insmod(upload("force_rmmod"), {"guard": names}, call="init") == OK, rescue_log(guest)


KINDS = ("null", "bug", "protection", "jump", "atomic", "irqs_off", "probe", "probe_attach", "exit")


@pytest.mark.parametrize("panic", [0, 1], ids=["", "panic_on_oops"])
def test_every_kind(guest: Guest, upload: Upload, panic: int) -> None:
    """The call fails, the module is gone, and comes and goes as ever."""
    guarded(guest, upload)
    faults = upload("faults")
    assert guest.write("/proc/sys/kernel/panic_on_oops", str(panic)) == OK
    for count, kind in enumerate(KINDS, start=1):
        if kind == "exit":
            assert guest.insmod(faults, {"scenario": kind}) == OK
            assert guest.rmmod("faults") == OK
        else:
            assert guest.insmod(faults, {"scenario": kind}) == "EFAULT", (kind, rescue_log(guest)[-9:])
        assert "faults" not in guest.modules(), kind
        loaded = guest.insmod(faults, {"fault": "0", "scenario": kind}, call="finit")
        assert loaded == OK, rescue_log(guest)[-9:]
        assert guest.rmmod("faults") == OK, kind
        assert len(find_splats(guest.log())) == count, [s.title for s in find_splats(guest.log())]
    assert guest.rmmod("force_rmmod") == OK
