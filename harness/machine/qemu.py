# SPDX-License-Identifier: MIT
"""The QEMU command line, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.machine.spec import MachineSpec


@dataclass(frozen=True)
class BootFiles:
    """What QEMU loads."""

    kernel: Path
    initramfs: Path
    command_line: str


def kernel_command_line(spec: MachineSpec, tsc_khz: int) -> str:
    """The kernel's parameters. tsc_khz: frequency of the time-stamp counter, which TCG takes from the host."""
    return " ".join(parameter.format(tsc_khz=tsc_khz) for parameter in spec.command_line)


def host_tsc_khz(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """The host's time-stamp counter in kHz: on x86 Linux bogomips is twice its MHz, fixed at boot."""
    for line in cpuinfo.read_text().splitlines():
        if line.lower().startswith("bogomips"):
            return round(float(line.partition(":")[2]) * 500)
    return 2_000_000  # not an x86 host: any fixed value will do, the guest's clock is then emulated


def qemu_argv(
    spec: MachineSpec, accelerator: str, boot: BootFiles, *, monitor_fd: int, agent_fd: int, console: Path
) -> list[str]:
    """The whole command line.

    monitor_fd, agent_fd: inherited ends of connected sockets; the one speaks QMP, the other is the guest's
    virtio-serial port "agent". console: file for the serial line.
    """
    bus = spec.device_bus
    return [
        spec.qemu,
        *("-machine", spec.machine),
        *("-accel", accelerator),
        *("-cpu", spec.cpu if accelerator == "tcg" else "host"),
        *("-m", str(spec.memory)),
        *("-smp", str(spec.cpus)),
        "-nodefaults",  # only the devices named here
        "-no-user-config",  # nor anything from files on this host
        "-no-reboot",  # a reset (panic, triple fault) ends QEMU instead of hiding the failure
        *("-display", "none"),
        *(("-bios", spec.firmware) if spec.firmware else ()),
        *("-kernel", str(boot.kernel)),
        *("-initrd", str(boot.initramfs)),
        *("-append", boot.command_line),
        # A file needs no reader: the console is recorded whatever happens to us.
        *("-chardev", f"file,id=console,path={_escape(console)}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"),
        *("-device", f"virtio-serial-{bus}", "-chardev", f"socket,id=agent,fd={agent_fd}"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
        # Port 0: the host's kernel picks a free one, there is no moment in which somebody else can take it.
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", f"virtio-net-{bus},netdev=net" + (",romfile=" if bus == "pci" else "")),
    ]


def _escape(path: Path) -> str:
    """A comma ends a value in QEMU's option syntax; doubled, it stands for itself."""
    return str(path).replace(",", ",,")
