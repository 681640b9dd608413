# SPDX-License-Identifier: MIT
"""force_rmmod that stays: a rescue on demand, and the guard."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from kmod_harness.base.errors import GuestPanic
from kmod_harness.base.progress import Silent
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.machine.machine import Machine
from kmod_harness.module.module import resolve_module
from kmod_harness.run.fleet import MachineOptions
from kmod_harness.run.workbench import Options, Workbench
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.splats import find_splats
from tests.vm import test_rescue
from tests.vm.conftest import BuildChanged, Upload, rescue_log

pytestmark = [pytest.mark.vm, pytest.mark.spread]

PARAMETERS = "/sys/module/force_rmmod/parameters"
GUARD = "/sys/module/force_rmmod/guard"
TRACING = "/sys/kernel/tracing"

readall = test_rescue.readall  # the fixture


def test_another_target(guest: Guest, upload: Upload) -> None:
    """While it is loaded, a name that is written is rescued."""
    rescue, faults = upload("force_rmmod"), upload("faults")
    assert guest.load(upload("depend_s")) == OK
    assert guest.load(rescue, {"target": "depend-s"}, call="init") == OK
    assert guest.read(f"{PARAMETERS}/target") == "depend_s\n"
    assert guest.load(faults, {"scenario": "null"}, call="init") == KILLED
    assert guest.write(f"{PARAMETERS}/explain", "1") == OK
    assert guest.write(f"{PARAMETERS}/target", "faults\n") == OK
    assert "outcome: would be undone and reset" in rescue_log(guest)
    assert guest.initstate("faults") == "coming"
    assert guest.write(f"{PARAMETERS}/explain", "0") == OK
    assert guest.write(f"{PARAMETERS}/target", "faults\n") == OK
    assert guest.unload("faults") == OK
    assert "No such file or directory" in guest.write(f"{PARAMETERS}/target", "faults\n")
    for wrong in ("\n", "force-rmmod\n", "x" * 300):
        assert "Invalid argument" in guest.write(f"{PARAMETERS}/target", wrong)
    assert guest.unload("force_rmmod") == OK
    assert len(find_splats(guest.log())) == 1


# ---- the guard -----------------------------------------------------------------------------------------------


def guarded(guest: Guest, upload: Upload, names: str = "*") -> None:
    """Load force_rmmod as the guard of these modules."""
    assert guest.load(upload("force_rmmod"), {"guard": names}, call="init") == OK, rescue_log(guest)


def report(guest: Guest) -> dict[str, Any]:
    """What the guard has seen."""
    answer = json.loads(guest.read(f"{GUARD}/report.json"))
    assert isinstance(answer, dict)
    return answer


def die(guest: Guest, faults: str, scenario: str) -> str:
    """A scenario under the guard: its call fails, and it is gone; the guard's line about it."""
    if scenario == "exit":
        assert guest.load(faults, {"scenario": scenario}) == OK
        assert guest.unload("faults") == OK
    else:
        assert guest.load(faults, {"scenario": scenario}) == "EFAULT", (scenario, rescue_log(guest)[-9:])
    assert "faults" not in guest.modules(), scenario
    line = rescue_log(guest)[-1]
    assert line.startswith("guard: ") and " of faults died at " in line, line
    return line


def check_well(guest: Guest, faults: str, scenario: str) -> None:
    """It comes and goes as ever, by the system call that is the first to suffer."""
    parameters = {"fault": "0", "scenario": scenario}
    assert guest.load(faults, parameters, call="finit") == OK, (scenario, rescue_log(guest)[-9:])
    assert guest.unload("faults") == OK, scenario


def wait_for(guest: Guest, condition: str) -> None:
    """Until a shell command of the guest succeeds."""
    loop = f"i=0; until {condition}; do i=$((i + 1)); [ $i -lt 150 ] || exit 1; sleep 0.2; done"
    assert guest.run("sh", "-c", loop, seconds=60).returncode == 0, condition


# How it dies, and what the guard's line says was mended, by a regular expression.
SPLAT_KINDS = {
    "null": "nothing",
    "bug": "nothing",
    "protection": "nothing",
    "jump": "nothing",
    "atomic": "preemption was off .*|nothing",  # nothing: a kernel that does not count
    "irqs_off": "interrupts were off",
    "rcu": "RCU was being read|nothing",
    "locked": "lock rtnl_mutex",
    "setter": "nothing",
    "exit": "nothing",
    "probe": "nothing",
    "probe_devres": "nothing",
    "probe_attach": "nothing",
}


@pytest.mark.parametrize("panic", [0, 1], ids=["", "panic_on_oops"])
def test_every_kind(guest: Guest, upload: Upload, panic: int) -> None:
    """The call fails, the module is gone, and comes and goes as ever."""
    guarded(guest, upload)
    faults = upload("faults")
    assert guest.write("/proc/sys/kernel/panic_on_oops", str(panic)) == OK
    for kind, repaired in SPLAT_KINDS.items():
        mark = guest.log_mark()
        line = die(guest, faults, kind)
        assert re.search(f"; repaired: ({repaired})$", line), line
        check_well(guest, faults, kind)
        assert len(find_splats(guest.log(mark))) == 1, kind
    assert report(guest)["died"] == len(SPLAT_KINDS)
    assert guest.unload("force_rmmod") == OK


def test_the_articles_module(guest: Guest, upload: Upload) -> None:
    """The whole report, and one line more."""
    guarded(guest, upload, "depend_s,vms")
    vms = upload("vms")
    assert guest.load(vms, {"fault": "1"}) == "EFAULT"
    (splat,) = find_splats(guest.log())
    assert (splat.kind, splat.module) == ("null-deref", "vms")
    assert any("vms_init" in line for line in splat.lines)
    assert re.fullmatch(
        r"guard: init of vms died at vms_\S+ \[vms\] \(Oops\); "
        r"undone: .*input device input\d+, .*platform device vms, .*; repaired: nothing",
        rescue_log(guest)[-1],
    ), rescue_log(guest)
    for _ in range(5):
        assert guest.load(vms, call="finit") == OK
        assert guest.unload("vms") == OK
    (event,) = report(guest)["events"]
    assert (event["module"], event["call"], event["reason"], event["repaired"]) == ("vms", "init", "Oops", "")
    assert event["place"] in rescue_log(guest)[-1]
    text = guest.read(f"{GUARD}/report")
    assert text.startswith("guarded: depend_s,vms\nmodules: 0\ncalls: ")
    assert "\ndied: 1\nstay: 0\n" in text
    assert "s: init of vms died at " in text
    assert len(find_splats(guest.log())) == 1
    assert "Bad address" in guest.run("insmod", vms, "fault=1").output
    assert "vms" not in guest.modules()


def test_what_it_leaves(guest: Guest, upload: Upload, readall: str) -> None:
    """Everything that the rescue finds. What is stale may be taken for alive: then it stays, which is safe."""
    guarded(guest, upload, "faults")
    faults = upload("faults")
    stay = 0
    for scenario in test_rescue.LEFT:
        mark = guest.log_mark()
        answer = guest.load(faults, {"scenario": scenario.name})
        assert answer in ("EFAULT", KILLED), scenario.name
        assert "faults" not in guest.modules()
        stay += answer == KILLED
        line = rescue_log(guest)[-1]
        log = [record.text.removeprefix("force_rmmod: ") for record in guest.log(mark)]
        undone = [pattern for pattern in scenario.log if pattern.startswith("undo: ")]
        for pattern in undone:
            assert any(re.fullmatch(pattern, text) for text in log), "\n".join((f"missing: {pattern}", *log))
        assert ("undone: nothing" in line) == (not undone)
        check_well(guest, faults, scenario.name)
        assert len(find_splats(guest.log(mark))) == 1, scenario.name
    assert stay <= len(test_rescue.LEFT) // 10, rescue_log(guest)
    mark = guest.log_mark()
    test_rescue.read_everything(guest, readall)
    assert find_splats(guest.log(mark)) == ()


def test_what_no_pointer_leads_to(guest: Guest, upload: Upload) -> None:
    """The journal knows it, and in which order it came."""
    guarded(guest, upload)
    faults = upload("faults")
    line = die(guest, faults, "hidden")
    undone = re.search("undone: (.*); repaired", line)
    assert undone
    order = [undone[1].index(name) for name in ("proc entry", "platform device", "workqueue")]
    assert order == sorted(order), line
    check_well(guest, faults, "hidden")


def test_probes_by_breakpoint(guest: Guest, upload: Upload, build_changed: BuildChanged) -> None:
    """Where ftrace cannot make them, as behind its own call, a function is known all the same."""
    offset = "at->kp.offset = IS_ENABLED(CONFIG_X86_KERNEL_IBT) ? 9 : 5;"
    handler = "at->kp.pre_handler = fr_journal_hit;"
    ko = build_changed("force_rmmod", ("guard/journal.c", handler, f"{handler}\n\t{offset}"))
    assert guest.write("/proc/sys/debug/kprobes-optimization", "0") == OK
    assert guest.load(guest.put(ko), {"guard": "*"}, call="init") == OK
    faults = upload("faults")
    line = die(guest, faults, "hidden")
    assert "platform device faults_hidden" in line
    check_well(guest, faults, "hidden")


def test_a_long_report(guest: Guest, upload: Upload, build_changed: BuildChanged) -> None:
    """It is whole, whatever the list of names; what a page has no room for are the oldest events."""
    ko = build_changed("force_rmmod", ("guard/report.c", "#define FR_EVENTS 8", "#define FR_EVENTS 32"))
    names = "faults,a\\b,\u00e4," + ",".join(f"driver_{number}" for number in range(80))
    assert guest.load(guest.put(ko), {"guard": names}, call="init") == OK
    faults = upload("faults")
    for _ in range(16):
        die(guest, faults, "hidden")
    die(guest, faults, "bug")
    told = report(guest)
    assert told["guarded"].startswith("faults,a/b,  ,driver_0,")
    assert (told["died"], len(told["guarded"])) == (17, 255)
    assert 4 < len(told["events"]) < 17
    assert told["events"][-1]["place"].startswith("fa_die_bug")
    assert "of faults died at fa_die_bug" in guest.read(f"{GUARD}/report").splitlines()[-1]


def test_not_its_business(guest: Guest, upload: Upload) -> None:
    """A module that is not guarded dies as ever; and is rescued by the guard that is there."""
    guarded(guest, upload, "vms")
    faults = upload("faults")
    assert guest.load(faults, {"scenario": "null"}, call="init") == KILLED
    assert guest.initstate("faults") == "coming"
    assert report(guest)["died"] == 0
    assert guest.write(f"{PARAMETERS}/target", "faults") == OK
    assert guest.unload("faults") == OK
    check_well(guest, faults, "null")


def test_while_functions_are_traced(guest: Guest, upload: Upload) -> None:
    """The tracer waits for the returns of functions that do not return any more: it is told."""
    guarded(guest, upload)
    faults = upload("faults")
    if "function_graph" not in guest.read(f"{TRACING}/available_tracers").split():
        pytest.skip("this kernel has no tracer function_graph")
    assert guest.write(f"{TRACING}/set_graph_function", "fr_guard_run") == OK
    assert guest.write(f"{TRACING}/current_tracer", "function_graph") == OK
    for number, kind in enumerate(("null", "setter", "exit"), 1):
        # What the tracer has noted leads into the module: it stays.
        assert guest.load(faults, {"scenario": kind}) == (OK if kind == "exit" else KILLED)
        if kind == "exit":
            assert guest.unload("faults") == KILLED
        repaired = f"; repaired: functions whose return is traced did not return; stays as faults~{number}"
        assert rescue_log(guest)[-1].endswith(repaired), rescue_log(guest)[-9:]
        assert guest.write(f"{TRACING}/tracing_on", "1") == OK  # an oops turns it off
        check_well(guest, faults, kind)
    assert guest.write(f"{TRACING}/current_tracer", "nop") == OK
    assert guest.unload("force_rmmod") == OK
    assert len(find_splats(guest.log())) == 3


@pytest.mark.parametrize("scenario", ["interrupt", "overflow"])
def test_not_to_be_saved(machine: Machine, guest: Guest, upload: Upload, scenario: str) -> None:
    """An interrupt that dies while a guarded init runs, and a full stack, are still the end."""
    guarded(guest, upload)
    faults = upload("faults")
    with pytest.raises(GuestPanic):
        guest.load(faults, {"scenario": scenario})
    said = any("guard: init of faults overflowed its stack" in line for line in machine.console.tail(400))
    assert said == (scenario == "overflow")


def test_comes_and_goes(guest: Guest, upload: Upload) -> None:
    """The guard may come and go while modules are in; while an init runs, it stays."""
    faults, depend_s = upload("faults"), upload("depend_s")
    assert guest.load(faults, {"scenario": "exit"}) == OK
    assert guest.load(depend_s) == OK
    guarded(guest, upload)
    assert report(guest)["modules"] >= 2
    assert guest.unload("faults") == OK
    assert "guard: exit of faults died" in rescue_log(guest)[-1]
    guest.run("sh", "-c", f"kmodctl finit {faults} scenario=sleep > /tmp/loader 2>&1 < /dev/null &")
    wait_for(guest, "grep -q ^faults.*Loading /proc/modules")
    assert guest.unload("force_rmmod") == "EAGAIN"
    assert guest.load(upload("vms"), {"fault": "1"}) == "EFAULT"  # meanwhile
    assert guest.write("/sys/module/faults/parameters/release", "1") == OK
    wait_for(guest, "[ -s /tmp/loader ]")
    assert guest.read("/tmp/loader") == "0\n"
    assert guest.unload("force_rmmod") == OK
    assert guest.unload("faults") == OK
    assert guest.unload("depend_s") == OK
    for _ in range(5):
        guarded(guest, upload)
        assert guest.load(depend_s) == OK
        assert guest.unload("force_rmmod") == OK
        assert guest.unload("depend_s") == OK
    assert guest.load(faults, {"scenario": "null"}, call="init") == KILLED
    assert len(find_splats(guest.log())) == 3


def check_stays(guest: Guest, faults: str, scenario: str, call: Literal["init", "finit"]) -> list[str]:
    """The call of insmod is killed as without a guard, but the name is free; the log of force_rmmod."""
    mark = guest.log_mark()
    ghosts = sum(name.startswith("faults~") for name in guest.modules())
    assert guest.load(faults, {"scenario": scenario}, call=call) == KILLED
    log = [record.text.removeprefix("force_rmmod: ") for record in guest.log(mark)]
    ghost = f"faults~{ghosts + 1}"
    assert any(re.fullmatch(rf"guard: .* of faults died at .*; stays as {ghost}", line) for line in log), log
    assert guest.initstate(ghost) == "going"
    assert len(find_splats(guest.log(mark))) == 1
    for again in ("init", "finit"):
        assert guest.load(faults, call=again) == OK, log
        assert guest.unload("faults") == OK
    return log


@pytest.mark.parametrize("panic", [0, 1], ids=["", "panic_on_oops"])
def test_what_may_be_alive_stays(guest: Guest, upload: Upload, readall: str, panic: int) -> None:
    """Whatever the guard cannot prove dead is retired, then insmod ends as it would without it."""
    guarded(guest, upload)
    faults = upload("faults")
    assert guest.write("/proc/sys/kernel/panic_on_oops", str(panic)) == OK
    calls: tuple[tuple[str, Literal["init", "finit"]], ...] = (("congestion", "init"), ("rcu_self", "finit"))
    for scenario, call in calls:
        log = check_stays(guest, faults, scenario, call)
        assert any(re.match(r"alive: .* leads to .*faults", line) for line in log), log
    told = report(guest)
    assert (told["died"], told["stay"]) == (2, 2)
    assert [event["stays"] for event in told["events"]] == ["faults~1", "faults~2"]
    assert {event["module"] for event in told["events"]} == {"faults"}
    assert guest.unload("force_rmmod", seconds=20) == OK
    test_rescue.exercise(guest)
    test_rescue.read_everything(guest, readall)
    assert len(find_splats(guest.log())) == 2


def test_who_is_inside_stays_inside(guest: Guest, upload: Upload) -> None:
    """A thread that does not end: the module it runs in stays, and nobody waits."""
    guarded(guest, upload)
    faults = upload("faults")
    log = check_stays(guest, faults, "stubborn", "finit")
    assert any(re.match("faults~1 keeps: kernel thread faults_stubborn, ", line) for line in log), log
    assert guest.unload("force_rmmod", seconds=20) == OK
    assert guest.write("/sys/module/faults~1/parameters/release", "1") == OK
    wait_for(guest, "! cat /proc/[0-9]*/comm | grep -q faults_stubborn")
    assert len(find_splats(guest.log())) == 1


def test_a_dead_exit_that_stays(guest: Guest, upload: Upload) -> None:
    """As a dead init; rmmod is killed."""
    guarded(guest, upload)
    faults = upload("faults")
    assert guest.load(faults, {"scenario": "probe_remove"}) == OK
    assert guest.unload("faults") == KILLED
    assert "stays as faults~1" in rescue_log(guest)[-1]
    assert guest.load(faults, call="finit") == OK
    assert guest.unload("faults") == OK
    assert guest.unload("force_rmmod", seconds=20) == OK
    assert len(find_splats(guest.log())) == 1


def test_found_before_it_is_told(guest: Guest, upload: Upload, build_changed: BuildChanged) -> None:
    """A guard that comes may find a module live and hear of it then: it takes its exit once."""
    told = "\t\tfr_guard_live(data);"
    ko = build_changed("force_rmmod", ("guard/guard.c", told, f"{told[:-1]}, fr_guard_live(data);"))
    assert guest.load(guest.put(ko), {"guard": "*"}, call="init") == OK
    faults = upload("faults")
    assert guest.load(faults, {"scenario": "exit"}) == OK
    assert guest.unload("faults") == OK
    assert "guard: exit of faults died" in rescue_log(guest)[-1]
    check_well(guest, faults, "exit")


# ---- the harness ---------------------------------------------------------------------------------------------

BROKEN = """
#include <linux/module.h>

static int __init broken_init(void)
{
	WRITE_ONCE(*(int *)NULL, 1);
	return 0;
}

static void __exit broken_exit(void)
{
}

module_init(broken_init);
module_exit(broken_exit);
MODULE_DESCRIPTION("breaks on purpose");
MODULE_LICENSE("GPL");
"""


@pytest.mark.one_kernel
def test_a_broken_module_costs_one_error(workbench: Workbench, kernel: Kernel, tmp_path: Path) -> None:
    """`vm-test --guard`: it crashed all the same, but the machine serves the next module."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "broken.c").write_text(BROKEN, encoding="utf-8")
    (folder / "Kbuild").write_text("obj-m := broken.o\n", encoding="utf-8")
    modules = [resolve_module(str(folder)), resolve_module("depend_s")]
    machines = MachineOptions(isolation="kernel")
    with contextlib.closing(Workbench(workbench.settings, Silent(), Options(machines, guard=True))) as bench:
        bench.build([(module, kernel) for module in modules])
        broken, good = (bench.check(module, kernel, lambda stage: None)[0] for module in modules)
    assert broken.verdict.outcome is Outcome.CRASHED
    assert broken.verdict.reasons[0].startswith("round 1: loading: expected ok, saw EFAULT")
    assert any("saw in broken_init [broken]: BUG: kernel NULL" in reason for reason in broken.verdict.reasons)
    assert good.verdict.passed, good.verdict.reasons
    assert good.observation.console_log == broken.observation.console_log
