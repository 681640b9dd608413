# SPDX-License-Identifier: MIT
"""The QEMU command line, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmod_harness.machine.spec import MachineSpec


@dataclass(frozen=True)
class BootFiles:
    """What QEMU loads."""

    kernel: Path
    initramfs: Path
    command_line: str


@dataclass(frozen=True)
class Memory:
    """The guest's memory as a file, for snapshots."""

    path: Path
    shared: bool  # True: the guest's writes go to the file; False: they stay private (copy on write)


def kernel_command_line(spec: MachineSpec, tsc_khz: int, more: Sequence[str] = ()) -> str:
    """The kernel's parameters: the machine's, then the user's, which win since they come last.

    tsc_khz: frequency of the time-stamp counter, which TCG takes from the host.
    """
    own = [parameter.format(tsc_khz=tsc_khz) for parameter in spec.command_line]
    return " ".join((*own, *more))


def host_tsc_khz(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """The host's time-stamp counter in kHz: on x86 Linux bogomips is twice its MHz, fixed at boot."""
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        if line.lower().startswith("bogomips"):
            return round(float(line.partition(":")[2]) * 500)
    return 2_000_000  # not an x86 host: any fixed value will do, the guest's clock is then emulated


def qemu_argv(
    spec: MachineSpec,
    accelerator: str,
    boot: BootFiles | None,
    *,
    monitor_fd: int,
    agent_fd: int,
    console: Path,
    memory: Memory | None = None,
    disk: Path | None = None,
) -> list[str]:
    """The whole command line.

    boot: None for a machine whose state comes in through the monitor. monitor_fd, agent_fd: inherited ends of
    connected sockets; the one speaks QMP, the other is the guest's virtio-serial port "agent". console: file
    for the serial line. memory: None for ordinary memory. disk: image that the guest reads only.
    """
    bus = spec.device_bus
    return [
        spec.qemu,
        *("-machine", spec.machine + (",memory-backend=memory" if memory else "")),
        *("-accel", accelerator),
        *("-cpu", spec.cpu if accelerator == "tcg" else "host"),
        *("-m", str(spec.memory)),
        *("-smp", str(spec.cpus)),
        "-nodefaults",  # only the devices named here
        "-no-user-config",  # nor anything from files on this host
        "-no-reboot",  # a reset (panic, triple fault) ends QEMU instead of hiding the failure
        *("-display", "none"),
        *(("-bios", spec.firmware) if spec.firmware else ()),
        *(_memory_options(spec, memory) if memory else ()),
        *(_boot_options(boot) if boot else ("-incoming", "defer")),
        # A file needs no reader: the console is recorded whatever happens to us.
        *("-chardev", f"file,id=console,path={_escape(console)}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"),
        *(_disk_options(bus, disk) if disk else ()),
        *("-device", f"virtio-serial-{bus}", "-chardev", f"socket,id=agent,fd={agent_fd}"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
        # Port 0: the host's kernel picks a free one, there is no moment in which somebody else can take it.
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", f"virtio-net-{bus},netdev=net" + (",romfile=" if bus == "pci" else "")),
        *spec.devices,
    ]


def _memory_options(spec: MachineSpec, memory: Memory) -> tuple[str, ...]:
    share = "on" if memory.shared else "off"
    options = f"id=memory,size={spec.memory}M,mem-path={_escape(memory.path)},share={share}"
    return ("-object", f"memory-backend-file,{options}")


def _boot_options(boot: BootFiles) -> tuple[str, ...]:
    files = ("-kernel", str(boot.kernel), "-initrd", str(boot.initramfs))
    return (*files, "-append", boot.command_line)


def _disk_options(bus: str, disk: Path) -> tuple[str, ...]:
    drive = f"if=none,id=disk,file={_escape(disk)},format=raw,readonly=on"
    return ("-drive", drive, "-device", f"virtio-blk-{bus},drive=disk")


def _escape(path: Path) -> str:
    """A comma ends a value in QEMU's option syntax; doubled, it stands for itself."""
    return str(path).replace(",", ",,")
