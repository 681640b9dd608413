# SPDX-License-Identifier: MIT
"""A mirror's worth of apt: programs named apt-get, apt-cache and apt-config that answer from a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

KERNEL = "6.12.1-cloud-amd64"
VERSION = "6.12.1-1"

APT_GET = """#!/bin/sh
echo "$@" >> {folder}/calls
[ -e {folder}/offline ] && {{ echo "E: Failed to fetch x  Temporary failure resolving 'm'"; exit 100; }}
case $1 in
update) exit 0 ;;
download)
  for one; do
    case $one in
    *=*) name=${{one%%=*}}; case $one in APT::*) continue ;; esac
      if [ -e {folder}/pool/$name ]; then cp {folder}/pool/$name/*.deb .
      else echo "E: Failed to fetch http://m/$name  404  Not Found"; exit 100; fi ;;
    esac
  done ;;
*) echo "E: unexpected: $*"; exit 100 ;;
esac
"""
APT_CACHE = """#!/bin/sh
echo "$@" >> {folder}/calls
case $1 in
pkgnames) ls {folder}/lists | grep "^$2" ;;
show) shift; for one; do [ -e {folder}/lists/$one ] && cat {folder}/lists/$one && echo; done ;;
esac
exit 0
"""


class FakeMirror:
    """Lists and pool of packages below a folder, and the programs that read them in `folder`/bin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists", "pool", "bin"):
            (folder / name).mkdir(parents=True)
        for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("apt-config", "#!/bin/sh\n")):
            program = folder / "bin" / name
            program.write_text(text.format(folder=folder), encoding="utf-8")
            program.chmod(0o755)

    def calls(self) -> list[str]:
        """The commands so far, without the programs' names."""
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def offline(self, away: bool = True) -> None:
        """Take the network away, or give it back."""
        path = self.folder / "offline"
        path.touch() if away else path.unlink()

    def list(self, name: str, version: str, depends: str = "") -> None:
        """Add a package to the lists, not to the pool."""
        text = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        (self.folder / "lists" / name).write_text(
            text + (f"Depends: {depends}\n" if depends else ""), encoding="utf-8"
        )

    def add(self, name: str, version: str, files: dict[str, str], depends: str = "") -> None:
        """Add a real .deb to lists and pool."""
        self.list(name, version, depends)
        build_deb(self.folder / "pool" / name, name, version, files)


def build_deb(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A real .deb in `folder`. A file whose text begins with "-> " is a link."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    for path, text in files.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            target.symlink_to(text.removeprefix("-> "))
        else:
            target.write_text(text, encoding="utf-8")
    deb = folder / f"{name}_{version}_amd64.deb"
    argv = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(deb)]
    subprocess.run(argv, check=True, capture_output=True)
    return deb


def kernel_files(release: str) -> dict[str, dict[str, str]]:
    """The packages of a kernel, as Debian lays them out up to 6.12, with the files in them."""
    source = f"/usr/src/linux-headers-{release}"
    return {
        f"linux-image-{release}": {
            f"/boot/vmlinuz-{release}": "image",
            f"/lib/modules/{release}/kernel/a.ko": "module",
        },
        f"linux-headers-{release}": {
            f"{source}/Makefile": f"include {source}-common/Makefile\n",
            f"{source}/include/config/auto.conf": 'CONFIG_CC_VERSION_TEXT="gcc-14 (Debian) 14.2.0"\n',
            f"{source}/include/generated/utsrelease.h": f'#define UTS_RELEASE "{release}"\n',
            f"{source}/arch/x86/Makefile": "",
            f"/lib/modules/{release}/build": f"-> {source}",
        },
    }


def add_kernel(mirror: FakeMirror, release: str = KERNEL, version: str = VERSION) -> None:
    """Put a whole kernel on the mirror."""
    for name, files in kernel_files(release).items():
        mirror.add(name, version, files, "gcc-14" if "headers" in name else "")
