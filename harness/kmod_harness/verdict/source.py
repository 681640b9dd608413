# SPDX-License-Identifier: MIT
"""From "function+0x2a/0x60 [module]" to "file.c:12", by a module's .ko and binutils' addr2line."""

from __future__ import annotations

import bisect
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kmod_harness.base import process
from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import HarnessError, UsageError
from kmod_harness.kernels.kernel_modules import canonical, modinfo
from kmod_harness.verdict.frames import Frame
from kmod_harness.verdict.lifecycle import Verdict
from kmod_harness.verdict.splat import Splat

ADDR2LINE = "addr2line"
ADDR2LINE_SECONDS = 60.0
_PAGE = 4096
_CODE = 0x4 | 0x2  # SHF_EXECINSTR, SHF_ALLOC
_CONTEXT = 1  # lines of source before and after
# Which program reads which machine, in the order of ELF's own names.
_PREFIXES = {
    "EM_X86_64": "x86_64-linux-gnu-",
    "EM_AARCH64": "aarch64-linux-gnu-",
    "EM_ARM": "arm-linux-gnueabihf-",
}

Argv = Callable[[Sequence[str]], Sequence[str]]  # how a command is run where the program lives


@dataclass(frozen=True)
class Place:
    """A line of source; of an inlined chain one for each function, innermost first."""

    function: str
    file: str  # as the user knows it where the file is there, else as the compiler was told
    line: int | None
    inlined: bool  # into the next one

    @property
    def shown(self) -> str:
        """E.g. "/src/vms.c:77 (vms_probe, inlined)"."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where} ({self.function}{', inlined' if self.inlined else ''})"

    def excerpt(self) -> Iterator[str]:
        """The line with its neighbours, when the file is there."""
        path = Path(self.file)
        if self.line is None or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number in range(max(1, self.line - _CONTEXT), min(len(lines), self.line + _CONTEXT) + 1):
            mark = ">" if number == self.line else " "
            yield f"{mark} {number:5} | {lines[number - 1].rstrip()}"


@dataclass(frozen=True)
class Symbol:
    """A function of a .ko."""

    section: str
    start: int  # in the section
    sizes: frozenset[int]  # that a kernel may print for it
    place: int | None = None  # from where the module's code begins in memory; None: of init


@dataclass
class ModuleFile:
    """A .ko with debug info."""

    path: Path
    argv: Argv = field(default=lambda command: command)
    _places: dict[tuple[str, int], tuple[Place, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the kernel knows it."""
        return canonical(self.path.name)

    @cached_property
    def facts(self) -> tuple[dict[str, list[Symbol]], str | None, bool, str]:
        """Its functions, its build id, whether it has debug info, its machine."""
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415 (slow to import, and most runs pass)

        try:
            with self.path.open("rb") as file:
                return _read(ELFFile(file))
        except Exception as error:  # pyelftools raises what it likes on a file that is none
            raise UsageError(
                f"{self.path}: is no kernel module: {error}", hint="--module x.ko, or its folder"
            ) from error

    @cached_property
    def srcversion(self) -> str | None:
        """The checksum of its sources, as /sys/module/NAME/srcversion has it; None: it was built without."""
        return modinfo(self.path.read_bytes()).get("srcversion")

    def find(self, frame: Frame) -> Symbol | None:
        """The function that a frame names, if it can be this file's: of that size, and long enough."""
        known = self.facts[0].get(frame.function or "", [])
        return next((symbol for symbol in known if _fits(symbol, frame)), None)

    def function_at(self, place: int) -> str | None:
        """The function that begins at a place, counted from where the module's code begins in memory."""
        symbols = ((name, one.place) for name, each in self.facts[0].items() for one in each)
        return next((name for name, begin in symbols if begin == place and not name.startswith("__pfx_")), None)

    def places(self, frame: Frame, *, exact: bool) -> tuple[Place, ...]:
        """Where a frame is in the source. exact: it is the faulting instruction, and not a return address."""
        symbol = self.find(frame)
        if symbol is None or frame.offset is None or not self.facts[2]:
            return ()
        key = (symbol.section, symbol.start + max(0, frame.offset - (0 if exact else 1)))
        if key not in self._places:
            self._places[key] = self._ask(*key)
        return self._places[key]

    def _ask(self, section: str, offset: int) -> tuple[Place, ...]:
        program = _PREFIXES.get(self.facts[3], "") + ADDR2LINE
        if shutil.which(program) is None:
            program = ADDR2LINE
        command = (program, "-f", "-i", "-j", section, "-e", str(self.path), hex(offset))
        try:
            done = process.run(
                self.argv(command), deadline=Deadline(ADDR2LINE_SECONDS, "addr2line"), check=False
            )
        except HarnessError:
            return ()
        return parse_addr2line(done.output)


def parse_addr2line(text: str) -> tuple[Place, ...]:
    """What `addr2line -f -i` printed: pairs of lines, the function and "file:line (discriminator 1)"."""
    lines = text.splitlines()
    pairs = [pair for pair in zip(lines[::2], lines[1::2], strict=False) if not pair[1].startswith("??")]
    places = []
    for number, (function, where) in enumerate(pairs):
        found = re.match(r"(.*?):(\d+|\?)", where)
        if found:
            line = int(found[2]) if found[2].isdigit() else None
            places.append(Place(function, found[1], line, inlined=number < len(pairs) - 1))
    return tuple(places)


def _fits(symbol: Symbol, frame: Frame) -> bool:
    return frame.offset is None or frame.size is None or frame.size in symbol.sizes


def _read(elf: Any) -> tuple[dict[str, list[Symbol]], str | None, bool, str]:
    build = None
    for section in elf.iter_sections():
        if section["sh_type"] == "SHT_NOTE":
            build = next((n["n_desc"] for n in section.iter_notes() if n["n_type"] == "NT_GNU_BUILD_ID"), build)
    debug = elf.get_section_by_name(".debug_info") is not None
    return _functions(elf), build, debug, elf["e_machine"]


def _functions(elf: Any) -> dict[str, list[Symbol]]:
    """The functions, with the sizes that the kernel would print: up to the next symbol in memory, of the last
    one to the end of the memory, a multiple of a page (Linux kernel/module/kallsyms.c, find_kallsyms_symbol).
    """
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return {}
    bases, ends = _layout(elf)
    placed = [
        (symbol.name, symbol["st_shndx"], symbol["st_value"])
        for symbol in table.iter_symbols()
        if symbol["st_shndx"] in bases and symbol.name and not symbol.name.startswith(("$", ".L"))
    ]
    starts = {kind: sorted({bases[i][1] + at for _, i, at in placed if bases[i][0] == kind}) for kind in ends}
    found: dict[str, list[Symbol]] = {}
    for name, index, at in placed:
        kind, base = bases[index]
        place = bisect.bisect_right(starts[kind], base + at)
        last = place == len(starts[kind])
        ways = (ends[kind], -(-ends[kind] // _PAGE) * _PAGE) if last else (starts[kind][place],)
        sizes = frozenset(end - base - at for end in ways)
        found.setdefault(name, []).append(
            Symbol(elf.get_section(index).name, at, sizes, base + at if kind == "core" else None)
        )
    return found


def _layout(elf: Any) -> tuple[dict[int, tuple[str, int]], dict[str, int]]:
    """Where the kernel lays sections with code: index -> (which memory, offset in it), and the memories' ends
    (Linux kernel/module/main.c, layout_sections).
    """
    bases: dict[int, tuple[str, int]] = {}
    ends = {"core": 0, "init": 0}
    for index, section in enumerate(elf.iter_sections()):
        if section["sh_flags"] & _CODE != _CODE:
            continue
        kind = "init" if section.name.startswith(".init") else "core"
        align = max(1, section["sh_addralign"])
        base = -(-ends[kind] // align) * align
        bases[index] = kind, base
        ends[kind] = base + section["sh_size"]
    return bases, ends


def source_lines(splat: Splat, symbols: Symbols) -> Iterator[str]:
    """Where the function to blame is in the source, with the lines around it; nothing when nobody knows."""
    places = symbols.places(splat.frame, exact=splat.exact) if splat.frame else ()
    for place in places:
        yield f"at {place.shown}"
    if places:
        yield from places[0].excerpt()


def with_source(verdict: Verdict, symbols: Symbols) -> Verdict:
    """The same verdict; when its evidence is a report, the place in the source stands before it."""
    for splat in verdict.splats:
        if verdict.evidence and splat.lines[: len(verdict.evidence)] == verdict.evidence:
            told = (*source_lines(splat, symbols), *symbols.complaints(splat.module))
            places = symbols.places(splat.frame, exact=splat.exact) if splat.frame else ()
            place = next(((one.file, one.line) for one in places if one.line is not None), None)
            return replace(verdict, evidence=(*told, *verdict.evidence), place=place)
    return verdict


@dataclass
class Symbols:
    """The modules whose .ko the user has."""

    modules: Sequence[ModuleFile]
    loaded: Mapping[str, str] = field(default_factory=dict)  # srcversions of modules where the log comes from
    seen: dict[str, list[Frame]] = field(default_factory=dict)

    def places(self, frame: Frame, *, exact: bool) -> tuple[Place, ...]:
        """Where a frame is in the source; empty when nobody knows. What the log says itself counts first."""
        if frame.source:
            file, _, line = frame.source.rpartition(":")
            return (Place(frame.function or "?", file, int(line), inlined=False),)
        if frame.module is None:
            return ()
        self.seen.setdefault(frame.module, []).append(frame)
        module = self._module(frame.module)
        return module.places(frame, exact=exact) if module and not self._foreign(module, frame) else ()

    def complaints(self, name: str | None) -> Iterator[str]:
        """Why the frames of a module that were asked for have no line in its source."""
        module = self._module(name) if name else None
        if module is None:
            if name and self.modules:
                yield f"none of the .ko given is {name}: {', '.join(one.name for one in self.modules)}"
            return
        if self._other_source(module):
            versions = f"srcversion {module.srcversion}, the loaded one has {self.loaded[module.name]}"
            yield f"{module.path}: is not the .ko that is loaded: {versions}"
            return
        if not module.facts[2]:
            yield f"{module.path}: has no debug info: build it with -g, and do not strip it"
        for frame in self.seen.get(module.name, []):
            if self._foreign(module, frame):
                ids = f"build id {module.facts[1]}, the log has {frame.build}"
                yield f"{module.path}: is not the .ko that crashed: {ids}"
                return
            if module.find(frame) is None:
                named = f"{frame.function}+0x{frame.offset or 0:x}/0x{frame.size or 0:x}"
                yield f"{module.path}: is not the .ko that crashed: it has no {named}"
                return

    def _module(self, name: str) -> ModuleFile | None:
        return next((module for module in self.modules if module.name == name), None)

    def _foreign(self, module: ModuleFile, frame: Frame) -> bool:
        build = module.facts[1]
        other_build = frame.build and build and not build.startswith(frame.build)
        return bool(other_build) or self._other_source(module)

    def _other_source(self, module: ModuleFile) -> bool:
        there = self.loaded.get(module.name)
        return bool(there and module.srcversion and there != module.srcversion)
