# SPDX-License-Identifier: MIT
"""What is made of the lines that compilers and modpost really print."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.kbuild.output import find_problems, find_warnings, name_files, undefined_symbols
from kmod_harness.module.expectation import WarningRule

GCC = """make[1]: Entering directory '/k'
  CC [M]  main.o
In file included from main.c:2:
main.c: In function 'x':
main.c:5:13: warning: unused variable 'unused' [-Wunused-variable]
    5 |         int unused;
      |             ^~~~~~
main.c:6:20: error: 'nope' undeclared (first use in this function)
    6 |         return FOO(nope);
      |                    ^~~~
bad.h:1:17: note: in definition of macro 'FOO'
    1 | #define FOO(a) (a)
make[3]: *** [scripts/Makefile.build:243: main.o] Error 1
make: *** [Makefile:1] Error 2
""".splitlines()


def test_error_with_its_context_and_nothing_else() -> None:
    assert find_problems(GCC, failed=True) == [
        "main.c:6:20: error: 'nope' undeclared (first use in this function)",
        "    6 |         return FOO(nope);",
        "      |                    ^~~~",
        "bad.h:1:17: note: in definition of macro 'FOO'",
        "    1 | #define FOO(a) (a)",
    ]


def test_where_an_error_is_included_from() -> None:
    lines = [
        "In file included from a.h:1,",
        "                 from main.c:2:",
        "b.h:3:1: error: expected ';'",
    ]
    assert find_problems(lines, failed=True) == lines


def test_warnings_of_the_compiler_are_no_problem() -> None:
    assert find_warnings(GCC) == ["main.c:5:13: warning: unused variable 'unused' [-Wunused-variable]"]
    assert find_problems(["a.c:1:1: warning: x"], failed=False) == []


@pytest.mark.parametrize(
    "line",
    [
        'ERROR: modpost: "nosuch" [/m/undef.ko] undefined!',
        "ERROR: modpost: undef.ko: symbol 'nosuch' undefined!",
        'WARNING: modpost: "nosuch" [/m/undef.ko] undefined!',
        "WARNING: modpost: missing MODULE_LICENSE() in /m/nolic.o",
        "WARNING: Module.symvers is missing.",
        "ERROR: Kernel configuration is invalid.",
    ],
)
def test_modpost_is_taken_at_its_word_even_when_make_is_content(line: str) -> None:
    assert find_problems(["  MODPOST Module.symvers", line], failed=False) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: modpost: missing MODULE_DESCRIPTION() in /m/m.o",
        "WARNING: modpost: m.o: section mismatch in reference: a (section: .text) -> b (section: .init.text)",
        "m.o: warning: objtool: f+0x14: unreachable instruction",
        "m.c:1:1: warning: unused variable",
    ],
)
def test_what_is_only_told_unless_module_yaml_says_otherwise(line: str) -> None:
    assert (find_problems([line], failed=False), find_warnings([line])) == ([], [line])
    strict = [WarningRule("", fails=True)]
    assert (find_problems([line], failed=False, rules=strict), find_warnings([line], strict)) == ([line], [])


def test_the_first_rule_that_matches_decides() -> None:
    line = "WARNING: modpost: missing MODULE_LICENSE() in /m/m.o"
    rules = [WarningRule("LICENSE", fails=False, reason="internal"), WarningRule("", fails=True)]
    assert (find_problems([line], failed=False, rules=rules), find_warnings([line], rules)) == ([], [line])


def test_the_first_reason_names_a_cause() -> None:
    lines = [
        "make: Entering directory '/k'",
        "  CC [M]  a.o",
        "make[1]: *** No rule to make target 'b.o', needed by 'm.o'.  Stop.",
        "make: *** [Makefile:3: all] Error 2",
        "make: Leaving directory '/k'",
    ]
    assert find_problems(lines, failed=True) == lines[2:4]
    shell = ["running x", "/bin/sh: 1: bc: not found", "make: *** [Makefile:3: all] Error 127"]
    assert find_problems(shell, failed=True)[0] == shell[1]


def test_symbols_that_nobody_has() -> None:
    lines = [
        'ERROR: modpost: "one" [/m/u.ko] undefined!',
        'WARNING: modpost: "two" [/m/u.ko] undefined!',
        "ERROR: modpost: u.ko: symbol 'three' undefined!",
    ]
    assert undefined_symbols(lines) == ["one", "two", "three"]


def test_unknown_failure_shows_the_last_lines_without_noise() -> None:
    lines = ["  CC [M]  a.o", "/bin/sh: 1: frobnicate: not found", "make: *** [Makefile:3: all] Error 127"]
    assert find_problems(lines, failed=True) == lines[1:]


def test_another_patch_level_of_the_compiler_is_no_warning() -> None:
    lines = ["warning: the compiler differs from the one used to build the kernel", "  You are using: gcc"]
    assert find_warnings(lines) == []
    assert find_problems(lines, failed=False) == []


def test_a_check_that_did_not_take_place_is_told() -> None:
    line = "/k/Makefile:1311: C=1 specified, but sparse is not available or not up to date"
    assert find_warnings([line]) == [line]
    assert find_problems([line], failed=False) == []


def test_files_are_named_as_the_user_knows_them() -> None:
    lines = [
        "main.c:6:20: error: x",
        "./sub/a.h:1:1: note: x",
        "main.c: In function 'x':",
        "In file included from main.c:2:",
        "                 from sub/a.h:3:",
        "include/linux/module.h:1:1: error: the kernel's",
        "/m/main.c:1:1: error: already whole",
    ]
    assert name_files(lines, Path("/m"), {"main.c", "sub/a.h"}) == [
        "/m/main.c:6:20: error: x",
        "/m/sub/a.h:1:1: note: x",
        "/m/main.c: In function 'x':",
        "In file included from /m/main.c:2:",
        "                 from /m/sub/a.h:3:",
        "include/linux/module.h:1:1: error: the kernel's",
        "/m/main.c:1:1: error: already whole",
    ]
