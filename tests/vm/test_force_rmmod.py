# SPDX-License-Identifier: MIT
"""What the person at the board has: the program force-rmmod, and `invoke rescue` over SSH."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Exit
from kmod_harness.features.rescue.command import Request, rescue
from kmod_harness.features.rescue.package import build_package, program_sources
from kmod_harness.kbuild.program import build_program
from kmod_harness.kbuild.toolchain import resolve_toolchain
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import canonical
from kmod_harness.machine.machine import Machine
from kmod_harness.run.targets import Choice
from kmod_harness.run.workbench import Workbench, rescue_module
from kmod_harness.target.address import Address
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED, OK, Result
from kmod_harness.verdict.splats import find_splats
from tests.vm.conftest import Build, BuildChanged

pytestmark = [pytest.mark.vm, pytest.mark.spread]


@dataclass
class Bench:
    """A guest with the program in it."""

    guest: Guest
    build: Build
    program: str  # its path in the guest
    confined: str  # path of the helper

    def load(self, name: str, parameters: dict[str, str] | None = None) -> str:
        """Build a module of kmod/ and insert it; returns its path in the guest."""
        (ko,) = self.build(name)
        path = self.guest.put(ko)
        assert self.guest.load(path, parameters) in (OK, KILLED)
        return path

    def die(self) -> str:
        """Get vms stuck; returns its path in the guest."""
        vms = self.load("vms", {"fault": "1"})
        assert self.guest.initstate("vms") == "coming"
        return vms

    def force_rmmod(self, *arguments: str, how: str = "") -> Result:
        """Run the program."""
        return self.guest.run(*([self.confined, how] if how else []), self.program, *arguments, seconds=60)

    def ask(self, *arguments: str, how: str = "") -> dict[str, Any]:
        """Run the program with --json; the object it prints, whose exit code must be the true one."""
        result = self.force_rmmod("--json", *arguments, how=how)
        answer = json.loads(result.output)
        assert answer["exit_code"] == result.returncode, result.output
        assert isinstance(answer, dict)
        return answer

    def check_left_well(self) -> None:
        """The rescue module is gone, and nothing happened that should not."""
        assert "force_rmmod" not in self.guest.modules()
        assert find_splats(self.guest.log()) == ()


@pytest.fixture
def bench(guest: Guest, kernel: Kernel, workbench: Workbench, build_module: Build) -> Bench:
    toolchain = resolve_toolchain(kernel, workbench.settings, workbench.progress)
    helper = build_program([Path(__file__).with_name("confined.c")], toolchain, workbench.settings)
    confined = guest.put(helper)
    program = guest.put_bytes(build_package(kernel, workbench), "force-rmmod")
    assert guest.run("chmod", "755", program, confined).returncode == 0
    return Bench(guest, build_module, program, confined)


def texts(answer: dict[str, Any]) -> list[str]:
    """What the rescue module said."""
    return [line["text"] for line in answer["log"]]


def test_rescued(bench: Bench) -> None:
    vms = bench.die()
    answer = bench.ask("vms")
    assert answer["exit_code"] == Exit.OK, answer
    assert (answer["target"], answer["outcome"]) == ("vms", "rescued")
    assert answer["notes"] == ["vms: asking the carried force_rmmod.ko"]
    assert {"target: vms", "used by: no module", "vms can be removed now: rmmod vms"} <= set(texts(answer))
    assert "vms" not in bench.guest.modules()
    assert "force_rmmod" not in bench.guest.modules()
    for _ in range(5):
        assert bench.guest.load(vms, call="finit") == OK
        assert bench.guest.unload("vms") == OK
    assert len(find_splats(bench.guest.log())) == 1


def test_explained(bench: Bench) -> None:
    """Told, whether stuck or in use; nothing changes, and the rescue works afterwards."""
    bench.die()
    bench.load("depend_s")
    bench.load("depend_a")
    used = bench.ask("--explain", "depend_s")
    assert (used["exit_code"], used["outcome"]) == (Exit.OK, "explained")
    assert used["reason"] == "depend_s would not be rescued: other modules use depend_s"
    for _ in range(2):
        stuck = bench.ask("--explain", "--force", "vms")
        assert (stuck["exit_code"], stuck["outcome"]) == (Exit.OK, "explained")
        assert stuck["reason"] == "vms was not touched"
        assert {"target: vms", "used by: no module"} <= set(texts(stuck))
        assert any("platform device vms" in text for text in texts(stuck)), stuck
        assert bench.guest.initstate("vms") == "coming"
        assert bench.guest.unload("vms") == "EBUSY"
    rescued = bench.ask("vms")
    assert rescued["outcome"] == "rescued", rescued
    assert {"depend_s", "depend_a"} <= set(bench.guest.modules())


def test_explained_as_data(bench: Bench) -> None:
    """Every key, for a module that is well and in use, one that is stuck, and one that is used."""
    guest = bench.guest
    bench.load("faults", {"fault": "0", "scenario": "misc"})
    # A command that looks like something else, and waits for ever.
    script = "exec 7</dev/faults_misc; printf 'a, socket 9' > /proc/self/comm; read line < /tmp/fifo"
    guest.run(
        "sh", "-c", f'mkfifo /tmp/fifo; sh -c "{script}" > /dev/null 2>&1 & echo $! > /tmp/pid; sleep 0.5'
    )
    pid = int(guest.read("/tmp/pid"))
    held = bench.ask("--explain", "faults")
    assert (held["state"], held["refcount"], held["used_by"], held["uses"]) == ("live", 1, [], [])
    (holder,) = held["holders"]
    assert holder == {
        "kind": "file",
        "pid": pid,
        "command": "a, socket 9",
        "descriptor": 7,
        "path": "/dev/faults_misc",
        "text": f"pid {pid}, a, socket 9, descriptor 7, /dev/faults_misc",
    }
    assert [one["kind"] for one in held["registered"]] == ["misc device", "device"]
    assert held["registered"][0]["text"].startswith("faults_misc, minor ")
    assert (held["rescue"], held["refusals"], held["steps"]) == (
        "would be refused",
        ["faults is in use"],
        [],
    )

    bench.die()
    stuck = bench.ask("--explain", "vms")
    assert stuck["state"].startswith("loading")
    assert (stuck["refcount"], stuck["holders"], stuck["refusals"]) == (1, [], [])
    assert stuck["rescue"] == "would be undone and reset"
    assert {one["kind"] for one in stuck["registered"]} >= {"platform device"}
    assert any(step.startswith("undo platform device vms") for step in stuck["steps"])
    assert stuck["steps"][-2:] == [
        "reset: state live, reference count 0, neither init nor exit",
        "rmmod vms",
    ]
    done = bench.ask("vms")
    assert done["outcome"] == "rescued"
    assert done["rescue"] is None
    assert [step for step in done["steps"] if step.startswith("platform device vms")]

    bench.load("depend_s")
    bench.load("depend_a")
    assert bench.ask("--explain", "depend_a")["uses"] == ["depend_s"]
    used = bench.ask("--explain", "depend_s")
    assert (used["used_by"], used["rescue"]) == (["depend_a"], "would be refused")
    assert used["refusals"] == ["other modules use depend_s"]
    assert bench.ask("--explain", "depend_a")["steps"] == ["rmmod depend_a"]
    missing = bench.ask("--explain", "no_such")
    assert (missing["state"], missing["refcount"], missing["rescue"]) == (None, None, None)


def test_retired_for_what_is_alive(bench: Bench) -> None:
    """Found by the search of memory alone; without that nothing is proven."""
    guest = bench.guest
    bench.load("faults", {"scenario": "congestion"})
    for options in ((), ("--no-scan",)):
        assert bench.ask("--explain", *options, "faults")["rescue"] == "would be retired"
    assert guest.initstate("faults") == "coming"
    answer = bench.ask("faults")
    assert (answer["exit_code"], answer["outcome"]) == (Exit.RETIRED, "retired")
    assert answer["reason"].startswith("faults is faults~1 now, and stays (")
    assert answer["refusals"] == []
    again = bench.ask("faults~1")
    assert (again["exit_code"], again["reason"]) == (
        Exit.CHECK_FAILED,
        "faults~1 cannot be proven dead, and stays",
    )
    assert "faults~1: " in bench.force_rmmod("--list").output
    bench.load("faults", {"scenario": "null"})
    assert bench.ask("--no-scan", "faults")["outcome"] == "retired"
    bench.load("faults", {"fault": "0"})
    busy = bench.force_rmmod("--sweep")
    assert busy.output.count("stays, as a module of its old name is loaded") == 2
    assert guest.unload("faults") == OK
    swept = bench.force_rmmod("--sweep")
    assert (swept.returncode, swept.output.splitlines()[-1]) == (Exit.RETIRED, "swept: 1 removed, 1 stay")
    assert [name for name in guest.modules() if "~" in name] == ["faults~1"]
    bench.load("faults", {"scenario": "null"})
    assert bench.ask("faults")["outcome"] == "rescued"
    assert bench.ask("--risk-panic", "faults")["outcome"] == "usage"


def test_told_in_words(bench: Bench) -> None:
    bench.die()
    kept = bench.force_rmmod("--keep", "vms")
    assert kept.returncode == Exit.OK
    lines = kept.output.splitlines()
    assert lines[0] == "vms: asking the carried force_rmmod.ko"
    assert "  target: vms" in lines
    assert lines[-1] == "removable: vms can be removed now"
    assert bench.guest.initstate("vms") == "live"
    removed = bench.force_rmmod("vms")
    assert removed.output.splitlines()[-1] == "rescued: vms is removed"
    assert "vms" not in bench.guest.modules()


def test_a_file_instead_of_what_is_carried(bench: Bench, kernel: Kernel, workbench: Workbench) -> None:
    """Bare, the program looks beside itself; --module comes before everything."""
    guest = bench.guest
    toolchain = resolve_toolchain(kernel, workbench.settings, workbench.progress)
    bare = build_program(program_sources(rescue_module()), toolchain, workbench.settings)
    bench.program = guest.put_bytes(bare.read_bytes(), "bare")
    guest.run("chmod", "755", bench.program)
    depend_s = bench.load("depend_s")
    assert "no force_rmmod.ko is found" in bench.ask("depend_s")["reason"]
    wrong = bench.ask("--module", depend_s, "depend_s")
    assert (wrong["exit_code"], wrong["reason"]) == (
        Exit.USAGE,
        f"{depend_s} is not the rescue module, but depend_s",
    )
    (ko,) = bench.build("force_rmmod")
    elsewhere = guest.put_bytes(ko.read_bytes(), "other.ko")
    assert bench.ask("--keep", "--module", elsewhere, "depend_s")["exit_code"] == Exit.OK
    beside = guest.put(ko)
    answer = bench.ask("depend-s")  # the file's spelling of the name
    assert answer["outcome"] == "rescued"
    assert answer["notes"] == [f"depend_s: asking {beside}"]
    bench.check_left_well()


def test_refused(bench: Bench) -> None:
    bench.load("depend_s")
    bench.load("depend_a")
    used = bench.ask("depend_s")
    assert (used["exit_code"], used["reason"]) == (Exit.CHECK_FAILED, "other modules use depend_s")
    unknown = bench.ask("no_such")
    assert (unknown["exit_code"], unknown["outcome"]) == (Exit.CHECK_FAILED, "refused")
    assert "no_such" in unknown["reason"]
    assert "refused: other modules use depend_s" not in texts(unknown)  # of the rescue before
    itself = bench.ask("force-rmmod")
    assert (itself["exit_code"], itself["reason"]) == (
        Exit.CHECK_FAILED,
        "that is the rescue module itself",
    )
    # Words for people go to standard error.
    quiet = bench.guest.run("sh", "-c", f"{bench.program} depend_s 2>/dev/null | tail -n 1")
    assert not quiet.output.startswith("refused: ")
    loud = bench.guest.run("sh", "-c", f"{bench.program} depend_s 2>&1 >/dev/null")
    assert loud.output == "refused: other modules use depend_s\n"
    assert set(bench.guest.modules()) >= {"depend_s", "depend_a"}
    bench.check_left_well()


@pytest.mark.parametrize("listed", [False, True])
def test_built_in(bench: Bench, listed: bool) -> None:
    """One has parameters, and a folder in sysfs; another only a line in modules.builtin."""
    name = "printk"
    if listed:
        release = bench.guest.run("uname", "-r").output.strip()
        lines = bench.guest.read(f"/lib/modules/{release}/modules.builtin").splitlines()
        shown = set(bench.guest.run("ls", "/sys/module").output.split())
        name = next(one for one in map(canonical, (Path(line).name for line in lines)) if one not in shown)
    answer = bench.ask(name)
    assert (answer["exit_code"], answer["reason"]) == (
        Exit.CHECK_FAILED,
        f"{name} is built into the kernel",
    )
    bench.check_left_well()


WRONG_USAGE: tuple[tuple[list[str], str], ...] = (
    ([], "no name given"),
    ([""], "the name is empty"),
    (["x" * 300], "the name is longer than any module's"),
    (["/tmp/vms.ko"], "want a module's name as lsmod shows it, not a file"),
    (["vms force=1"], "no module's name has such characters"),
    (["a", "b"], "want one name"),
    (["--bogus", "vms"], "--bogus: an unknown option"),
    (["--module"], "--module: an option without its value"),
    (["--module", "/tmp/missing.ko", "vms"], "/tmp/missing.ko: No such file or directory"),
    (["--module", "/tmp", "vms"], "/tmp: Invalid argument"),
    (["--module", "/etc/passwd", "vms"], "/etc/passwd is no kernel module"),
)


@pytest.mark.one_kernel
def test_wrong_usage(bench: Bench) -> None:
    for arguments, reason in WRONG_USAGE:
        answer = bench.ask(*arguments)
        assert (answer["exit_code"], answer["outcome"]) == (Exit.USAGE, "usage"), arguments
        assert reason in answer["reason"], arguments
    assert bench.force_rmmod("--help").output.startswith("usage: force-rmmod ")
    assert not any("force_rmmod" in record.text for record in bench.guest.log())
    bench.check_left_well()


def test_without_the_right(bench: Bench) -> None:
    bench.load("depend_s")
    answer = bench.ask("depend_s", how="powerless")
    assert (answer["exit_code"], answer["outcome"]) == (Exit.CHECK_FAILED, "refused")
    assert "CAP_SYS_MODULE" in answer["reason"]
    assert "depend_s" in bench.guest.modules()
    bench.check_left_well()


# File that forbids loading, what is written there, what the refusal says.
FORBIDDEN = {
    "modules disabled": ("/proc/sys/kernel/modules_disabled", "1", "kernel.modules_disabled is 1"),
    "locked down": ("/sys/kernel/security/lockdown", "integrity", "locked down (integrity)"),
    "only signed modules": ("/sys/module/module/parameters/sig_enforce", "Y", "signed"),
}


@pytest.mark.parametrize("why", FORBIDDEN)
def test_loading_is_forbidden(bench: Bench, why: str) -> None:
    file, value, reason = FORBIDDEN[why]
    bench.load("depend_s")
    bench.guest.run("mount", "-t", "securityfs", "securityfs", "/sys/kernel/security")
    assert bench.guest.write(file, value) == OK
    answer = bench.ask("depend_s")
    assert answer["exit_code"] == Exit.CHECK_FAILED
    assert reason in answer["reason"]
    bench.check_left_well()


def test_hidden_addresses_and_log(bench: Bench) -> None:
    """The rescue needs no address from /proc/kallsyms, and works where its words cannot be read."""
    bench.load("depend_s")
    assert bench.guest.write("/proc/sys/kernel/kptr_restrict", "2") == OK
    assert bench.guest.write("/proc/sys/kernel/dmesg_restrict", "1") == OK
    assert bench.ask("--keep", "depend_s")["exit_code"] == Exit.OK
    unseen = bench.ask("no_such", how="logless")
    assert unseen["exit_code"] == Exit.CHECK_FAILED
    assert unseen["log"] == []
    assert "cannot be shown" in unseen["notes"][0]
    assert unseen["reason"] == "no module no_such is loaded"
    bench.load("depend_a")
    used = bench.ask("depend_s", how="logless")
    assert (used["exit_code"], used["outcome"]) == (Exit.CHECK_FAILED, "refused")
    assert (used["reason"], used["used_by"]) == ("other modules use depend_s", ["depend_a"])
    assert bench.guest.unload("depend_a") == OK
    rescued = bench.ask("depend_s", how="logless")
    assert (rescued["exit_code"], rescued["outcome"]) == (Exit.OK, "rescued")
    bench.check_left_well()


def test_kernel_without_kprobes(bench: Bench, build_changed: BuildChanged) -> None:
    """The rescue module cannot look anything up: the program hands it what /proc/kallsyms shows."""
    # Struct module, and so what the headers say, has to be that of this kernel, which has kprobes.
    end = "#endif /* KMOD_COMPAT_H */"
    ko = build_changed(
        "force_rmmod",
        ("../include/compat.h", end, f"#undef CONFIG_KPROBES\n{end}"),
        ("kernel/lookup.c", "!register_kprobe(&probe)", "false"),
        ("undo/kprobe.c", '"kprobe_table"', '"no_kprobe_table"'),
    )
    blind = bench.guest.put_bytes(ko.read_bytes(), "blind.ko")
    bench.die()
    assert bench.guest.write("/proc/sys/kernel/kptr_restrict", "2") == OK
    hidden = bench.ask("--module", blind, "vms")
    assert (hidden["exit_code"], hidden["outcome"]) == (Exit.CHECK_FAILED, "refused")
    assert hidden["reason"].startswith("not found: ")
    assert bench.guest.initstate("vms") == "coming"
    assert bench.guest.write("/proc/sys/kernel/kptr_restrict", "0") == OK
    answer = bench.ask("--module", blind, "vms")
    assert (answer["exit_code"], answer["outcome"]) == (Exit.OK, "rescued"), answer
    assert "vms: once more, with the addresses in /proc/kallsyms" in answer["notes"]
    assert len(find_splats(bench.guest.log())) == 1


def test_for_another_kernel(bench: Bench) -> None:
    """Found out by the kernel; told with both names."""
    (ko,) = bench.build("force_rmmod")
    release = bench.guest.run("uname", "-r").output.strip().encode()
    image = ko.read_bytes()
    assert b"\0vermagic=" + release in image
    # Of two builds with symbol versions the release may differ; the rest of the line may not.
    for old, new in (
        (release, b"9" * len(release)),
        (b"SMP preempt", b"ZMP preempt"),
        (b"mod_unload", b"mod_unlxxx"),
    ):
        start = image.index(b"\0vermagic=")
        end = image.index(b"\0", start + 1)
        image = image[:start] + image[start:end].replace(old, new) + image[end:]
    other = bench.guest.put_bytes(image, "other.ko")
    bench.load("depend_s")
    answer = bench.ask("--module", other, "depend_s")
    assert answer["exit_code"] == Exit.CHECK_FAILED
    assert "is for another kernel" in answer["reason"]
    assert release.decode() in answer["reason"]
    assert "9" * len(release) in answer["reason"]
    bench.check_left_well()


def test_with_the_guard(bench: Bench) -> None:
    """The guard that is loaded is asked, and stays; what is asked for once is not left to it."""
    bench.die()
    (ko,) = bench.build("force_rmmod")
    assert bench.guest.load(bench.guest.put(ko), {"guard": "depend_s"}, call="init") == OK
    parameters = "/sys/module/force_rmmod/parameters"
    assert bench.guest.write(f"{parameters}/force", "1") == OK
    told = bench.ask("--explain", "--no-scan", "vms")
    assert (told["exit_code"], told["outcome"]) == (Exit.OK, "explained"), told
    assert bench.guest.initstate("vms") == "coming"
    answer = bench.ask("vms")
    assert (answer["exit_code"], answer["outcome"]) == (Exit.OK, "rescued"), answer
    assert answer["notes"] == ["vms: asking the guard that is loaded"]
    assert bench.ask("vms")["outcome"] == "refused"
    denied = bench.ask("depend_s", how="nobody")
    assert (denied["exit_code"], denied["outcome"]) == (Exit.CHECK_FAILED, "refused")
    assert "run this as root" in denied["reason"]
    for parameter, value in {"force": "Y", "explain": "N", "scan": "Y"}.items():
        assert bench.guest.read(f"{parameters}/{parameter}") == f"{value}\n"
    assert bench.guest.unload("force_rmmod") == OK


def test_two_at_once(bench: Bench) -> None:
    bench.load("depend_s")
    locked = bench.ask("depend_s", how="locked")
    assert (locked["exit_code"], locked["reason"]) == (Exit.CHECK_FAILED, "another rescue is under way")
    # By hand, which takes no lock.
    (ko,) = bench.build("force_rmmod")
    assert bench.guest.load(bench.guest.put(ko), {"target": "depend_s"}, call="init") == OK
    twice = bench.ask("depend_s")
    assert twice["exit_code"] == Exit.CHECK_FAILED
    assert twice["reason"].startswith("another rescue is under way")
    assert "force_rmmod" in bench.guest.modules()  # not ours to remove
    assert bench.guest.unload("force_rmmod") == OK
    # Many: each is told something true, and in the end the module is gone.
    script = (
        f"for i in 1 2 3 4 5; do {bench.program} --json depend_s > /tmp/answer$i & done; wait; cat /tmp/answer?"
    )
    output = bench.guest.run("sh", "-c", script, seconds=60).output
    answers = [json.loads("{" + text) for text in re.split(r"^\{", output, flags=re.MULTILINE)[1:]]
    assert len(answers) == 5
    assert [one["outcome"] for one in answers].count("rescued") == 1
    assert {one["outcome"] for one in answers} <= {"rescued", "refused"}
    assert all(one["reason"] == "another rescue is under way" or "depend_s" in one["reason"] for one in answers)
    bench.check_left_well()


def test_somebody_else_removes_it(bench: Bench) -> None:
    """An rmmod that tries all the time wins as soon as it can."""
    bench.die()
    answer = bench.ask("vms", how="rivalled")
    assert (answer["exit_code"], answer["outcome"]) == (Exit.OK, "rescued")
    assert answer["reason"] == "vms is gone: somebody else removed it"
    assert not {"vms", "force_rmmod"} & set(bench.guest.modules())
    vanished = bench.ask("vms")
    assert (vanished["exit_code"], vanished["outcome"]) == (Exit.CHECK_FAILED, "refused")


def test_interrupted(bench: Bench) -> None:
    bench.die()
    before = bench.ask("vms", how="interrupted")
    assert (before["outcome"], before["reason"]) == ("interrupted", "vms was not touched")
    assert before["exit_code"] == Exit.NO_VERDICT
    assert bench.guest.initstate("vms") == "coming"
    # In the middle of it: the rescue module goes all the same.
    script = (
        f"{bench.program} vms > /tmp/answer 2>&1 & while ! grep -q ^force_rmmod /proc/modules; do :; done; "
    )
    script += "kill -INT $!; wait $!; echo $?; cat /tmp/answer"
    answer = bench.guest.run("sh", "-c", script, seconds=60).output.splitlines()
    assert answer[0] == "2", answer
    assert answer[-1] == "interrupted: vms can be removed now: rmmod vms"
    assert "force_rmmod" not in bench.guest.modules()
    assert bench.guest.unload("vms") == OK


def test_nobody_waits_for_what_hangs(bench: Bench) -> None:
    """When the program gives up, so does who reads what it says."""
    bench.load("faults", {"fault": "0", "scenario": "stubborn"})
    script = f"""
mkfifo /tmp/said
{bench.program} --no-scan faults > /tmp/said 2>&1 &
program=$!
(until [ "$(cat /sys/module/faults/initstate)" = going ]; do sleep 0.1; done
kill -INT $program; sleep 2; kill -INT $program) > /dev/null 2>&1 &
cat /tmp/said
wait $program; echo $?
"""
    lines = bench.guest.run("sh", "-c", script, seconds=60).output.splitlines()
    assert lines[-2:] == ["failed: the removal of faults does not return", "2"]
    assert bench.guest.write("/sys/module/faults/parameters/release", "1") == OK


def test_killed(bench: Bench) -> None:
    """SIGKILL cannot be caught; the child that made the system call cleans up."""
    bench.die()
    script = (
        f"{bench.program} vms > /tmp/answer 2>&1 & while ! grep -q ^force_rmmod /proc/modules; do :; done; "
    )
    script += "kill -KILL $!; wait $!; echo $?"
    assert "137" in bench.guest.run("sh", "-c", script, seconds=60).output.splitlines()
    end = time.monotonic() + 20
    while "force_rmmod" in bench.guest.modules():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert bench.guest.initstate("vms") == "live"
    assert bench.ask("vms")["exit_code"] == Exit.OK


# ---- over SSH ------------------------------------------------------------------------------------------------


@dataclass
class Far:
    """The machine as a board that SSH reaches."""

    machine: Machine
    folder: Path

    def __post_init__(self) -> None:
        self.address = Address("root", "127.0.0.1", self.machine.port)
        self.identity = self.folder / "id"
        self.identity.write_text(self.machine.keys.client_pem, encoding="utf-8")
        self.known_hosts = self.folder / "known_hosts"
        key = base64.b64encode(self.machine.keys.host_key_blob()).decode()
        self.known_hosts.write_text(f"{self.address.known_as} ssh-ed25519 {key}\n", encoding="utf-8")

    def request(self, name: str, *flags: str) -> Request:
        """What `invoke rescue` asks for."""
        host = f"root@127.0.0.1:{self.machine.port}"
        return Request(Choice(host=host, identity=self.identity, known_hosts=self.known_hosts), name, flags)


@pytest.fixture
def far(machine: Machine, tmp_path: Path) -> Far:
    return Far(machine, tmp_path)


def test_over_ssh(far: Far, guest: Guest, build_module: Build, workbench: Workbench) -> None:
    (ko,) = build_module("vms")
    vms = guest.put(ko)
    assert guest.load(vms, {"fault": "1"}) == KILLED
    before = guest.run("ls", "/tmp").output
    out = io.StringIO()
    assert rescue(far.request("vms", "--explain", "--json"), workbench, out) == Exit.OK
    told = json.loads(out.getvalue())
    assert (told["outcome"], told["rescue"]) == ("explained", "would be undone and reset")
    out = io.StringIO()
    assert rescue(far.request("vms", "--keep"), workbench, out) == Exit.OK
    assert out.getvalue().splitlines()[-1] == "removable: vms can be removed now"
    out = io.StringIO()
    assert rescue(far.request("vms"), workbench, out) == Exit.OK
    assert out.getvalue().splitlines()[-1] == "rescued: vms is removed"
    assert guest.run("ls", "/tmp").output == before  # nothing of ours is left there
    assert guest.load(vms) == OK
    assert guest.unload("vms") == OK
    out = io.StringIO()
    assert rescue(far.request("vms"), workbench, out) == Exit.CHECK_FAILED
    assert out.getvalue().splitlines()[-1].startswith("refused: ")
    assert rescue(far.request("a/b"), workbench, out) == Exit.USAGE


@pytest.mark.one_kernel
def test_the_command(far: Far, guest: Guest, build_module: Build) -> None:
    (ko,) = build_module("depend_s")
    assert guest.load(guest.put(ko)) == OK
    argv = [sys.executable, "-m", "invoke", "rescue", "--host", f"root@127.0.0.1:{far.address.port}"]
    argv += ["--identity", str(far.identity), "--known-hosts", str(far.known_hosts)]

    def run(*more: str) -> process.Completed:
        return process.run([*argv, *more], deadline=Deadline(120, "invoke rescue"), check=False)

    done = run("depend_s")
    assert (done.returncode, done.lines()[-1]) == (Exit.OK, "rescued: depend_s is removed")
    assert "depend_s" not in guest.modules()
    assert run("depend_s").returncode == Exit.CHECK_FAILED
    assert run("depend_s", "--kernel", "5.10", "--kdir", "/").returncode == Exit.USAGE
    far.known_hosts.write_text("", encoding="utf-8")
    unknown = run("depend_s")
    assert unknown.returncode == Exit.NO_VERDICT
    assert "the host key is not known" in unknown.output
    assert f"ssh-keyscan -p {far.address.port} -t ed25519 127.0.0.1" in unknown.output
