# SPDX-License-Identifier: MIT
"""Devices by name: the rows of vm/devices.yaml, what QEMU is told, what a module.yaml may say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.machine.qemu import BootFiles
from kmod_harness.machine.spec import load_machine_spec
from kmod_harness.machine.template import Recipe
from kmod_harness.module.devices import device_words, known_devices, resolve_devices
from kmod_harness.module.manifest import parse_manifest
from kmod_harness.run.fleet import _with_devices, find_devices
from kmod_harness.target.runner import Result
from tests.unit.test_run_fleet import KERNEL


def test_words_for_qemu() -> None:
    known = known_devices()
    words = device_words([known["usb-mouse"], known["nvme"], known["edu"], known["usb-kbd"]])
    assert " ".join(words) == (
        "-device qemu-xhci -device usb-mouse"
        " -blockdev driver=null-co,node-name=given1,size=67108864 -device nvme,serial=1,drive=given1"
        " -device edu -device usb-kbd"
    )
    assert device_words([]) == ()


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU")
def test_qemu_takes_every_row() -> None:
    """With all of them at once it gets as far as to quit when asked to."""
    argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35,usb=off,accel=tcg"]
    known = known_devices().values()
    for bus in {one.bus for one in known}:
        words = device_words([one for one in known if one.bus == bus])
        done = subprocess.run(
            [*argv, "-S", "-monitor", "stdio", *words],
            input="quit\n",
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_module_yaml_names_devices() -> None:
    assert parse_manifest("devices: [edu, usb-mouse]\n", "m").devices == ("edu", "usb-mouse")
    with pytest.raises(
        UsageError, match=r"m:1: devices: entry 1: .*did you mean usb-mouse\? known: edu, .*usb-"
    ):
        parse_manifest("devices: [usb_mouse]\n", "m")
    with pytest.raises(UsageError, match="there is no device 'rat'; known: "):
        resolve_devices(["edu", "rat"])
    own = parse_manifest("devices: [edu]\nmodules: {a: {devices: [nvme]}}\n", "m")
    assert (own.of("a").devices, own.of("b").devices) == (("nvme",), ("edu",))


class Asked:
    """A guest that finds devices, or not."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.calls: list[tuple[str, ...]] = []

    def run(self, *argv: str, check: bool) -> Result:
        assert not check
        self.calls.append(argv)
        return Result(argv, self.code, "")


def test_devices_of_a_bus_are_waited_for_in_the_guest() -> None:
    known = known_devices()
    guest = Asked(0)
    find_devices(guest, KERNEL, [known["usb-mouse"], known["edu"], known["usb-kbd"]])  # type: ignore[arg-type]
    assert guest.calls[0][-1] == "xhci_pci"
    assert "-ge 2 ]" in guest.calls[1][-1]
    guest = Asked(0)
    find_devices(guest, KERNEL, [known["edu"]])  # type: ignore[arg-type]
    assert guest.calls == []
    with pytest.raises(HarnessError, match="does not find usb-mouse: does it have xhci_pci"):
        find_devices(Asked(1), KERNEL, [known["usb-mouse"]])  # type: ignore[arg-type]


def test_a_machine_without_pci_takes_none() -> None:
    edu = known_devices()["edu"]
    files = BootFiles(Path("/kernel"), Path("/initramfs"), "")
    assert _with_devices(Recipe(load_machine_spec("q35"), "tcg", files), [edu]).spec.devices == (
        "-device",
        "edu",
    )
    with pytest.raises(UsageError, match="has no PCI bus for edu"):
        _with_devices(Recipe(load_machine_spec("microvm"), "tcg", files), [edu])
