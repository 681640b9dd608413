# SPDX-License-Identifier: MIT
"""Every way of getting stuck, and what a dead module leaves behind: rescued, or refused with the reason."""

from __future__ import annotations

import contextlib
import json
import lzma
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.expectation import kernel_matches
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.splats import find_splats
from tests.vm.conftest import BuildChanged, Upload, rescue_log

pytestmark = [pytest.mark.vm, pytest.mark.spread]

RELOADS = 5
RETIRED = "EUCLEAN"  # the module stays in memory under another name
# Files that block for ever, or that only root's debugger should touch; everything else is read.
UNREADABLE = {
    "/proc/kmsg": "blocks until there is a new message",
    "*/trace_pipe": "blocks until something is traced",
    "*/trace_pipe_raw": "blocks until something is traced",
    "/proc/kcore": "all memory",
    "/proc/kpage*": "a word for every page of memory",
    "/proc/*/mem": "the memory of a process",
    "/proc/*/pagemap": "a word for every page of a process",
    "/proc/*/task/*": "the same again for every thread",
    "/proc/[0-9]*": "processes come and go",
    "*/clear_warn_once": "write only",
    "/sys/kernel/tracing/*": "the same as below debugfs",
    "/sys/kernel/debug/tracing/*/*/*": "one folder an event, thousands, all alike",
    "/sys/kernel/debug/*/hctx*": "states of queues, slow",
    "*/available_filter_functions*": "names of all functions, slow",
    "/sys/kernel/btf/vmlinux": "the kernel's own types, megabytes",
    "/sys/kernel/slab/*": "hundreds of caches, all alike",
}


@dataclass(frozen=True)
class Scenario:
    """A row of the table in kmod/faults/main.c, and what the rescue makes of it."""

    name: str
    load: str = KILLED  # what insmod of it answers
    state: str = "coming"  # then, as sysfs has it; "" if it has no directory there
    log: tuple[str, ...] = ()  # regular expressions, each matches a line of force_rmmod
    splats: int = 1  # of the fault itself
    gone: tuple[str, ...] = ()  # paths that exist before the rescue, and not after it
    before: tuple[str, ...] = ()  # a shell command that is run after insmod, in the background

    def __str__(self) -> str:
        return self.name


STUCK = (
    Scenario("null", log=("nothing found of a known kind",)),
    Scenario("bug"),
    Scenario("protection"),
    Scenario("jump"),
    Scenario("atomic"),
    Scenario("irqs_off"),
    Scenario("setter", state="", log=("undo: faults never came to be in sysfs; made good for rmmod",)),
    Scenario(
        "exit",
        load=OK,
        state="going",
        log=("undo: platform device faults_device, kept in fa_pdev.*",),
        gone=("/sys/devices/platform/faults_device",),
    ),
    Scenario(
        "no_exit", load=OK, state="live", splats=0, log=("faults is alive, but has no exit function: .*",)
    ),
    Scenario(
        "probe",
        log=(
            "undo: half-probed device faults_probe, driver faults_probe",
            "undo: lock of device faults_probe, whose owner died",
            "undo: driver faults_probe of bus platform",
            "undo: platform device faults_probe, kept in fa_probe_device.*",
        ),
        gone=("/sys/bus/platform/drivers/faults_probe", "/sys/devices/platform/faults_probe"),
    ),
    Scenario(
        "probe_devres",
        log=(
            r"undo: timer allocated, calls fa_probe_fires \[faults\]",
            "undo: interrupt handler faults_probe, number 5",
            r"undo: misc device faults_probe, minor \d+",
            "undo: network device faults0",
            "undo: driver faults_probe of bus platform",
        ),
        gone=("/sys/class/net/faults0", "/sys/class/misc/faults_probe", "/sys/devices/platform/faults_probe"),
    ),
    Scenario(
        "probe_attach",
        log=(
            "undo: half-probed device faults_probe, driver faults_probe",
            "undo: lock of device faults_probe, whose owner died",
            "undo: platform device faults_probe, whose registration died",
            "undo: driver faults_probe of bus platform",
        ),
        gone=("/sys/bus/platform/drivers/faults_probe", "/sys/devices/platform/faults_probe"),
    ),
    Scenario(
        "probe_pci",
        log=(
            r"undo: half-probed device 0000:00:[0-9a-f.]+, driver faults_probe",
            "undo: driver faults_probe of bus pci",
        ),
        gone=("/sys/bus/pci/drivers/faults_probe",),
    ),
)

LEFT = (
    Scenario(
        "platform_device",
        log=("undo: platform device faults_device, kept in fa_pdev.*",),
        gone=("/sys/devices/platform/faults_device",),
    ),
    Scenario(
        "platform_static",
        log=("undo: platform device faults_static, is fa_static_pdev.*",),
        gone=("/sys/devices/platform/faults_static",),
    ),
    Scenario(
        "platform_driver",
        log=("undo: driver faults_driver of bus platform", "undo: platform device faults_driver, .*"),
        gone=("/sys/bus/platform/drivers/faults_driver", "/sys/devices/platform/faults_driver"),
    ),
    Scenario("input", log=(r"undo: input device input\d+, kept in fa_input_dev.*",)),
    Scenario("input_allocated", log=(r"undo: unregistered input device input\d+, kept in fa_input_dev.*",)),
    Scenario("misc", log=(r"undo: misc device faults_misc, minor \d+",), gone=("/sys/class/misc/faults_misc",)),
    Scenario(
        "chrdev",
        log=(
            r"undo: character device \d+:0, 2 numbers",
            r"undo: range of device numbers faults_chrdev, \d+:0, 2 numbers",
        ),
    ),
    Scenario(
        "class",
        log=("undo: device faults_class_device", "undo: class faults_class"),
        gone=("/sys/class/faults_class/faults_class_device", "/sys/class/faults_class"),
    ),
    Scenario("timer", log=(r"undo: timer fa_timer \[faults\], calls fa_timer_fires \[faults\]",)),
    Scenario("timer_allocated", log=(r"undo: timer allocated, calls fa_timer_fires \[faults\]",)),
    Scenario("hrtimer", log=(r"undo: high-resolution timer fa_hrtimer \[faults\], calls .*",)),
    Scenario(
        "work",
        log=(
            r"undo: work fa_work \[faults\], calls fa_work_runs \[faults\]",
            "undo: workqueue faults_queue, kept in .*",
        ),
    ),
    Scenario("work_allocated", log=(r"undo: work allocated, calls fa_work_again \[faults\]",)),
    Scenario("thread", log=(r"undo: kernel thread faults_thread, pid \d+, runs fa_thread_runs \[faults\]",)),
    Scenario("irq", log=("undo: interrupt handler faults_irq, number 5",)),
    Scenario("kprobe", log=(r"undo: kprobe fa_kprobe \[faults\], on kernel_halt\+.*",)),
    Scenario("notifier_reboot", log=(r"undo: notifier reboot, calls fa_notifier_called \[faults\]",)),
    Scenario("notifier_netdevice", log=("undo: notifier netdevice, .*",)),
    Scenario("notifier_panic", log=("undo: notifier panic, .*",)),
    Scenario("notifier_keyboard", log=("undo: notifier keyboard, .*",)),
    Scenario(
        "tracepoint", log=(r"undo: tracepoint probe fa_tracepoint_hit \[faults\], on sched_process_exec",)
    ),
    Scenario(
        "proc",
        log=("undo: proc entry faults_proc",),
        gone=("/proc/faults_proc", "/proc/driver/faults_proc"),
    ),
    Scenario(
        "debugfs",
        log=("undo: debugfs entry /faults_debugfs", "undo: debugfs entry /faults_debugfs_file"),
    ),
    Scenario(
        "sysfs",
        log=(
            "undo: sysfs attribute faults_attribute of kernel",
            "undo: sysfs attribute faults_group/faults_attribute of kernel",
        ),
        gone=("/sys/kernel/faults_attribute", "/sys/kernel/faults_group"),
    ),
    Scenario("kobject", log=("undo: object of sysfs faults_kobject",), gone=("/sys/kernel/faults_kobject",)),
    Scenario(
        "sysctl",
        log=("undo: sysctl table faults_sysctl, .*", "undo: sysctl table faults_sysctl_net, .*"),
        gone=("/proc/sys/kernel/faults_sysctl", "/proc/sys/net/core/faults_sysctl_net"),
    ),
    Scenario("filesystem", log=("undo: file system type faultsfs",)),
    Scenario("socket", log=("undo: family of sockets number 18", "undo: protocol of sockets FAULTS")),
    Scenario("netdev", log=(r"undo: network device faults0",), gone=("/sys/class/net/faults0",)),
    Scenario("cache", log=(r"undo: slab cache faults_cache, kept in fa_cache \[faults\]",)),
    Scenario(
        "region",
        log=("undo: memory region faults_region, .*", "undo: memory region faults_part, .*"),
    ),
    Scenario("timer_array", log=(r"undo: timer fa_timers.* \[faults\], calls fa_timers_fire \[faults\]",)),
    Scenario("sysrq", log=("undo: key of sysrq y",)),
    Scenario("packet", log=(r"undo: packet handler of protocol 9000, calls fa_packet_received \[faults\]",)),
    Scenario("packet_array", log=("undo: packet handler of protocol 9000, .*",)),
    Scenario("packet_allocated", log=("undo: packet handler of protocol 9000, .*",)),
    Scenario("packet_chain", log=("undo: packet handler of protocol 9000, .*",)),
    Scenario("netfilter", log=(r"undo: netfilter hook number 3 of net \d+, calls fa_netfilter_called .*",)),
    Scenario("chain", log=("nothing found of a known kind",)),
    Scenario("lookalike", log=("nothing found of a known kind",)),
)


@dataclass(frozen=True)
class Alive:
    """What cannot be proven dead, and so is retired: of a kind that no row of undo.c knows."""

    name: str
    line: str  # regular expression: what the proof finds
    load: str = KILLED
    state: str = "coming"

    def __str__(self) -> str:
        return self.name


ALIVE = (
    Alive("congestion", r"alive: .* leads to fa_congestions\+.* \[faults\]"),
    Alive("congestion_allocated", r"alive: .* leads to an object of kmalloc-\S+ that leads from .*faults\]?"),
    Alive("user", r"faults~1 keeps: workqueue faults_user, .*"),
    Alive("rcu_self", r"alive: .* leads to .*faults.*"),
    Alive("leak", "nobody is found who holds the 1 references to faults", load=OK, state="live"),
)


@pytest.fixture
def readall(guest: Guest, kernel: Kernel, workbench: Workbench) -> str:
    """The path in the guest of the program that reads all files."""
    toolchain = resolve_toolchain(kernel, workbench.settings, workbench.progress)
    program = build_program([Path(__file__).with_name("readall.c")], toolchain, workbench.settings)
    path = guest.put(program)
    assert guest.run("chmod", "755", path).returncode == 0
    return path


def exists(guest: Guest, path: str) -> bool:
    """Whether there is such a file or folder in the guest."""
    return guest.run("ls", "-d", path).returncode == 0


def check_errors(guest: Guest, faults: str) -> None:
    """The errors that LTP's tests of init_module, finit_module and delete_module ask for."""
    empty = guest.put_bytes(b"", "empty.ko")
    for words, answer in (
        ("delete no_such_module", "ENOENT"),
        ("delete @1", "EFAULT"),
        ("bare delete faults", "EPERM"),
        (f"init empty={faults}", "ENOEXEC"),
        ("init @0", "EFAULT"),
        (f"init {faults} @1", "EFAULT"),
        (f"init {faults} scenario=no_such", "EINVAL"),
        (f"bare init {faults}", "EPERM"),
        (f"finit {empty}", "EINVAL"),
        ("finit fd=-1", "EBADF"),
        (f"finit w={faults}", "EBADF"),
        (f"finit rw={faults}", "ETXTBSY"),
        (f"finit {faults} @1", "EFAULT"),
        (f"finit {faults} '' -1", "EINVAL"),
        (f"finit {faults} scenario=no_such", "EINVAL"),
        (f"bare finit {faults}", "EPERM"),
    ):
        assert guest.system_call(*shlex.split(words)) == answer, words
    assert guest.load(faults) == OK
    for call in ("init", "finit"):
        assert guest.system_call(call, faults) == "EEXIST", call
    assert guest.unload("faults") == OK


def read_everything(guest: Guest, readall: str) -> None:
    """Read every file below /proc and /sys, debugfs too: what is left of a module shows itself in a splat."""
    guest.run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug")
    result = guest.run(readall, *(f"-{pattern}" for pattern in UNREADABLE), "/proc", "/sys", seconds=120)
    assert result.returncode == 0, result.output
    assert int(result.output) > 1000


def check_healthy(guest: Guest, faults: str, readall: str, scenario: Scenario, splats: int) -> None:
    """As good as new: the module and what it registers come and go, and nothing is left in the dark."""
    for _ in range(RELOADS):
        assert guest.load(faults, call="finit") == OK
        assert guest.unload("faults") == OK
        assert guest.load(faults, {"fault": "0", "scenario": scenario.name}, call="finit") == OK
        assert guest.unload("faults") == OK
    check_errors(guest, faults)
    read_everything(guest, readall)
    assert len(find_splats(guest.log())) == splats, [splat.title for splat in find_splats(guest.log())]


def check_rescued(guest: Guest, faults: str, readall: str, scenario: Scenario) -> None:
    """What holds after every rescue."""
    log = rescue_log(guest)
    for pattern in (*scenario.log, "faults can be removed now: rmmod faults"):
        assert any(re.fullmatch(pattern, line) for line in log), "\n".join((f"missing: {pattern}", *log))
    assert guest.unload("faults", seconds=20) == OK
    assert "faults" not in guest.modules()
    assert [path for path in scenario.gone if exists(guest, path)] == []
    check_healthy(guest, faults, readall, scenario, scenario.splats)


@contextlib.contextmanager
def holding(guest: Guest, path: str) -> Iterator[str]:
    """A process, `sleep`, has a file open as descriptor 7; yields its pid."""
    guest.run("sh", "-c", f"sleep 1000 7<{path} > /dev/null 2>&1 & echo $! > /tmp/holder")
    pid = guest.read("/tmp/holder").strip()
    try:
        yield pid
    finally:
        guest.run("kill", pid)
        guest.run("sh", "-c", f"while kill -0 {pid} 2> /dev/null; do sleep 0.1; done")


@pytest.mark.parametrize("scenario", [*STUCK, *LEFT], ids=str)
def test_rescued(guest: Guest, upload: Upload, readall: str, scenario: Scenario) -> None:
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"scenario": scenario.name}) == scenario.load
    if scenario.state == "going":
        assert guest.unload("faults") == KILLED
    if scenario.state:
        assert guest.initstate("faults") == scenario.state
    else:
        assert not exists(guest, "/sys/module/faults")
    assert guest.unload("faults") in ("EBUSY", "EAGAIN")
    assert len(find_splats(guest.log())) == scenario.splats
    assert [path for path in scenario.gone if not exists(guest, path)] == []

    assert guest.load(rescue, {"target": "faults"}, call="init") == OK, rescue_log(guest)
    assert guest.unload("force_rmmod") == OK
    if scenario.name.startswith("probe"):
        assert any(re.fullmatch(r"faults: resources of .* given back", record.text) for record in guest.log())
    check_rescued(guest, faults, readall, scenario)


def test_dead_asynchronous_probe(guest: Guest, upload: Upload, readall: str) -> None:
    """The worker died; insmod waits for it, and so would every rmmod. A rescue that is refused leaves it so."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    scenario = Scenario(
        "probe_async",
        log=(
            "undo: asynchronous call for device faults_probe, whose worker died",
            "undo: lock of device faults_probe, whose owner died",
        ),
    )
    assert guest.load(upload("depend_s")) == OK
    guest.run("sh", "-c", f"kmodctl finit {faults} scenario=probe_async > /tmp/loader 2>&1 < /dev/null &")
    guest.run(
        "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do dmesg | grep -q 'end trace' && break; sleep 0.5; done"
    )
    assert len(find_splats(guest.log())) == 1
    # Whatever comes in must not stay, or no other rescue could.
    assert guest.load(rescue, {"target": "faults", "explain": "1"}, call="init", seconds=20) == "ECANCELED"
    assert rescue_log(guest)[-1] == "outcome: would be reset, with its own exit"
    # What it knows has left it before.
    guest.run("sh", "-c", f"kmodctl init {rescue} 'target=faults explain=1 report=3' 3> /tmp/told")
    told = json.loads(guest.read("/tmp/told"))
    assert told["rescue"] == "would be reset, with its own exit"
    assert told["steps"][0] == "take 1 dead asynchronous calls off their list"
    assert guest.load(rescue, {"target": "depend_s"}, call="init", seconds=20) == "EBUSY"
    advice = "every rmmod waits for a dead asynchronous call of faults: rescue it first"
    assert rescue_log(guest)[-1] == f"refused: {advice}"
    with holding(guest, "/dev/faults_misc"):
        assert guest.load(rescue, {"target": "faults"}, call="init", seconds=20) == "EBUSY", rescue_log(guest)
        assert not [line for line in rescue_log(guest) if line.startswith(("undo", "loader"))]
        assert guest.read("/tmp/loader") == ""
    assert guest.load(rescue, {"target": "faults"}, call="init", seconds=20) == OK, rescue_log(guest)
    assert guest.unload("force_rmmod", seconds=20) == OK
    assert guest.read("/tmp/loader") == "0\n"
    check_rescued(guest, faults, readall, scenario)


def test_in_use_in_a_dead_asynchronous_probe(guest: Guest, upload: Upload) -> None:
    """The module stays, with what it has registered; some of that lies in what would be given back."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    load = f"kmodctl finit {faults} scenario=probe_async_devres > /tmp/loader 2>&1 < /dev/null &"
    guest.run("sh", "-c", load)
    wait_for(guest, "dmesg | grep -q 'end trace'")
    assert guest.load(rescue, {"target": "faults"}, call="init", seconds=20) == "EBUSY"
    log = rescue_log(guest)
    for thing in (
        r"timer allocated, calls fa_probe_fires \[faults\]",
        r"misc device faults_probe, minor \d+",
        "network device faults0",
    ):
        line = f"{thing}: lies in what device faults_probe keeps until it has no driver"
        assert any(re.fullmatch(line, text) for text in log), (line, log)
    assert not any("faults_misc" in text and "lies in" in text for text in log)
    assert exists(guest, "/sys/class/net/faults0")
    assert len(find_splats(guest.log())) == 1


def test_half_unregistered_is_retired(guest: Guest, upload: Upload) -> None:
    """Exit died while the driver core took its driver apart: nobody can do that once more."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"scenario": "probe_remove"}) == OK
    assert guest.unload("faults") == KILLED
    assert guest.load(rescue, {"target": "faults", "explain": "1"}, call="init") == OK
    assert rescue_log(guest)[-1] == "outcome: would be retired", rescue_log(guest)
    assert guest.unload("force_rmmod") == OK
    assert guest.load(rescue, {"target": "faults"}, call="init") == RETIRED, rescue_log(guest)
    assert "driver faults_probe: somebody died who unregistered it" in rescue_log(guest)
    assert "stays: driver faults_probe of bus platform cannot be undone" in rescue_log(guest)
    assert guest.load(faults, call="finit") == OK
    assert guest.unload("faults") == OK
    assert guest.initstate("faults~1") == "going"
    assert len(find_splats(guest.log())) == 1


@pytest.mark.parametrize("scenario", ["sleep", "busy"])
def test_slow_is_not_dead(guest: Guest, upload: Upload, scenario: str) -> None:
    faults, rescue = upload("faults"), upload("force_rmmod")
    guest.run("sh", "-c", f"kmodctl finit {faults} scenario={scenario} > /tmp/loader 2>&1 < /dev/null &")
    pid = guest.run("sh", "-c", "sleep 1; pidof kmodctl").output.strip()
    assert guest.initstate("faults") == "coming"
    assert guest.load(rescue, {"target": "faults"}, call="init", seconds=60) == "EBUSY"
    log = rescue_log(guest)
    assert f"held by: pid {pid}, kmodctl, runs in it" in log
    assert "refused: a living task runs in faults" in log
    assert guest.load(rescue, {"target": "faults", "explain": "1"}, call="init") == OK
    assert guest.unload("force_rmmod") == OK
    assert rescue_log(guest)[-1] == "outcome: would be refused"
    assert any(re.fullmatch(r"stack: .*\[faults\]", line) for line in log), log
    assert guest.write("/sys/module/faults/parameters/release", "1") == OK
    guest.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do [ -s /tmp/loader ] && break; sleep 0.5; done")
    assert guest.read("/tmp/loader") == "0\n"
    assert guest.initstate("faults") == "live"
    assert guest.unload("faults") == OK
    assert find_splats(guest.log()) == ()


def exercise(guest: Guest) -> None:
    """Packets, and a while for whatever runs by itself."""
    guest.run("sh", "-c", "ip link set lo up; ping -c 2 -w 3 127.0.0.1; sleep 1")


@pytest.mark.parametrize("alive", ALIVE, ids=str)
def test_what_may_be_alive_is_retired(guest: Guest, upload: Upload, readall: str, alive: Alive) -> None:
    """It stays in memory under another name, and the name it had is free."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"scenario": alive.name}) == alive.load
    splats = 1 if alive.load == KILLED else 0
    assert guest.load(rescue, {"target": "faults", "explain": "1"}, call="init") == OK
    assert rescue_log(guest)[-1] == "outcome: would be retired", rescue_log(guest)
    assert guest.unload("force_rmmod") == OK
    assert guest.initstate("faults") == alive.state

    assert guest.load(rescue, {"target": "faults"}, call="init") == RETIRED, rescue_log(guest)
    log = rescue_log(guest)
    assert any(re.fullmatch(alive.line, line) for line in log), log
    retired = r"retired: faults is faults~1 now, and stays \(\d+ KiB\) .*"
    assert any(re.fullmatch(retired, line) for line in log), log
    assert "force_rmmod" not in guest.modules()
    assert guest.initstate("faults~1") == "going"
    exercise(guest)
    # What may be alive has its own name or number still, but a device made room.
    scenario = alive.name if alive.name == "user" else "input"
    for call in ("init", "finit") * 3:
        assert guest.load(faults, {"fault": "0", "scenario": scenario}, call=call) == OK
        assert guest.unload("faults") == OK
    for name in ("faults~1", "faults"):
        assert guest.unload(name) in ("EBUSY", "ENOENT")
    read_everything(guest, readall)
    exercise(guest)
    assert len(find_splats(guest.log())) == splats, [splat.title for splat in find_splats(guest.log())]


def test_what_was_retired_is_proven_again(guest: Guest, upload: Upload) -> None:
    """A ghost that nothing leads to any more can be removed; one that is alive stays."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"scenario": "null"}) == KILLED
    assert guest.load(rescue, {"target": "faults", "scan": "0"}, call="init") == RETIRED
    assert not any(line.startswith(("scan: ", "alive: ", "references: ")) for line in rescue_log(guest))
    assert guest.load(faults, {"scenario": "congestion"}) == KILLED
    assert guest.load(rescue, {"target": "faults"}, call="init") == RETIRED
    for _ in range(2):
        assert guest.load(rescue, {"target": "faults~2"}, call="init") == "EBUSY"
        assert rescue_log(guest)[-1] == "refused: faults~2 cannot be proven dead, and stays"
        assert guest.initstate("faults~2") == "going"
    assert guest.load(rescue, {"target": "faults~1"}, call="init") == OK, rescue_log(guest)
    assert guest.unload("force_rmmod") == OK
    assert guest.unload("faults~1") == OK
    assert guest.load(faults, call="finit") == OK
    assert guest.unload("faults") == OK
    assert len(find_splats(guest.log())) == 2


def test_the_risk_has_a_name(guest: Guest, upload: Upload) -> None:
    """What is alive is freed only if both words are said; force alone retires."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    for words, answer in (({"force": "1"}, RETIRED), ({"risk_panic": "1"}, RETIRED)):
        assert guest.load(faults, {"scenario": "chain"}) == KILLED
        assert guest.load(rescue, {"target": "faults", "scan": "0"} | words, call="init") == answer
    assert guest.load(faults, {"scenario": "chain"}) == KILLED
    words = {"target": "faults", "scan": "0", "force": "1", "risk_panic": "1"}
    assert guest.load(rescue, words, call="init") == OK
    warning = "force: faults is freed although it may be alive: the kernel may panic at any time"
    assert warning in rescue_log(guest)
    assert guest.unload("faults") == OK


@pytest.mark.parametrize("stuck", [False, True], ids=["well", "stuck"])
def test_what_a_dead_reader_holds_is_given_back(guest: Guest, upload: Upload, stuck: bool) -> None:
    """Or rmmod, with a count of 0, would wait for the dead for ever."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    if stuck:
        load_and_wait(guest, faults, "reader")
    else:
        assert guest.load(faults, {"fault": "0", "scenario": "reader"}) == OK
    guest.run("sh", "-c", "cat /sys/kernel/faults_reader > /dev/null 2>&1 < /dev/null &")
    wait_for(guest, "dmesg | grep -q 'end trace'")
    if stuck:
        assert guest.write("/sys/module/faults/parameters/release", "1") == OK
        wait_for(guest, "! pidof kmodctl")
    assert guest.load(rescue, {"target": "faults"}, call="init", seconds=30) == OK, rescue_log(guest)
    assert "undo: dead reader of sysfs attribute faults_reader, 1 times" in rescue_log(guest)
    assert guest.unload("force_rmmod") == OK
    assert guest.unload("faults", seconds=20) == OK
    assert guest.load(faults, {"fault": "0", "scenario": "reader"}, call="finit") == OK
    assert guest.unload("faults", seconds=20) == OK
    assert len(find_splats(guest.log())) == 1 + stuck


def test_who_has_it_open_uncounted(guest: Guest, upload: Upload) -> None:
    """Operations that name no owner leave the count at 0: whoever has a file open is named all the same."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"fault": "0", "scenario": "unowned"}) == OK
    with holding(guest, "/dev/faults_unowned") as pid:
        assert guest.refcnt("faults") == 0
        assert guest.load(rescue, {"target": "faults"}, call="init") == "EBUSY"
        log = rescue_log(guest)
        assert f"held by: pid {pid}, sleep, descriptor 7, /dev/faults_unowned" in log
        assert log[-1] == "refused: faults is in use"
    assert guest.load(rescue, {"target": "faults"}, call="init") == OK
    assert guest.unload("faults") == OK
    assert find_splats(guest.log()) == ()


def test_an_open_file_is_no_leak(guest: Guest, upload: Upload) -> None:
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"fault": "0", "scenario": "misc"}) == OK
    with holding(guest, "/dev/faults_misc") as pid:
        assert guest.load(rescue, {"target": "faults"}, call="init") == "EBUSY"
        log = rescue_log(guest)
        assert f"held by: pid {pid}, sleep, descriptor 7, /dev/faults_misc" in log
        assert "refused: faults is in use" in log
    assert guest.load(rescue, {"target": "faults"}, call="init") == OK
    assert "nothing to do: rmmod can remove faults" in rescue_log(guest)
    assert guest.unload("faults") == OK
    assert find_splats(guest.log()) == ()


KERNEL_HELD = (
    # module of the kernel; how it gets into use; how that ends; what of it is used
    (
        "loop",
        "dd if=/dev/zero of=/tmp/disk count=9; losetup /dev/loop0 /tmp/disk",
        "losetup -d /dev/loop0",
        "lo_fops",
    ),
    ("tcp_vegas", "echo vegas > CONTROL", "echo cubic > CONTROL", "tcp_vegas"),
)


@pytest.mark.parametrize(("name", "use", "release", "used"), KERNEL_HELD, ids=["loop", "tcp_vegas"])
def test_what_the_kernel_holds(
    guest: Guest, kernel: Kernel, upload: Upload, name: str, use: str, release: str, used: str
) -> None:
    """A healthy module that no program holds, but the kernel: its references are not taken for leaked."""
    control = "/proc/sys/net/ipv4/tcp_congestion_control"
    (path,) = kernel.modules.rglob(f"{name}.ko*")
    content = path.read_bytes()
    ko = guest.put_bytes(lzma.decompress(content) if path.suffix == ".xz" else content, f"{name}.ko")
    assert guest.load(ko) == OK
    assert guest.run("sh", "-c", use.replace("CONTROL", control)).returncode == 0
    assert guest.refcnt(name) == 1
    rescue = upload("force_rmmod")
    assert guest.load(rescue, {"target": name}, call="init") == "EBUSY"
    log = rescue_log(guest)
    assert f"held by: perhaps the kernel, which uses {used} [{name}]" in log, log
    assert log[-1] == f"refused: the 1 references to {name} may be the kernel's own", log
    assert guest.refcnt(name) == 1
    if name == "loop":
        with holding(guest, "/dev/loop0") as pid:
            assert guest.load(rescue, {"target": name, "scan": "0"}, call="init") == "EBUSY"
            assert f"held by: pid {pid}, sleep, descriptor 7, /dev/loop0" in rescue_log(guest)
    guest.run("sh", "-c", release.replace("CONTROL", control))
    assert guest.unload(name) == OK
    assert find_splats(guest.log()) == ()


@pytest.mark.parametrize(
    ("target", "answer", "refusal"),
    [
        ("", "EINVAL", "the target has no name"),
        ("x" * 300, "EINVAL", "the target's name is longer than any module's"),
        ("no_such", "ENOENT", "no module no_such is loaded"),
        ("printk", "ENOENT", "printk is built into the kernel"),
        ("force-rmmod", "EINVAL", "the target is this module itself"),
    ],
    ids=["empty", "long", "unknown", "built-in", "itself"],
)
def test_bad_target(guest: Guest, upload: Upload, target: str, answer: str, refusal: str) -> None:
    rescue = upload("force_rmmod")
    before = guest.modules()
    assert guest.load(rescue, {"target": target}, call="init") == answer
    assert f"refused: {refusal}" in rescue_log(guest)
    assert guest.modules() == before
    assert find_splats(guest.log()) == ()


def test_addresses_by_hand(guest: Guest, upload: Upload) -> None:
    """Those handed over come first, each is checked, and a wrong one is refused by name."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"scenario": "misc"}) == KILLED
    misc_list, misc_mtx, kset = (
        f"{guest.kallsyms(name=name)[0].address:x}" for name in ("misc_list", "misc_mtx", "class_kset")
    )
    for symbols, refusal in (
        (f"misc_list:{misc_mtx}", f"misc_list is not at {misc_mtx}"),
        (f"misc_list:{misc_list},misc_mtx:{int(misc_mtx, 16) + 8:x}", r"misc_mtx is not at [0-9a-f]+"),
        ("misc_list:0", "misc_list is not at 0"),
        ("misc_list:ffff888000000000", "misc_list is not at ffff888000000000"),
        ("rcu_barrier:1", "rcu_barrier is not at 1"),
        (f"misc_list:{misc_list},", "want name:address,..., not ''"),
        ("misc_list", "want name:address,..., not 'misc_list'"),
        ("misc_list:x", "want name:address,..., not 'misc_list'"),
        (f"{'m' * 300}:{misc_list}", "too many, or too long a name: m+"),
    ):
        assert guest.load(rescue, {"target": "faults", "symbols": symbols}, call="init") == "EINVAL"
        log = rescue_log(guest)
        assert re.fullmatch(f"refused: symbols: {refusal}", log[-2]), log
        assert guest.initstate("faults") == "coming"
    # One that is there, but is not what has to be at the end of that name.
    assert guest.load(rescue, {"target": "faults", "symbols": f"class_kset:{kset}"}, call="init") == OK
    assert guest.unload("force_rmmod") == OK
    assert guest.unload("faults") == OK
    assert len(find_splats(guest.log())) == 1


# A member more in a private structure: what a newer kernel may have.
GROWN = (
    ("struct idempotent", "struct compat_idempotent {\n\tconst void *cookie;\n"),
    ("struct device_private", "struct list_head deferred_probe;\n"),
    ("struct driver_private", "struct module_kobject *mkobj;\n"),
    ("struct subsys_private", "struct kset glue_dirs;\n"),
    ("struct char_device_struct", "struct compat_char_device_struct *next;\n"),
    ("struct workqueue_struct", "struct compat_workqueue {\n"),
    ("struct proc_dir_entry", "struct compat_proc_dir_entry {\n"),
    ("struct kernfs_root", "struct compat_kernfs_root {\n\tstruct kernfs_node *kn;\n"),
)


def test_unknown_kernel(guest: Guest, kernel: Kernel, upload: Upload, build_changed: BuildChanged) -> None:
    """A kernel newer than any known, whose private structures are others: refused, each by name."""
    header = "../include/compat.h"
    changes = [(header, text, f"{text}\tvoid *grown[2];\n") for _, text in GROWN]
    changes += [(header, "COMPAT_NEWEST KERNEL_VERSION(7, 3, 255)", "COMPAT_NEWEST KERNEL_VERSION(4, 19, 0)")]
    rescue = guest.put(build_changed("force_rmmod", *changes))
    faults = upload("faults")
    assert guest.load(faults, {"scenario": "chrdev"}) == KILLED
    target = {"target": "faults"}

    assert guest.load(rescue, target, call="init") == "ENOTSUP"
    (warning, refusal) = rescue_log(guest)
    assert warning.startswith(
        "this kernel is newer than 4.19, the newest known; nobody has looked at its struct "
    )
    assert all(name.removeprefix("struct ") in warning for name, _ in GROWN)
    assert refusal == "refused: this kernel is too new"

    grown = [
        name for name, _ in GROWN if kernel_matches(">=6.5", kernel.release) or name != "struct idempotent"
    ]
    if kernel_matches("<5.16", kernel.release):
        grown.remove("struct kernfs_root")
    mark = len(rescue_log(guest))
    if "struct idempotent" in grown:
        assert guest.load(rescue, target | {"force": "1", "explain": "1"}, call="finit") == "ENOTSUP"
    assert guest.load(rescue, target | {"force": "1", "explain": "1"}, call="init") == OK
    log = rescue_log(guest)[mark:]
    for name in grown:
        assert f"refused: {name} is not laid out as this module knows it" in log, (name, log)
    assert log[-1] == "outcome: would be refused"
    assert guest.unload("force_rmmod") == OK

    assert guest.load(rescue, target | {"force": "1"}, call="init") == "ENOTSUP"
    assert not any(line.startswith("undo") for line in rescue_log(guest))
    assert guest.initstate("faults") == "coming"
    assert guest.load(upload("force_rmmod"), target, call="init") == OK
    assert guest.unload("faults") == OK
    assert len(find_splats(guest.log())) == 1


OOPSES = "dmesg | grep -c 'end trace'"
# The same of what is looked at only in some victims: who has it, and what is changed.
OTHERWISE = {
    "module_use": ("depend_s", "../include/compat.h", "target_list;\n\tstruct module *source;\n"),
    "kobj_map": ("probe", "../include/compat.h", "struct compat_probe *probes[COMPAT_CHRDEV_BUCKETS];\n"),
    "kmem_cache": ("probe", "undo/memory.c", "return (const char **)node"),
    "mutex": ("probe", "../include/compat.h", "return atomic_long_read(&lock->owner)"),
    "async_entry": ("probe_async", "../include/compat.h", "\tstruct list_head domain_list;\n"),
    "worker": ("probe_async", "../include/compat.h", "struct compat_worker {\n"),
}


@pytest.mark.parametrize("left_out", ["worker", "async_entry"])
def test_other_structures(guest: Guest, upload: Upload, build_changed: BuildChanged, left_out: str) -> None:
    """What is another structure is refused by name, and the true module rescues the same victim."""
    wrong = {name: rest for name, rest in OTHERWISE.items() if name != left_out}
    changes = [
        (file, text, f"{text}\tvoid *other[3];\n" if text.endswith("\n") else f"{text} + 8")
        for _, file, text in wrong.values()
    ]
    faults = upload("faults")
    changed = build_changed("force_rmmod", *changes)
    for name in ("depend_s", "depend_a"):
        assert guest.load(upload(name)) == OK

    for scenario in dict.fromkeys(victim for victim, _, _ in wrong.values()):
        target = {"target": scenario if scenario == "depend_s" else "faults"}
        if scenario == "probe":
            assert guest.load(faults, {"scenario": scenario}) == KILLED
        elif scenario == "probe_async":
            guest.run("sh", "-c", f"kmodctl finit {faults} scenario={scenario} > /dev/null 2>&1 < /dev/null &")
            guest.run("sh", "-c", f"for i in $(seq 20); do [ $({OOPSES}) = 2 ] && break; sleep 0.5; done")
        mark, other = len(rescue_log(guest)), guest.put(changed)
        assert guest.load(other, target, call="init") == "ENOTSUP"
        guest.load(other, target | {"explain": "1"}, call="init")
        log = rescue_log(guest)[mark:]
        for name in (name for name, (victim, _, _) in wrong.items() if victim == scenario):
            assert f"refused: struct {name} is not laid out as this module knows it" in log, (name, log)
        assert not any(line.startswith("undo") for line in log)
        guest.unload("force_rmmod")
        if scenario != "depend_s":
            assert guest.load(upload("force_rmmod"), target, call="init") == OK
            assert guest.unload("force_rmmod") == OK
            assert guest.unload("faults") == OK


@dataclass(frozen=True)
class Use:
    """Something that a scenario registers and a program uses, and how the rescue tells that."""

    scenario: str
    command: str  # of the program that holds it, in the guest
    line: str  # regular expression, with PID

    def __str__(self) -> str:
        return f"{self.scenario}-{self.command.split()[1]}"


USES = (
    Use("socket", "holder socket 18", "held by: pid PID, holder, socket 3, protocol FAULTS"),
    Use(
        "misc",
        "holder map /dev/faults_misc",
        "held by: pid PID, holder, mapping at 0x[0-9a-f]+, /dev/faults_misc",
    ),
    Use(
        "proc",
        "holder open /proc/faults_proc/inner",
        "held by: pid PID, holder, descriptor 7, /proc/faults_proc/inner",
    ),
    Use(
        "sysfs",
        "holder open /sys/kernel/faults_group/faults_attribute",
        "held by: pid PID, holder, descriptor 7, /sys/kernel/faults_group/faults_attribute",
    ),
    Use(
        "debugfs",
        "holder open /sys/kernel/debug/faults_debugfs_file",
        "held by: pid PID, holder, descriptor 7, /sys/kernel/debug/faults_debugfs_file",
    ),
    Use(
        "debugfs",
        "holder open /sys/kernel/debug/faults_debugfs/inner",
        "held by: pid PID, holder, descriptor 7, /sys/kernel/debug/faults_debugfs/inner",
    ),
)


@pytest.fixture
def holder(guest: Guest, kernel: Kernel, workbench: Workbench) -> str:
    """A program that has something open; its path in the guest."""
    toolchain = resolve_toolchain(kernel, workbench.settings, workbench.progress)
    path = guest.put(build_program([Path(__file__).with_name("holder.c")], toolchain, workbench.settings))
    assert guest.run("chmod", "755", path).returncode == 0
    return path


def wait_for(guest: Guest, condition: str) -> None:
    """Wait until a shell command succeeds in the guest."""
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do {condition} && exit 0; sleep 0.3; done; exit 1"
    assert guest.run("sh", "-c", script).returncode == 0, condition


def load_and_wait(guest: Guest, faults: str, scenario: str) -> None:
    """What it registers is there; then, told to, it dies."""
    script = f"kmodctl finit {faults} 'hold=1 scenario={scenario}' > /tmp/loader 2>&1 < /dev/null &"
    guest.run("sh", "-c", script)
    wait_for(guest, f"dmesg | grep -q 'scenario {scenario}: set up'")


def let_die(guest: Guest) -> None:
    """Now it is stuck."""
    assert guest.write("/sys/module/faults/parameters/release", "1") == OK
    wait_for(guest, "dmesg | grep -q 'end trace'")
    wait_for(guest, "! pidof kmodctl")


@pytest.mark.parametrize("use", USES, ids=str)
def test_who_uses_it_is_named(guest: Guest, upload: Upload, holder: str, use: Use) -> None:
    """Refused for as long as a program uses what the dead one has registered, then rescued."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    guest.run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug")
    load_and_wait(guest, faults, use.scenario)
    command = use.command.replace("holder", holder, 1)
    guest.run("sh", "-c", f"{command} > /tmp/held 2>&1 < /dev/null & echo $! > /tmp/pid")
    wait_for(guest, "grep -q ready /tmp/held")
    let_die(guest)

    assert guest.load(rescue, {"target": "faults"}, call="init") == "EBUSY"
    log = rescue_log(guest)
    pid = guest.read("/tmp/pid").strip()
    assert any(re.fullmatch(use.line.replace("PID", pid), line) for line in log), log
    assert log[-1] == "refused: faults is in use"
    assert guest.initstate("faults") == "coming"
    guest.run("kill", pid)
    wait_for(guest, f"! kill -0 {pid}")
    assert guest.load(rescue, {"target": "faults"}, call="init") == OK, rescue_log(guest)
    assert guest.unload("faults", seconds=20) == OK
    assert guest.unload("force_rmmod") == OK
    assert len(find_splats(guest.log())) == 1


def test_force_retires_what_is_in_use(guest: Guest, upload: Upload, holder: str) -> None:
    """An open file of /proc outlives what is behind it: whoever reads on gets an error."""
    faults, rescue = upload("faults"), upload("force_rmmod")
    load_and_wait(guest, faults, "proc")
    guest.run("sh", "-c", f"{holder} open /proc/faults_proc/inner > /tmp/held 2>&1 & echo $! > /tmp/pid")
    wait_for(guest, "grep -q ready /tmp/held")
    let_die(guest)
    assert guest.load(rescue, {"target": "faults", "force": "1"}, call="init") == RETIRED, rescue_log(guest)
    assert "force: faults is given up although it is in use" in rescue_log(guest)
    assert guest.load(faults, {"fault": "0", "scenario": "proc"}) == OK
    pid = guest.read("/tmp/pid").strip()
    assert guest.run("cat", f"/proc/{pid}/fd/7").returncode != 0
    guest.run("kill", pid)
    wait_for(guest, f"! kill -0 {pid}")
    assert guest.unload("faults", seconds=20) == OK
    assert len(find_splats(guest.log())) == 1


def test_where_it_is_mounted_is_named(guest: Guest, upload: Upload) -> None:
    faults, rescue = upload("faults"), upload("force_rmmod")
    load_and_wait(guest, faults, "filesystem")
    assert guest.run("sh", "-c", "mkdir /tmp/there && mount -t faultsfs none /tmp/there").returncode == 0
    let_die(guest)
    assert guest.load(rescue, {"target": "faults"}, call="init") == "EBUSY"
    log = rescue_log(guest)
    assert any(re.fullmatch(r"held by: pid 1, \S+, mount of faultsfs at /tmp/there", line) for line in log), log
    assert log[-1] == "refused: faults is in use"
    # Out of everybody's sight, but a program is in it still.
    guest.run("sh", "-c", "cd /tmp/there; sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/holder")
    assert guest.run("umount", "-l", "/tmp/there").returncode == 0
    assert guest.load(rescue, {"target": "faults"}, call="init") == "EBUSY"
    assert "held by: a mount of faultsfs that no process sees" in rescue_log(guest)
    guest.run("sh", "-c", "kill $(cat /tmp/holder)")
    wait_for(guest, "! kill -0 $(cat /tmp/holder)")
    assert guest.load(rescue, {"target": "faults"}, call="init") == OK, rescue_log(guest)
    assert guest.unload("faults", seconds=20) == OK
    assert len(find_splats(guest.log())) == 1


def test_explain_touches_nothing(guest: Guest, upload: Upload) -> None:
    faults, rescue = upload("faults"), upload("force_rmmod")
    assert guest.load(faults, {"fault": "0", "scenario": "misc"}) == OK
    guest.run("sh", "-c", "sleep 1000 7</dev/faults_misc > /dev/null 2>&1 & echo $! > /tmp/holder")
    pid = guest.read("/tmp/holder").strip()
    assert guest.load(rescue, {"target": "faults", "explain": "1"}, call="init") == OK
    log = "\n".join(rescue_log(guest))
    for line in (
        "target: faults",
        "state: live",
        "reference count: 1",
        "uses: no module",
        r"registered: misc device: faults_misc, minor \d+",
        f"held by: pid {pid}, sleep, descriptor 7, /dev/faults_misc",
        "refused: faults is in use",
        "outcome: would be refused",
    ):
        assert re.search(f"^{line}$", log, re.MULTILINE), (line, log)
    told = json.loads(guest.read("/sys/module/force_rmmod/explain.json"))
    assert (told["target"], told["refcount"], told["complete"]) == ("faults", 1, True)
    assert [(one["kind"], one["pid"], one["path"]) for one in told["holders"]] == [
        ("file", int(pid), "/dev/faults_misc")
    ]
    assert told["refusals"] == ["faults is in use"]
    assert guest.refcnt("faults") == 1
    assert exists(guest, "/dev/faults_misc")
    assert guest.unload("force_rmmod") == OK
    guest.run("kill", pid)
    guest.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do kill -0 $(cat /tmp/holder) || break; sleep 0.1; done")
    assert guest.unload("faults") == OK
    assert find_splats(guest.log()) == ()
