# SPDX-License-Identifier: MIT
"""The guest's root file system: busybox, kmod, an SSH server, our init, the few modules the machine needs.

One archive for each kernel is kept in the cache; what differs from machine to machine (keys) comes through the
agent after the start and never touches a disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import with_dependencies
from kmod_harness.machine import cpio
from kmod_harness.machine.spec import MachineSpec

FOLDERS = (
    "bin boot-modules dev etc etc/dropbear lib lib64 proc root root/.ssh run sbin sys tmp usr usr/bin usr/lib "
    "usr/sbin var var/log"
).split()
# What a developer at the prompt and our own commands use; busybox has 250 more under `busybox NAME`.
APPLETS = (
    "sh awk base64 basename cat chmod clear cp cut date dd df dirname dmesg du echo env expr false find free "
    "grep head hexdump hostname id kill ln ls md5sum mkdir mknod more mount mv od ping poweroff printf ps pwd "
    "readlink reboot rm sed seq sha256sum sleep sort stat stty tail tar tee test timeout top touch tr true tty "
    "umount uname uniq uptime vi watch wc which xargs xxd"
).split()
KMOD_COMMANDS = "insmod rmmod lsmod modinfo modprobe depmod".split()
TEXT_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "root/.profile": 'export PS1="($(uname -r) \\w) # " HOME=/root\ncd /root\n',
}


def base_initramfs(
    kernel: Kernel, spec: MachineSpec, userland: Path, programs: tuple[Path, ...], cache: Path
) -> Path:
    """The archive for a kernel on a machine, made once.

    userland: folder in which the packages busybox-static, kmod and dropbear-bin lie unpacked. programs: ours,
    static. All inputs are identified by their paths, which the cache never uses twice.
    """
    identity = [Path(__file__).read_text(encoding="utf-8"), str(kernel.modules), kernel.release, *spec.modules]
    identity += [str(userland), *map(str, programs)]
    result = cache / "initramfs" / (hashlib.sha256("\0".join(identity).encode()).hexdigest()[:24] + ".cpio")
    if result.exists():
        return result
    store.write_atomically(result, cpio.archive(_entries(kernel, spec, userland, programs)))
    return result


def _entries(
    kernel: Kernel, spec: MachineSpec, userland: Path, programs: tuple[Path, ...]
) -> Iterator[cpio.Entry]:
    for path in FOLDERS:
        yield cpio.folder(path, 0o700 if path.startswith("root") else 0o755)
    for path, text in TEXT_FILES.items():
        yield cpio.file(path, text.encode())
    for program in programs:
        where = "init" if program.name == "init" else f"bin/{program.name}"
        yield cpio.file(where, program.read_bytes(), 0o755)
    yield cpio.file("bin/busybox", _find(userland, "bin/busybox").read_bytes(), 0o755)
    for applet in APPLETS:
        yield cpio.link(f"bin/{applet}", "busybox")
    for command in KMOD_COMMANDS:
        yield cpio.link(f"sbin/{command}", "/bin/kmod")
    yield from _dynamic(userland, {"bin/kmod": "bin/kmod", "usr/sbin/dropbear": "sbin/dropbear"})
    modules = with_dependencies(kernel, spec.modules)
    for name, image in modules.items():
        yield cpio.file(f"boot-modules/{name}.ko", image)
    yield cpio.file("boot-modules/order", "".join(f"{name}.ko\n" for name in modules).encode())


def _find(userland: Path, path: str) -> Path:
    """A file of the userland, wherever the release keeps it (/bin or /usr/bin)."""
    for candidate in (userland / path, userland / "usr" / path):
        if candidate.is_file():
            return candidate
    raise HarnessError(f"the guest's packages have no {path} (looked below {userland})")


def _dynamic(userland: Path, programs: dict[str, str]) -> Iterator[cpio.Entry]:
    """Dynamically linked programs, place in the guest -> place in the userland, with all their libraries."""
    libraries = {path.name: path for path in userland.rglob("lib*.so*") if path.is_file()}
    libraries |= {path.name: path for path in userland.rglob("ld-linux*.so*") if path.is_file()}
    pending = [(place, _find(userland, source)) for place, source in programs.items()]
    done: set[str] = set()
    while pending:
        place, source = pending.pop()
        if place in done:
            continue
        done.add(place)
        yield cpio.file(place, source.read_bytes(), 0o755)
        for needed in _needed(source):
            name = Path(needed).name
            if name not in libraries:
                raise HarnessError(f"{source.name} needs {needed}, which is not below {userland}")
            pending.append((needed.lstrip("/") if "/" in needed else f"lib/{name}", libraries[name]))


def _needed(program: Path) -> Iterator[str]:
    """An ELF file's interpreter (a path) and shared libraries (names)."""
    from elftools.elf.dynamic import DynamicSection  # noqa: PLC0415 (slow to import, rarely needed)
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.segments import InterpSegment  # noqa: PLC0415

    with program.open("rb") as stream:
        elf = ELFFile(stream)
        for segment in elf.iter_segments("PT_INTERP"):
            assert isinstance(segment, InterpSegment)
            yield str(segment.get_interp_name())
        section = elf.get_section_by_name(".dynamic")
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags("DT_NEEDED"):
                yield str(vars(tag)["needed"])
