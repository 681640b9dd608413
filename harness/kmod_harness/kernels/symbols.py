# SPDX-License-Identifier: MIT
"""Symbols that a kernel lacks: which part of another flavour or series exports them, and under which option.

Read from what kernels say of themselves: Module.symvers and include/config/auto.conf of their headers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt, debian, unpack
from kmod_harness.kernels.arch import ARCHES, Arch
from kmod_harness.kernels.catalogue import series_key
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors

HEADERS = "headers"  # folder of the cache: headers of kernels that were not fetched as a whole
NAMES_SHOWN = 3
ITSELF = "vmlinux"  # what Module.symvers calls the kernel without its modules


@dataclass(frozen=True)
class Other:
    """A kernel that may have what ours lacks."""

    name: str  # what --kernel takes, e.g. "6.12-amd64"
    series: str
    rank: int  # of its flavour; 0 is the ordinary one
    tree: Path  # with Module.symvers


def explain_missing(
    symbols: Iterable[str], kernel: Kernel, settings: Settings, progress: Progress
) -> list[str]:
    """One sentence for each part of a kernel that exports some of the symbols, one for those that nobody has.

    Looks into the kernels of the cache, and for a Debian kernel into the ordinary flavour of its series, whose
    headers (1 to 2 MB) are fetched for that. Without a network it says what it can.
    """
    left = set(symbols)
    sentences: list[str] = []
    options = read_options(kernel.build_tree)
    others = _others(kernel, settings, progress) if left else []
    for other in others:
        theirs = read_options(other.tree)
        off = {_plain(name.removeprefix("CONFIG_")): name for name in theirs if name not in options}
        for (part, option), names in _parts(exporters(other.tree, left), off).items():
            sentences.append(_sentence(part, option, names, other.name, kernel.spec))
            left -= set(names)
    return [*sentences, _of_nobody(left)] if left and others else sentences


def _of_nobody(names: Iterable[str]) -> str:
    shown, many = _listed(names)
    return (
        f"{shown}: {'symbols' if many else 'a symbol'} that no kernel here exports to modules; if another "
        "module of yours does, name its folder under `depends` in module.yaml"
    )


def _listed(names: Iterable[str]) -> tuple[str, bool]:
    """The first of some names, and whether there is more than one."""
    every = sorted(names)
    return ", ".join(every[:NAMES_SHOWN]) + (", ..." if len(every) > NAMES_SHOWN else ""), len(every) > 1


def exporters(tree: Path, symbols: set[str]) -> dict[str, list[str]]:
    """Who exports the symbols: a module's path without ending, or "vmlinux" -> names; largest group first."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for line in _lines(tree / "Module.symvers"):
        fields = line.split("\t")
        if len(fields) > 2 and fields[1] in symbols:
            groups[fields[2]].append(fields[1])
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def read_options(tree: Path) -> dict[str, str]:
    """The options of a kernel that are not off: "CONFIG_USB" -> "y", "m" or a value."""
    pairs = (line.partition("=") for line in _lines(tree / "include" / "config" / "auto.conf"))
    return {name: value for name, _, value in pairs if name.startswith("CONFIG_")}


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return


Part = tuple[str, str | None]  # name, and the option that switches it on


def _parts(groups: Mapping[str, Sequence[str]], off: Mapping[str, str]) -> dict[Part, list[str]]:
    """The symbols by the part of a kernel they belong to, which is what one option switches."""
    parts: defaultdict[Part, list[str]] = defaultdict(list)
    for owner, names in groups.items():
        for name in names:
            if owner == ITSELF:
                parts["the kernel itself", _option_of_symbol(name, off)].append(name)
            else:
                parts[Path(owner).name, option_of_module(owner, off)].append(name)
    return parts


def _sentence(part: str, option: str | None, names: Sequence[str], has: str, lacks: str) -> str:
    shown, many = _listed(names)
    begin = f"{len(names)} symbol{'s' if many else ''} of {part} ({shown})"
    if option is None:
        return f"{begin}: {has} has {'them' if many else 'it'}, {lacks} has not"
    return f"{begin}: {option} is off in {lacks}; {has} has it"


def option_of_module(owner: str, off: Mapping[str, str]) -> str | None:
    """The option that builds a module: of those that are `off` here, plain name -> name, the one named like it.

    The kernel's Makefiles, which would tell it, are in no headers package; options are mostly named like the
    module ("videodev": VIDEO_DEV), or like its folder ("drivers/iio/industrialio": IIO).
    """
    path = Path(owner)
    name = _plain(path.name)
    wanted = [name, name.removesuffix("core"), *(_plain(part) for part in reversed(path.parent.parts))]
    return next((off[one] for one in wanted if one in off), None)


def _option_of_symbol(symbol: str, off: Mapping[str, str]) -> str | None:
    """The same for code that is built in, by what its names begin with ("i2c_register_driver": I2C)."""
    words = symbol.strip("_").removeprefix("devm_").split("_")
    wanted = ["".join(words[:count]).lower() for count in (2, 1)]
    return next((off[one] for one in wanted if one in off), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _others(kernel: Kernel, settings: Settings, progress: Progress) -> list[Other]:
    """The kernels to look into: of the same series first, its ordinary flavour before the others."""
    arch = ARCHES[kernel.arch]
    found = re.match(r"\d+\.\d+", kernel.release)
    series = found.group() if found else "0.0"
    try:
        choices = debian.known_choices(settings, arch, progress)
    except HarnessError:
        return []
    others = [_cached(one, settings) for one in choices if one.cached]
    ordinary = next((one for one in choices if one.name == series), None)
    if ordinary and not ordinary.cached and ordinary.packages.release != kernel.release:
        others += _headers(ordinary, settings, arch, progress)
    distance = {one: index for index, one in enumerate(sorted({o.series for o in others}, key=series_key))}
    here = distance.get(series, len(distance))
    return sorted(
        (one for one in others if one.tree != kernel.build_tree),
        key=lambda one: (abs(distance[one.series] - here), one.rank),
    )


def _other(choice: debian.Choice, tree: Path) -> Other:
    series = choice.packages.series
    return Other(f"{series}-{choice.flavour.ending}", series, choice.flavour.rank, tree)


def _cached(choice: debian.Choice, settings: Settings) -> Other:
    return _other(choice, debian.build_tree_of(choice.packages, settings))


def _headers(choice: debian.Choice, settings: Settings, arch: Arch, progress: Progress) -> list[Other]:
    """The headers of a kernel, fetched alone; empty when they cannot be had."""
    headers = choice.packages.packages[0]
    target = settings.cache / HEADERS / f"{choice.packages.release}_{store.digest(headers.version)[:12]}"
    tree = target / "usr" / "src" / headers.name
    try:
        with store.locked(settings, f"{HEADERS}-{target.name}", progress):
            if not tree.is_dir():
                _fetch(choice, headers, target, settings, arch, progress)
    except (HarnessError, OSError):
        return []
    return [_other(choice, tree)]


def _fetch(
    choice: debian.Choice,
    headers: apt.Package,
    target: Path,
    settings: Settings,
    arch: Arch,
    progress: Progress,
) -> None:
    releases = load_releases().releases
    release = releases[choice.packages.debian]
    with store.locked(settings, f"apt-{release.name}", progress):
        root = apt.open_root(release, arch, find_mirrors(settings, releases), settings)
        files = root.download([headers], progress, headers.name)
        with store.publishing(target) as part:
            unpack.unpack_files(files, part, progress, headers.name)
        for file in files:
            file.unlink(missing_ok=True)
