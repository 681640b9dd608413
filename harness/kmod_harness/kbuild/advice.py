# SPDX-License-Identifier: MIT
"""What a failed build needs, in one sentence, with the line to add. Pure but for the files of a work copy."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from kmod_harness.kbuild.ways import Folder
from kmod_harness.kernels.kernel import Kernel
from kmod_harness.module.makefiles import KBUILD_FILES

# Printed by a line that is added to the copied kbuild files, see report_flags.
MARK = "kmod-harness: EXTRA_CFLAGS: "
_REPORT = f"\n$(if $(obj),$(info {MARK}$(EXTRA_CFLAGS)))\n"
# Commands whose package is not named like them.
PACKAGES = {
    "aclocal": "automake", "autoreconf": "autoconf", "cc": "gcc", "c++": "g++",
    "dtc": "device-tree-compiler", "getconf": "libc-bin", "lsb_release": "lsb-release",
    "protoc": "protobuf-compiler", "python": "python-is-python3", "pod2man": "perl", "objdump": "binutils",
    "lsusb": "usbutils", "lspci": "pciutils", "ip": "iproute2", "ifconfig": "net-tools", "vim": "xxd",
}  # fmt: skip
# How the headers of subsystems begin, and the option without which they are half empty.
SUBSYSTEMS = {
    "linux/i2c": "I2C", "linux/usb": "USB", "linux/hid": "HID", "media/": "MEDIA_SUPPORT", "sound/": "SND",
    "drm/": "DRM", "linux/spi/": "SPI", "linux/iio/": "IIO", "linux/gpio": "GPIOLIB", "linux/leds": "NEW_LEDS",
    "linux/hwmon": "HWMON", "linux/mmc/": "MMC", "linux/pwm": "PWM", "net/mac80211": "MAC80211",
    "net/cfg80211": "CFG80211", "linux/can/": "CAN", "linux/power_supply": "POWER_SUPPLY", "linux/w1": "W1",
    "linux/backlight": "BACKLIGHT_CLASS_DEVICE", "linux/fb": "FB", "linux/regulator/": "REGULATOR",
    "net/bluetooth/": "BT", "rdma/": "INFINIBAND", "linux/mtd/": "MTD", "linux/serdev": "SERIAL_DEV_BUS",
    "linux/input": "INPUT", "linux/rtc": "RTC_CLASS", "linux/watchdog": "WATCHDOG", "linux/platform_profile":
    "ACPI_PLATFORM_PROFILE", "scsi/": "SCSI", "linux/libata": "ATA", "linux/mei": "INTEL_MEI",
}  # fmt: skip
FETCHERS = ("curl", "wget", "aria2c", "pip", "pip3", "npm", "ssh", "scp", "rsync")
_NO_NETWORK = re.compile(
    r"[Cc]ould not resolve host|[Nn]ame or service not known|[Tt]emporary failure in name resolution"
    r"|[Nn]etwork is unreachable|[Uu]nable to resolve host"
)
MAX_SOURCES = 400
MAX_SCRIPT = 1 << 16  # bytes of a script that may make a header
_CHANGES = re.compile(r"-[DUfm]\S+|-std=\S+|-include\S*")  # flags that make another module
_NOT_FOUND = (
    re.compile(r"(?:sh|bash): (?:line )?\d+: (?P<tool>[\w.+-]+): (?:command )?not found"),
    re.compile(r"^make(?:\[\d+\])?: (?P<tool>[\w.+-]+): (?:Command not found|No such file or directory)"),
    re.compile(r"^env: '?(?P<tool>[\w.+-]+)'?: No such file"),
    re.compile(r": (?P<tool>[\w+-]+): command not found"),
)


def ignores_extra_cflags(tree: Path) -> bool:
    """Whether the kernel's kbuild no longer knows EXTRA_CFLAGS, as since v6.15."""
    path = tree / "scripts" / "Makefile.lib"
    return path.is_file() and "EXTRA_CFLAGS" not in path.read_text(errors="replace", encoding="utf-8")


def report_flags(copy: Path, folder: Folder) -> None:
    """Make the copied kbuild files that set EXTRA_CFLAGS say what came of it."""
    for name, text in folder.texts.items():
        path = copy / name
        if text.flags and path.name in KBUILD_FILES and path.is_file():
            content = path.read_text(errors="surrogateescape", encoding="utf-8")
            if not content.endswith(_REPORT):
                path.write_text(content + _REPORT, errors="surrogateescape", encoding="utf-8")


def ignored_flags(lines: Iterable[str], copy: Path) -> list[str]:
    """A problem when flags of EXTRA_CFLAGS, which report_flags made known, have not reached the compiler."""
    said = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    flags = dict.fromkeys(flag for line in said for flag in _words(line) if _CHANGES.fullmatch(flag))
    if not flags:
        return []
    commands = "\n".join(path.read_text(errors="replace", encoding="utf-8") for path in copy.rglob(".*.o.cmd"))
    lost = [flag for flag in flags if flag not in commands]
    if not lost:
        return []
    return [
        f"the kernel's kbuild ignores EXTRA_CFLAGS (since 6.15): {' '.join(lost)} did not reach the compiler"
    ]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def nothing_built(folder: Path, files: Folder, options: Sequence[str]) -> str:
    """Why a build that went well has led to no module."""
    if options:
        return f"no module was built: {', '.join(options)} has no value"
    below = files.below()
    if below:
        return f"no module was built in {folder}; an obj-m is in {', '.join(below)}"
    return f"no module was built: is obj-m set in {folder}?"


def hint_for(
    problems: Sequence[str],
    lines: Sequence[str],
    folder: Path,
    *,
    extra_cflags: bool = False,
    around: Path | None = None,
) -> str | None:
    """What to do about a failed build; None when only its author knows.

    extra_cflags: the module sets EXTRA_CFLAGS, and the kernel ignores it. around: what a build sees beside it.
    """
    text = "\n".join(problems)
    if "EXTRA_CFLAGS" in text or (extra_cflags and "error:" in text):
        return f"write ccflags-y instead of EXTRA_CFLAGS in {folder}: kernels since 6.15 ignore EXTRA_CFLAGS"
    if wants_network(lines):
        return f"the build wants the network, which it has not here: fetch that into {folder} first"
    if tool := missing_tool(lines):
        return _for_tool(tool, folder)
    option = re.search(r"no module was built: (CONFIG_\w+)", text)
    if option:
        return f"--make-arg {option[1]}=m"
    below = re.search(r"an obj-m is in ([^,\n]+)(,?)", text)
    if below:
        return f"--module {folder} --all" if below[2] else f"--module {folder / below[1]}"
    return _plain_sentence(text, folder, around)


def option_that_is_off(folder: Path, options: Collection[str], kernel: Kernel) -> str | None:
    """What to do about errors of the compiler when the sources use a subsystem that the kernel is without: its
    headers then lack half of what they declare. options: those that are on.
    """
    series = ".".join(kernel.release.split(".")[:2])
    if kernel.spec == series:
        return None
    sources = (path for pattern in ("*.c", "*.h") for path in sorted(folder.rglob(pattern))[:MAX_SOURCES])
    text = "\n".join(path.read_text(errors="replace", encoding="utf-8") for path in sources if path.is_file())
    for header in dict.fromkeys(re.findall(r"^\s*#\s*include\s*<([\w./-]+)>", text, re.MULTILINE)):
        option = next((name for begin, name in SUBSYSTEMS.items() if header.startswith(begin)), None)
        if option and f"CONFIG_{option}" not in options:
            return f"<{header}> is used, but CONFIG_{option} is off in {kernel.spec}: try --kernel {series}"
    return None


def wants_network(lines: Iterable[str]) -> bool:
    """Whether a build has tried to fetch something."""
    return missing_tool(lines) in FETCHERS or any(_NO_NETWORK.search(line) for line in lines)


def missing_tool(lines: Iterable[str]) -> str | None:
    """The first command that a shell, make or env has not found."""
    return next((match["tool"] for line in lines for one in _NOT_FOUND if (match := one.search(line))), None)


def _maker(folder: Path, header: str) -> str | None:
    """The shell command that makes a header: the script in the folder that mentions it."""
    if (folder / "configure").is_file():
        return "./configure"
    scripts = (path for path in sorted(folder.rglob("*.sh")) if path.stat().st_size < MAX_SCRIPT)
    name = Path(header).name
    found = (path for path in scripts if name in path.read_text(errors="replace", encoding="utf-8"))
    return next((f"sh {shlex.quote(str(path.relative_to(folder)))}" for path in found), None)


def _for_tool(tool: str, folder: Path) -> str:
    if (folder / f"{tool}.c").is_file():
        return f"write `$(abspath $(obj)/{tool})` in the kbuild file: since 6.13 $(obj)/{tool} is just {tool}"
    line = f"build: {{tools: [{PACKAGES.get(tool, tool)}]}}"
    return f"the build calls {tool}, which is not there: add `{line}` to {folder}/module.yaml"


def _plain_sentence(text: str, folder: Path, around: Path | None) -> str | None:
    """What some complaints of make, the compiler and modpost mean."""
    return (
        _other_kernel(text)
        or _empty_submodule(folder, around)
        or _misplaced_include(text)
        or _out_of_sight(text, folder, around)
        or _missing_header(text, folder)
        or _missing_source(text)
        or _wrong_section(text)
    )


def _other_kernel(text: str) -> str | None:
    other = re.search(r"; (\S+) has (?:it|them)(?:, \S+ has not)?$", text, re.MULTILINE)
    return f"--kernel {other[1]}" if other else None


def _empty_submodule(folder: Path, around: Path | None) -> str | None:
    """A part of the repository that was not cloned with it."""
    for top in (folder, *folder.parents):
        if (top / ".gitmodules").is_file():
            text = (top / ".gitmodules").read_text(errors="replace", encoding="utf-8")
            paths = [top / name for name in re.findall(r"^\s*path\s*=\s*(\S+)", text, re.MULTILINE)]
            if any(path.is_dir() and not any(path.iterdir()) for path in paths):
                return f"git -C {top} submodule update --init --recursive"
        if top == around:
            break
    return None


def _misplaced_include(text: str) -> str | None:
    found = re.search(r"^(\S*/(?:Makefile|Kbuild)):\d+: (\.\S+): No such file", text, re.MULTILINE)
    if not found or not (Path(found[1]).parent / found[2]).is_file():
        return None
    return (
        f"write `include $(src)/{found[2]}` in {found[1]}: before 6.13 kbuild works in the kernel's folder, "
        "so paths relative to the module's own do not fit"
    )


def _out_of_sight(text: str, folder: Path, around: Path | None) -> str | None:
    """A file that the sources name by `..`, and that lies higher up than the sandbox shows."""
    found = re.search(r"fatal error: (\S+): No such file", text)
    if found is None or around is None:
        return None
    makefiles = (folder / name for name in KBUILD_FILES if (folder / name).is_file())
    named = [
        one
        for path in makefiles
        for one in re.findall(r"/(\.\./\.\.[\w./+-]*)", path.read_text(errors="replace", encoding="utf-8"))
    ]
    for base in ("", *named):
        path = Path(os.path.normpath(folder / base / found[1]))
        if path.is_file() and not path.is_relative_to(around):
            top = os.path.commonpath((folder, path))
            return (
                f"{path} is higher up than is shown to a build: make it part of one checkout, `git init {top}`"
            )
    return None


def _missing_header(text: str, folder: Path) -> str | None:
    header = re.search(r"fatal error: (\S+): No such file", text)
    if header is None:
        return None
    where = next(iter(sorted(folder.rglob(Path(header[1]).name))), None)
    if where:
        below = where.parent.relative_to(folder)
        return (
            f"{where} exists: add `ccflags-y += -I$(src)/{below}` to the kbuild file (since 6.13 kbuild "
            "works in the module's folder, so paths relative to the kernel's tree no longer fit)"
        )
    if maker := _maker(folder, header[1]):
        return f"{header[1]} has to be made first: add `build: {{before: [{maker}]}}` to {folder}/module.yaml"
    return None


def _missing_source(text: str) -> str | None:
    found = re.search(r"No rule to make target '(\S+)\.o', needed by", text)
    if found is None:
        return None
    return f"the kbuild file names {Path(found[1]).name}.o, but there is no {found[1]}.c to make it of"


def _wrong_section(text: str) -> str | None:
    if re.search(r"section mismatch.*\.init|reference.*\.init\.text", text):
        return (
            "code that stays uses code or data that is gone after init (__init): drop __init from what is used"
        )
    if re.search(r"section mismatch.*\.exit|reference.*\.exit\.text", text):
        return (
            "code that stays calls an __exit function, which need not be there: drop __exit from that function"
        )
    return None
