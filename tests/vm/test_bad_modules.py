# SPDX-License-Identifier: MIT
"""Modules that break their machine, machines that break, users who interrupt: verdict, exit code, no rest."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest

from kmod_harness.base.errors import Exit
from kmod_harness.base.process import Completed
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.machine import accelerator, kvm
from kmod_harness.module.module import resolve_module
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import CommandFailed
from tests.front import Front, make_front
from tests.patience import SECONDS, wait_until

pytestmark = [pytest.mark.vm, pytest.mark.outer_kernels]

SOURCE = """
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/reboot.h>
#include <linux/rtnetlink.h>

static int __init bad_init(void)
{
	struct net_device *dev = NULL;

	%s
	return dev ? -EIO : 0;
}

static void __exit bad_exit(void)
{
	%s
}

module_init(bad_init);
module_exit(bad_exit);
MODULE_DESCRIPTION("breaks on purpose");
MODULE_LICENSE("GPL");
"""
NULL_WRITE = "WRITE_ONCE(*(int *)NULL, 1);"
NETWORK_DOWN = """
	rtnl_lock();
	for_each_netdev(&init_net, dev)
		dev_change_flags(dev, dev->flags & ~IFF_UP, NULL);
	rtnl_unlock();
"""
WRITE_AFTER_FREE = """
	char *memory = kmalloc(100, GFP_KERNEL);

	kfree(memory);
	OPTIMIZER_HIDE_VAR(memory);
	WRITE_ONCE(memory[50], 1);
	kfree(kmalloc(100, GFP_KERNEL));
"""


@dataclass(frozen=True)
class Bad:
    """A module that breaks, and what is to be said of it."""

    outcome: str
    reason: str  # in the report, without line breaks
    init: str = ""
    exit: str = ""
    manifest: str = ""


QUICK = {
    "refused": Bad("failed", "round 1: loading: expected ok, saw EIO", "return -EIO;"),
    "finds_no_device": Bad(
        "no-device", "round 1: loading: ENODEV: its hardware is not here", "return -ENODEV;"
    ),
    "refused_rightly": Bad("passed", "", "return -ENODEV;", manifest="load: ENODEV"),
    "not_refused": Bad("failed", "round 1: loading: expected ENODEV, saw ok", manifest="load: ENODEV"),
    "oopses": Bad("crashed", "expected no null-deref splat, saw in bad_init [oopses]: BUG:", NULL_WRITE),
    "oopses_late": Bad("crashed", "round 1: unloading: expected ok, saw killed", exit=NULL_WRITE),
    "panics": Bad("panic", "Kernel panic - not syncing: on purpose", 'panic("on purpose");'),
    "panics_rightly": Bad(
        *("passed", "", 'panic("on purpose");'),
        manifest="expect_splat: {class: panic, pattern: on purpose, reason: that is the test}",
    ),
    "reboots": Bad("panic", "the guest reset itself or powered off", "emergency_restart();"),
}
SLOW = {
    "sleeps": Bad("hang", "load sleeps, round 1: `kmodctl finit", "for (;;) ssleep(1000);"),
    "spins": Bad("hang", "load spins, round 1: `kmodctl finit", "local_irq_disable(); for (;;) cpu_relax();"),
    "cuts_network": Bad("lost", "load cuts_network, round 1: `kmodctl finit", NETWORK_DOWN),
}
SHORT = {"KMOD_HARNESS_TIMEOUT_FACTOR": "0.5"}  # 5 s for KVM to boot
HURRY = {"KMOD_HARNESS_TIMEOUT_FACTOR": "0.25"}  # 7.5 s a step


@dataclass(frozen=True)
class Run:
    """A vm-test that has ended."""

    completed: Completed
    cases: dict[str, ET.Element]  # JUnit, by module

    @property
    def text(self) -> str:
        """The whole report in one line, so that it does not matter where it was wrapped."""
        return " ".join(self.completed.output.split())


def write_module(front: Front, name: str, bad: Bad) -> None:
    """The sources of a module."""
    folder = front.folder / name
    folder.mkdir()
    (folder / f"{name}.c").write_text(SOURCE % (bad.init, bad.exit), encoding="utf-8")
    (folder / "Kbuild").write_text(f"obj-m := {name}.o\n", encoding="utf-8")
    (folder / "module.yaml").write_text(bad.manifest, encoding="utf-8")


def run_all(front: Front, kernel: Kernel, rows: dict[str, Bad], *words: str, **environment: str) -> Run:
    """Try modules, all in one run."""
    for name, bad in rows.items():
        write_module(front, name, bad)
    modules = [word for name in rows for word in ("--module", name)]
    command = ("vm-test", "--kernel", kernel.spec, "--junit", "junit.xml", *modules, *words)
    done = front.run(*command, stdin=None, **environment)
    cases = ET.parse(front.folder / "junit.xml").getroot().iter("testcase")
    return Run(done, {case.get("name", "").partition("[")[0]: case for case in cases})


@pytest.fixture(scope="module")
def front(workbench: Workbench, kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Front:
    """With a template, so that hurrying does not have to make one, and with all that has to be fetched."""
    workbench.build([(resolve_module("depend_s"), kernel)])
    with workbench.fleet.machine(kernel, "front"):
        pass
    front = make_front(tmp_path_factory.mktemp("front"), workbench.settings.cache)
    write_module(front, "good", Bad("passed", ""))
    assert front.run("vm-test", "--kernel", kernel.spec, "--module", "good").returncode == Exit.OK
    return front


@pytest.fixture(scope="module")
def quick(front: Front, kernel: Kernel) -> Run:
    return run_all(front, kernel, QUICK)


@pytest.fixture(scope="module")
def slow(front: Front, kernel: Kernel) -> Run:
    return run_all(front, kernel, SLOW, "--jobs", "3", **HURRY)


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_verdict(name: str, front: Front, request: pytest.FixtureRequest) -> None:
    bad = (QUICK | SLOW)[name]
    run: Run = request.getfixturevalue("quick" if name in QUICK else "slow")
    assert run.completed.returncode == Exit.CHECK_FAILED
    assert bad.reason in run.text
    case = run.cases[name]
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["outcome"] == bad.outcome
    failure = case.find("failure")
    assert (failure is None) == (bad.outcome in ("passed", "no-device"))
    if failure is not None:
        assert "full log: " in (failure.text or "")
    assert "Traceback" not in run.text
    assert front.left_behind() == []


def test_arguments_for_the_kernel(front: Front, kernel: Kernel) -> None:
    """What an ordinary kernel does not notice."""
    reason = "expected no slab-corruption splat, saw"
    rows = {"writes_late": Bad("crashed", reason, WRITE_AFTER_FREE)}
    run = run_all(front, kernel, rows, "--kernel-arg", "slub_debug=FZP")
    assert run.completed.returncode == Exit.CHECK_FAILED
    assert reason in run.text


def test_the_stack_of_a_sleeping_init_is_shown(slow: Run) -> None:
    assert "sysrq: Show Blocked State" in slow.text


def is_machine(words: str) -> bool:
    """A QEMU that is tested with, not one whose template is made."""
    return words.startswith("qemu-system") and "-incoming" in words


def in_use(front: Front) -> bool:
    """A machine whose logs have been named after the test that uses it."""
    return front.find(is_machine) is not None and any(front.cache.glob("logs/*/*-good"))


def is_booting(words: str) -> bool:
    return words.startswith("qemu-system") and "-kernel" in words


def test_qemu_killed_from_outside(front: Front, kernel: Kernel) -> None:
    with front.start("vm-test", "--kernel", kernel.spec, "--module", "good", "--reloads", "500") as run:
        wait_until(lambda: in_use(front), "a machine is given out")
        qemu = front.find(is_machine)
        assert qemu
        os.kill(qemu, signal.SIGKILL)
        output = run.communicate(timeout=SECONDS)[0].decode()
    assert run.returncode == Exit.NO_VERDICT, output
    assert "QEMU ended: signal SIGKILL" in output
    assert "Traceback" not in output
    assert front.left_behind() == []


STAGES = {
    "boot": (is_booting, ("vm-test", "--cold", "--module", "good")),
    "test": (is_machine, ("vm-test", "--reloads", "500", "--module", "good")),
    "shell": (is_machine, ("shell", "--module", "good")),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_interrupted(front: Front, kernel: Kernel, stage: str, number: signal.Signals) -> None:
    wanted, words = STAGES[stage]
    with front.start(*words, "--kernel", kernel.spec) as run:
        wait_until(lambda: front.find(wanted), stage)
        run.send_signal(number)
        output = run.communicate(timeout=SECONDS)[0].decode()
    assert run.returncode == Exit.NO_VERDICT, output
    assert output.endswith("interrupted: no verdict\n")
    assert "Traceback" not in output
    assert front.left_behind() == []


def test_shell_runs_what_it_is_given(front: Front, kernel: Kernel) -> None:
    done = front.run("shell", "--kernel", kernel.spec, "--module", "good", stdin=b"uname -r; ls /tmp\n")
    assert done.returncode == Exit.OK, done.output
    assert kernel.release in done.lines()
    assert "good.ko" in done.lines()
    assert front.left_behind() == []


@pytest.mark.one_kernel
def test_kvm_that_was_trusted_wrongly(front: Front, kernel: Kernel) -> None:
    if not accelerator.DEVICE.exists() or kvm.probe().usable:
        pytest.skip("there is no broken KVM here")
    accelerator._remember(front.cache, accelerator.Accelerator("kvm", "forged"))
    done = front.run("vm-test", "--kernel", kernel.spec, "--module", "good", stdin=None, **SHORT)
    assert done.returncode == Exit.OK, done.output
    assert done.output.count("KVM cannot run this guest, going on under emulation") == 1
    again = front.run("vm-test", "--kernel", kernel.spec, "--module", "good")
    assert "going on" not in again.output
    asked = front.run(
        "vm-test", "--kernel", kernel.spec, "--module", "good", "--accel", "kvm", stdin=None, **SHORT
    )
    assert asked.returncode == Exit.NO_VERDICT, asked.output
    assert front.left_behind() == []


@pytest.mark.one_kernel
def test_a_log_that_cannot_be_read_is_not_an_empty_one(guest: Guest) -> None:
    guest.run("mv", "/dev/kmsg", "/dev/hidden")
    with pytest.raises(CommandFailed, match="kmodctl kmsg"):
        guest.log()
