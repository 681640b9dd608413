# SPDX-License-Identifier: MIT
"""Several kernels by one name: "5.10..7.3", "6.1..", "all", each with or without a flavour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kmod_harness.base import store
from kmod_harness.base.errors import UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import debian
from kmod_harness.kernels.arch import Arch, host_arch
from kmod_harness.kernels.catalogue import series_key
from kmod_harness.kernels.flavours import find_wish

ALL = "all"
_SERIES = r"(\d+\.\d+)?"
_FLAVOUR = r"(?:-([a-z][a-z0-9-]*))?"
_RANGE = re.compile(rf"{_SERIES}{_FLAVOUR}\.\.{_SERIES}{_FLAVOUR}|{ALL}{_FLAVOUR}")


def is_range(spec: str) -> bool:
    """Whether `spec` may mean several kernels."""
    return spec != ".." and _RANGE.fullmatch(spec) is not None  # ".." is a folder


def expand_kernels(specs: Iterable[str], settings: Settings, progress: Progress) -> list[str]:
    """Each spec, and in the place of a range the names of its kernels, oldest first; each name once.

    Without a range nothing is looked up. UsageError for a range that has no kernel, HarnessError when it cannot
    be found out which there are.
    """
    result: list[str] = []
    arch = host_arch()
    choices: Sequence[debian.Choice] = ()
    for spec in specs:
        if not is_range(spec):
            result.append(spec)
            continue
        with store.explained(settings):
            choices = choices or debian.known_choices(settings, arch, progress)
        result += in_range(spec, choices, arch)
    return list(dict.fromkeys(result))


def in_range(spec: str, choices: Sequence[debian.Choice], arch: Arch) -> list[str]:
    """The names of the kernels of a range, oldest first. A flavour stands behind one end or both, or "all"."""
    match = _RANGE.fullmatch(spec)
    assert match
    first, flavour_of_first, last, flavour_of_last, flavour_of_all = match.groups()
    named = {one for one in (flavour_of_first, flavour_of_last, flavour_of_all) if one}
    wish = find_wish("-".join(["latest", *named]), arch) if len(named) < 2 else None
    if wish is None:
        raise UsageError(f"kernels {spec}: want one flavour for all; {debian.offer(choices, arch)}")
    series = {one.packages.series for one in choices if one.flavour == wish.flavour}
    inside = [
        one
        for one in sorted(series, key=series_key)
        if (not first or series_key(one) >= series_key(first))
        and (not last or series_key(one) <= series_key(last))
    ]
    if not inside:
        raise UsageError(f"kernels {spec}: there is none; {debian.offer(choices, arch)}", hint="invoke kernels")
    return [wish.flavour.name_in(one) for one in inside]
