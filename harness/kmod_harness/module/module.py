# SPDX-License-Identifier: MIT
"""What a user may call a module: a folder of sources, a .ko, a package; and what is expected of it."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import PROJECT
from kmod_harness.module.expectation import IN_TREE, Expectation
from kmod_harness.module.makefiles import KBUILD_FILES, MAKE_FILES, parse_make_text

MANIFEST = "module.yaml"
DKMS_CONF = "dkms.conf"
# What makes a folder one that a module can be built in.
MODULE_FILES = tuple(dict.fromkeys((*KBUILD_FILES, *MAKE_FILES, DKMS_CONF)))
DEBIAN = "dkms:"  # before the name of one of Debian's NAME-dkms packages
OBJECTS = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
# Names of folders that say nothing: the one above is named too.
NAMELESS = frozenset("src source sources driver drivers module modules kernel kmod linux build dkms".split())
MAX_BELOW = 4  # how deep sub-folders are looked for
Kind = Literal["folder", "object", "deb", "debian"]


@dataclass(frozen=True)
class Module:
    """What can be built for a kernel, or is."""

    name: str  # for people and on the command line
    path: Path  # absolute: the folder or file; "dkms:NAME" for a package of Debian's
    expectation: Expectation
    needed: tuple[Module, ...] = ()  # what module.yaml wants loaded first, theirs before them, each once
    kind: Kind = "folder"  # of sources; a finished .ko; a .deb with sources; a package of Debian's


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
    return [path for path in sorted(folder.glob("*/")) if is_module(path)]


def modules_below(folder: Path) -> list[Path]:
    """The folders in a tree, itself included, that have an obj-m; but none below another of them."""
    found: list[Path] = []

    def look(path: Path, depth: int) -> None:
        if any(_has_objects(path / name) for name in KBUILD_FILES):
            found.append(path)
        elif depth:
            for below in sorted(path.glob("*/")):
                if not below.name.startswith(".") and not below.is_symlink():
                    look(below, depth - 1)

    look(folder, MAX_BELOW)
    return found


def _has_objects(path: Path) -> bool:
    if not path.is_file():
        return False
    text = parse_make_text(path.read_text(errors="replace", encoding="utf-8"))
    return bool(text.objects)


def is_module(folder: Path) -> bool:
    """Whether a folder has something that builds a module."""
    return any((folder / name).is_file() for name in MODULE_FILES)


def resolve_module(path_or_name: str) -> Module:
    """The module with this name under kmod/, or in this folder or file.

    Beside folders: a finished .ko, a .deb with sources for dkms, "dkms:NAME". UsageError when there is none (it
    lists those there are), or for a wrong module.yaml: its own or that of a module it depends on.
    """
    return resolve_modules([path_or_name])[0]


def resolve_modules(names: Iterable[str], *, every: bool = False) -> list[Module]:
    """The same for several, each once, in order; what several need is read once.

    every: of a folder, all its sub-folders that are modules.
    """
    read: dict[Path, Module] = {}
    paths = [path for name in names for path in _find(name, every=every)]
    return list(dict.fromkeys(_read(path, read) for path in paths))


def _read(path: Path, read: dict[Path, Module], above: tuple[Path, ...] = ()) -> Module:
    """The module at this path, which those in the folders `above` depend on."""
    if path in above:
        circle = " -> ".join(one.name for one in (*above[above.index(path) :], path))
        raise UsageError(f"modules depend on each other in a circle: {circle} (depends in module.yaml)")
    if path not in read:
        kind = _kind(path)
        expectation = _expectation(path) if kind == "folder" else Expectation()
        needed: dict[Path, Module] = {}
        for name in expectation.depends:
            if not name.startswith(IN_TREE):
                direct = _read(_needed_folder(path, name), read, (*above, path))
                needed |= {one.path: one for one in (*direct.needed, direct) if one.path not in needed}
        read[path] = Module(_name(path), path, expectation, tuple(needed.values()), kind)
    return read[path]


def _kind(path: Path) -> Kind:
    if str(path).startswith(DEBIAN):
        return "debian"
    if path.name.endswith(OBJECTS):
        return "object"
    return "deb" if path.suffix == ".deb" else "folder"


def _name(path: Path) -> str:
    """For people: the module, or the folder; a folder whose name says nothing with the one above."""
    kind = _kind(path)
    if kind == "object":
        return path.name.partition(".ko")[0]
    if kind == "deb":
        return path.name.partition("_")[0].removesuffix("-dkms")
    if kind == "debian":
        return str(path).removeprefix(DEBIAN)
    objects = _objects_in(path)
    if len(objects) == 1:
        return next(iter(objects))
    nameless = path.name.lower() in NAMELESS and path.parent.name
    return f"{path.parent.name}/{path.name}" if nameless else path.name


def _needed_folder(path: Path, name: str) -> Path:
    """The folder beside this one with that name, or whose module has it; dash and underscore are one."""
    exact = path.parent / name
    if exact.is_dir():
        return exact.resolve()
    wanted = name.replace("-", "_")
    beside = [one for one in sorted(path.parent.glob("*/")) if one != path]
    named = [one for one in beside if one.name.replace("-", "_") == wanted]
    for one in named or [one for one in beside if wanted in _objects_in(one)]:
        return one.resolve()
    raise UsageError(f"{path / MANIFEST}: depends: {name}: there is no folder {exact}")


def _objects_in(folder: Path) -> set[str]:
    """The names of the modules that a folder's kbuild file builds, as the kernel writes them."""
    files = (folder / name for name in KBUILD_FILES)
    texts = (
        parse_make_text(one.read_text(errors="replace", encoding="utf-8")) for one in files if one.is_file()
    )
    return {Path(name).name.replace("-", "_") for text in texts for name in text.objects}


def _expectation(path: Path) -> Expectation:
    """What the module.yaml of a module's folder says."""
    manifest = path / MANIFEST
    if not manifest.is_file():
        return Expectation()
    from kmod_harness.module.manifest import read_manifest  # noqa: PLC0415 (PyYAML is slow to import)

    return read_manifest(manifest)


def _find(path_or_name: str, *, every: bool) -> list[Path]:
    """The path of what the user named; of a folder with `every` all modules in it."""
    if path_or_name.startswith(DEBIAN):
        if not re.fullmatch(rf"{DEBIAN}[a-z0-9][a-z0-9+.-]*", path_or_name):
            raise UsageError(f"{path_or_name}: no name of a package", hint=f"{DEBIAN}v4l2loopback")
        return [Path(path_or_name)]
    known = known_modules()
    if path_or_name in known:
        return [known[path_or_name]]
    path = Path(path_or_name).expanduser()
    if path_or_name and path.is_dir():
        return _in_folder(path.resolve(), every=every)
    if path_or_name and path.is_file():
        return [_file(path.resolve())]
    near = difflib.get_close_matches(path_or_name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "give one of them, or the path of a folder"
    if re.match(r"\w+://|git@", path_or_name):
        hint = f"git clone {path_or_name}, then give the folder"
    raise UsageError(
        f"unknown module {path_or_name!r}; there is: {', '.join(known) or 'none under kmod/'}", hint=hint
    )


def _in_folder(path: Path, *, every: bool) -> list[Path]:
    if every:
        found = modules_below(path) or ([path] if is_module(path) else [])
    elif is_module(path) or (path / MANIFEST).is_file():
        found = [path]
    else:
        found = modules_below(path)
        if len(found) > 1:
            listed = ", ".join(str(one.relative_to(path)) for one in found)
            raise UsageError(
                f"{path}: no module itself, but there are some in it: {listed}",
                hint=f"--module {shlex.quote(str(path))} --all",
            )
    if not found:
        raise UsageError(
            f"{path}: neither {' nor '.join(KBUILD_FILES)} nor {DKMS_CONF} in it, nor obj-m below: no module",
            hint=_how_to_begin(path),
        )
    return found


def _how_to_begin(path: Path) -> str:
    """What makes a module of a folder without make files: the script that writes them, or one line."""
    script = next((name for name in ("configure", "autogen.sh", "bootstrap") if (path / name).is_file()), None)
    if script is None:
        return f"echo 'obj-m := {path.name}.o' > {shlex.quote(str(path / 'Kbuild'))}"
    steps = "./configure" if script == "configure" else f"./{script}, ./configure"
    tools = "" if script == "configure" else ", tools: [autoconf, automake]"
    return f"echo 'build: {{before: [{steps}]{tools}}}' > {shlex.quote(str(path / MANIFEST))}"


def _file(path: Path) -> Path:
    """What a file of the user's means."""
    if _kind(path) != "folder":
        return path
    if path.name in (*MODULE_FILES, MANIFEST):
        return path.parent
    if re.search(r"\.(?:tar(?:\.\w+)?|tgz|zip)$", path.name):
        raise UsageError(f"{path}: an archive", hint=f"unpack it, then give the folder: tar xf {path}")
    if path.suffix in (".c", ".h", ".o", ".rs", ".S"):
        raise UsageError(f"{path}: a single file", hint=f"give the folder: {path.parent}")
    raise UsageError(
        f"{path}: neither a folder with sources, nor a .ko, nor a .deb", hint=f"give the folder: {path.parent}"
    )
