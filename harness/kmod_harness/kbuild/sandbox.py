# SPDX-License-Identifier: MIT
"""The command line of the sandbox that foreign code is built in (bubblewrap).

It looks like the author's own shell on a machine that runs the kernel: the usual programs, /lib/modules,
`uname`. It has no network, and of the host it sees only the programs and what it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmod_harness.kernels.unpack import MERGED

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TEMPORARY = "/dev/shm"  # noqa: S108 (memory of the sandbox alone)
# What programs of the host need of its /etc; nothing else of it is shown.
HOST_ETC = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "passwd", "group", "perl", "localtime",
    "os-release", "lsb-release", "debian_version",
)  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """What appears at a path inside."""

    inside: Path
    outside: Path | None  # None: an empty folder in memory
    writable: bool = False

    def argv(self) -> list[str]:
        """bwrap's words for it."""
        if self.outside is None:
            return ["--tmpfs", str(self.inside)]
        return ["--bind" if self.writable else "--ro-bind", str(self.outside), str(self.inside)]


def shown(path: Path) -> Mount:
    """A file or folder of the host at its own path, read-only."""
    return Mount(path, path)


@dataclass(frozen=True)
class View:
    """What a command finds inside, beside the programs."""

    mounts: tuple[Mount, ...] = ()
    links: Mapping[Path, Path] = field(default_factory=dict)  # symbolic link inside -> what it points to
    environment: Mapping[str, str] = field(default_factory=dict)
    first_in_path: tuple[Path, ...] = ()  # folders inside whose programs come before the usual ones
    cwd: Path = Path("/")

    def __add__(self, other: View) -> View:
        """Both; where they differ, the other one counts."""
        return View(
            (*self.mounts, *other.mounts),
            {**self.links, **other.links},
            {**self.environment, **other.environment},
            (*other.first_in_path, *self.first_in_path),
            other.cwd if other.cwd != Path("/") else self.cwd,
        )


def sandbox_argv(root: Path, command: Sequence[str], view: View | None = None) -> tuple[str, ...]:
    """The argv that runs `command` with the programs of `root` ("/": the host's own).

    All that is shown is read-only but for writable mounts, /tmp and /dev/shm (TMPDIR), which are memory.
    """
    view = view or View()
    argv = ["bwrap", "--die-with-parent", "--unshare-all", *_programs(root)]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    mounts = {mount.inside: mount for mount in view.mounts}  # of two at one place the last
    for inside in sorted(mounts, key=lambda path: len(path.parts)):  # what contains comes first
        argv += mounts[inside].argv()
    for link, target in view.links.items():
        argv += ["--symlink", str(target), str(link)]
    argv.append("--clearenv")
    for name, value in _environment(view).items():
        argv += ["--setenv", name, value]
    return (*argv, "--chdir", str(view.cwd), "--", *command)


def _environment(view: View) -> dict[str, str]:
    path = ":".join([*map(str, view.first_in_path), PATH])
    own = {"PATH": path, "LC_ALL": "C", "HOME": "/tmp", "TMPDIR": TEMPORARY, "SHELL": "/bin/sh"}  # noqa: S108
    return own | {"USER": "user", "LOGNAME": "user", "PWD": str(view.cwd)} | dict(view.environment)


def _programs(root: Path) -> list[str]:
    """bwrap's words for /usr, the folders that are links into it, and /etc."""
    argv = ["--ro-bind", str(root / "usr"), "/usr"]
    for name in MERGED:
        if name == "lib":  # a real folder, so that /lib/modules can be made in it
            continue
        merged = (root / name).is_symlink() or not (root / name).exists()
        argv += (
            ["--symlink", f"usr/{name}", f"/{name}"] if merged else ["--ro-bind", str(root / name), f"/{name}"]
        )
    libraries = root / ("usr/lib" if (root / "lib").is_symlink() else "lib")
    for entry in sorted(path.name for path in libraries.iterdir() if path.name != "modules"):
        if libraries == root / "lib":
            argv += ["--ro-bind", str(libraries / entry), f"/lib/{entry}"]
        else:
            argv += ["--symlink", f"/usr/lib/{entry}", f"/lib/{entry}"]
    if root == Path("/"):
        for name in HOST_ETC:
            argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    else:
        argv += ["--ro-bind-try", str(root / "etc"), "/etc"]
    return argv
