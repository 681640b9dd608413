# SPDX-License-Identifier: MIT
"""The files that docs/architecture.md sends its readers to are there."""

from __future__ import annotations

import re

from kmod_harness.base.settings import PROJECT
from tests.unit.test_rescue_rooms import MODULE
from tests.unit.test_rescue_rooms import ROOMS as RESCUE_ROOMS
from tests.unit.test_structure import PACKAGE, ROOMS

DOCUMENT = PROJECT / "docs" / "architecture.md"
# What a name that begins with a room is below; any other is below the top.
PLACES = {**dict.fromkeys(RESCUE_ROOMS, MODULE), **dict.fromkeys(ROOMS, PACKAGE)}


def test_every_file_that_is_named_is_there() -> None:
    names = set(re.findall(r"[\w./-]+/[\w.-]+\.(?:py|c|h|md|yaml)\b", DOCUMENT.read_text(encoding="utf-8")))
    places = {name: PLACES.get(name.split("/")[0], PROJECT) / name for name in names}
    assert len(places) > 20
    assert [name for name, path in places.items() if not path.is_file()] == []
