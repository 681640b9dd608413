# SPDX-License-Identifier: MIT
"""Clones: each its own machine; and what happens when a template cannot be made or restored."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestPanic
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.machine import template
from kmod_harness.machine.machine import AUTHORIZED_KEYS, Machine, QemuDiedError
from kmod_harness.machine.template import CloneError, Recipe, clone, ensure
from kmod_harness.run.fleet import Fleet, MachineOptions, connect_to, warm_up
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from tests.patience import patient, wait_until

pytestmark = pytest.mark.vm


@dataclass
class Notes:
    """A Progress that remembers."""

    lines: list[str] = field(default_factory=list)

    def task(self, label: str) -> contextlib.AbstractContextManager[Notes]:
        return contextlib.nullcontext(self)

    def update(self, *_: object, **__: object) -> None:
        pass

    def conclude(self, outcome: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def settings(workbench: Workbench, kernel: Kernel, tmp_path: Path) -> Settings:
    """A cache of our own that shares all but the templates and logs with the run's."""
    # What a machine is made of is made there: no compiler can write through a link.
    with contextlib.closing(Fleet(workbench.settings, Notes(), MachineOptions())) as fleet:
        recipe_of(fleet, kernel)
    for path in workbench.settings.cache.iterdir():
        if path.name not in ("templates", "logs", "locks"):
            (tmp_path / path.name).symlink_to(path)
    return replace(workbench.settings, cache=tmp_path)


@pytest.fixture
def fleet(settings: Settings, kernel: Kernel) -> Iterator[Fleet]:
    made = Fleet(settings, Notes(), MachineOptions())
    yield made
    made.close()


def recipe_of(fleet: Fleet, kernel: Kernel) -> Recipe:
    return fleet._recipe(kernel)


def notes_of(fleet: Fleet) -> str:
    assert isinstance(fleet._progress, Notes)
    return "\n".join(fleet._progress.lines)


def folder_of(fleet: Fleet, kernel: Kernel, settings: Settings) -> Path:
    return settings.cache / "templates" / recipe_of(fleet, kernel).key()


def nothing_half_made(settings: Settings) -> bool:
    return not list((settings.cache / "templates").glob(".*"))


def works(fleet: Fleet, kernel: Kernel) -> bool:
    with fleet.machine(kernel, "try") as (_, guest):
        return guest.run("uname", "-r").output.strip() == kernel.release


def test_clones_are_machines_of_their_own(fleet: Fleet, kernel: Kernel) -> None:
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(fleet.machine(kernel, f"clone{n}")) for n in range(6)]
        guests = [guest for _, guest in pairs]
        random = {guest.run("sh", "-c", "head -c 16 /dev/urandom | hexdump").output for guest in guests}
        assert len(random) == 6
        assert len({machine.port for machine, _ in pairs}) == 6
        assert len({machine.keys.host_key_blob() for machine, _ in pairs}) == 6
        assert len({guest.read(AUTHORIZED_KEYS) for guest in guests}) == 6
        assert len({guest.read("/proc/sys/kernel/random/boot_id") for guest in guests}) == 1
        for guest in guests:
            before = int(time.time())
            assert before <= int(guest.run("date", "+%s").output) <= time.time()
            assert guest.taint() == 0
        guests[0].run("touch", "/tmp/mine")
        assert guests[1].run("ls", "/tmp/mine", check=False).returncode != 0
    assert "restor" not in notes_of(fleet)


@pytest.mark.one_kernel
def test_a_truncated_template_is_made_anew(fleet: Fleet, kernel: Kernel, settings: Settings) -> None:
    assert works(fleet, kernel)
    memory = folder_of(fleet, kernel, settings) / "memory"
    os.truncate(memory, memory.stat().st_size // 2)
    assert works(fleet, kernel)
    assert memory.stat().st_size == recipe_of(fleet, kernel).spec.memory << 20


@pytest.mark.one_kernel
def test_a_damaged_template_is_made_anew_and_said(fleet: Fleet, kernel: Kernel, settings: Settings) -> None:
    assert works(fleet, kernel)
    state = folder_of(fleet, kernel, settings) / "state"
    state.write_bytes(os.urandom(state.stat().st_size))
    assert works(fleet, kernel)
    assert "making the template anew" in notes_of(fleet)
    assert nothing_half_made(settings)


@pytest.mark.one_kernel
def test_no_restore_means_cold_boots(fleet: Fleet, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CloneError("this QEMU cannot")

    monkeypatch.setattr(template, "_restore", refuse)
    assert works(fleet, kernel)
    assert "this QEMU cannot; booting instead" in notes_of(fleet)
    assert works(fleet, kernel)
    assert notes_of(fleet).count("booting instead") == 1


@pytest.mark.one_kernel
def test_two_runs_make_a_template_once(
    settings: Settings, kernel: Kernel, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = template._make

    def counted(*arguments: object) -> template.Template:
        made.append(threading.current_thread().name)
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(template, "_make", counted)
    recipe = recipe_of(fleet, kernel)
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(ensure, recipe, settings, Notes(), warm_up, tmp_path) for _ in range(3)]
        assert len({result.result().boot_id for result in results}) == 1
    assert len(made) == 1


def kill(machine: Machine) -> None:
    os.kill(machine.pid, signal.SIGKILL)


@pytest.mark.one_kernel
def test_qemu_killed_before_and_during_the_save(
    fleet: Fleet, kernel: Kernel, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(fleet, kernel)
    with pytest.raises(Exception, match=r"QEMU|agent|connection"):
        ensure(recipe, settings, Notes(), kill, tmp_path)
    assert nothing_half_made(settings)

    save = template._save

    def killed(machine: Machine, path: Path) -> str:
        kill(machine)
        return save(machine, path)

    monkeypatch.setattr(template, "_save", killed)
    assert works(fleet, kernel)
    assert "booting instead" in notes_of(fleet)
    assert nothing_half_made(settings)


@pytest.mark.one_kernel
def test_qemu_killed_during_a_restore(fleet: Fleet, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = template._restore
    victims = iter([False, True])  # the self-test passes, the first clone dies

    def killed(machine: Machine, saved: template.Template, deadline: Deadline) -> None:
        if next(victims, False):
            kill(machine)
        restore(machine, saved, deadline)

    monkeypatch.setattr(template, "_restore", killed)
    assert works(fleet, kernel)
    assert "making the template anew" in notes_of(fleet)


@pytest.mark.one_kernel
def test_qemu_killed_in_use(fleet: Fleet, kernel: Kernel) -> None:
    with pytest.raises(QemuDiedError, match="SIGKILL"), fleet.machine(kernel, "killed") as (machine, guest):
        threading.Timer(0.3, kill, [machine]).start()
        guest.run("sleep", "20")


@pytest.mark.one_kernel
def test_a_guest_that_panics_right_after_its_restore(
    fleet: Fleet, kernel: Kernel, settings: Settings, tmp_path: Path
) -> None:
    def prepare(machine: Machine) -> None:
        with connect_to(machine) as runner:
            script = "(sleep 8; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 < /dev/null &"
            Guest(runner).run("sh", "-c", script)

    saved = ensure(recipe_of(fleet, kernel), settings, Notes(), prepare, tmp_path)
    with pytest.raises(GuestPanic, match="Kernel panic"), clone(saved, tmp_path) as machine:
        machine.check()
        wait_until(machine.check, "the panic")
    assert not Path(f"/proc/{machine.pid}").exists()


@pytest.mark.one_kernel
def test_a_template_that_cannot_boot_leaves_its_log(settings: Settings, kernel: Kernel) -> None:
    fleet = Fleet(settings, Notes(), MachineOptions(kernel_arguments=("rdinit=/nowhere",)))
    with pytest.raises(GuestPanic) as caught, fleet.machine(kernel, "never"):
        pass
    assert caught.value.log
    assert "Unable to mount root fs" in caught.value.log.read_text(encoding="utf-8")
    assert nothing_half_made(settings)


@pytest.mark.one_kernel
def test_a_paused_process_comes_back(fleet: Fleet, kernel: Kernel) -> None:
    with fleet.machine(kernel, "suspended") as (machine, guest):
        os.kill(machine.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(machine.pid, signal.SIGCONT)
        assert guest.run("true").returncode == 0
        assert guest.taint() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
@pytest.mark.one_kernel
def test_a_full_disk_means_cold_boots(fleet: Fleet, kernel: Kernel, settings: Settings) -> None:
    folder = settings.cache / "templates"
    folder.mkdir()
    deadline = patient("mount")
    process.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], deadline=deadline)
    try:
        assert works(fleet, kernel)
        assert nothing_half_made(settings)
    finally:
        process.run(["umount", str(folder)], deadline=patient("umount"))
    assert "booting instead" in notes_of(fleet)


@pytest.mark.one_kernel
def test_a_spare_is_used_and_none_is_left(settings: Settings, kernel: Kernel) -> None:
    fleet = Fleet(settings, Notes(), MachineOptions(spares=1))
    fleet.expect(kernel, 2)
    assert works(fleet, kernel)
    wait_until(lambda: fleet._pool._ready, "a spare")
    ((_, (spare, _), _),) = fleet._pool._ready
    with fleet.machine(kernel, "second") as (machine, _):
        assert machine is spare
    fleet.close()
    assert not Path(f"/proc/{spare.pid}").exists()


@pytest.mark.one_kernel
def test_sharing_ends_with_a_machine_that_was_not_left_well(settings: Settings, kernel: Kernel) -> None:
    fleet = Fleet(settings, Notes(), MachineOptions(isolation="kernel"))
    with fleet.machine(kernel, "one") as (first, _):
        pass
    with fleet.machine(kernel, "two") as (second, guest):
        assert second is first
        guest.write("/proc/sys/kernel/tainted", "512")  # W: as after a warning
    with fleet.machine(kernel, "three") as (third, _):
        assert third is not first
    fleet.close()
    for machine in (first, third):
        assert not Path(f"/proc/{machine.pid}").exists()


@pytest.mark.one_kernel
def test_a_clone_of_a_foreign_template_is_refused(
    fleet: Fleet, kernel: Kernel, settings: Settings, tmp_path: Path
) -> None:
    saved = ensure(recipe_of(fleet, kernel), settings, Notes(), warm_up, tmp_path)
    with (
        pytest.raises(CloneError, match="a foreign machine answers"),
        clone(replace(saved, boot_id="another"), tmp_path) as machine,
        connect_to(machine) as runner,
    ):
        Guest(runner).taint()
