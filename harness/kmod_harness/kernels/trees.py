# SPDX-License-Identifier: MIT
"""Kernels that are already files here: the running one, a build tree, a folder of .deb files."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from kmod_harness.base import store
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.base.progress import Progress
from kmod_harness.base.settings import Settings
from kmod_harness.kernels import unpack
from kmod_harness.kernels.arch import ARCHES, Arch
from kmod_harness.kernels.deb_folder import check_complete
from kmod_harness.kernels.kernel import Kernel

HOST = "host"


def resolve_host(arch: Arch, *, root: Path = Path("/")) -> Kernel:
    """The running kernel, when its image, modules and headers are installed."""
    release = platform.release()
    package = f"linux-headers-{release}"
    modules = root / "lib" / "modules" / release
    images = [root / "boot" / f"vmlinuz-{release}", modules / "vmlinuz"]
    image = next((path for path in images if path.exists()), None)
    if image is None:
        raise UsageError(
            f"kernel host: the running kernel {release} has no image in {images[0]}",
            hint=f"install the package linux-image-{release}, or choose another kernel: invoke kernels",
        )
    _readable(image)
    if not modules.is_dir():
        raise UsageError(f"kernel host: no folder {modules}", hint=f"install the package linux-image-{release}")
    build = modules / "build"
    if not (build / "Makefile").is_file():
        raise UsageError(f"kernel host: no headers in {build}", hint=f"install the package {package}")
    return Kernel(
        spec=HOST,
        release=release,
        arch=arch.name,
        image=image,
        modules=modules.resolve(),
        build_tree=build.resolve(),
        compiler=find_compiler(build),
        origin=f"running kernel {release}",
    )


def _readable(image: Path) -> None:
    try:
        image.open("rb").close()
    except PermissionError as error:
        raise UsageError(f"{image} cannot be read", hint=f"sudo chmod a+r {image}") from error


def resolve_tree(spec: str, tree: Path, arch: Arch) -> Kernel:
    """A kernel build tree, compiled: image, release and configuration are in it."""
    tree = tree.resolve()
    found = find_tree_arch(tree) or arch
    image = tree / found.image
    if not image.is_file():
        raise UsageError(
            f"{spec}: no {found.image}: not a compiled kernel tree, nor a folder of .deb files",
            hint=f"make -C {tree} -j$(nproc)",
        )
    if not (tree / "Module.symvers").is_file():
        raise UsageError(
            f"{spec}: no Module.symvers, so modules cannot be built for it", hint=f"make -C {tree} modules"
        )
    return Kernel(
        spec=spec,
        release=find_release(tree),
        arch=found.name,
        image=image,
        modules=tree,
        build_tree=tree,
        compiler=find_compiler(tree),
        origin=f"build tree {tree}",
    )


def find_tree_arch(tree: Path) -> Arch | None:
    """Which architecture the tree was compiled for, by the image in it."""
    return next((row for row in ARCHES.values() if (tree / row.image).is_file()), None)


def find_release(tree: Path) -> str:
    """What `uname -r` will say; UsageError when the tree is not configured."""
    header = tree / "include" / "generated" / "utsrelease.h"
    match = (
        re.search(r'#define UTS_RELEASE "([^"]+)"', header.read_text(encoding="utf-8", errors="replace"))
        if header.is_file()
        else None
    )
    if match:
        return match.group(1)
    # Not first: in Debian's headers up to 6.1 it lacks the ABI ("6.1.192" for 6.1.0-56-cloud-amd64).
    plain = tree / "include" / "config" / "kernel.release"
    if plain.is_file():
        return plain.read_text(encoding="utf-8", errors="replace").strip()
    raise UsageError(f"{tree}: it is not configured", hint=f"make -C {tree} modules_prepare")


def find_compiler(tree: Path) -> str:
    """The compiler's command that the tree was configured or compiled with, e.g. "gcc-14"."""
    for name, pattern in (
        ("include/config/auto.conf", r'^CONFIG_CC_VERSION_TEXT="?([^"\n]+)'),
        (".config", r'^CONFIG_CC_VERSION_TEXT="?([^"\n]+)'),
        ("include/generated/compile.h", r'#define LINUX_COMPILER\s+"([^"]+)"'),
    ):
        path = tree / name
        match = (
            re.search(pattern, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
            if path.is_file()
            else None
        )
        if match:
            return parse_compiler(match.group(1))
    raise UsageError(
        f"{tree}: it does not say which compiler it was made with", hint=f"make -C {tree} oldconfig"
    )


def parse_compiler(text: str) -> str:
    """The command for "x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0": "gcc-14"."""
    match = re.search(r"\b(gcc|clang)\b.*?\b(\d+)\.\d+(?:\.\d+)?(?=[ ,]|$)", re.sub(r"\([^)]*\)", "", text))
    if not match:
        raise UsageError(f"cannot tell the compiler from {text!r}; known: gcc, clang")
    return f"{match.group(1)}-{match.group(2)}"


def resolve_debs(spec: str, folder: Path, settings: Settings, progress: Progress) -> Kernel:
    """A folder with the .deb files of one kernel (image, modules, headers, kbuild), kept by content."""
    files = sorted(folder.resolve().glob("*.deb"))
    key = store.digest(*(f"{file.name} {store.file_digest(file)}" for file in files))
    target = settings.cache / "debs" / key
    with store.locked(settings, f"debs-{key}", progress):
        if not target.is_dir():
            check_complete(spec, folder, files)
            with store.publishing(target) as part:
                unpack.unpack_files(files, part, progress, f"{len(files)} packages of {folder.name}")
                unpack.relocate_headers(part)
                _kernel_in(spec, folder, part)  # complete, or not published
    return _kernel_in(spec, folder, target)


def _kernel_in(spec: str, folder: Path, root: Path) -> Kernel:
    images = {path.name.removeprefix("vmlinuz-"): path for path in root.glob("boot/vmlinuz-*")}
    images |= {path.parent.name: path for path in root.glob("usr/lib/modules/*/vmlinuz")}
    if len(images) != 1:
        found = ", ".join(sorted(images)) or "none"
        raise UsageError(
            f"{spec}: want the packages of exactly one kernel, found images: {found}",
            hint=f"put linux-image, linux-headers, headers-common and kbuild of one version into {folder}",
        )
    [(release, image)] = images.items()
    modules = root / "usr" / "lib" / "modules" / release
    build = next((p for p in root.glob("usr/src/linux-headers-*") if _is_tree_of(p, release)), None)
    if build is None or not modules.is_dir():
        missing = "headers" if build is None else "modules"
        raise UsageError(
            f"{spec}: no {missing} of {release} in it", hint=f"put their packages into {folder} too"
        )
    arch = next((row for row in ARCHES.values() if (build / "arch" / row.make).is_dir()), None)
    if arch is None:
        raise HarnessError(f"{spec}: cannot tell the architecture of {build}")
    return Kernel(
        spec=spec,
        release=release,
        arch=arch.name,
        image=image,
        modules=modules,
        build_tree=build,
        compiler=find_compiler(build),
        origin=f"packages in {folder.resolve()}",
    )


def _is_tree_of(path: Path, release: str) -> bool:
    try:
        return find_release(path) == release
    except UsageError:
        return False
