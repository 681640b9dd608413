# SPDX-License-Identifier: MIT
"""Which Debian kernels there are: read from apt once a day, kept as one JSON file for each release."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cmp_to_key, partial
from pathlib import Path
from typing import Any

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import apt
from kmod_harness.kernels.apt import AptRoot, Package
from kmod_harness.kernels.arch import Arch
from kmod_harness.kernels.flavours import find_flavour, flavours
from kmod_harness.kernels.releases import Release, Releases, load_releases
from kmod_harness.kernels.sources import find_mirrors

FRESH_SECONDS = 24 * 3600.0
FORMAT = "2"  # of what is kept
RETRY_SECONDS = 600.0  # after a refresh that failed, while there is an older catalogue to work with


@dataclass(frozen=True)
class KernelPackages:
    """A Debian kernel and the packages that it consists of."""

    series: str  # "6.12"
    release: str  # uname -r
    version: str  # Debian's version of the packages
    debian: str  # release, e.g. "trixie"
    suite: str  # e.g. "trixie-security"
    compiler: str  # e.g. "gcc-14"
    images: tuple[Package, ...]  # alternatives, the signed one first: one of them is needed
    packages: tuple[Package, ...]  # all needed: modules (if apart), headers and what they include


@dataclass(frozen=True)
class Catalogue:
    """What one release offers; `fetched` is 0 when that is not known."""

    debian: str
    fetched: float = 0.0  # seconds since the epoch
    tried: float = 0.0  # last attempt to fetch it, whatever came of it
    sources: str = ""  # content key of the settings that it was fetched with
    kernels: tuple[KernelPackages, ...] = ()
    compilers: tuple[str, ...] = field(default=())  # e.g. "gcc-14"

    def due(self, sources: str, *, refresh: bool) -> bool:
        """Whether it should be fetched (again) now."""
        now = time.time()
        if refresh or self.fetched == 0 or self.sources != sources:
            return True
        return now - self.fetched > FRESH_SECONDS and now - self.tried > RETRY_SECONDS


def order_key(version: str) -> Any:
    """Sort key of Debian versions."""
    from debian.debian_support import version_compare  # noqa: PLC0415 (12 ms that most runs can save)

    return cmp_to_key(version_compare)(version)


def series_key(series: str) -> tuple[int, ...]:
    """Sort key of series such as "6.12"."""
    return tuple(int(part) for part in series.split("."))


def load_catalogues(
    settings: Settings, arch: Arch, progress: Progress, *, refresh: bool = False
) -> list[Catalogue]:
    """What all releases offer, fetched when missing or older than a day (or on `refresh`).

    A release that cannot be fetched is told and its older catalogue used; HarnessError when there is
    none for any release.
    """
    releases = load_releases()
    known = {name: read_catalogue(settings, name, arch) for name in releases.releases}
    due = [
        row
        for name, row in releases.releases.items()
        if known[name].due(_sources_key(settings, row), refresh=refresh)
    ]
    if due:
        errors = _refresh_all(settings, releases, due, arch, progress, refresh=refresh)
        known = {name: read_catalogue(settings, name, arch) for name in releases.releases}
        _report(errors, known, progress)
    return list(known.values())


def _sources_key(settings: Settings, release: Release) -> str:
    return store.digest(FORMAT, settings.mirror or "", settings.security_mirror or "", repr(release))


def _path(settings: Settings, debian: str, arch: Arch) -> Path:
    return settings.cache / "apt" / f"{debian}-{arch.debian}" / "kernels.json"


def read_catalogue(settings: Settings, debian: str, arch: Arch) -> Catalogue:
    """The kept catalogue of a release; an empty one when there is none."""
    data = store.read_json(_path(settings, debian, arch))
    try:
        kernels = tuple(kernel_from_json(row) for row in data["kernels"])
        return Catalogue(**(data | {"kernels": kernels, "compilers": tuple(data["compilers"])}))
    except (KeyError, TypeError):
        return Catalogue(debian)


def kernel_from_json(row: Mapping[str, Any]) -> KernelPackages:
    """The inverse of dataclasses.asdict; KeyError or TypeError for anything else."""
    images = tuple(Package(**package) for package in row["images"])
    packages = tuple(Package(**package) for package in row["packages"])
    return KernelPackages(**{**row, "images": images, "packages": packages})


def _refresh_all(
    settings: Settings,
    releases: Releases,
    due: Sequence[Release],
    arch: Arch,
    progress: Progress,
    *,
    refresh: bool,
) -> dict[str, HarnessError]:
    """Fetch the catalogues that are due; those that failed with their error, by release."""
    try:
        mirrors = find_mirrors(settings, releases.releases)
    except HarnessError as error:
        return {release.name: error for release in due}
    errors: dict[str, HarnessError] = {}

    def fetch(release: Release) -> None:
        with store.locked(settings, f"apt-{release.name}", progress):
            before = read_catalogue(settings, release.name, arch)
            key = _sources_key(settings, release)
            if not before.due(key, refresh=refresh and before.tried < began):
                return  # another run has just done it
            root = apt.open_root(release, arch, mirrors, settings)
            try:
                root.update(progress)
                catalogue = replace(read_apt(root), fetched=time.time(), tried=time.time(), sources=key)
            except (apt.NetworkError, apt.NotOnMirrorError) as error:
                errors[release.name] = error
                catalogue = replace(before, tried=time.time())
            _write(settings, arch, catalogue)

    began = time.time()
    run_parallel([partial(fetch, release) for release in due], workers=len(due))
    return errors


def _write(settings: Settings, arch: Arch, catalogue: Catalogue) -> None:
    import json  # noqa: PLC0415

    path = _path(settings, catalogue.debian, arch)
    store.write_atomically(path, json.dumps(asdict(catalogue), indent=1))


def _report(errors: Mapping[str, HarnessError], known: Mapping[str, Catalogue], progress: Progress) -> None:
    """Tell which lists could not be fetched; raise when there is nothing to go on with."""
    if errors and not any(catalogue.fetched for catalogue in known.values()):
        raise next(iter(errors.values()))
    reasons = defaultdict(list)
    for name, error in errors.items():
        reasons[error.message.split(": ", 1)[-1]].append(name)
    for reason, names in reasons.items():
        dates = sorted(known[name].fetched for name in names if known[name].fetched)
        what = f"using those of {time.strftime('%Y-%m-%d', time.localtime(dates[0]))}" if dates else "left out"
        progress.note(f"warning: package lists of {', '.join(names)} not refreshed ({reason}): {what}")


def read_apt(root: AptRoot) -> Catalogue:
    """Ask apt which kernels and compilers the release has; needs its lists."""
    endings = "|".join(re.escape(one.ending) for one in flavours(root.arch))
    pattern = re.compile(
        rf"linux-(headers|image|binary|binary-unsigned|modules|base)-\d.*-({endings})(-unsigned)?"
    )
    names = sorted({name for name in root.names("linux-") if pattern.fullmatch(name)})
    stanzas = parse_stanzas(root.show(names))
    wanted = sorted({name for rows in stanzas.values() for row in rows for name in needed_names(row)})
    stanzas |= parse_stanzas(root.show([name for name in wanted if name not in stanzas]))
    headers = [name for name in names if name.startswith("linux-headers-")]
    suites = parse_madison(root.madison(headers))
    families = (name for family in ("gcc-", "clang-") for name in root.names(family))
    compilers = sorted(name for name in families if re.fullmatch(r"(gcc|clang)-\d+", name))
    kernels = find_kernels(stanzas, suites, root.release.name, root.arch)
    return Catalogue(root.release.name, kernels=tuple(kernels), compilers=tuple(compilers))


Stanza = Mapping[str, str]


def parse_stanzas(text: str) -> dict[str, list[Stanza]]:
    """Control stanzas (all versions) by package name; lines that are apt's own messages are skipped."""
    from debian.deb822 import Deb822  # noqa: PLC0415 (130 ms, only when the catalogue is made)

    stanzas: dict[str, list[Stanza]] = defaultdict(list)
    clean = "\n".join(line for line in text.splitlines() if not re.match(r"[EWN]: ", line))
    fields = ["Package", "Version", "Depends"]
    for stanza in Deb822.iter_paragraphs(clean, fields=fields, use_apt_pkg=False):
        if "Package" in stanza and "Version" in stanza:
            stanzas[stanza["Package"]].append(dict(stanza))
    return dict(stanzas)


def parse_madison(text: str) -> dict[tuple[str, str], str]:
    """(package, version) -> suite, from the output of `apt-cache madison`."""
    suites = {}
    for line in text.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and len(columns[2].split()) > 1:
            suites[columns[0], columns[1]] = columns[2].split()[1].split("/")[0]
    return suites


def needed_names(stanza: Stanza) -> list[str]:
    """What a headers package needs beside itself to build modules, of all that it depends on."""
    from debian.deb822 import PkgRelation  # noqa: PLC0415 (130 ms, only when the catalogue is made)

    if not stanza["Package"].startswith("linux-headers-"):
        return []
    relations = PkgRelation.parse_relations(stanza.get("Depends", ""))
    names = [one["name"] for alternatives in relations for one in alternatives]
    return [name for name in names if re.match(r"linux-(headers|kbuild|base)-\d", name)]


def find_kernels(
    stanzas: Mapping[str, Sequence[Stanza]], suites: Mapping[tuple[str, str], str], debian: str, arch: Arch
) -> list[KernelPackages]:
    """The complete kernels (image, modules, headers all there), newest first."""
    kernels = []
    for name, rows in stanzas.items():
        if not (name.startswith("linux-headers-") and find_flavour(name, arch)):
            continue
        for row in rows:
            kernel = _kernel(row, stanzas, suites.get((name, row["Version"]), debian), debian)
            if kernel:
                kernels.append(kernel)
    return sorted(kernels, key=lambda kernel: order_key(kernel.version), reverse=True)


def _kernel(
    headers: Stanza, stanzas: Mapping[str, Sequence[Stanza]], suite: str, debian: str
) -> KernelPackages | None:
    version = headers["Version"]
    release = headers["Package"].removeprefix("linux-headers-")
    series = re.match(r"(?:\d+:)?(\d+\.\d+)", version)
    compiler = re.search(r"\bgcc-(\d+)", headers.get("Depends", ""))
    layouts = (  # image alternatives, packages needed beside: since 6.19 Debian keeps the modules apart
        ((f"linux-binary-{release}", f"linux-binary-unsigned-{release}"), (f"linux-modules-{release}",)),
        ((f"linux-image-{release}", f"linux-image-{release}-unsigned"), ()),
    )
    for images, beside in layouts:
        found = _with_version(images, version, stanzas)
        others = [*beside, *needed_names(headers)]
        packages = [_best(name, version, stanzas) for name in others]
        if found and series and compiler and all(packages):
            return KernelPackages(
                series=series.group(1),
                release=release,
                version=version,
                debian=debian,
                suite=suite,
                compiler=f"gcc-{compiler.group(1)}",
                images=tuple(found),
                packages=(Package(headers["Package"], version), *(one for one in packages if one)),
            )
    return None


def _with_version(names: Iterable[str], version: str, stanzas: Mapping[str, Sequence[Stanza]]) -> list[Package]:
    """Those of the names that have a package in this version (and not one that only stands for others)."""
    return [
        Package(name, version)
        for name in names
        if any(
            row["Version"] == version and "linux-binary-" not in row.get("Depends", "")
            for row in stanzas.get(name, ())
        )
    ]


def _best(name: str, version: str, stanzas: Mapping[str, Sequence[Stanza]]) -> Package | None:
    """The package in the wanted version, else in its newest."""
    versions = [row["Version"] for row in stanzas.get(name, ())]
    if version in versions:
        return Package(name, version)
    return Package(name, max(versions, key=order_key)) if versions else None
