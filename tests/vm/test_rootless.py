# SPDX-License-Identifier: MIT
"""A new, ordinary user: a copy of this checkout, a venv and a cache of its own, no other right."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import Exit
from kmod_harness.base.process import Completed
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import PROJECT
from kmod_harness.kbuild.toolchain import HOST_ROOT, resolve_toolchain
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.run.workbench import Workbench
from tests.patience import patient

pytestmark = [pytest.mark.vm, pytest.mark.one_kernel]

NAME = "kmod-harness-test"
PYTHON = "/usr/bin/python3"  # of the system: others may lie where only their owner can read


@dataclass(frozen=True)
class User:
    """An account with a checkout in ~/checkout."""

    home: Path
    environment: Mapping[str, str]

    def run(self, *argv: str, check: bool = True) -> Completed:
        """Run a command as this user, in the checkout."""
        return process.run(
            ("setpriv", f"--reuid={NAME}", f"--regid={NAME}", "--clear-groups", *argv),
            deadline=patient(argv[0]),
            cwd=self.home / "checkout",
            env=self.environment,
            check=check,
        )


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """The account is removed with all that it owns."""
    if os.geteuid() != 0:
        pytest.skip("only root can make an account; an ordinary user tests this with all other tests")
    if not all(map(shutil.which, ("useradd", "userdel"))):
        pytest.skip("no useradd here (package passwd)")
    deadline = patient("making an account")
    with contextlib.ExitStack() as stack:
        process.run(("useradd", "--create-home", "--user-group", NAME), deadline=deadline)
        stack.callback(process.run, ("userdel", "--remove", NAME), deadline=patient("userdel"), check=False)
        home = Path(f"~{NAME}").expanduser()
        keep = {
            name: value for name, value in os.environ.items() if name.startswith(("KMOD_HARNESS_M", "PIP_"))
        }
        path = f"{home}/checkout/.venv/bin:/usr/local/bin:/usr/bin:/bin"
        user = User(home, {**keep, "HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"})
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache")
        shutil.copytree(PROJECT, home / "checkout", ignore=ignored)
        process.run(("chown", "-R", f"{NAME}:{NAME}", str(home)), deadline=deadline)
        yield user


def left_behind(user: User) -> list[str]:
    """The command lines of the user's processes, and half-made files."""
    uid = user.home.stat().st_uid
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == uid:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [*found, *map(str, user.home.glob(".cache/kmod-harness/**/*.part"))]


def test_from_nothing_to_a_verdict(user: User, kernel: Kernel, workbench: Workbench) -> None:
    made = user.run(PYTHON, "-m", "venv", ".venv", check=False)
    if made.returncode:
        pytest.skip(f"{PYTHON} cannot make a venv (package python3-venv)")
    user.run(".venv/bin/pip", "install", "--quiet", "--editable", ".")
    first = user.run("kmod-harness", "vm-test", "--kernel", kernel.spec, "--module", "vms", check=False)
    assert first.returncode == Exit.OK, first.output
    assert "1 passed" in first.output
    again = user.run("kmod-harness", "build", "--kernel", kernel.spec, "--module", "vms", check=False)
    assert again.returncode == Exit.OK, again.output
    assert "nothing to do" in again.output
    cache = user.home / ".cache" / "kmod-harness"
    if resolve_toolchain(kernel, workbench.settings, Silent()).root != HOST_ROOT:
        assert list(cache.glob("toolchains/*/packages")), "the compiler was to be unpacked"
    strangers = [path for path in cache.rglob("*") if path.lstat().st_uid != user.home.stat().st_uid]
    assert strangers == []
    assert left_behind(user) == []
