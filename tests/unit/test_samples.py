# SPDX-License-Identifier: MIT
"""The kernel's samples: which are tried, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import samples
from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Silent
from kmod_harness.base.settings import Settings
from tests.unit.test_run_fleet import KERNEL


def test_they_are_tried_like_any_module(tmp_path: Path) -> None:
    argv = samples.samples_argv(tmp_path, ["kfifo", "vfs"], "6.12")
    modules = [f"--module {tmp_path}/{name}" for name in ("kfifo", "vfs")]
    assert " ".join(argv[1:]) == f"vm-test {' '.join(modules)} --all --kernel 6.12"


def test_only_debian_has_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no linux-source package"):
        samples.unpack_samples(KERNEL, Settings(cache=tmp_path), Silent())
