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
    pattern: str  # of TIMED: what follows the time; of others: the whole


@dataclass(frozen=True)
class Stamp:
    """What the kernel, or dmesg, puts before a line. Groups: time (seconds), caller; both optional."""

    name: str
    first: str  # the characters that it may begin with
    pattern: re.Pattern[str]


_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?"
_ISO = rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}(?:Z|[+-]\d{{2}}:?\d{{2}}|)"
_MONTH = r"[^\W\d]{2,9}\.?"
# "Nov 25", "Wed Nov 25", "mer. nov. 25", "11月 25", "三 11月 25": as the locale has it.
_DAY = rf"(?:[^\W\d]{{1,9}}\.?,? )?(?:{_MONTH}|\d{{1,2}}月) +\d{{1,2}}"
_DAY_FIRST = rf"\d{{1,2}}\.? {_MONTH}"
_YEAR = r"(?: \d{4})?"
_PRIORITY = r"<\d{1,3}>(?:1 )?"
_HOST = r"(?:[\w.:()-]{1,64} )?"
_FACILITY = r"(?:\w{2,8}\.\w{3,7}:? )?"  # OpenWrt, busybox: "kern.warn"
_KERNEL_NAME = r"(?:kernel|klogd|vmunix|netconsole|kmsg)"
_WITH_LETTERS = rf"(?:{_DAY}{_YEAR} {_CLOCK}{_YEAR}|\w{{3}} {_ISO}(?: [A-Z]{{2,5}})?)"
_WITH_DIGITS = (
    rf"(?:{_ISO}(?: UTC| GMT)?|\d{{1,2}}月 +\d{{1,2}} {_CLOCK}|{_DAY_FIRST}{_YEAR} {_CLOCK}"
    r"|\d{9,10}\.\d{3,6})"
)
_MONOTONIC = r"\[ *\d+\.\d{6}(?: <[ +]*\d+\.\d{6} ?>)?\]"

_KERNEL, _PROGRAM, _OPEN = Origin.KERNEL, Origin.PROGRAM, Origin.OPEN

# What may stand at the start of a line, by its first character. Nothing else may begin a wrapper with a time.
TIMES: tuple[tuple[str, str], ...] = (
    ("0123456789", _WITH_DIGITS),
    ("[", _MONOTONIC),
    ("<", rf"{_PRIORITY}(?:{_WITH_LETTERS}|{_WITH_DIGITS})"),
    ("\ufeff", rf"\ufeff{_ISO}"),
)
TIME_OF_LETTERS = _WITH_LETTERS

# What follows such a time.
TIMED: tuple[Wrapper, ...] = (
    Wrapper("syslog, journalctl", _KERNEL, rf" +{_HOST}{_FACILITY}{_KERNEL_NAME}(?:\[\d+\])?: ?"),
    Wrapper("syslog of RFC 5424", _KERNEL, r" \S{1,64} kernel \S{1,64} \S{1,64} (?:-|\[.{0,99}?\]) ?"),
    Wrapper(
        "syslog, journalctl: a program's", _PROGRAM, rf" +{_HOST}{_FACILITY}\(?[\w.@/+-]{{1,64}}\)?\[\d+\]: "
    ),
    Wrapper("GitLab CI", _OPEN, r" [0-9a-f]{2}[OE][ +]"),
    Wrapper("ts, syslog without a program", _OPEN, r" +(?:[\w.:-]{1,64} +)?(?=(?:<\d{1,3}>)?\[)"),
    Wrapper("a time in UTC", _OPEN, r":? "),
)
# Likewise, by the first character.
UNTIMED: tuple[tuple[str, tuple[Wrapper, ...]], ...] = (
    (">", (Wrapper("mail quote", _OPEN, r"(?:> ?)+"),)),
    ("|", (Wrapper("mail quote", _OPEN, r"\| (?=[<\[])"),)),
    ("+", (Wrapper("diff", _OPEN, r"\+(?=\[ *\d+\.\d{6}\])"),)),
    ("[", (Wrapper("a time in brackets", _OPEN, rf"\[(?:{_ISO}|{_CLOCK})\] ?(?=\S)"),)),
    (
        "0123456789",
        (
            Wrapper(
                "logcat: the kernel's", _KERNEL, rf"\d{{2}}-\d{{2}} {_CLOCK} +\d+ +\d+ [VDIWEF] kernel *: "
            ),
            Wrapper(
                "logcat: a program's", _PROGRAM, rf"\d{{2}}-\d{{2}} {_CLOCK} +\d+ +\d+ [VDIWEF] .{{1,60}}?: "
            ),
            Wrapper("a clock", _OPEN, rf"{_CLOCK} {{1,2}}"),
        ),
    ),
)
# The same for lines that begin with a letter.
LETTERED: tuple[Wrapper, ...] = (
    Wrapper("kern.log without times", _KERNEL, rf"{_FACILITY}{_KERNEL_NAME}: ?(?=[\[<]|\w)"),
    Wrapper("logcat -v brief", _KERNEL, r"[VDIWEF]/kernel *\( *\d+\): "),
)
# These need a look at more of the line: tried only when it holds the text.
RARE: tuple[tuple[str, Wrapper], ...] = (
    ("\t", Wrapper("gh run view --log", _OPEN, rf"[^\t]{{1,120}}\t[^\t]{{1,120}}\t\ufeff?{_ISO} ")),
    ("| ", Wrapper("docker compose, task runners", _OPEN, r"[\w.-]{1,40} *\| ")),
)


# The one that nearly all logs use; tried first. Caller: CONFIG_PRINTK_CALLER, also as "[ 0.048509 ][ T0 ]".
PLAIN_STAMP = re.compile(
    r"(?:<\d{1,3}>)?\[ *(?P<time>\d+\.\d{6}) ?\](?: ?\[ *(?P<caller>[TC]\d+) *[^\]]*\])? ?"
)
# dmesg -x: "kern  :warn  : "
DMESG_FACILITY = re.compile(
    r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|res\d|local\d) *"
    r":(?:emerg|alert|crit|err|warn|notice|info|debug) *: "
)
_DELTA = r"<[ +]*\d+\.\d{3,9} ?>"
_DATE = rf"(?:[^\W\d]{{1,9}}\.?,? +)?{_DAY} {_CLOCK} \d{{4}}"


_CALLER = r"(?: ?\[ *(?P<caller>[TC]\d+) *[^\]]*\])?"


def _stamp(name: str, first: str, pattern: str) -> Stamp:
    return Stamp(name, first, re.compile(pattern))


STAMPS: tuple[Stamp, ...] = (
    _stamp(
        "printk time",
        "[<",
        rf"(?:<\d{{1,3}}>)?\[ *(?P<time>\d+\.\d{{6}})(?:@\d+|,\d+| {_DELTA}|{_DELTA})? ?\](?:<\d{{1,2}}>)?"
        rf"{_CALLER} ?",
    ),
    _stamp(
        "printk time of three digits",
        "[<",
        rf"(?:<\d{{1,3}}>)?\[ *(?P<time>\d{{1,7}}\.\d{{2,5}}) ?\]{_CALLER} ?+"
        r"(?!\((?:II|WW|EE|==|--|\*\*|\+\+|\?\?|NI)\))",  # Xorg's own log looks alike
    ),
    _stamp("dmesg -d without times", "[", rf"\[{_DELTA}\]{_CALLER} ?"),
    _stamp("dmesg -T", "[", rf"\[{_DATE}(?: {_DELTA})?\]{_CALLER} ?"),
    _stamp(
        "dmesg -H", "[", rf"\[(?:[^\W\d]{{2,9}}\.? ?\d{{1,2}} \d{{1,2}}:\d{{2}}| *\+\d+\.\d{{6}})\]{_CALLER} ?"
    ),
    _stamp("caller without time", "[", r"\[ *(?P<caller>[TC]\d+) *\] ?"),
    _stamp(
        "dmesg --time-format iso", "12", rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{{6}}[+-]\d\d:?\d\d{_CALLER} ?"
    ),
    _stamp("a kernel of Android", " 0123456789", r" *(?P<time>\d+\.\d{6}): +<\d>(?: \([\d :.-]+\))? ?"),
    _stamp("level without time", "<", rf"<\d{{1,3}}>(?!\w{{3}} [ \d]\d \d\d:|1 \d{{4}}-|\d{{4}}-){_CALLER}"),
)
# What may stand between a stamp and the kernel's words: the caller as kernels of phones print it (MediaTek,
# Samsung, Marvell); the host and the program in "journalctl -o short-monotonic".
AFTER_STAMP = re.compile(
    r" {0,2}(?:<\d>)?-?\((?P<cpu1>\d+)\)\[(?P<pid1>\d+):[^\]]{0,40}\]"
    r"|\[(?P<cpu2>\d+): +[^\]:]{1,20}: *(?P<pid2>\d+)\] ?"
    r"|c(?P<cpu3>\d+) +(?:(?P<pid3>\d+) +\([^)]{1,20}\) ?)?"
    rf"|{_KERNEL_NAME}: ?"
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
