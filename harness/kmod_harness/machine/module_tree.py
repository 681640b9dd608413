# SPDX-License-Identifier: MIT
"""The kernel's own modules as a file system for the guest, with the indexes that modprobe reads.

One image for each kernel, made once. All machines that run the kernel share it read-only, so a copy of a
machine needs no more than its template did. The modules lie in it unpacked, which the guest would do much more
slowly under emulation. Measured on two cores, Debian's 6.12 with all drivers (4230 modules, 102 MB of .ko.xz):
4.3 s to unpack, 0.4 s for depmod (5.8 s on packed ones), 1.1 s for an image of 127 MB.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from kmod_harness.base import process, store
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.parallel import run_parallel
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.sandbox import Mount, View, sandbox_argv
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.kernels.kernel_modules import module_files, provides, read_module
from kmod_harness.kernels.packages import unpack_image_packages

FOLDER = "module-trees"  # in the cache
IMAGE = "modules.squashfs"
IDENTITY = "identity"  # file beside the image: what it was made from
FORMAT = "1"
MAKE_SECONDS = 300.0
# What kbuild writes for modprobe; depmod makes the rest.
LISTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
SQUASHFS = "-comp zstd -Xcompression-level 1 -all-root -no-xattrs -quiet -no-progress".split()


def can_mount(kernel: Kernel) -> bool:
    """Whether the kernel can use the image; what lacks these drivers are kernels of somebody's own."""
    return provides(kernel, "squashfs") and provides(kernel, "virtio_blk")


def module_tree(kernel: Kernel, settings: Settings, progress: Progress) -> Path:
    """The image: a squashfs of /lib/modules/<release>, made anew when the modules change."""
    name = f"{kernel.release}-{store.digest(str(kernel.modules))[:12]}"
    target = settings.cache / FOLDER / name
    identity = _identity(kernel)
    if _is_made(target, identity):
        return target / IMAGE
    tools = unpack_image_packages(settings, progress)
    with store.locked(settings, f"{FOLDER}-{name}", progress):
        if not _is_made(target, identity):
            with progress.task(f"modules of {kernel.release}"), store.publishing(target) as part:
                _make(kernel, tools, part)
                (part / IDENTITY).write_text(identity, encoding="utf-8")
    return target / IMAGE


def _is_made(target: Path, identity: str) -> bool:
    try:
        return (target / IDENTITY).read_text(encoding="utf-8") == identity
    except OSError:
        return False


def _identity(kernel: Kernel) -> str:
    """Changes with the modules: a build tree is compiled again and again."""
    facts = [FORMAT]
    for path in module_files(kernel.modules):
        status = path.stat()
        facts.append(f"{path.relative_to(kernel.modules)} {status.st_size} {status.st_mtime_ns}")
    return store.digest(*facts)


def _make(kernel: Kernel, tools: Path, part: Path) -> None:
    tree = part / "lib" / "modules" / kernel.release
    tree.mkdir(parents=True)
    for name in LISTS:
        if (kernel.modules / name).is_file():
            shutil.copyfile(kernel.modules / name, tree / name)
    files = module_files(kernel.modules)
    run_parallel([partial(_unpack, path, kernel.modules, tree) for path in files])
    commands = (
        ("depmod", "--basedir", str(part), kernel.release),
        ("mksquashfs", str(tree), str(part / IMAGE), *SQUASHFS),
    )
    for command in commands:
        process.run(
            sandbox_argv(tools, command, View((Mount(part, part, writable=True),))),
            deadline=Deadline(MAKE_SECONDS, f"{command[0]} for {kernel.release}"),
        )
    shutil.rmtree(part / "lib")


def _unpack(path: Path, modules: Path, tree: Path) -> None:
    relative = path.relative_to(modules)
    if relative.parts[0] not in ("kernel", "updates", "extra"):
        relative = "kernel" / relative  # of a build tree: as its modules_install would
    target = tree / relative.with_name(path.name.partition(".ko")[0] + ".ko")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(read_module(path))
