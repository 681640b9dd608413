# SPDX-License-Identifier: MIT
"""What is expected of a module, and of which kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

IN_TREE = "kernel:"  # before the name of one of the kernel's own modules


@dataclass(frozen=True, kw_only=True)
class Exemption:
    """Something is expected that usually is a failure: where, and for how long."""

    kernels: str = ""  # as Expectation.kernels
    arch: str = ""  # as `uname -m` writes it; "": all
    expires: date | None = None  # from the day after on it is a failure

    def holds(self, release: str, arch: str) -> bool:
        """Whether it is expected of this kernel."""
        return kernel_matches(self.kernels, release) and self.arch in ("", arch)


@dataclass(frozen=True)
class ExpectedSplat(Exemption):
    """A splat that has to appear, and why that is right."""

    kind: str  # one of vocabulary.SPLAT_KINDS, e.g. "null-deref"
    pattern: str  # regular expression searched in the splat's title and text; "": any
    reason: str  # for the reader of the report
    subkind: str = ""  # regular expression searched in what is said beside the kind, e.g. "use-after-free"
    function: str = ""  # the one that is blamed; "": any

    @property
    def text(self) -> str:
        """What is expected, in words."""
        detail = f" ({self.subkind})" if self.subkind else ""
        place = f" in {self.function}" if self.function else ""
        pattern = f" that matches {self.pattern!r}" if self.pattern else ""
        return f"a {self.kind} splat{detail}{place}{pattern}"


@dataclass(frozen=True)
class ExpectedLeft(Exemption):
    """Something that the module leaves behind each time, and why that is right."""

    pattern: str  # regular expression searched in the thing's kind and name, e.g. "class my_class"
    reason: str  # for the reader of the report

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return f"something left that matches {self.pattern!r}"


@dataclass(frozen=True)
class WarningRule:
    """Whether a warning of the build is only told, or fails it."""

    pattern: str  # regular expression searched in the line; "": every line
    fails: bool
    reason: str = ""  # for the reader


@dataclass(frozen=True)
class BuildPlan:
    """How module.yaml wants the module built; the defaults leave it to what is found in the folder."""

    folder: str = ""  # sub-folder with the kbuild file
    before: tuple[str, ...] = ()  # shell commands that run first, in the module's folder
    arguments: tuple[str, ...] = ()  # more for make, NAME=value
    tools: tuple[str, ...] = ()  # packages with programs that the build calls, e.g. flex


@dataclass(frozen=True)
class Expectation:
    """What module.yaml says; the defaults are what holds for a module without one."""

    params: Mapping[str, str] = field(default_factory=dict, hash=False)  # module parameters, as text
    # What to load first, in order: folders beside this one, "kernel:NAME" for the kernel's own modules.
    depends: tuple[str, ...] = ()
    depends_params: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)  # by such a name
    devices: tuple[str, ...] = ()  # of vm/devices.yaml, which the machine gets for it
    expect_log: tuple[str, ...] = ()  # regular expressions, each must match a record of every round
    expect_splat: tuple[ExpectedSplat, ...] = ()  # each must appear
    expect_left: tuple[ExpectedLeft, ...] = ()  # each must be there once the module is gone
    expect_taint: tuple[str, ...] = ()  # letters that may become set beside O (out of tree) and E (unsigned)
    load: str = "ok"  # or the errno name that loading must fail with, e.g. "EINVAL"
    kernels: str = ""  # which releases it is meant for, e.g. ">=5.10" or ">=6.1,<7"; empty: all
    reloads: int = 3  # how often it is loaded and unloaded
    build: BuildPlan = BuildPlan()
    warnings: tuple[WarningRule, ...] = ()  # of the build; the first whose pattern matches decides
    # Of the modules of one folder, by their names as the kernel writes them, where they differ from the above.
    modules: Mapping[str, Expectation] = field(default_factory=dict, hash=False)

    def of(self, name: str) -> Expectation:
        """What is expected of one module of the folder."""
        return self.modules.get(name.replace("-", "_"), self)

    def on(self, release: str, arch: str) -> Expectation:
        """What is expected on this kernel."""
        splats = tuple(one for one in self.expect_splat if one.holds(release, arch))
        left = tuple(one for one in self.expect_left if one.holds(release, arch))
        return replace(self, expect_splat=splats, expect_left=left)


_CONSTRAINT = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*")


def parse_kernels(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The comparisons of a `kernels` value such as ">=6.1,<7"; ValueError for anything else."""
    comparisons = []
    for part in text.split(",") if text.strip() else []:
        match = _CONSTRAINT.fullmatch(part)
        if not match:
            raise ValueError(f"cannot read {part.strip()!r}; want comparisons such as '>=5.10' or '>=6.1,<7'")
        comparisons.append((match[1], tuple(map(int, match[2].split(".")))))
    return comparisons


def kernel_matches(kernels: str, release: str) -> bool:
    """Whether a module with this `kernels` value is meant for the kernel with this `uname -r`.

    Only as many numbers are compared as the constraint gives: 6.12.117 is "==6.12" and "<=6.12". Of a
    release candidate ("7.3-rc7") the numbers count.
    """
    numbers = tuple(map(int, re.findall(r"\d+", (re.match(r"[\d.]+", release) or [""])[0])))
    return all(_holds(operator, numbers, wanted) for operator, wanted in parse_kernels(kernels))


def _holds(operator: str, numbers: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    have = (*numbers, *[0] * len(wanted))[: len(wanted)]
    return {
        ">=": have >= wanted,
        "<=": have <= wanted,
        ">": have > wanted,
        "<": have < wanted,
        "==": have == wanted,
        "!=": have != wanted,
    }[operator]
