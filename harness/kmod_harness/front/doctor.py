# SPDX-License-Identifier: MIT
"""What this host lacks, and the one command that mends it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure, HarnessError
from kmod_harness.base.settings import Settings
from kmod_harness.kernels.releases import load_releases
from kmod_harness.kernels.sources import find_mirrors
from kmod_harness.machine import accelerator
from kmod_harness.report.table import DoctorRow

# Program -> Debian package that has it, and what the harness does with it.
TOOLS = {
    "qemu-system-x86_64": ("qemu-system-x86", "runs the virtual machines"),
    "bwrap": ("bubblewrap", "enters toolchain roots"),
    "apt-get": ("apt", "downloads kernels and compilers"),
    "dpkg-deb": ("dpkg", "unpacks packages"),
    "setpriv": ("util-linux", "ends our processes with us"),
}
INSTALL_SECONDS = 1200.0  # the time to type a password is in it
APT_ERROR = 100  # exit code of apt-get; sudo has others
NAMESPACE_SETTINGS = ("unprivileged_userns_clone=1", "apparmor_restrict_unprivileged_userns=0")
FREE_GIB = 4  # five kernels, four toolchains and their downloads take 3.4 GiB


def missing_packages() -> list[str]:
    """Debian packages of the programs that are not installed."""
    return [package for tool, (package, _) in TOOLS.items() if shutil.which(tool) is None]


def examine(settings: Settings) -> list[DoctorRow]:
    """Look at everything the harness needs of the host. Changes nothing."""
    return [*_tools(), _sandbox(), _mirror(settings), _space(settings), _kvm(settings), _graphviz()]


def _as_root(*argv: str) -> list[str]:
    return list(argv) if os.geteuid() == 0 else ["sudo", *argv]


def install_command(packages: list[str]) -> list[str]:
    """The command that installs packages; through sudo unless we are root."""
    return _as_root("apt-get", "install", "--yes", "--no-install-recommends", *packages)


def install(packages: list[str]) -> None:
    """Install packages on the host: the only step that may need root. Raises HarnessError.

    sudo may ask for a password: it gets our terminal.
    """
    if not packages:
        return
    by_hand = f"as root: {shlex.join(install_command(packages)).removeprefix('sudo ')}"
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise HarnessError(f"not installed: {', '.join(packages)}", hint=by_hand)
    print(f"installing {', '.join(packages)}", "" if os.geteuid() == 0 else "(sudo may ask for your password)")
    sys.stdout.flush()
    _apt_get("update", "-qq", by_hand=by_hand, fine=(0, APT_ERROR))  # old lists may do
    _apt_get("install", "--yes", "--no-install-recommends", *packages, by_hand=by_hand)


def _apt_get(*words: str, by_hand: str, fine: Collection[int] = (0,)) -> None:
    # Not through our environment: sudo clears it.
    argv = _as_root("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *words)
    code = process.talk(argv, deadline=Deadline(INSTALL_SECONDS, f"apt-get {words[0]}"))
    if code not in fine:
        raise HarnessError(f"{shlex.join(argv)}: exit code {code}", hint=by_hand)


def _tools() -> Iterator[DoctorRow]:
    missing = missing_packages()
    for tool, (package, purpose) in TOOLS.items():
        path = shutil.which(tool)
        mend = shlex.join(install_command(missing))
        yield DoctorRow(tool, "ok" if path else "missing", path or f"{purpose} (package {package})", mend)


def _sandbox() -> DoctorRow:
    """An ordinary user may make the namespaces that bwrap needs."""
    try:
        argv = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
        process.run(argv, deadline=Deadline(10, "bwrap"))
    except Failure as error:
        detail = (error.evidence or (error.message,))[-1]
        mend = shlex.join(_as_root("sysctl", *(f"kernel.{name}" for name in NAMESPACE_SETTINGS)))
        return DoctorRow("user namespaces", "missing", detail, mend if shutil.which("bwrap") else "")
    return DoctorRow("user namespaces", "ok", "bwrap can make a sandbox")


def _mirror(settings: Settings) -> DoctorRow:
    try:
        find_mirrors(settings, load_releases().releases)
    except Failure as error:
        return DoctorRow("package mirror", "missing", error.message, error.hint or "")
    return DoctorRow("package mirror", "ok", "from the settings" if settings.mirror else "from apt's sources")


def _space(settings: Settings) -> DoctorRow:
    folder = settings.cache
    while not os.access(folder, os.F_OK):  # also where we may not even look
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    detail = f"{free:.1f} GiB free for {settings.cache}"
    if not os.access(folder, os.W_OK):
        return DoctorRow("cache", "missing", f"{folder} is not writable", "export KMOD_HARNESS_CACHE=FOLDER")
    if free < FREE_GIB:
        return DoctorRow("cache", "limited", f"{detail}; all kernels take {FREE_GIB}", "invoke clean --all")
    return DoctorRow("cache", "ok", detail)


def _kvm(settings: Settings) -> DoctorRow:
    choice = accelerator.choose("auto", settings.cache)
    if choice.name == "kvm":
        return DoctorRow("KVM", "ok", choice.reason)
    mend = "sudo usermod -aG kvm $USER" if "may not be opened" in choice.reason else ""
    return DoctorRow("KVM", "limited", f"{choice.reason}; guests are emulated (TCG), which is slower", mend)


def _graphviz() -> DoctorRow:
    if path := shutil.which("dot"):
        return DoctorRow("graphviz", "ok", path)
    detail = "invoke graph writes .dot and .mmd, but no .svg and .png"
    return DoctorRow("graphviz", "limited", detail, shlex.join(install_command(["graphviz"])))
