# SPDX-License-Identifier: MIT
"""Folders beside a module's whose exported symbols it uses, though no module.yaml says so."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild import output
from kmod_harness.kbuild.artefacts import Request
from kmod_harness.kbuild.surroundings import find_surroundings
from kmod_harness.module.makefiles import KBUILD_FILES, parse_make_text
from kmod_harness.module.module import modules_below, modules_in

_HERE = re.compile(r"\$[({](?:PWD|CURDIR|src|obj|M|KBUILD_EXTMOD|shell pwd)[)}]")
# make and modpost about a Module.symvers that another folder's build would have left.
_NO_SYMVERS = re.compile(r"(/[^\s':]+)/Module\.symvers'?(?:: No such file|.*needed by|\. +Stop)")
_EXPORT = re.compile(r"\bEXPORT_SYMBOL\w*\s*\(\s*(\w+)")


def work_name(request: Request) -> str:
    """The folder of a module's work copy, below the cache's `build`."""
    name = request.module.name.replace("/", "-")
    return f"{name}-{request.kernel.release}-{request.work_key()[:12]}"


class Beside:
    """What a module needs of the folders beside; remembered, so that it is found out only once."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._folder = request.module.path
        self._file = settings.cache / "build" / work_name(request) / "needs.json"
        known = store.read_json(self._file)
        listed = [Path(name) for name in known] if isinstance(known, list) else []
        self.folders = [path for path in dict.fromkeys((*_named(self._folder), *listed)) if path.is_dir()]

    def learn(self, problems: Sequence[str], above: Sequence[Path]) -> bool:
        """Whether a failed build misses symbols or the Module.symvers of a folder beside: one more to build."""
        missing = set(output.undefined_symbols(problems))
        named = {os.path.normpath(match[1]) for line in problems if (match := _NO_SYMVERS.search(line))}
        if not missing and not named:
            return False
        left = (path for path in self._others() if path not in (*self.folders, *above))
        found = [path for path in left if str(path) in named or missing & _exports(path)]
        if not found:
            return False
        self.folders += found
        store.write_atomically(self._file, json.dumps([str(path) for path in self.folders]))
        return True

    def _others(self) -> list[Path]:
        place = find_surroundings(self._folder)
        if place.around is None:
            return []
        found = modules_below(place.around) if place.checkout else modules_in(place.around)
        return [path for path in found if path != self._folder]


def _named(folder: Path) -> Iterator[Path]:
    """The folders of the files in KBUILD_EXTRA_SYMBOLS."""
    for name in KBUILD_FILES:
        if (folder / name).is_file():
            text = parse_make_text((folder / name).read_text(errors="replace", encoding="utf-8"))
            for word in text.symbols:
                path = _HERE.sub(str(folder).replace("\\", r"\\"), word)
                if "$" not in path:
                    beside = Path(os.path.normpath(folder / path)).parent
                    if beside != folder and any((beside / one).is_file() for one in KBUILD_FILES):
                        yield beside


def _exports(folder: Path) -> set[str]:
    """The symbols that a folder's sources export."""
    sources = (path for path in folder.rglob("*.[ch]") if path.is_file())
    return {
        name for path in sources for name in _EXPORT.findall(path.read_text(errors="replace", encoding="utf-8"))
    }
