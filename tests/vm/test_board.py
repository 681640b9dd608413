# SPDX-License-Identifier: MIT
"""A board with a real kernel, busybox and SSH server: judged like a machine of ours, left as it was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.base.errors import GuestFailure
from kmod_harness.machine.machine import Machine
from kmod_harness.module.expectation import Expectation
from kmod_harness.run.targets import open_target
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.lifecycle import judge
from kmod_harness.verdict.observe import Subject, observe
from tests.vm.conftest import Build
from tests.vm.test_dependencies import board_choice

pytestmark = [pytest.mark.vm, pytest.mark.spread]


def test_a_verdict_over_a_board(
    guest: Guest, machine: Machine, build_module: Build, workbench: Workbench, tmp_path: Path
) -> None:
    before = guest.run("ls", "/tmp").output
    (ko,) = build_module("vms")
    with open_target(board_choice(machine, tmp_path, []), workbench) as (board, _):
        healthy = Expectation(reloads=2)
        seen = observe(board, Subject("vms", board.put(ko)), [], 2)
        assert judge("vms", healthy, seen).passed
        dying = observe(board, Subject("vms", board.put(ko), {"fault": "1"}), [], 2)
        told = judge("vms", healthy, dying)
        assert (told.outcome, told.splats[0].module) == (Outcome.CRASHED, "vms")
        assert board.unload("vms") == "EBUSY"
    assert guest.run("ls", "/tmp").output == before


def test_what_was_given_up_does_not_go_on(
    guest: Guest, machine: Machine, workbench: Workbench, tmp_path: Path
) -> None:
    before = guest.run("ls", "/tmp").output
    with open_target(board_choice(machine, tmp_path, []), workbench) as (board, _):
        script = "trap '' TERM; setsid sleep 1000 & echo $$ > $0/pid; sleep 1000"
        with pytest.raises(GuestFailure, match="did not return"):
            board.run("sh", "-c", script, board.folder, seconds=2)
        assert "sleep 1000" in guest.run("ps").output
    assert "sleep 1000" not in guest.run("ps").output
    assert guest.run("ls", "/tmp").output == before
