# SPDX-License-Identifier: MIT
"""Debian builds each series in several flavours, the rows of vm/kernels.yaml. Which one a name means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kmod_harness.kernels.arch import Arch
from kmod_harness.kernels.releases import load_releases

LATEST = "latest"  # instead of a series: the newest that there is


@dataclass(frozen=True)
class Flavour:
    """One way in which Debian configures a kernel."""

    name: str  # "cloud"
    ending: str  # of `uname -r`: "cloud-amd64"
    rank: int  # place in vm/kernels.yaml

    @property
    def ordinary(self) -> bool:
        """Whether a series without a flavour means this one."""
        return self.rank == 0

    def name_in(self, series: str) -> str:
        """What a user types for this flavour of a series, e.g. "6.12" or "6.12-cloud"."""
        return series if self.ordinary else f"{series}-{self.name}"


@dataclass(frozen=True)
class Wish:
    """A series and a flavour, as a user names them."""

    series: str  # "6.12" or "latest"
    flavour: Flavour


def flavours(arch: Arch) -> tuple[Flavour, ...]:
    """All flavours, the ordinary one first."""
    rows = load_releases().flavours.items()
    return tuple(Flavour(name, text.format(arch=arch.debian), rank) for rank, (name, text) in enumerate(rows))


def find_flavour(release: str, arch: Arch) -> Flavour | None:
    """The flavour of a `uname -r`, or of what else ends like one; None for a kernel that is not Debian's."""
    endings = [one for one in flavours(arch) if release.endswith("-" + one.ending)]
    return max(endings, key=lambda one: len(one.ending), default=None)


def find_wish(spec: str, arch: Arch) -> Wish | None:
    """What a name such as "6.12", "6.12-cloud", "6.12-amd64" or "latest-rt" asks for; None for other names."""
    match = re.fullmatch(rf"(\d+\.\d+|{LATEST})(?:-(.+))?", spec)
    if not match:
        return None
    series, wanted = match.groups()
    for one in flavours(arch):
        if wanted in (one.name, one.ending) or (wanted is None and one.ordinary):
            return Wish(series, one)
    return None
