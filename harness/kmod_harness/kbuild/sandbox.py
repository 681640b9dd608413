# SPDX-License-Identifier: MIT
"""The command line of the sandbox that compilers run in (bubblewrap): read-only, without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kmod_harness.kernels.unpack import MERGED

# First components of paths that belong to the toolchain root; all others are the user's.
SYSTEM = frozenset(("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "sys"))
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def surroundings(path: Path) -> Path:
    """What is made visible read-only around a folder, so that "../include" works in it.

    The whole tree below the first component ("/home"), but never one that would cover the toolchain.
    """
    return path.parent if path.parts[1] in SYSTEM else Path("/", path.parts[1])


def sandbox_argv(
    root: Path,
    command: Sequence[str],
    *,
    visible: Sequence[Path] = (),
    writable: Mapping[Path, Path] | None = None,
    cwd: Path = Path("/"),
) -> tuple[str, ...]:
    """The argv that runs `command` with the programs of `root` ("/": the host's own).

    visible: folders of the host that appear, read-only, at their own path. writable: path inside -> folder
    of the host that appears there. Everything else is read-only; /dev/shm (TMPDIR) is memory.
    """
    argv = ["bwrap", "--die-with-parent", "--unshare-all"]
    if root == Path("/"):
        argv += ["--ro-bind", "/", "/"]
    else:
        argv += ["--ro-bind", str(root / "usr"), "/usr"]
        for name in MERGED:
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
        argv += ["--ro-bind-try", str(root / "etc"), "/etc"]
        for path in dict.fromkeys(visible):
            argv += ["--ro-bind", str(path), str(path)]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    for inside, outside in (writable or {}).items():
        argv += ["--bind", str(outside), str(inside)]
    argv += ["--clearenv"]
    for name, value in (("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/"), ("TMPDIR", "/dev/shm")):  # noqa: S108
        argv += ["--setenv", name, value]
    return (*argv, "--chdir", str(cwd), "--", *command)
