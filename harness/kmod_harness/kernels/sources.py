# SPDX-License-Identifier: MIT
"""Where Debian packages come from: the host's own apt sources, or a setting."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.base.errors import HarnessError
from kmod_harness.base.settings import MIRROR_VARIABLE, SECURITY_MIRROR_VARIABLE, Settings

APT_FOLDER = Path("/etc/apt")
KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("gpg", "pgp"))
# Suites that are Debian's beside the releases of vm/kernels.yaml.
DEBIAN_SUITES = frozenset("stable oldstable oldoldstable testing unstable buster forky duke".split())
_ADDRESS = re.compile(r"(https?|file|copy|mirror\+https?|tor\+https?):", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One source of binary packages, as an apt sources file describes it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""  # keyring file(s), or a whole key as text


@dataclass(frozen=True)
class Mirrors:
    """The two archives, and what their signatures are checked against."""

    main: str
    security: str
    keyrings: tuple[Path, ...]  # files
    key: str = ""  # a key as text, from a Signed-By field

    def address(self, archive: str) -> str:
        """The base address of the archive "main" or "security"."""
        return self.security if archive == "security" else self.main


def parse_list(text: str) -> list[Source]:
    """The enabled binary sources of a one-line-style file (sources.list)."""
    sources = []
    for raw in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)", raw.split("#")[0].strip())
        if match:
            options, uri, suite, components = match.groups()
            signed = re.search(r"(?:^|\s)signed-by\s*=\s*(\S+)", options or "", re.IGNORECASE)
            sources.append(
                Source((uri,), (suite,), tuple(components.split()), signed.group(1) if signed else "")
            )
    return sources


def parse_deb822(text: str) -> list[Source]:
    """The enabled binary sources of a deb822-style file (*.sources)."""
    from debian.deb822 import Deb822  # noqa: PLC0415 (130 ms, only when a mirror is looked for)

    sources = []
    for fields in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        enabled = fields.get("Enabled", "yes").strip().lower() not in ("no", "false", "0", "off", "without")
        if enabled and "deb" in fields.get("Types", "").split():
            sources.append(
                Source(
                    tuple(fields.get("URIs", "").split()),
                    tuple(fields.get("Suites", "").split()),
                    tuple(fields.get("Components", "").split()),
                    _unfolded(fields.get("Signed-By", "")),
                )
            )
    return sources


def _unfolded(value: str) -> str:
    """A value of several lines: each begins with a blank, and " ." is an empty one."""
    lines = [line.strip() for line in value.strip().splitlines()]
    return "\n".join("" if line == "." else line for line in lines)


def read_sources(folder: Path = APT_FOLDER) -> list[Source]:
    """The enabled binary sources of the host, in apt's order; files that cannot be read are left out."""
    sources: list[Source] = []
    parts = folder / "sources.list.d"
    for path in [folder / "sources.list", *sorted(parts.glob("*"))]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == ".list":
            sources += parse_list(text)
        elif path.suffix == ".sources":
            sources += parse_deb822(text)
    return sources


def find_mirrors(settings: Settings, releases: Collection[str], folder: Path = APT_FOLDER) -> Mirrors:
    """The mirrors to use: the settings', else the host's. HarnessError says what to set."""
    known = DEBIAN_SUITES | set(releases)
    debian = [source for source in read_sources(folder) if _is_debian(source, known)]
    main = settings.mirror or _first_address(debian, security=False)
    if main is None:
        raise HarnessError(
            f"this host has no Debian apt sources ({folder}), so there is no mirror to take kernels from",
            hint=f"name a Debian mirror: {MIRROR_VARIABLE}=<address that ends in /debian> "
            f"(and {SECURITY_MIRROR_VARIABLE}=<address that ends in /debian-security>)",
        )
    security = settings.security_mirror or (None if settings.mirror else _first_address(debian, security=True))
    signed = [source.signed_by for source in debian if source.signed_by]
    named = [Path(word) for value in signed if "-----" not in value for word in re.split(r"[,\s]+", value)]
    keyrings = tuple(dict.fromkeys(path for path in [*KEYRINGS, *named] if path.is_file()))
    key = next((value for value in signed if "-----BEGIN" in value), "")
    if not keyrings and not key:
        raise HarnessError(
            "Debian's archive keys are not on this host, so signatures cannot be checked",
            hint="install the package debian-archive-keyring",
        )
    return Mirrors(main.rstrip("/"), (security or _beside(main)).rstrip("/"), keyrings, key)


def _is_debian(source: Source, known: Collection[str]) -> bool:
    names = {re.split(r"[-/]", suite)[0] for suite in source.suites}
    return "main" in source.components and bool(names & set(known))


def _first_address(sources: list[Source], *, security: bool) -> str | None:
    for source in sources:
        if any(("-security" in suite or "/updates" in suite) == security for suite in source.suites):
            address = next((uri for uri in source.uris if _ADDRESS.match(uri)), None)
            if address:
                return address
    return None


def _beside(main: str) -> str:
    """Mirrors keep the security archive beside the main one, as debian-security."""
    return re.sub(r"/debian/*$", "/debian-security", main)
