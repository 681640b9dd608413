# SPDX-License-Identifier: MIT
"""What runs without anybody asking for it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from kmod_harness.base import process
from tests.patience import patient

ROOT = Path(__file__).parents[2]


def workflows() -> dict[str, Any]:
    """Each workflow by the name of its file."""
    paths = (ROOT / ".github" / "workflows").glob("*.yml")
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


def commands(workflow: dict[str, Any]) -> list[str]:
    """What it runs in the checkout, after the installation."""
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step and "name" not in step]


def test_what_make_test_leaves_out_is_run_every_week() -> None:
    workflow = workflows()["every-kernel"]
    (when,) = workflow[True]["schedule"]  # "on" is a word for True in YAML
    minute, hour, day, month, weekday = when["cron"].split()
    assert (day, month) == ("*", "*")
    assert all(one.isdigit() for one in (minute, hour, weekday))
    assert commands(workflow) == ["make test-every-kernel"]
    done = process.run(["make", "-n", "test-every-kernel"], cwd=ROOT, deadline=patient("make"))
    assert "--every-kernel" in done.output


def test_other_peoples_modules_are_tried_every_week() -> None:
    workflow = workflows()["field-trial"]
    (when,) = workflow[True]["schedule"]
    assert when["cron"].split()[2:4] == ["*", "*"]
    ran = commands(workflow)
    trials = [command for command in ran if "field-trial" in command]
    for command in trials:
        program, *words = shlex.split(command)
        done = process.run([program, "-n", *words], cwd=ROOT, deadline=patient("make"))
        assert "benchmarks.field_trial --release" in done.output
    assert [len(shlex.split(command)[-1].split()) for command in trials] == [5, 5]
    assert "make samples KERNELS=6.12-cloud" in ran


def test_all_share_the_kernels_in_the_cache() -> None:
    caches = []
    for name in ("ci", "every-kernel", "field-trial"):
        (job,) = workflows()[name]["jobs"].values()
        caches += [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache")]
    assert len(caches) == 3
    assert caches[0] == caches[1] == caches[2]
    assert "kernels.yaml" in caches[0]["key"]
