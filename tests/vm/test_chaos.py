# SPDX-License-Identifier: MIT
"""Random modules get stuck, are explained and rescued, and the machine is as well as before."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.splats import find_splats
from tests.chaos.generator import Case, generate
from tests.vm import test_rescue
from tests.vm.conftest import Build, Upload, rescue_log

pytestmark = [pytest.mark.vm, pytest.mark.spread]

RELOADS = 3
OUTCOMES = {
    "would be retired": test_rescue.RETIRED,
    "would be undone and reset": OK,
    "would be reset, with its own exit": OK,
    "would be refused": "EBUSY",
}
readall = test_rescue.readall  # the fixture


def build(case: Case, build_module: Build, folder: Path) -> Path:
    """The module of a case, built."""
    source = folder / "chaos"
    source.mkdir()
    (source / "chaos.c").write_text(case.text, encoding="utf-8")
    (source / "Kbuild").write_text("# SPDX-License-Identifier: MIT\nobj-m := chaos.o\n", encoding="utf-8")
    (ko,) = build_module(str(source))
    shutil.rmtree(source)
    return ko


def check_name_is_free(guest: Guest, ko: str) -> None:
    """The mended version comes and goes."""
    for call in ("init", "finit") * RELOADS:
        assert guest.load(ko, {"nothing": "1"}, call=call) == OK, rescue_log(guest)[-5:]
        assert guest.unload("chaos", seconds=30) == OK


def test_never_worse(
    guest: Guest, upload: Upload, build_module: Build, readall: str, tmp_path: Path, chaos_seed: int
) -> None:
    case = generate(chaos_seed)
    ko, rescue = guest.put(build(case, build_module, tmp_path)), upload("force_rmmod")
    assert guest.load(ko) == KILLED, case
    assert guest.load(rescue, {"target": "chaos", "explain": "1"}, call="init", seconds=60) == OK
    assert guest.unload("force_rmmod", seconds=30) == OK
    foreseen = rescue_log(guest)[-1].removeprefix("outcome: ")
    before = len(rescue_log(guest))
    outcome = guest.load(rescue, {"target": "chaos"}, call="init", seconds=60)
    log = "\n".join((str(case), *rescue_log(guest)[before:]))
    assert outcome == OUTCOMES[foreseen], log
    if outcome == OK:
        assert guest.unload("force_rmmod", seconds=30) == OK
        assert guest.unload("chaos", seconds=30) == OK, log
    if outcome in (OK, test_rescue.RETIRED):
        check_name_is_free(guest, ko)
    test_rescue.exercise(guest)
    test_rescue.read_everything(guest, readall)
    test_rescue.exercise(guest)
    splats = find_splats(guest.log())
    assert len(splats) == 1, "\n".join((log, *(splat.title for splat in splats)))
    # For the table of a long run.
    print(f"chaos {case}: {foreseen}")
    assert re.fullmatch("would be .*", foreseen)
