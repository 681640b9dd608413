# SPDX-License-Identifier: MIT
"""What a failed build needs, in one sentence, with the line to add. Pure but for the files of a work copy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from kmod_harness.kbuild.ways import Folder
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


def hint_for(problems: Sequence[str], lines: Sequence[str], folder: Path, *, extra_cflags: bool) -> str | None:
    """What to do about a failed build; None when only its author knows.

    extra_cflags: the module sets EXTRA_CFLAGS, and the kernel ignores it.
    """
    text = "\n".join(problems)
    if "EXTRA_CFLAGS" in text or (extra_cflags and "error:" in text):
        return f"write ccflags-y instead of EXTRA_CFLAGS in {folder}: kernels since 6.15 ignore EXTRA_CFLAGS"
    if tool := missing_tool(lines):
        line = f"build: {{tools: [{PACKAGES.get(tool, tool)}]}}"
        return f"the build calls {tool}, which is not there: add `{line}` to {folder}/module.yaml"
    option = re.search(r"no module was built: (CONFIG_\w+)", text)
    if option:
        return f"--make-arg {option[1]}=m"
    below = re.search(r"an obj-m is in ([^,\n]+)(,?)", text)
    if below:
        return f"--module {folder} --all" if below[2] else f"--module {folder / below[1]}"
    return _plain_sentence(text, folder)


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


def _plain_sentence(text: str, folder: Path) -> str | None:
    """What some complaints of make, the compiler and modpost mean."""
    return (
        _other_kernel(text) or _misplaced_include(text) or _missing_header(text, folder) or _wrong_section(text)
    )


def _other_kernel(text: str) -> str | None:
    other = re.search(r"; (\S+) has (?:it|them)(?:, \S+ has not)?$", text, re.MULTILINE)
    return f"--kernel {other[1]}" if other else None


def _misplaced_include(text: str) -> str | None:
    found = re.search(r"^(\S*/(?:Makefile|Kbuild)):\d+: (\.\S+): No such file", text, re.MULTILINE)
    if not found or not (Path(found[1]).parent / found[2]).is_file():
        return None
    return (
        f"write `include $(src)/{found[2]}` in {found[1]}: before 6.13 kbuild works in the kernel's folder, "
        "so paths relative to the module's own do not fit"
    )


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
