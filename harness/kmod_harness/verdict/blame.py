# SPDX-License-Identifier: MIT
"""Which function and which module a report of the kernel points at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Blame:
    """Where a fault happened, as far as its report tells."""

    function: str | None  # without offset
    module: str | None


@dataclass(frozen=True)
class _Symbol:
    function: str
    module: str | None  # None: the kernel itself


# "vms_init+0x5c/0x1000 [vms]"; with CONFIG_STACKTRACE_BUILD_ID "[vms 0123abcd…]".
_SYMBOL = re.compile(r"([A-Za-z_][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(\w+)(?: [0-9a-f]+)?\])?")
# The instruction that was being run: x86 (kernel segment only), arm64 and arm, riscv.
_INSTRUCTION = re.compile(r"RIP: (?!0033)[0-9a-f]{4}:|EIP: |pc : |epc : |PC is at ")
_TRACE_START = re.compile(r"Call [Tt]race:")
_TRACE_ENTRY = re.compile(r"\s+(\? )?(?:\[<[0-9a-f]+>\] )?(?:\(\S+\) from )?(?=[A-Za-z_][\w.$]*\+0x)")
# "Modules linked in: vms(O+) evdev button"; + is being loaded, - is being unloaded.
_MODULES = re.compile(r"Modules linked in: (.*)")
_FLAGGED = re.compile(r"(\w+)\(([A-Z]*O[A-Z]*)([+-]?)\)")
# A title that names the module, which is not part of the trace any more: "do_init_module: 'vms'->init
# suspiciously returned 7", since 7.2 "vms: init suspiciously returned 7".
_TOLD = re.compile(r"(?:do_init_module: '(\w+)'->|(\w+): )init suspiciously ")
# Functions that report, not those that are to blame.
_REPORTERS = re.compile(
    r"(?:dump_stack|show_stack|show_trace|print_|__warn|warn_|report_bug|handle_bug|exc_|asm_exc_|kasan_|__kasan"
    r"|__asan|__schedule_bug|__schedule|schedule|__might_|___might_|sysfs_warn_dup|kfence_|check_|ubsan|__ubsan"
    r"|handle_exception|page_fault|bad_page|spin_|do_raw_spin|_raw_spin|lockdep_|__lock_acquire|lock_acquire"
    r"|panic|vpanic|die|oops|refcount_warn|slab_|object_err|ret_from|el\d|do_trap|do_error|__die|no_context)"
)


def find_blame(title: str, lines: Sequence[str]) -> Blame:
    """Read a report. The module is that of the faulting instruction; when the kernel itself faulted, that of
    the nearest caller that is a module; when no symbol names one, the only out-of-tree module that is loaded.
    """
    told = _TOLD.match(title)
    if told:
        return Blame(None, told[1] or told[2])
    at = _instruction(lines) or _symbol_in(title)
    trace = _trace(lines)
    if at is None:
        at = next((entry for entry in trace if not _REPORTERS.match(entry.function)), None)
    named = ([at] if at else []) + trace
    module = next((symbol.module for symbol in named if symbol.module), None)
    return Blame(at.function if at else None, module or _only_module(lines))


def _symbol_in(text: str) -> _Symbol | None:
    found = _SYMBOL.search(text)
    return _Symbol(found[1], found[2]) if found else None


def _instruction(lines: Sequence[str]) -> _Symbol | None:
    """The first faulting instruction that has a name (a jump to NULL has none)."""
    for line in lines:
        if _INSTRUCTION.match(line):
            return _symbol_in(line)
    return None


def _trace(lines: Sequence[str]) -> list[_Symbol]:
    """Entries of the call trace, without the doubtful ones (marked "?") unless all are, as after a jump to
    nowhere. What stands above the line "Call Trace:" tells of another time (who allocated, who took the lock
    first) and counts only without one.
    """
    start = next((number for number, line in enumerate(lines) if _TRACE_START.match(line)), 0)
    certain: list[_Symbol] = []
    doubtful: list[_Symbol] = []
    for line in lines[start:]:
        entry = _TRACE_ENTRY.match(line)
        symbol = _symbol_in(line) if entry else None
        if entry and symbol:
            (doubtful if entry[1] else certain).append(symbol)
    return certain or doubtful


def _only_module(lines: Sequence[str]) -> str | None:
    for line in lines:
        found = _MODULES.match(line)
        if not found:
            continue
        flagged = [(name, sign) for name, _, sign in _FLAGGED.findall(found[1])]
        under_way = [name for name, sign in flagged if sign]
        candidates = under_way if under_way else [name for name, _ in flagged]
        return candidates[0] if len(candidates) == 1 else None
    return None
