# SPDX-License-Identifier: MIT
"""The results as data for programs: JSON, properties in JUnit, annotations of GitHub Actions."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kmod_harness.base.settings import PROJECT
from kmod_harness.report.annotations import annotate
from kmod_harness.report.results import SCHEMA, json_results, properties
from kmod_harness.report.rows import ResultRow
from kmod_harness.verdict.residue import Leftover
from kmod_harness.verdict.splat import Splat

SPLAT = Splat(
    "kasan", "BUG: KASAN: ...", "vms", "vms_poll", (), None, "use-after-free", "kasan in vms_poll [vms]"
)
FAILED = ResultRow(
    module="vms",
    kernel="6.12",
    outcome="crashed",
    seconds=3.14159,
    reasons=("round 1: 50 % bad, or worse: much",),
    evidence=("line one", "line two"),
    log=Path("/logs/console.log"),
    warnings=("/dev/vms can be open",),
    release="6.12.1-amd64",
    arch="x86_64",
    compiler="gcc-14",
    place=("/src/my,driver/vms.c", 77),
    splats=(SPLAT,),
    left=(Leftover("class", "vms", "class_destroy()"),),
)
PASSED = ResultRow(module="tidy", kernel="6.12", outcome="passed", seconds=1)


def documented(heading: str) -> set[str]:
    """The fields in the table of docs/json.md that begins with this word."""
    text = (PROJECT / "docs" / "json.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"(?m)^\| {heading} \| \|\n(?:\|.*\n)+", text)
    return set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines())))


def test_the_document_has_the_fields_that_are_documented() -> None:
    document = json.loads(json_results([FAILED, PASSED], 5.0))
    assert (document["schema"], document["seconds"]) == (SCHEMA, 5.0)
    assert f"`{SCHEMA}`" in (PROJECT / "docs" / "json.md").read_text(encoding="utf-8")
    failed, passed = document["results"]
    assert set(failed) == set(passed) == documented("result")
    assert set(failed["splats"][0]) == documented("splat")
    assert set(failed["left"][0]) == documented("leftover")
    assert (failed["file"], failed["line"], failed["bad"]) == ("/src/my,driver/vms.c", 77, True)
    assert (passed["file"], passed["log"], passed["next"], passed["bad"]) == (None, None, None, False)


def test_properties_are_what_is_known() -> None:
    assert properties(PASSED) == [("outcome", "passed")]
    known = dict(properties(FAILED))
    assert known["splat"] == "kasan in vms_poll [vms]"
    assert known["left"] == "class vms"
    assert known["place"] == "/src/my,driver/vms.c:77"


def test_annotations_stand_on_the_line_of_source() -> None:
    assert list(annotate([PASSED, FAILED], Path("/src"))) == [
        "::error file=my%2Cdriver/vms.c,line=77,title=vms on 6.12%3A crashed::"
        "round 1: 50 %25 bad, or worse: much%0Aline one%0Aline two",
        "::warning title=vms on 6.12::/dev/vms can be open",
    ]
    (elsewhere, _) = annotate([FAILED], Path("/other"))
    assert elsewhere.startswith("::error file=/src/my%2Cdriver/vms.c,")
