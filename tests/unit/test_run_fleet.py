# SPDX-License-Identifier: MIT
"""Who gets which machine; the machines are stand-ins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmod_harness.base.errors import GuestPanic, HarnessError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.vocabulary import taint_bits
from kmod_harness.run import fleet
from kmod_harness.run.fleet import Fleet, MachineOptions, default_jobs

NOWHERE = Path("/nowhere")
KERNEL = Kernel("6.12", "6.12.1", "x86_64", NOWHERE, NOWHERE, NOWHERE, "gcc-14", "nowhere")


class StandIn:
    """Machine, guest and runner in one."""

    panicked = False

    @property
    def runner(self) -> StandIn:
        return self

    def check(self) -> None:
        if self.panicked:
            raise GuestPanic("Kernel panic - not syncing")

    def alive(self) -> bool:
        return True

    def modules(self) -> dict[str, object]:
        self.check()
        return {}

    def taint(self) -> int:
        return 0

    def oops_count(self) -> int:
        return 0


def test_a_shared_machine_that_died_since_is_not_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def own(*_: object) -> Iterator[tuple[Any, Any]]:
        machine = StandIn()
        yield machine, machine

    monkeypatch.setattr(Fleet, "_own", own)
    machines = Fleet(Settings(cache=tmp_path), Silent(), MachineOptions(isolation="kernel"))
    given: list[Any] = []
    for died in (False, True, False):
        with machines.machine(KERNEL, "label") as (machine, _):
            given.append(machine)
        given[-1].panicked = died
    assert given[0] is given[1]
    assert given[2] is not given[1]
    machines.close()


@pytest.mark.parametrize("killed", [0, 1])
def test_a_shared_machine_goes_on_after_an_oops_that_killed_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    machine = StandIn()
    monkeypatch.setattr(StandIn, "taint", lambda _: taint_bits("D"))
    monkeypatch.setattr(StandIn, "oops_count", lambda _: killed)
    monkeypatch.setattr(Fleet, "_own", lambda *_: contextlib.nullcontext((machine, machine)))
    machines = Fleet(Settings(cache=tmp_path), Silent(), MachineOptions(isolation="kernel"))
    with machines.machine(KERNEL, "label"):
        pass
    assert bool(machines._shared) == (not killed)
    machines.close()


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    machines = Fleet(Settings(cache=tmp_path), Silent(), MachineOptions(accelerator="tcg"))
    machines._recipes[KERNEL] = None  # type: ignore[assignment]
    with pytest.raises(HarnessError, match="Not a directory"), machines.machine(KERNEL, "label"):
        pass


def test_logs_of_runs_that_go_on_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "LOG_FOLDERS_KEPT", 1)
    mine, ended, newest = f"20260101-000000-{os.getpid()}", "20260101-000001-0", "20260101-000002-0"
    for name in (mine, ended, newest):
        (tmp_path / "logs" / name).mkdir(parents=True)
    Fleet(Settings(cache=tmp_path), Silent(), MachineOptions())
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {mine, newest}


def test_memory_that_the_page_cache_has_counts_as_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "meminfo"
    monkeypatch.setattr(fleet, "MEMINFO", table)
    monkeypatch.setattr(fleet, "cores", lambda: 8)
    for available, jobs in ((4 << 20, 8), (3 << 19, 3), (1000, 1)):
        table.write_text(
            f"MemTotal: 16777216 kB\nMemFree: 1000 kB\nMemAvailable:   {available} kB\n", encoding="utf-8"
        )
        assert default_jobs() == jobs
