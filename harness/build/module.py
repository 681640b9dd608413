# SPDX-License-Identifier: MIT
"""A module's source folder and what its module.yaml says is expected of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ExpectedSplat:
    """A splat that has to appear, and why that is right."""

    kind: str  # class of harness/verdict/splats.py, e.g. "null-deref"
    pattern: str  # regular expression searched in the splat's title and text
    reason: str  # for the reader of the report


@dataclass(frozen=True)
class Expectation:
    """What module.yaml says; the defaults are what holds for a module without one."""

    params: Mapping[str, str] = field(default_factory=dict)  # module parameters, as text
    depends: tuple[str, ...] = ()  # names of modules (folders beside this one) to load first, in order
    expect_log: tuple[str, ...] = ()  # regular expressions, each must match a record of every round
    expect_splat: ExpectedSplat | None = None
    expect_taint: tuple[str, ...] = ()  # letters that may become set beside O (out of tree) and E (unsigned)
    load: str = "ok"  # or the errno name that loading must fail with, e.g. "EINVAL"
    kernels: str = ""  # which releases it is meant for, e.g. ">=5.10" or ">=6.1,<7"; empty: all
    reloads: int = 3  # how often it is loaded and unloaded


@dataclass(frozen=True)
class Module:
    """A folder with a kbuild Makefile or Kbuild file."""

    name: str  # of the folder; for people and on the command line
    path: Path  # absolute
    expectation: Expectation
