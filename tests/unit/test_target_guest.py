# SPDX-License-Identifier: MIT
"""What the kernel says, parsed; and a module's life seen through a kernel made of Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import GuestPanic, HarnessError
from kmod_harness.target.guest import Guest
from kmod_harness.target.proc import LoadedModule, parse_kallsyms, parse_modules
from kmod_harness.target.runner import KILLED, OK, CommandFailed, ConnectionLost, GuestHang, Result
from kmod_harness.verdict.observation import Ending
from kmod_harness.verdict.observe import Subject, observe


def test_proc_modules() -> None:
    text = (
        "depend_s 16384 2 depend_a,depend_b, Live 0xffffffffc0201000 (OE)\n"
        "virtio 20480 2 virtio_net,virtio_pci, Live 0xffffffffc0000000\n"
        "vms 16384 1 - Loading 0x0000000000000000 (OE+)\n"
        "stuck 16384 -1 - Unloading 0x0 (OE-)\n"
        "pinned 16384 0 [permanent], Live 0x0\n"
    )
    modules = parse_modules(text)
    users = ("depend_a", "depend_b")
    known = LoadedModule("depend_s", 16384, 2, users, "Live", "OE", address=0xFFFFFFFFC0201000)
    assert modules["depend_s"] == known
    assert modules["vms"].address == 0
    assert modules["virtio"].taints == ""
    assert modules["vms"].state == "Loading"
    assert modules["stuck"].references == -1
    assert modules["pinned"].users == ()


def test_kallsyms() -> None:
    text = "ffffffff81000000 T _text\nffffffffc0201000 d vms_dev\t[vms]\n"
    kernel, module = parse_kallsyms(text)
    assert (kernel.name, kernel.module) == ("_text", "")
    assert (module.address, module.kind, module.name, module.module) == (
        0xFFFFFFFFC0201000,
        "d",
        "vms_dev",
        "vms",
    )


class FakeKernel:
    """A Runner whose module system calls are answered from a script: verb -> answers, the last one repeated."""

    def __init__(self, **answers: Sequence[str | Exception]) -> None:
        self.answers = {verb: list(script) for verb, script in answers.items()}
        self.loaded: dict[str, str] = {}
        self.calls: list[tuple[str, ...]] = []

    def _answer(self, verb: str) -> str:
        script = self.answers.get(verb, ["0"])
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
        self.calls.append(tuple(argv))
        match argv:
            case ["kmodctl", "finit", path, *_]:
                answer = self._answer("finit")
                if answer in ("0", "killed"):
                    self.loaded[Path(path).stem] = "Live" if answer == "0" else "Loading"
            case ["kmodctl", "delete", name, *_]:
                answer = self._answer("delete")
                if answer == "0":
                    del self.loaded[name]
            case ["kmodctl", "kmsg", *_]:
                return Result(tuple(argv), 0, "6,7,1000,-;vms: loaded\n")
            case ["cat", "/proc/modules"]:
                lines = (f"{name} 1 0 - {state} 0x0\n" for name, state in self.loaded.items())
                return Result(tuple(argv), 0, "".join(lines))
            case ["cat", "/proc/sys/kernel/tainted"]:
                return Result(tuple(argv), 0, "12288\n")
            case _:
                return Result(tuple(argv), 0, "")
        if answer == "killed":
            return Result(tuple(argv), 139, "Killed\n")
        return Result(tuple(argv), 1 if answer != "0" else 0, f"{answer}\n")

    def put(self, path: str, data: bytes, deadline: Deadline) -> None:
        self.calls.append(("put", path))

    def alive(self) -> bool:
        return True


VMS = Subject("vms", "/tmp/vms.ko", {"fault": "0", "name": "a b"})


def test_a_healthy_life() -> None:
    kernel = FakeKernel()
    stages: list[str] = []
    seen = observe(Guest(kernel), VMS, [Subject("depend_s", "/tmp/depend_s.ko")], 2, stage=stages.append)
    assert seen.ending is Ending.COMPLETE
    assert seen.dependencies == (("depend_s", OK),)
    assert [(r.load, r.state, r.unload, r.listed_after) for r in seen.rounds] == [(OK, "Live", OK, False)] * 2
    assert seen.rounds[0].records[0].text == "vms: loaded"
    assert seen.taint_after == 12288
    assert ("kmodctl", "finit", "/tmp/vms.ko", 'fault=0 name="a b"') in kernel.calls
    assert stages[-2:] == ["unload vms, round 2", "look for what is left of vms, round 2"]


def test_records_that_were_overwritten_are_counted() -> None:
    class Chatty(FakeKernel):
        def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
            if argv[:2] == ("kmodctl", "kmsg") and argv[2] != "0":
                return Result(tuple(argv), 0, "6,20,1000,-;vms: loaded\n")
            return super().run(argv, deadline, stdin=stdin)

    assert observe(Guest(Chatty()), VMS, [], 1).rounds[0].lost == 12


def test_a_load_error_ends_the_rounds() -> None:
    seen = observe(Guest(FakeKernel(finit=["22"])), VMS, [], 3)
    assert [(r.load, r.state, r.unload) for r in seen.rounds] == [("EINVAL", None, None)]


def test_an_oops_in_init_is_seen_as_killed() -> None:
    seen = observe(Guest(FakeKernel(finit=["killed"], delete=["16"])), VMS, [], 3)
    assert [(r.load, r.state, r.unload, r.listed_after) for r in seen.rounds] == [
        (KILLED, "Loading", "EBUSY", True)
    ]


def test_a_dependency_that_does_not_load_ends_it() -> None:
    seen = observe(Guest(FakeKernel(finit=["2"])), VMS, [Subject("depend_s", "/tmp/depend_s.ko")], 3)
    assert seen.dependencies == (("depend_s", "ENOENT"),)
    assert seen.rounds == ()


def test_what_was_there_before_is_not_unloaded() -> None:
    kernel = FakeKernel(finit=["17"])
    kernel.loaded["vms"] = "Live"
    (seen,) = observe(Guest(kernel), VMS, [], 3).rounds
    assert (seen.load, seen.unload) == ("EEXIST", None)
    assert not any(call[:2] == ("kmodctl", "delete") for call in kernel.calls)


@pytest.mark.parametrize(
    ("failure", "ending"),
    [
        (GuestHang("no answer"), Ending.HANG),
        (ConnectionLost("gone"), Ending.LOST),
        (GuestPanic("Kernel panic - not syncing"), Ending.PANIC),
    ],
)
def test_early_ends_are_told_apart(failure: Exception, ending: Ending) -> None:
    seen = observe(Guest(FakeKernel(delete=["0", failure])), VMS, [], 3)
    assert seen.ending is ending
    assert seen.detail.startswith("unload vms, round 2")
    assert len(seen.rounds) == 2
    assert seen.rounds[1].unload is None
    assert seen.taint_after is None


def test_harness_failures_are_no_observations() -> None:
    with pytest.raises(HarnessError, match="no answer"):
        observe(Guest(FakeKernel(finit=["cannot open"])), VMS, [], 1)


def _guest_that_prints(text: str, code: int = 0) -> Guest:
    class Printer:
        def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
            return Result(tuple(argv), code, text)

        def put(self, path: str, data: bytes, deadline: Deadline) -> None:
            raise AssertionError

        def alive(self) -> bool:
            return True

    return Guest(Printer())


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        (lambda guest: guest.taint(), "12289\n", 12289),
        (lambda guest: guest.initstate("vms"), "coming\n", "coming"),
        (lambda guest: guest.refcnt("vms"), "-1\n", -1),
        (lambda guest: guest.holders("depend_s"), "depend_b\ndepend_a\n", ("depend_a", "depend_b")),
        (lambda guest: guest.write("/sys/x", "1"), "", OK),
    ],
)
def test_questions(question: Callable[[Guest], object], text: str, answer: object) -> None:
    assert question(_guest_that_prints(text)) == answer


def test_a_module_that_is_not_there_has_no_holders() -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        _guest_that_prints("ls: /sys/module/x/holders: No such file or directory\n", 1).holders("x")


def test_a_log_that_cannot_be_read_is_not_an_empty_one() -> None:
    with pytest.raises(ConnectionLost, match="`kmodctl kmsg 7` was killed"):
        _guest_that_prints("Killed\n", 137).log(7)


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        _guest_that_prints("cat: can't open '/x': No such file or directory\n", 1).read("/x")


def test_a_command_that_fails_is_noticed() -> None:
    guest = _guest_that_prints("uname: unknown operand\n", 1)
    with pytest.raises(CommandFailed, match=r"uname x: exit code 1\n  \| uname: unknown operand"):
        guest.run("uname", "x")
    assert guest.run("uname", "x", check=False).returncode == 1
    with pytest.raises(CommandFailed, match=r"kmodctl init x\.ko : exit code 127"):
        _guest_that_prints("sh: kmodctl: not found\n", 127).system_call("init", "x.ko", "")


def test_a_sentence_is_no_program() -> None:
    with pytest.raises(ValueError, match=r"run\('uname -r'\) is one word: want run\('uname', '-r'\)"):
        _guest_that_prints("").run("uname -r")


def test_a_module_that_takes_the_commands_away_is_judged() -> None:
    """It is the module's doing, and no failure of the harness, when nothing works any more in the guest."""

    class Wrecked(FakeKernel):
        def run(self, argv: Sequence[str], deadline: Deadline, *, stdin: bytes = b"") -> Result:
            if self.loaded:
                return Result(tuple(argv), 127, f"sh: {argv[0]}: not found")
            return super().run(argv, deadline, stdin=stdin)

    seen = observe(Guest(Wrecked()), VMS, [], 3)
    assert seen.ending is Ending.LOST
    assert "load vms, round 1: cat /proc/modules: exit code 127" in seen.detail
