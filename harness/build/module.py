# SPDX-License-Identifier: MIT
"""A module's source folder and what its module.yaml says is expected of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.settings import PROJECT

MANIFEST = "module.yaml"
KBUILD_FILES = ("Kbuild", "Makefile")  # in the order in which kbuild looks for them


@dataclass(frozen=True)
class ExpectedSplat:
    """A splat that has to appear, and why that is right."""

    kind: str  # class of harness/verdict/splats.py, e.g. "null-deref"
    pattern: str  # regular expression searched in the splat's title and text
    reason: str  # for the reader of the report


@dataclass(frozen=True)
class Expectation:
    """What module.yaml says; the defaults are what holds for a module without one."""

    params: Mapping[str, str] = field(default_factory=dict, hash=False)  # module parameters, as text
    depends: tuple[str, ...] = ()  # names of modules (folders beside this one) to load first, in order
    expect_log: tuple[str, ...] = ()  # regular expressions, each must match a record of every round
    expect_splat: ExpectedSplat | None = None
    expect_taint: tuple[str, ...] = ()  # letters that may become set beside O (out of tree) and E (unsigned)
    load: str = "ok"  # or the errno name that loading must fail with, e.g. "EINVAL"
    kernels: str = ""  # which releases it is meant for, e.g. ">=5.10" or ">=6.1,<7"; empty: all
    reloads: int = 3  # how often it is loaded and unloaded


@dataclass(frozen=True)
class Module:
    """A folder with a kbuild Makefile or Kbuild file."""

    name: str  # of the folder; for people and on the command line
    path: Path  # absolute
    expectation: Expectation


def module_folders() -> list[Path]:
    """The folders whose modules are known by name: kmod/ of the working directory and of the checkout."""
    return list(dict.fromkeys((Path("kmod").resolve(), PROJECT / "kmod")))


def known_modules() -> dict[str, Path]:
    """The modules that have a name, with their folders."""
    known: dict[str, Path] = {}
    for folder in module_folders():
        known |= {path.name: path for path in modules_in(folder) if path.name not in known}
    return known


def modules_in(folder: Path) -> list[Path]:
    """The folders below this one that are modules, sorted by name."""
    return [path for path in sorted(folder.glob("*/")) if any((path / name).is_file() for name in KBUILD_FILES)]


def load_module(path_or_name: str, kinds: Collection[str] = ()) -> Module:
    """The module with this name under kmod/, or in this folder.

    kinds: the classes of splats that its module.yaml may name; none: they are not checked.
    UsageError when there is none (it lists those there are) or when its module.yaml is wrong.
    """
    path = _find_folder(path_or_name)
    if not any((path / name).is_file() for name in KBUILD_FILES):
        raise UsageError(
            f"{path}: neither {' nor '.join(KBUILD_FILES)} in it, so it is no module",
            hint=f"echo 'obj-m := {path.name}.o' > {path / 'Kbuild'}",
        )
    manifest = path / MANIFEST
    if not manifest.is_file():
        return Module(path.name, path, Expectation())
    from harness.build.manifest import read_manifest  # noqa: PLC0415 (needs this module's nouns)

    return Module(path.name, path, read_manifest(manifest, kinds))


def needed_modules(module: Module, kinds: Collection[str] = (), above: tuple[Path, ...] = ()) -> list[Module]:
    """The modules that module.yaml wants loaded first, theirs before them, each once.

    kinds: as for load_module. UsageError for one that is not there and for those that need each other.
    """
    if module.path in above:
        circle = " -> ".join(path.name for path in (*above, module.path))
        raise UsageError(f"modules depend on each other in a circle: {circle} (depends in module.yaml)")
    result: dict[Path, Module] = {}
    for name in module.expectation.depends:
        folder = module.path.parent / name
        if not folder.is_dir():
            raise UsageError(f"{module.path / MANIFEST}: depends: {name}: there is no folder {folder}")
        needed = load_module(str(folder), kinds)
        for one in (*needed_modules(needed, kinds, (*above, module.path)), needed):
            result.setdefault(one.path, one)
    return list(result.values())


def _find_folder(path_or_name: str) -> Path:
    known = known_modules()
    if path_or_name in known:
        return known[path_or_name]
    path = Path(path_or_name).expanduser()
    if path_or_name and path.is_dir():
        return path.resolve()
    near = difflib.get_close_matches(path_or_name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "give one of them, or the path of a folder"
    if path.is_file():
        hint = f"give the folder: {path.parent}"
    raise UsageError(
        f"unknown module {path_or_name!r}; there is: {', '.join(known) or 'none under kmod/'}", hint=hint
    )


_CONSTRAINT = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*")


def parse_kernels(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The comparisons of a `kernels` value such as ">=6.1,<7"; ValueError for anything else."""
    comparisons = []
    for part in text.split(",") if text.strip() else []:
        match = _CONSTRAINT.fullmatch(part)
        if not match:
            raise ValueError(f"cannot read {part.strip()!r}; want comparisons such as '>=5.10' or '>=6.1,<7'")
        comparisons.append((match[1], tuple(map(int, match[2].split(".")))))
    return comparisons


def kernel_matches(kernels: str, release: str) -> bool:
    """Whether a module with this `kernels` value is meant for the kernel with this `uname -r`.

    Only as many numbers are compared as the constraint gives: 6.12.117 is "==6.12" and "<=6.12". Of a
    release candidate ("7.3-rc7") the numbers count.
    """
    numbers = tuple(map(int, re.findall(r"\d+", (re.match(r"[\d.]+", release) or [""])[0])))
    return all(_holds(operator, numbers, wanted) for operator, wanted in parse_kernels(kernels))


def _holds(operator: str, numbers: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    have = (*numbers, *[0] * len(wanted))[: len(wanted)]
    return {
        ">=": have >= wanted,
        "<=": have <= wanted,
        ">": have > wanted,
        "<": have < wanted,
        "==": have == wanted,
        "!=": have != wanted,
    }[operator]
