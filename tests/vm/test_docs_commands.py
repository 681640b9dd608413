# SPDX-License-Identifier: MIT
"""The commands of README.md and docs/ that need a machine, as they stand there but for the kernel."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from docs.recording import break_driver
from kmod_harness.base import process
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.run.workbench import Workbench
from kmod_harness.target.guest import Guest
from tests.docs_commands import IN_A_MACHINE, NOT_RUN, ROOT, commands
from tests.patience import patient
from tests.vm.conftest import Build

pytestmark = [pytest.mark.vm, pytest.mark.one_kernel]

TYPED_IN = "/tmp/typed"  # in the guest
PROGRAMS = Path(sys.executable).parent
EXAMPLES = ROOT / "docs" / "examples"
ASKS = '[tool.pytest.ini_options]\naddopts = "-p kmod_harness.front.plugin"\nmarkers = ["vm"]\n'
PROGRAM = [one for one in NOT_RUN if "force-rmmod" in one]
# What a command of the machine's root needs before it.
BEFORE = {
    "insmod kmod/force_rmmod/force_rmmod.ko target=vms": (
        "rmmod force_rmmod; rmmod vms; kmodctl init kmod/vms/vms.ko fault=1 || :"  # dies
    ),
    "insmod kmod/force_rmmod/force_rmmod.ko target=vms explain=1 report=3 3> vms.json": (
        "rmmod force_rmmod; kmodctl init kmod/vms/vms.ko"
    ),
}
DIES = ("insmod my_driver.ko",)


def on_one_kernel(command: str, kernel: str) -> list[str]:
    """The words, for this kernel instead of those that are named."""
    words = shlex.split(command)
    while "--kernel" in words:
        at = words.index("--kernel")
        del words[at : at + 2]
    takes_none = "kernels" in words
    return words if takes_none else [*words, "--kernel", kernel]


def test_words_are_for_one_kernel() -> None:
    assert on_one_kernel("pytest --kernel 5.10 --kernel 6.12 x.py", "7.3") == [
        "pytest",
        "x.py",
        "--kernel",
        "7.3",
    ]
    assert on_one_kernel("kmod-harness kernels", "7.3") == ["kmod-harness", "kernels"]


@pytest.mark.parametrize("command", IN_A_MACHINE)
def test_a_command(command: str, kernel: Kernel, workbench: Workbench, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "my_driver", tmp_path / "home" / "src" / "my_driver")
    work = tmp_path / "work"
    shutil.copytree(EXAMPLES, work)
    break_driver(work / "my_driver")
    (work / "pyproject.toml").write_text(ASKS, encoding="utf-8")
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "KMOD_HARNESS_CACHE": str(workbench.settings.cache),
        "COLUMNS": "100",
    }
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]  # of the run that we are in
    program, *words = on_one_kernel(command, kernel.spec)
    done = process.run(
        [str(PROGRAMS / program), *words],
        cwd=work,
        env=environment,
        input=b"lsmod\n",  # for the prompt
        deadline=patient(command),
        check=False,
    )
    assert done.returncode == IN_A_MACHINE[command], done.output
    for said in (one for one in commands() if one.text == command and IN_A_MACHINE[command] == 0):
        assert [line for line in said.output if line not in done.output] == [], done.output


def test_what_root_types_on_the_machine_itself(guest: Guest, build_module: Build, tmp_path: Path) -> None:
    """In their order, in one machine."""
    shutil.copytree(EXAMPLES / "my_driver", tmp_path / "my_driver")
    break_driver(tmp_path / "my_driver")
    places = {"kmod/force_rmmod": "force_rmmod", "kmod/vms": "vms", ".": str(tmp_path / "my_driver")}
    for place, module in places.items():
        (ko,) = build_module(module)
        script = 'mkdir -p "$1" && mv "$2" "$1"'
        assert guest.run("sh", "-c", script, "sh", f"{TYPED_IN}/{place}", guest.put(ko)).returncode == 0
    typed = dict.fromkeys(one.text for one in commands() if one.prompt == "#")
    seen = ""
    for command in (one for one in typed if one not in PROGRAM):
        if command in BEFORE:
            guest.run("sh", "-c", f"cd {TYPED_IN} && {BEFORE[command]}")
        done = guest.run("sh", "-c", f"cd {TYPED_IN} && {command}")
        assert (done.returncode != 0) is (command in DIES), (command, done.output)
        seen += done.output
    assert "guard: init of my_driver died at my_probe+0x" in seen
    assert "vms" not in guest.modules()
