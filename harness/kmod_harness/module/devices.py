# SPDX-License-Identifier: MIT
"""The devices that module.yaml may name: the rows of vm/devices.yaml."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import DATA

DEVICES = "devices.yaml"


@dataclass(frozen=True)
class Bus:
    """What devices hang on."""

    name: str  # "pci", "usb"
    controller: str = ""  # QEMU's name of what it needs; "": every machine has it
    module: str = ""  # in-tree module that finds its devices; "": built into every kernel
    found: str = ""  # pattern of sysfs that each device which was found matches; "": they are there at once


@dataclass(frozen=True)
class Device:
    """Something for a driver to probe."""

    name: str  # QEMU's, e.g. "edu"
    bus: Bus
    options: str = ""  # more for -device; {id} is the backend's name
    backend: tuple[str, ...] = ()  # words of QEMU's command line that it needs besides


@functools.cache
def known_devices() -> dict[str, Device]:
    """All of them, by name."""
    table = yaml.safe_load((DATA / DEVICES).read_text(encoding="utf-8"))
    buses = {name: Bus(name, **row) for name, row in table["buses"].items()}
    return {name: _device(name, buses, **row) for name, row in table["devices"].items()}


def _device(
    name: str, buses: dict[str, Bus], *, bus: str, options: str = "", backend: Sequence[str] = ()
) -> Device:
    return Device(name, buses[bus], options, tuple(backend))


def resolve_devices(names: Iterable[str]) -> list[Device]:
    """The devices with these names. UsageError that lists all when there is none of a name."""
    known = known_devices()
    devices = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"there is no device {name!r}; {meant}known: {', '.join(known)}")
        devices.append(known[name])
    return devices


def device_words(devices: Sequence[Device]) -> tuple[str, ...]:
    """The words of QEMU's command line that add the devices, and what they hang on."""
    words = [
        word
        for name in dict.fromkeys(one.bus.controller for one in devices)
        if name
        for word in ("-device", name)
    ]
    for number, device in enumerate(devices):
        identity = f"given{number}"
        words += [word.format(id=identity) for word in device.backend]
        words += ["-device", ",".join(filter(None, (device.name, device.options.format(id=identity))))]
    return tuple(words)
