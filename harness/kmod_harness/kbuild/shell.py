# SPDX-License-Identifier: MIT
"""What makes the sandbox look like a machine that runs the kernel: uname, /lib/modules, the usual variables."""

from __future__ import annotations

import re
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.settings import Settings
from kmod_harness.kbuild.sandbox import Mount, View
from kmod_harness.kernels.arch import ARCHES
from kmod_harness.kernels.kernel import Kernel

OWN = Path("/run/kmod-harness")
STUBS = OWN / "bin"
SOURCES = Path("/usr/src")
BOOT = Path("/boot")
# What a Makefile may ask for that is never done here; asked for, it says so and goes on.
NOT_DONE = ("sudo", "depmod", "modprobe", "insmod", "rmmod", "update-initramfs", "systemctl")
NOT_DONE_MARK = "kmod-harness: not done here: "
# By which names authors' Makefiles know the release and the build tree, when they take them from outside.
RELEASE_VARIABLES = (
    "KVER", "KVERS", "KVERSION", "KERNELVER", "KERNEL_VER", "KERNEL_VERSION", "KERNEL_RELEASE", "TARGET",
    "kernelver",
)  # fmt: skip
TREE_VARIABLES = (
    "KDIR", "KSRC", "KERNELDIR", "KERNEL_DIR", "KERNEL_SRC", "KERNELSRC", "KERNEL_SOURCE", "KERNEL_SOURCES",
    "KERNEL_BUILD", "KERNEL_PATH", "KBUILD", "KBUILD_DIR", "KBUILDDIR", "KERNEL_TREE", "LINUX_DIR", "LINUX_SRC",
    "LINUXSRC", "SYSSRC", "SYSOUT", "kernel_source_dir",
)  # fmt: skip
_UNAME = """#!/bin/sh
# uname, as on the machine that the module is built for
real=$({own}/uname -r) || exit
{own}/uname "$@" | sed "s|$real|{release}|"
"""
_STUB = """#!/bin/sh
echo "{mark}{name} $*" >&2
"""

PARALLEL = STUBS / "parallel"  # comes first in PATH where the author's own make runs
JOBS = "KMOD_HARNESS_JOBS"  # how many things kbuild may do at a time there
# Authors say $(PWD) where they mean the folder that make was called in, and bash sets PWD anew: it is put back.
_MAKE = """#!/bin/bash
# make, which calls kbuild in parallel; an author's own targets are left in their order
while IFS= read -r -d '' line; do [[ $line = PWD=* ]] && PWD=${line#PWD=}; done < /proc/$$/environ
case " $* " in
  *" -C "*" M="* | *" M="*" -C "* | *" -C "*" SUBDIRS="*) exec /usr/bin/make "-j$jobs" "$@" ;;
esac
exec -a make /usr/bin/make "$@"
"""


def tree_link(kernel: Kernel) -> Path:
    """The build tree's usual path on a machine that runs the kernel."""
    return Path("/lib/modules") / kernel.release / "build"


def kernel_view(kernel: Kernel, root: Path, compiler: str, settings: Settings) -> View:
    """How the kernel is seen in a sandbox with the programs of `root`."""
    folder = _programs(kernel, settings)
    mounts = [Mount(path, path) for path in tree_folders(kernel.build_tree, settings)]
    mounts.append(Mount(STUBS, folder))
    uname = (root / "usr" / "bin" / "uname").resolve()
    if uname.is_file():
        mounts += [Mount(OWN / "uname", uname), Mount(Path("/usr/bin/uname"), folder / "uname")]
    mounts += _symbol_map(kernel)
    links = {tree_link(kernel): kernel.build_tree, tree_link(kernel).with_name("source"): kernel.build_tree}
    links[BOOT / f"config-{kernel.release}"] = kernel.build_tree / ".config"
    for name in ("gcc", "cc"):
        if not (root / "usr" / "bin" / name).exists():
            links[OWN / "compiler" / name] = Path("/usr/bin") / compiler
    if (root / "usr" / "src").is_dir():
        mounts.append(Mount(SOURCES, None))
        mounts += [Mount(SOURCES / path.name, path) for path in sorted((root / "usr" / "src").iterdir())]
        headers = SOURCES / f"linux-headers-{kernel.release}"
        if kernel.build_tree != headers:
            links[headers] = kernel.build_tree
    return View(
        tuple(mounts), links, kernel_variables(kernel), first_in_path=(STUBS, OWN / "compiler"), cwd=Path("/")
    )


def _symbol_map(kernel: Kernel) -> list[Mount]:
    """The kernel's System.map where a machine that runs it has it; none of a build tree without."""
    name = f"System.map-{kernel.release}"
    found = (
        path for path in (kernel.image.with_name(name), kernel.build_tree / "System.map") if path.is_file()
    )
    return [Mount(BOOT / name, path) for path in found][:1]


def kernel_variables(kernel: Kernel) -> dict[str, str]:
    """The environment in which an author's Makefile finds the kernel. Not KERNELRELEASE: kbuild sets that,
    and Makefiles tell by it who reads them.
    """
    tree = str(tree_link(kernel))
    arch = ARCHES[kernel.arch]
    return {
        **dict.fromkeys(RELEASE_VARIABLES, kernel.release),
        **dict.fromkeys(TREE_VARIABLES, tree),
        # Debian's headers would ask dpkg, which a toolchain root does not have.
        "DEB_BUILD_ARCH": arch.debian,
        "DEB_HOST_ARCH": arch.debian,
        # Files of the user's may be bound here under another owner.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _programs(kernel: Kernel, settings: Settings) -> Path:
    """The folder with `uname`, `make` and what is not done, made once."""
    files = {"uname": _UNAME.format(own=OWN, release=kernel.release)}
    files[f"{PARALLEL.name}/make"] = _MAKE.replace("$jobs", f"${JOBS}")
    files |= {name: _STUB.format(mark=NOT_DONE_MARK, name=name) for name in NOT_DONE}
    folder = settings.cache / "programs" / f"shell-{store.digest(*files, *files.values())}"
    for name, text in files.items():
        if not (folder / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            part = (folder / name).with_name(f".{store.digest(name, text)}")
            part.write_text(text, encoding="utf-8")
            part.chmod(0o755)
            part.rename(folder / name)
    return folder


def tree_folders(tree: Path, settings: Settings) -> list[Path]:
    """The folders of the host that a build tree consists of."""
    if tree.is_relative_to(settings.cache):
        return [settings.cache.joinpath(*tree.relative_to(settings.cache).parts[:2])]
    if tree.is_relative_to("/usr"):
        return []
    found = [tree]
    makefile = tree / "Makefile"
    if makefile.is_file():  # a tree made with O=
        match = re.search(
            r"^include (/\S+)/Makefile$", makefile.read_text(errors="replace", encoding="utf-8"), re.MULTILINE
        )
        found += [Path(match[1])] if match else []
    source = tree / "source"
    found += [source.resolve()] if source.is_symlink() else []
    return [path for path in dict.fromkeys(found) if path.is_dir()]
