# SPDX-License-Identifier: MIT
"""The table of options, and what the fronts make of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import get_type_hints

import pytest

from kmod_harness.base.errors import UsageError
from kmod_harness.features.rescue.command import Request
from kmod_harness.front.options import OPTIONS, PYTEST, Given, chosen, options_of, read
from kmod_harness.front.tasks import namespace
from kmod_harness.run.fleet import MachineOptions
from kmod_harness.run.targets import Choice
from kmod_harness.run.workbench import Options

COMMANDS = (*namespace.task_names, PYTEST)


def nothing(command: str) -> dict[str, object]:
    return {option.key: None for option in options_of(command)}


def test_every_option_is_of_a_command_that_there_is() -> None:
    assert {command for option in OPTIONS for command in option.commands} <= set(COMMANDS)
    assert all(option.commands and option.help for option in OPTIONS)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_has_a_flag_twice(command: str) -> None:
    flags = Counter(flag for option in options_of(command) for flag in (option.flag, option.short) if flag)
    assert set(flags.values()) <= {1}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_typed_is_the_defaults(command: str) -> None:
    assert read(command, nothing(command)) == Given()


def test_what_is_typed_has_its_type() -> None:
    typed: dict[str, object] = {
        "kernel": ["5.10", "6.12"],
        "kernel_arg": ["quiet"],
        "accel": "tcg",
        "reloads": "7",
        "cold": True,
        "junit": "~/out.xml",
    }
    assert read("vm-test", nothing("vm-test") | typed) == Given(
        kernels=("5.10", "6.12"),
        kernel_arguments=("quiet",),
        accelerator="tcg",
        reloads=7,
        cold=True,
        junit=Path("~/out.xml").expanduser(),
    )


@pytest.mark.parametrize(
    ("key", "typed", "message"),
    [
        ("jobs", "0", "--jobs 0: want 1 or more"),
        ("reloads", "many", "--reloads many: want a whole number"),
        ("accel", "hvf", "--accel hvf: choose auto, kvm or tcg"),
    ],
)
def test_what_cannot_be_is_told_in_the_same_words_everywhere(key: str, typed: str, message: str) -> None:
    for command in ("vm-test", PYTEST):
        with pytest.raises(UsageError) as caught:
            read(command, nothing(command) | {key: typed})
        assert caught.value.message == message


@pytest.mark.parametrize("kind", [Options, MachineOptions, Choice, Request])
def test_what_gets_there_by_its_name_has_the_right_type_and_default(kind: type) -> None:
    wanted = get_type_hints(kind)
    given = get_type_hints(Given)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    shared = [
        option for option in OPTIONS if option.name in fields and option.name not in ("kernel", "modules")
    ]
    assert shared
    for option in shared:
        assert given[option.name] == wanted[option.name], option.name
        assert fields[option.name].default in (option.default, dataclasses.MISSING), option.name


def test_a_dataclass_from_what_was_typed() -> None:
    machines = chosen(MachineOptions, Given(machine="microvm", cold=True), spares=2)
    assert machines == MachineOptions(machine="microvm", cold=True, spares=2)
