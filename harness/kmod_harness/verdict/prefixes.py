# SPDX-License-Identifier: MIT
"""What stands before the kernel's words in a line of a log: one row a format.

Two kinds. A *wrapper* is put there by whoever carried the line: a mail program, a CI system, a terminal
program, syslog, journald, logcat. A *stamp* is printk's own: time, caller, level. Wrappers come off from the
outside in; a stamp ends the search. A new format is one row here and one case in
tests/unit/test_verdict_lines.py.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Origin(enum.Enum):
    """Who says what follows a prefix."""

    KERNEL = "kernel"
    PROGRAM = "program"  # another program's line in the same log
    OPEN = "open"  # the prefix does not tell


@dataclass(frozen=True)
class Wrapper:
    """What somebody who carried the line put before it."""

    name: str
    origin: Origin
    pattern: re.Pattern[str]  # matched at the start


@dataclass(frozen=True)
class Stamp:
    """What the kernel, or dmesg, puts before a line. Groups: time (seconds), caller; both optional."""

    name: str
    pattern: re.Pattern[str]


_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2}|)"
_ISO = rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}{_ZONE}"
# "Nov 25", "25. Nov", "sept. 27", "11月 25": the locale's month, and the day of the week before it.
_DAY = r"(?:[^\W\d]{1,9}\.?,? )?(?:[^\W\d]{2,9}\.?|\d{1,2}月|\d{1,2}\.?) +(?:\d{1,2}|[^\W\d]{2,9}\.?)"
_SYSLOG_TIME = (
    rf"(?:{_DAY}(?: \d{{4}})? {_CLOCK}(?: \d{{4}})?|{_ISO}|(?:\w{{3}} )?{_ISO} \w{{2,5}}|\d{{9,10}}\.\d{{3,6}})"
)
_MONOTONIC = r"\[ *\d+\.\d{6}(?: <[ +]*\d+\.\d{6} ?>)?\]"
_PRIORITY = r"(?:<\d{1,3}>(?:1 )?)?"
_HOST = r"(?:[\w.:-]{1,64} )?"
_FACILITY = r"(?:\w{2,8}\.\w{3,7}:? )?"  # OpenWrt, busybox: "kern.warn"
_KERNEL_NAME = r"(?:kernel|klogd|vmunix|netconsole|kmsg)"


def _wrapper(name: str, origin: Origin, pattern: str) -> Wrapper:
    return Wrapper(name, origin, re.compile(pattern))


_KERNEL, _PROGRAM, _OPEN = Origin.KERNEL, Origin.PROGRAM, Origin.OPEN

WRAPPERS: tuple[Wrapper, ...] = (
    _wrapper("mail quote or diff", _OPEN, r"(?:> ?)+|\| (?=[<\[])|\+(?=\[ *\d+\.\d{6}\])"),
    _wrapper(
        "syslog, journalctl: the kernel's",
        _KERNEL,
        rf"{_PRIORITY}(?:{_SYSLOG_TIME}|{_MONOTONIC}) +{_HOST}{_FACILITY}{_KERNEL_NAME}(?:\[\d+\])?: ?",
    ),
    _wrapper(
        "syslog of RFC 5424: the kernel's", _KERNEL, rf"<\d+>1 {_ISO} \S+ kernel \S+ \S+ (?:-|\[.{{0,99}}?\]) ?"
    ),
    _wrapper("kern.log without times", _KERNEL, rf"{_FACILITY}{_KERNEL_NAME}: ?(?=[\[<]|\w)"),
    _wrapper(
        "syslog, journalctl: a program's",
        _PROGRAM,
        rf"{_PRIORITY}(?:{_SYSLOG_TIME}|{_MONOTONIC}) +{_HOST}{_FACILITY}(?:\(?[\w.@/+-]{{1,64}}\)?\[\d+\]: )",
    ),
    _wrapper(
        "syslog: that of a program without a number",
        _PROGRAM,
        rf"{_PRIORITY}{_DAY} {_CLOCK} [\w.:-]{{1,64}} {_FACILITY}(?!{_KERNEL_NAME}:)[\w.@/-]{{1,40}}: ",
    ),
    _wrapper("logcat: the kernel's", _KERNEL, rf"\d{{2}}-\d{{2}} {_CLOCK} +\d+ +\d+ [VDIWEF] kernel *: "),
    _wrapper("logcat: a program's", _PROGRAM, rf"\d{{2}}-\d{{2}} {_CLOCK} +\d+ +\d+ [VDIWEF] .{{1,60}}?: "),
    _wrapper("logcat -v brief", _KERNEL, r"[VDIWEF]/kernel *\( *\d+\): "),
    _wrapper("gh run view --log", _OPEN, rf"[^\t]{{1,120}}\t[^\t]{{1,120}}\t\ufeff?{_ISO} "),
    _wrapper("GitLab CI", _OPEN, rf"{_ISO} [0-9a-f]{{2}}[OE][ +]"),
    _wrapper("a time in brackets", _OPEN, rf"\[(?:{_ISO}|{_CLOCK})\] ?(?=[<\[]|\S)"),
    _wrapper("a time in UTC", _OPEN, rf"\ufeff?{_ISO}(?: (?:UTC|GMT|CES?T|[ECMPJ][SD]?T|BST)(?= ))?:? "),
    _wrapper("a clock", _OPEN, rf"{_CLOCK} {{1,2}}"),
    _wrapper(
        "ts, syslog without a program", _OPEN, rf"{_PRIORITY}{_SYSLOG_TIME} +(?:[\w.:-]{{1,64}} +)?(?=[\[<])"
    ),
    _wrapper("docker compose, task runners", _OPEN, r"[\w.-]{1,40} *\| "),
    _wrapper(
        "a named console",
        _OPEN,
        r"(?:\[[\w./-]{1,32}\] |[\w./-]{1,32}(?:> |: ))(?=(?:<\d{1,3}>)?\[ *\d+\.\d{6}\])",
    ),
)

# The one that nearly all logs use; tried first. Caller: CONFIG_PRINTK_CALLER, also as "[ 0.048509 ][ T0 ]".
PLAIN_STAMP = re.compile(
    r"(?:<\d{1,3}>)?\[ *(?P<time>\d+\.\d{6}) ?\](?: ?\[ *(?P<caller>[TC]\d+) *[^\]]*\])? ?"
)
# dmesg -x: "kern  :warn  : "
_DMESG_FACILITY = (
    r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|res\d|local\d) *"
    r":(?:emerg|alert|crit|err|warn|notice|info|debug) *: "
)
_DELTA = r"<[ +]*\d+\.\d{3,9} ?>"
_DATE = rf"(?:[^\W\d]{{1,9}}\.?,? +)?{_DAY} {_CLOCK} \d{{4}}"


def _stamp(name: str, pattern: str) -> Stamp:
    return Stamp(name, re.compile(f"(?:{_DMESG_FACILITY})?{pattern}"))


_CALLER = r"(?: ?\[ *(?P<caller>[TC]\d+) *[^\]]*\])?"
STAMPS: tuple[Stamp, ...] = (
    _stamp(
        "printk time",
        rf"(?:<\d{{1,3}}>)?\[ *(?P<time>\d+\.\d{{6}})(?:@\d+|,\d+| {_DELTA}"
        rf"|{_DELTA})? ?\](?:<\d{{1,2}}>)?{_CALLER} ?",
    ),
    _stamp(
        "printk time of three digits",
        rf"(?:<\d{{1,3}}>)?\[ *(?P<time>\d{{1,7}}\.\d{{2,5}}) ?\]{_CALLER} ?+"
        r"(?!\((?:II|WW|EE|==|--|\*\*|\+\+|\?\?|NI)\))",  # Xorg's own log looks alike
    ),
    _stamp("dmesg -d without times", rf"\[{_DELTA}\]{_CALLER} ?"),
    _stamp("dmesg -T", rf"\[{_DATE}(?: {_DELTA})?\]{_CALLER} ?"),
    _stamp("dmesg --time-format iso", rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{{6}}[+-]\d\d:?\d\d{_CALLER} ?"),
    _stamp("dmesg -H", rf"\[(?:[^\W\d]{{2,9}}\.? ?\d{{1,2}} \d{{1,2}}:\d{{2}}| *\+\d+\.\d{{6}})\]{_CALLER} ?"),
    _stamp("a kernel of Android", r" *(?P<time>\d+\.\d{6}): +<\d>(?: \([\d :.-]+\))? ?"),
    _stamp("level without time", rf"<\d{{1,3}}>(?!\w{{3}} [ \d]\d \d\d:|1 \d{{4}}-|\d{{4}}-){_CALLER}"),
    Stamp("dmesg -x without times", re.compile(_DMESG_FACILITY)),
    _stamp("caller without time", r"\[ *(?P<caller>[TC]\d+) *\] ?"),
)
# What may stand between a stamp and the kernel's words: the caller as kernels of phones print it (MediaTek,
# Samsung, Marvell); the host and the program in "journalctl -o short-monotonic".
AFTER_STAMP = re.compile(
    r" {0,2}(?:<\d>)?-?\((?P<cpu1>\d+)\)\[(?P<pid1>\d+):[^\]]{0,40}\]"
    r"|\[(?P<cpu2>\d+): +[^\]:]{1,20}: *(?P<pid2>\d+)\] ?"
    r"|c(?P<cpu3>\d+) +(?:(?P<pid3>\d+) +\([^)]{1,20}\) ?)?"
    rf"|[\w.-]{{1,64}} (?:(?P<kernel>{_KERNEL_NAME}): ?|(?P<program>[\w.@/-]{{1,40}})\[\d+\]: )"
)
# A stamp after something else, such as a shell's prompt or the name of a board.
INNER_STAMP = re.compile(
    r"(?:<\d{1,3}>)?\[ *(?P<time>\d+\.\d{6}) ?\](?: ?\[ *(?P<caller>[TC]\d+) *[^\]]*\])? ?"
)
# A record of /dev/kmsg or of extended netconsole.
KMSG_RECORD = re.compile(
    r"(?P<prio>\d{1,4}),(?P<sequence>\d{1,20}),(?P<time>\d{1,20}),[-c+](?P<more>,[^;]{0,200})?;"
)
KMSG_CALLER = re.compile(r"caller=([TC]\d+)")
# dmesg --json (a field a line) and journalctl -o verbose or export; LAVA's own log (YAML or JSON).
FIELD_OF_TEXT = re.compile(r'\s*(?:"msg" ?: ?(?P<text>".{0,4000}")\s*,?$|MESSAGE=)')
LAVA_LINE = re.compile(r"""(?:- )?\{.{0,200}?"?msg"?: ?(?P<quote>["'])(?P<text>.*?)(?P=quote)\}?\s*$""")
