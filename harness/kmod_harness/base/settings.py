# SPDX-License-Identifier: MIT
"""Settings of one run, taken once from the environment and passed down."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

CACHE_VARIABLE = "KMOD_HARNESS_CACHE"
MIRROR_VARIABLE = "KMOD_HARNESS_MIRROR"
SECURITY_MIRROR_VARIABLE = "KMOD_HARNESS_SECURITY_MIRROR"

DEFAULT_KERNEL = "6.12"  # Debian stable's
_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]
# Where kmod/ and vm/ lie: in a checkout beside harness/, in an installed package inside it.
PROJECT = _CHECKOUT if (_CHECKOUT / "vm" / "kernels.yaml").is_file() else _PACKAGE / "data"
DATA = PROJECT / "vm"


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(base) / "kmod-harness").resolve()


@dataclass(frozen=True)
class Settings:
    """Where things are kept and where packages come from.

    The cache has one folder for each kind of thing, named in the code that owns it:
    everything in it can be made again, and `invoke clean` removes it.
    """

    cache: Path = field(default_factory=_default_cache)
    # Base URL of a Debian mirror ("…/debian"); None: taken from the host's own apt sources.
    mirror: str | None = field(default_factory=lambda: os.environ.get(MIRROR_VARIABLE) or None)
    # Base URL of the security archive ("…/debian-security"); None: as above.
    security_mirror: str | None = field(
        default_factory=lambda: os.environ.get(SECURITY_MIRROR_VARIABLE) or None
    )
