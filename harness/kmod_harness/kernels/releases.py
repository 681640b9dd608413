# SPDX-License-Identifier: MIT
"""vm/kernels.yaml: which Debian releases and suites kernels and toolchains come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import DATA


@dataclass(frozen=True)
class Suite:
    """One suite of an archive."""

    name: str
    archive: str  # "main" or "security"
    accept_expired: bool = False  # use it also past its Valid-Until, with a warning


@dataclass(frozen=True)
class Release:
    """A Debian release: suites whose packages fit together."""

    name: str
    suites: tuple[Suite, ...]


@dataclass(frozen=True)
class Releases:
    """The whole of vm/kernels.yaml."""

    releases: Mapping[str, Release]
    flavours: Mapping[str, str]  # name -> ending of uname -r, with {arch}; the first is the ordinary one
    compilers: Mapping[str, str]  # compiler command -> release that packages it
    toolchain: tuple[str, ...]  # packages of every toolchain root
    guest_release: str
    guest_packages: tuple[str, ...]
    image_release: str
    image_packages: tuple[str, ...]


@cache
def load_releases(path: Path | None = None) -> Releases:
    """Read vm/kernels.yaml (or `path`); UsageError names the file and what is wrong in it."""
    import yaml  # noqa: PLC0415 (only needed on this path)

    path = path or DATA / "kernels.yaml"
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        return _parse(data)
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: {type(error).__name__}: {error}", hint="compare with git's version"
        ) from error


def _parse(data: Any) -> Releases:
    releases = {
        name: Release(name, tuple(_suite(name, suite) for suite in row["suites"]))
        for name, row in data["releases"].items()
    }
    for release in [*data["compilers"].values(), data["guest"]["release"], data["image"]["release"]]:
        if release not in releases:
            raise ValueError(f"unknown release {release}")
    return Releases(
        releases=releases,
        flavours=_flavours(data["flavours"]),
        compilers=dict(data["compilers"]),
        toolchain=tuple(data["toolchain"]),
        guest_release=data["guest"]["release"],
        guest_packages=tuple(data["guest"]["packages"]),
        image_release=data["image"]["release"],
        image_packages=tuple(data["image"]["packages"]),
    )


def _flavours(rows: Mapping[str, str]) -> dict[str, str]:
    if not rows or any("{arch}" not in ending for ending in rows.values()):
        raise ValueError("each flavour must be a text with {arch}, and there must be one")
    return dict(rows)


def _suite(release: str, row: Mapping[str, Any]) -> Suite:
    suite = Suite(**row)
    if suite.archive not in ("main", "security"):
        raise ValueError(f"release {release}, suite {suite.name}: archive must be main or security")
    return suite
