# SPDX-License-Identifier: MIT
"""The words that module.yaml and verdicts share: classes of splats, taint flags.

Taint flags: Linux Documentation/admin-guide/tainted-kernels.rst. What a splat of each class looks like:
verdict/patterns.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kmod_harness.base.errors import UsageError

# Names of errors that Linux uses inside and that errno(3) does not have (include/linux/errno.h).
KERNEL_ERRORS = {512: "ERESTARTSYS", 517: "EPROBE_DEFER", 524: "ENOTSUPP"}
# With these a driver says that its hardware is not there.
NO_DEVICE = ("ENODEV", "ENXIO", "EPROBE_DEFER")

ARCH_NAMES = ("x86_64", "aarch64")  # as `uname -m` writes them; kernels/arch.py has more of them

SPLAT_KINDS: tuple[str, ...] = (
    "bad-page",
    "bug",
    "bug-other",
    "cfi",
    "debug-object",
    "divide",
    "double-fault",
    "fortify",
    "general-protection",
    "hard-lockup",
    "hung-task",
    "irq",
    "kasan",
    "kcsan",
    "kfence",
    "kmemleak",
    "kmsan",
    "kobject",
    "list-corruption",
    "lockdep",
    "module-init",
    "netdev-leak",
    "null-deref",
    "oops",
    "page-fault",
    "panic",
    "rcu-stall",
    "refcount",
    "sched-while-atomic",
    "slab-corruption",
    "slab-leak",
    "soft-lockup",
    "spinlock",
    "stack-overflow",
    "suspicious-rcu",
    "sysfs-duplicate",
    "ubsan",
    "warning",
    "workqueue",
)


@dataclass(frozen=True)
class TaintFlag:
    """One bit of /proc/sys/kernel/tainted."""

    bit: int
    letter: str  # as in "Tainted: G  D  O"
    meaning: str


TAINT_FLAGS: tuple[TaintFlag, ...] = (
    TaintFlag(0, "P", "a module with a proprietary licence was loaded"),
    TaintFlag(1, "F", "a module was loaded by force"),
    TaintFlag(2, "S", "the CPU is used out of its specification"),
    TaintFlag(3, "R", "a module was unloaded by force"),
    TaintFlag(4, "M", "a machine check happened"),
    TaintFlag(5, "B", "a bad page or corrupted memory was found"),
    TaintFlag(6, "U", "a program asked for the taint"),
    TaintFlag(7, "D", "the kernel died: an oops or a BUG"),
    TaintFlag(8, "A", "an ACPI table was overridden"),
    TaintFlag(9, "W", "the kernel warned: a WARN or a similar report"),
    TaintFlag(10, "C", "a module of the staging tree was loaded"),
    TaintFlag(11, "I", "a bug of the firmware was worked around"),
    TaintFlag(12, "O", "a module built out of the tree was loaded"),
    TaintFlag(13, "E", "an unsigned module was loaded"),
    TaintFlag(14, "L", "a soft lockup happened"),
    TaintFlag(15, "K", "the kernel was live-patched"),
    TaintFlag(16, "X", "auxiliary taint, defined by the distribution"),
    TaintFlag(17, "T", "the kernel was built with randomised structures"),
    TaintFlag(18, "N", "a test inside the kernel was run"),
    TaintFlag(19, "J", "a program used debug operations of fwctl"),
)

_LETTERS = {flag.bit: flag.letter for flag in TAINT_FLAGS}
_MEANINGS = {flag.letter: flag.meaning for flag in TAINT_FLAGS}
_BITS = {flag.letter: flag.bit for flag in TAINT_FLAGS}


def taint_letters(bits: int) -> tuple[str, ...]:
    """The letters of the bits that are set, lowest first; a bit newer than the table is shown as "bit 20"."""
    return tuple(_LETTERS.get(bit, f"bit {bit}") for bit in range(bits.bit_length()) if bits >> bit & 1)


def taint_bits(letters: Iterable[str]) -> int:
    """The bits of these letters. Raises UsageError for a letter that is no taint flag."""
    bits = 0
    for letter in letters:
        if letter not in _BITS:
            raise UsageError(f"taint flag {letter!r}: want one of {', '.join(_BITS)}")
        bits |= 1 << _BITS[letter]
    return bits


def taint_meaning(letter: str) -> str:
    """What a letter says; "unknown taint flag" for one that is not in the table."""
    return _MEANINGS.get(letter, "unknown taint flag")
