# SPDX-License-Identifier: MIT
"""KVM or emulation: proven once for each boot of the host, remembered with its reason."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kmod_harness.base import store
from kmod_harness.machine import kvm

Request = Literal["auto", "kvm", "tcg"]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class Accelerator:
    """What QEMU is told, and why."""

    name: str  # "kvm" or "tcg"
    reason: str


def choose(request: Request, cache: Path) -> Accelerator:
    """Decide. "auto" trusts KVM only after a guest program has run on it."""
    if request != "auto":
        return Accelerator(request, "asked for")
    return _remembered(cache) or _probe(cache)


def distrust_kvm(cache: Path, reason: str) -> Accelerator:
    """Remember that KVM failed in earnest, so that "auto" does not try it again until the host reboots."""
    return _remember(cache, Accelerator("tcg", reason))


def _probe(cache: Path) -> Accelerator:
    if not DEVICE.exists():
        return Accelerator("tcg", "there is no /dev/kvm")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Accelerator("tcg", "/dev/kvm may not be opened by this user (group kvm)")
    result = kvm.probe()
    return _remember(cache, Accelerator("kvm" if result.usable else "tcg", result.reason))


def _identity() -> dict[str, object]:
    """What a remembered verdict holds for: this boot of the host, this device, this user."""
    return {
        "boot": BOOT_ID.read_text(encoding="utf-8").strip(),
        "device": DEVICE.stat().st_rdev,
        "user": os.getuid(),
    }


def _remembered(cache: Path) -> Accelerator | None:
    try:
        stored = json.loads((cache / "accelerator.json").read_text(encoding="utf-8"))
        if stored.pop("identity") == _identity():
            return Accelerator(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never stored, or by another version: find out again
    return None


def _remember(cache: Path, accelerator: Accelerator) -> Accelerator:
    facts = {"identity": _identity(), **asdict(accelerator)}
    with contextlib.suppress(OSError):  # whoever needs the cache for more will say what is wrong with it
        store.write_atomically(cache / "accelerator.json", json.dumps(facts))
    return accelerator
