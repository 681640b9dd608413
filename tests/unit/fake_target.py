# SPDX-License-Identifier: MIT
"""A target made of Python, like a board: modules come and go, the log grows, and nobody listens outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kmod_harness.target.census import Census
from kmod_harness.target.commands import CommandTarget
from kmod_harness.target.kmsg import KernelRecord
from kmod_harness.target.proc import LoadedModule, Opened, parse_modules
from kmod_harness.target.runner import OK


class FakeTarget(CommandTarget):
    """Loads and unloads whatever it is told to; tests override what shall go another way."""

    folder = kmodctl = "/nowhere"

    def __init__(self, proc_modules: str = "") -> None:
        self.loaded = parse_modules(proc_modules)
        self.texts: list[str] = ["an old line"]  # of the kernel log

    def modules(self) -> dict[str, LoadedModule]:
        return dict(self.loaded)

    def drivers(self, name: str) -> dict[str, int]:
        return {}

    def load(self, path: str, parameters: Mapping[str, str] | None = None, **_: object) -> str:
        name = Path(path).stem
        self.loaded[name] = LoadedModule(name, 1, 0, (), "Live", "")
        self.texts.append(f"{name}: loaded")
        return OK

    def unload(self, name: str, **_: object) -> str:
        del self.loaded[name]
        return OK

    def log(self, since: int = 0, *, seconds: float | None = None) -> tuple[KernelRecord, ...]:
        return tuple(KernelRecord(number, 6, 0.0, text) for number, text in enumerate(self.texts))[since:]

    def unload_and_look(self, name: str) -> tuple[str, Census]:
        return self.unload(name), self.census()

    def open_nodes(self, name: str, nodes: Sequence[str]) -> tuple[Opened, ...]:
        return ()

    def take_census(self) -> Census:
        return Census()

    def census(self) -> Census:
        return Census()

    def taint(self) -> int:
        return 0
