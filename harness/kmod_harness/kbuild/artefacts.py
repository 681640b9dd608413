# SPDX-License-Identifier: MIT
"""Built modules in the cache, found by the content of all that went into them.

Two steps, since which outside headers are used is known only after a build: the key of the folder's own
sources, kernel, compiler and flags leads to the list of outside files that the last build used; with their
content it makes the final key.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.toolchain import Toolchain
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.module import Module

FORMAT = "9"  # part of each key: a change of what is stored or of how modules are built needs a new number
RESULT = "result.json"
LOG = "build.log"
SYMVERS = "Module.symvers"
# What tells two builds of a kernel apart, of the files that modules are built with.
TREE_FILES = ("Module.symvers", "include/config/auto.conf", "include/generated/utsrelease.h")


@dataclass(frozen=True)
class Request:
    """All that decides what comes out of a build."""

    module: Module
    kernel: Kernel
    toolchain: Toolchain
    arguments: tuple[str, ...]  # for make, as the user gave them
    symvers: tuple[Path, ...]  # Module.symvers of the modules that it depends on

    def base_key(self, sources: Mapping[str, str]) -> str:
        """The content key of everything but the files outside of the module's folder."""
        listed = [f"{name} {key}" for name, key in sorted(sources.items())]
        return store.digest(self.work_key(), *map(store.file_digest, self.symvers), *listed)

    def work_key(self) -> str:
        """What one work copy serves, over all changes of the sources."""
        return store.digest(
            FORMAT,
            str(self.module.path),
            _tree_key(self.kernel.build_tree),
            str(self.kernel.build_tree),
            self.toolchain.identity,
            self.toolchain.compiler,
            repr(self.module.expectation.build),
            repr(self.module.expectation.warnings),
            *self.arguments,
        )


@cache
def _tree_key(tree: Path) -> str:
    files = [tree / name for name in TREE_FILES]
    return store.digest(*(store.file_digest(path) if path.is_file() else "" for path in files))


@dataclass(frozen=True)
class Artefact:
    """A successful build in the cache."""

    folder: Path
    objects: tuple[Path, ...]
    warnings: tuple[str, ...]
    way: str  # by which it was built
    notes: tuple[str, ...]  # what the user should know of how

    @property
    def symvers(self) -> Path:
        """The module's exported symbols (may be empty)."""
        return self.folder / SYMVERS

    @property
    def log(self) -> Path:
        """make's output."""
        return self.folder / LOG


def find_artefact(settings: Settings, base_key: str) -> Artefact | None:
    """The build of this very content, when it is in the cache and complete."""
    outside = store.read_json(_index(settings, base_key))
    if not isinstance(outside, list):
        return None
    folder = settings.cache / "modules" / final_key(base_key, outside)
    data = store.read_json(folder / RESULT)
    if not isinstance(data, dict):
        return None
    objects = tuple(folder / name for name in data["objects"])
    if not all(path.is_file() for path in objects):
        return None
    return Artefact(folder, objects, tuple(data["warnings"]), data["way"], tuple(data["notes"]))


def _index(settings: Settings, base_key: str) -> Path:
    return settings.cache / "modules" / "index" / f"{base_key}.json"


def final_key(base_key: str, outside: Sequence[str]) -> str:
    """The content key with the files outside of the module's folder."""
    return store.digest(base_key, *(f"{name} {outside_key(Path(name))}" for name in outside))


def outside_key(path: Path) -> str:
    """The content key of an outside file; another one when it is gone."""
    try:
        return store.file_digest(path)
    except OSError:
        return "missing"


class Result(Protocol):
    """A build that went well."""

    @property
    def objects(self) -> Sequence[Path]:
        """The .ko files."""

    @property
    def warnings(self) -> Sequence[str]:
        """What should be mended."""

    @property
    def way(self) -> str:
        """By which it was built."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of how."""


def publish(
    settings: Settings, base_key: str, outside: Sequence[str], copy: Path, log: Path, result: Result
) -> Artefact:
    """Put a build's .ko files, symbols and log into the cache. The caller holds the module's lock."""
    folder = settings.cache / "modules" / final_key(base_key, outside)
    with store.publishing(folder) as part:
        for path in result.objects:
            shutil.copyfile(path, part / path.name)
        symbols = sorted(copy.rglob(SYMVERS))
        (part / SYMVERS).write_bytes(b"".join(path.read_bytes() for path in symbols))
        shutil.copyfile(log, part / LOG)
        names = list(dict.fromkeys(path.name for path in result.objects))
        told = {"warnings": list(result.warnings), "way": result.way, "notes": list(result.notes)}
        (part / RESULT).write_text(json.dumps({"objects": names, **told}), encoding="utf-8")
    store.write_atomically(_index(settings, base_key), json.dumps(list(outside)))
    artefact = find_artefact(settings, base_key)
    if artefact is None:
        raise HarnessError("a source file was changed during the build", hint="run the command again")
    return artefact
