# SPDX-License-Identifier: MIT
"""Entries of call traces and instruction pointers, in the forms of every architecture and of decoding "
"scripts."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One function on a stack."""

    function: str | None  # as printed, with suffixes such as ".cold"; None: only an address is known
    module: str | None = None  # None: the kernel itself
    offset: int | None = None  # bytes from the function's start; None: not printed
    size: int | None = None  # of the function, bytes
    address: int | None = None  # of the instruction; None: not printed
    source: str | None = None  # "file.c:12" where somebody has decoded the trace already
    build: str | None = None  # build id of the module, as much of it as is printed
    inlined: bool = False  # no call: the compiler put it into the function below
    doubtful: bool = False  # marked "?": found on the stack, perhaps stale
    context: str = "task"  # "task", "irq", "nmi": what the CPU was doing in this frame
    interrupted: bool = False  # not called: an interrupt came here


_NAME = r"[A-Za-z_.$][\w.$]*"
_MODULE = r"(?: \[(?P<module{0}>[A-Za-z_][\w-]*)(?: (?P<build{0}>[0-9a-f]{{8,40}}))?\])"
_OFFSET = r"\+(?:0x)?(?P<offset{0}>[0-9a-f]+)/(?:0x)?(?P<size{0}>[0-9a-f]+)"
_SOURCE = r"(?P<source{0}>[\w./+-]+\.(?:[chSs]|rs|cc|inc):\d+)"
# "vms_init+0x5c/0x1000 [vms]"; with CONFIG_STACKTRACE_BUILD_ID "[vms 0123abcd…]".
SYMBOL = re.compile(rf"(?P<function>(?<![\w.$]){_NAME}){_OFFSET.format('')}{_MODULE.format('')}?")
_ADDRESS = r"(?:\(?\[?<?(?:0x)?(?P<address>[0-9a-f]{8,16})>?\]?:?\)? +)"
# Decoded by scripts/decode_stacktrace.sh: "func (file.c:12 (discriminator 1)) module"; by others
# "func+0x1/0x2 file.c:12" and, for an inlined function, "func file.c:12 [inline]".
_DECODED = rf"\({_SOURCE.format(1)}[^)]*\)?[^)]*\)(?: \[?(?P<module1>[A-Za-z_][\w-]*)\]?)?"
_ENTRY = re.compile(
    rf"\s*(?:<\w+> +)?{_ADDRESS}?(?:\[[0-9a-f]{{8,16}}\] )?(?P<doubt>\? )?(?P<open>\(\[<[0-9a-f]+>\] )?"
    rf"(?:(?P<function>{_NAME}){_OFFSET.format('')}{_MODULE.format('')}?"
    rf"(?: \({_SOURCE.format('')}[^()]*(?:\([^)]*\))?[^()]*\)"
    rf"|(?: \(inlined by\))? {_SOURCE.format(2)})?(?: \(unreliable\))?"
    rf"|(?P<function1>{_NAME}) {_DECODED}"
    rf"|(?P<function3>{_NAME}) {_SOURCE.format(3)} \[inline\]"
    rf"|(?P<bare>0x[0-9a-f]{{1,16}}))\)?(?: \(P\)|(?: \(?[A-Z]+\)?))?\s*$"
)
# arm: "[<c0101234>] (func [mod]) from [<c0105678>] (caller+0x1/0x2)", since 5.18 "func from caller+0x1/0x2".
_FROM = re.compile(
    rf"\s*(?:\[<(?P<address>[0-9a-f]+)>\] )?\(?(?P<function>{_NAME})(?:{_OFFSET.format('')})?"
    rf"{_MODULE.format('')}?\)? from "
    rf"(?:\[<[0-9a-f]+>\] )?\(?(?P<caller>{_NAME}{_OFFSET.format(1)}{_MODULE.format(1)}?|0x[0-9a-f]+)"
)
_MARKER = re.compile(
    r"\s*<(?P<end>/)?(?P<what>IRQ|NMI|TASK|SOFTIRQ|EOI|EOE|#DB|#DF|#MC|ENTRY_TRAMPOLINE|SYSENTER)>"
)
# The instruction that was being run, in the kernel: x86, arm64, arm, riscv, mips, powerpc, s390, loongarch.
_INSTRUCTION = re.compile(
    r"(?:RIP: (?!0033)[0-9a-f]{4}:|E?IP: (?:[0-9a-f]{4}:)?|EIP is at |IP is at |PC is at |pc *: |epc *: "
    r"|NIP (?=\[)|ERA: "
    r"|Krnl PSW : [0-9a-f]+ [0-9a-f]+ |TPC: )"
)
_LINK = re.compile(r"(?:LR is at |lr *: |ra *: | ra : |LR (?=\[)|RA: )")
# Only what stands with "0x" was looked up and not found; a number without it was never looked up.
_BARE = re.compile(r"(?:\[<[0-9a-f]+>\]\s+){0,2}[\[(<]*0x([0-9a-f]{1,16})\b")
_DECODED_SYMBOL = re.compile(
    rf"(?P<function>{_NAME}) \({_SOURCE.format('')}[^)]*\)?[^)]*\)(?: \[?(?P<module>[A-Za-z_][\w-]*)\]?)?"
)

_INLINED_SYMBOL = re.compile(rf"(?P<function>{_NAME}) {_SOURCE.format('')} \[inline\]")


def parse_entry(text: str) -> Frame | None:
    """The frame of one line of a call trace; None when it is none. Of arm's "f from g" the called one, f."""
    came = _FROM.match(text)
    if came:
        address = came["address"]
        return Frame(came["function"], came["module"], address=int(address, 16) if address else None)
    found = _ENTRY.match(text)
    if found is None:
        return None
    groups = found.groupdict()
    bare = groups["bare"]
    if bare:
        return Frame(None, address=int(bare, 16), doubtful=bool(groups["doubt"]))
    return Frame(
        function=groups["function"] or groups["function1"] or groups["function3"],
        module=groups["module"] or groups["module1"],
        offset=_hex(groups["offset"]),
        size=_hex(groups["size"]),
        address=_hex(groups["address"]),
        source=groups["source"] or groups["source1"] or groups["source2"] or groups["source3"],
        build=groups["build"],
        inlined=bool(groups["function3"]),
        doubtful=bool(groups["doubt"]),
    )


def parse_caller(text: str) -> Frame | None:
    """Of arm's "f from g" the caller, g: the last line of such a trace has it alone."""
    came = _FROM.match(text)
    if came is None or came["offset1"] is None:
        return None
    return Frame(
        SYMBOL.match(came["caller"])["function"],  # type: ignore[index]
        came["module1"],
        offset=_hex(came["offset1"]),
        size=_hex(came["size1"]),
        build=came["build1"],
    )


def symbol_in(text: str) -> Frame | None:
    """The first symbol with an offset in a text, or with a source line in place of it."""
    found = SYMBOL.search(text)
    if found is None:
        return _decoded(text)
    offset, size = _hex(found["offset"]), _hex(found["size"])
    return Frame(found["function"], found["module"], offset=offset, size=size, build=found["build"])


def parse_instruction(text: str) -> Frame | None:
    """The instruction that a line of registers names; None when the line is none of that kind."""
    return _pointer(_INSTRUCTION, text)


def parse_link(text: str) -> Frame | None:
    """The return address that a line of registers names (arm64, arm, riscv, mips, powerpc)."""
    return _pointer(_LINK, text)


def _pointer(pattern: re.Pattern[str], text: str) -> Frame | None:
    found = pattern.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    named = symbol_in(rest)
    if named:
        return named
    decoded = _decoded(rest)
    if decoded:
        return decoded
    bare = _BARE.match(rest)
    return Frame(None, address=_hex(bare[1])) if bare else None


def context_mark(text: str) -> tuple[str, bool] | None:
    """("IRQ", True) for a line with "<IRQ>", ("IRQ", False) for "</IRQ>"; None for others."""
    found = _MARKER.match(text)
    return (found["what"], not found["end"]) if found else None


def _decoded(text: str) -> Frame | None:
    found = _DECODED_SYMBOL.search(text) or _INLINED_SYMBOL.match(text)
    if found is None:
        return None
    groups = found.groupdict()
    inlined = found.re is _INLINED_SYMBOL
    return Frame(found["function"], groups.get("module"), source=found["source"], inlined=inlined)


def _hex(text: str | None) -> int | None:
    return int(text, 16) if text else None
