# SPDX-License-Identifier: MIT
"""Machines are rows: one vm/<name>.yaml each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from kmod_harness.base.errors import UsageError
from kmod_harness.base.settings import DATA

OTHER = ("kernels.yaml", "devices.yaml")  # of that folder: no machines


@dataclass(frozen=True)
class MachineSpec:
    """A kind of virtual machine; the comments are in the files under vm/."""

    name: str
    arch: str  # uname -m of the kernels it can run
    qemu: str  # command
    machine: str  # value of -machine
    firmware: str  # value of -bios; "" for QEMU's default
    cpu: str  # value of -cpu
    memory: int  # MiB
    cpus: int
    device_bus: str  # "pci" or "device": the ending of virtio-net-<bus>
    modules: tuple[str, ...]  # in-tree kernel modules that init loads
    command_line: tuple[str, ...]  # kernel parameters; {tsc_khz} is filled in
    devices: tuple[str, ...] = ()  # words of QEMU's command line for what a test adds; not in the file


def load_machine_spec(name: str) -> MachineSpec:
    """The machine described by vm/<name>.yaml. Raises UsageError that lists the known ones."""
    path = DATA / f"{name}.yaml"
    if not path.is_file() or path.name in OTHER:
        known = sorted(one.stem for one in DATA.glob("*.yaml") if one.name not in OTHER)
        raise UsageError(f"no machine named {name}; there is: {', '.join(known)}")
    return parse_machine_spec(path.read_text(encoding="utf-8"), path)


def parse_machine_spec(text: str, path: Path) -> MachineSpec:
    """Parse a machine file; every key is required, unknown ones are errors."""
    values = yaml.safe_load(text)
    wanted = {field.name for field in fields(MachineSpec)} - {"devices"}
    if not isinstance(values, dict) or set(values) != wanted:
        difference = ", ".join(sorted(wanted ^ set(values or ())))
        raise UsageError(f"{path}: missing or unknown keys: {difference}")
    for key in ("modules", "command_line"):
        values[key] = tuple(str(value) for value in values[key])
    return MachineSpec(**values)
