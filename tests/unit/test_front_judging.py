# SPDX-License-Identifier: MIT
"""A hand-written test does not pass by doing nothing: what the kernel did meanwhile is judged."""

from __future__ import annotations

import os
import re
import sys

import pytest

from kmod_harness.base import process
from kmod_harness.base.process import Completed
from kmod_harness.base.settings import PROJECT
from tests.patience import patient

CONFTEST = '''
import pytest
from kmod_harness.base.errors import GuestPanic
from kmod_harness.target.runner import CommandFailed, Result
from tests.unit.fake_target import FakeTarget

OOPS = """BUG: kernel NULL pointer dereference, address: 0000000000000000
#PF: supervisor write access in kernel mode
Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
RIP: 0010:my_probe+0x1b/0x30 [my_driver]
Call Trace:
 <TASK>
 do_one_initcall+0x59/0x220
 </TASK>
---[ end trace 0000000000000000 ]---"""


class Kernel(FakeTarget):
    flags, sticky = 0, ()

    def oops(self):
        self.texts += OOPS.splitlines()
        self.flags |= 1 << 7

    def panic(self):
        raise GuestPanic("Kernel panic - not syncing: on purpose")

    def taint(self):
        return self.flags

    def unload(self, name, **more):
        return "EBUSY" if name in self.sticky else super().unload(name, **more)

    def _carry_out(self, argv, **more):
        failed = argv[0] != "true"
        return Result(tuple(argv), int(failed), "cat: /x: No such file or directory" if failed else "")


@pytest.fixture
def _booted():
    return None, Kernel()


@pytest.fixture
def load(request, guest):
    from kmod_harness.front.judging import WATCH

    def load(name):
        guest.load(f"/tmp/{name}.ko")
        request.node.stash[WATCH].note_loaded([name])

    return load
'''
TESTS = """
import pytest


def test_nothing(guest): pass
def test_true(guest): assert guest.run("true").returncode == 0
def test_loads(guest, load): load("my_driver")
def test_looks_at_the_code(guest): assert guest.run("false", check=False).returncode == 1
@pytest.mark.expect_splat("null-deref")
def test_expected(guest): guest.oops()
@pytest.mark.expect_splat("null-deref", pattern="address: 0+")
def test_expected_by_pattern(guest): guest.oops()
@pytest.mark.expect_taint("W")
def test_taint_expected(guest): guest.flags |= 1 << 9
@pytest.mark.unjudged
def test_unjudged(guest): guest.oops()
@pytest.mark.expect_splat("panic")
def test_no_guest(): pass
def test_skips(guest): pytest.skip("no reason")

def test_BAD_oops(guest): guest.oops()
def test_BAD_oops_and_assert(guest): guest.oops(); assert 1 == 2
def test_BAD_taint(guest): guest.flags |= 1 << 9
def test_BAD_panic(guest): guest.panic()
def test_BAD_stays(guest, load): guest.sticky = ("my_driver",); load("my_driver")
def test_BAD_sentence(guest): guest.run("uname -r")
def test_BAD_code(guest): guest.run("false")
def test_BAD_missing(guest): guest.read("/x")
@pytest.mark.expect_splat("null-deref")
def test_BAD_none(guest): pass
@pytest.mark.expect_splat("null-deref", pattern="address: 0+8")
def test_BAD_other(guest): guest.oops()
@pytest.mark.expect_splat("nul-deref")
def test_BAD_marker(guest): pass
@pytest.mark.expect_taint("w")
def test_BAD_letter(guest): pass
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Completed:
    folder = tmp_path_factory.mktemp("project")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    words = ("-rA", "-p", "no:cacheprovider", "-p", "kmod_harness.front.plugin")
    argv = (sys.executable, "-m", "pytest", *words)
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
    return process.run(argv, deadline=patient("pytest"), cwd=folder, env=environment, check=False)


def test_each_has_the_outcome_that_its_name_says(done: Completed) -> None:
    outcomes = dict(re.findall(r"^(?:PASSED|FAILED) test_it.py::(\S+)()", done.output, re.MULTILINE))
    assert len(outcomes) == TESTS.count("def test_") - 1  # one is skipped
    passed = re.findall(r"^PASSED test_it.py::(\S+)", done.output, re.MULTILINE)
    failed = re.findall(r"^FAILED test_it.py::(\S+)", done.output, re.MULTILINE)
    assert [name for name in passed if "BAD" in name] == []
    assert [name for name in failed if "BAD" not in name] == []
    assert done.returncode == 1  # a failure of tests, and none of the harness


@pytest.mark.parametrize(
    "said",
    [
        "test_BAD_oops: crashed",
        "  - expected no null-deref splat, saw in my_probe [my_driver]: BUG: kernel NULL pointer",
        "  | RIP: 0010:my_probe+0x1b/0x30 [my_driver]",
        "saw W (",
        "test_BAD_panic: panic\n  - the machine ended during: Kernel panic - not syncing: on purpose",
        "test_BAD_stays: failed\n  - unloading: expected ok, saw EBUSY",
        "run('uname -r') is one word: want run('uname', '-r')",
        "false: exit code 1",
        "cat /x: exit code 1\nE     | cat: /x: No such file or directory",
        "expected a null-deref splat",
        "expect_splat('nul-deref'): want one of",
        "expect_taint('w'): want letters of",
        "---- Captured kernel call ----",
    ],
)
def test_what_is_said(done: Completed, said: str) -> None:
    assert said in done.output


def test_none_of_our_own_code_is_shown(done: Completed) -> None:
    assert "kmod_harness/" not in done.output.partition("= FAILURES =")[2].partition("short test summary")[0]
