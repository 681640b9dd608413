# SPDX-License-Identifier: MIT
"""Source lines of a real oops, from the log as users keep it and the .ko that was loaded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from kmod_harness.base.errors import Exit
from kmod_harness.features.log.explain import explain
from kmod_harness.target.guest import Guest
from kmod_harness.target.runner import KILLED
from kmod_harness.verdict.source import ModuleFile, Symbols
from tests.vm.conftest import Build

pytestmark = pytest.mark.vm


def source_line(place: dict[str, str | int]) -> str:
    """What stands in the file at that place."""
    return Path(str(place["file"])).read_text(encoding="utf-8").splitlines()[int(place["line"]) - 1].strip()


def test_the_line_that_died_and_the_lines_that_led_there(guest: Guest, build_module: Build) -> None:
    (ko,) = build_module("vms")
    assert guest.load(guest.put(ko), {"fault": "1"}) == KILLED
    dump = [f"Nov 25 14:03:01 box kernel: {record.text}" for record in guest.log()]

    out = io.StringIO()
    assert explain([("log", lambda: dump)], Symbols([ModuleFile(ko)]), out, as_json=True) is Exit.CHECK_FAILED
    (report,) = json.loads(out.getvalue())["logs"][0]["reports"]
    assert (report["class"], report["module"], report["function"]) == ("null-deref", "vms", "vms_init")
    assert report["notes"] == []
    places = {place["function"]: place for place in report["at"]["places"]}
    assert "memcpy(name, VMS_NAME" in source_line(places["vms_write_name"])
    assert places["vms_write_name"]["inlined"]
    assert source_line(places["vms_init"]) == "vms_write_name(vms_input_dev);"
