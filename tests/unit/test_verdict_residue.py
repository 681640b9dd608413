# SPDX-License-Identifier: MIT
"""What is left behind: lines of a census read as things, growing memory, what is expected to stay."""

from __future__ import annotations

from datetime import date

import pytest

from kmod_harness.module.expectation import Expectation, ExpectedLeft
from kmod_harness.target.census import Census, parse_census
from kmod_harness.target.runner import OK
from kmod_harness.verdict.finding import Outcome
from kmod_harness.verdict.lifecycle import judge
from kmod_harness.verdict.observation import Ending, Observation, Round
from kmod_harness.verdict.residue import find_left

DEVICE = "/sys/devices/pci0000:00/0000:00:05.0"


def texts(*lines: str, held: tuple[str, ...] = ()) -> list[str]:
    return sorted(left.text for left in find_left(lines, held))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["path /sys/class/foo/"], ["class foo"]),
        (["path /sys/bus/usb/drivers/foo/", "path /sys/bus/usb/drivers/foo/bind"], ["driver foo"]),
        (["path /sys/bus/foo/", "path /sys/bus/foo/devices/", "path /sys/bus/foo/drivers/"], ["bus foo"]),
        (
            ["path /sys/kernel/debug/foo/", "path /sys/kernel/debug/foo/a"],
            ["debugfs entry /sys/kernel/debug/foo"],
        ),
        (["path /proc/fs/foo"], ["/proc entry /proc/fs/foo"]),
        (["path /proc/irq/9/", "path /proc/irq/9/foo/", "path /proc/irq/9/node"], ["interrupt foo"]),
        (["thread irq/9-foo", "path /proc/irq/9/foo/"], ["interrupt foo"]),
        (["thread foo_with_a_long", "workqueue foo_with_a_long_name"], ["workqueue foo_with_a_long_name"]),
        (["thread kworker/R-foo", "workqueue foo"], ["workqueue foo"]),
        (["thread a", "thread a"], ["thread a"]),
        (["chrdev 240 foo"], ["character device number 240 foo"]),
        (["path /sys/kernel/foo/", "path /sys/kernel/foo/a"], ["kobject /sys/kernel/foo"]),
        (["path /sys/kernel/foo"], ["sysfs file /sys/kernel/foo"]),
        (["gone-memory 0x1-0x2 1052672 0xffffffffc0201003"], ["memory of 1028 KiB, taken by its init"]),
    ],
)
def test_a_line_is_a_thing(lines: list[str], told: list[str]) -> None:
    assert texts(*lines) == told


def test_a_device_stands_for_all_that_comes_with_it() -> None:
    lines = [
        "path /dev/input/event3",
        "path /proc/sys/net/ipv4/conf/foo0/",
        f"path {DEVICE}/input/",
        f"path {DEVICE}/input/input5/",
        f"path {DEVICE}/input/input5/event3/",
        f"path {DEVICE}/input/input5/event3/uevent",
        f"path {DEVICE}/input/input5/uevent",
        "path /sys/devices/virtual/net/foo0/",
        "path /sys/devices/virtual/net/foo0/uevent",
        "path /sys/devices/virtual/foo/",
        "path /sys/devices/virtual/foo/bar/",
        "path /sys/devices/virtual/foo/bar/uevent",
    ]
    assert texts(*lines) == [
        "device /sys/devices/virtual/foo/bar",
        "input device input5",
        "network device foo0",
    ]
    assert texts(f"path {DEVICE}/my_attribute") == [f"sysfs file {DEVICE}/my_attribute"]


def test_what_was_seen_while_it_was_loaded_names_what_is_left() -> None:
    held = (
        "timer 0xc1 expire",
        "work 0xc2 late",
        "memory 0x1-0x2 4096 f+0x13/0x30",
        "cache-link :0000064 foo_cache",
        "ioports 0300-0307 : foo",
    )
    lines = ("gone-timer 0xc1 0x0", "gone-timer 0xc2 0x0", "gone-memory 0x1-0x2 4096 0xc3", "cache :0000064")
    assert texts(*lines, "unread /proc/ioports", held=held) == [
        "I/O ports 0300-0307 : foo (reading /proc/ioports kills the reader)",
        "memory of 4 KiB, taken by f",
        "pending timer that calls expire",
        "pending work that calls late",
        "slab cache foo_cache",
    ]
    assert texts("gone-timer 0xc1 0x0") == ["pending timer at 0xc1"]
    assert texts("unread /proc/sys", held=("path /proc/sys/kernel/foo",))[0].startswith(
        "sysctl /proc/sys/kernel/foo "
    )


# ---- judgement ----------------------------------------------------------------------------------------------


def seen(*left: Census | None, sizes: dict[str, int] | None = None, **changes: object) -> Observation:
    rounds = tuple(
        Round(number, OK, "Live", OK, False, (), left=census) for number, census in enumerate(left, 1)
    )
    about = {"ending": Ending.COMPLETE, "detail": "", "console_tail": (), "console_log": None, **changes}
    return Observation(rounds, (), 0, 0, sizes=sizes or {}, **about)  # type: ignore[arg-type]


def reasons(observation: Observation, *wanted: ExpectedLeft, today: date | None = None) -> tuple[str, ...]:
    expectation = Expectation(reloads=len(observation.rounds), expect_left=wanted)
    return judge("foo", expectation, observation, today).reasons


CLASS = Census(("path /sys/class/foo/",))


def test_a_thing_is_told_once_in_the_round_that_left_it() -> None:
    assert reasons(seen(Census(), CLASS, CLASS)) == (
        "round 2: left behind: class foo; missing is likely class_destroy() or class_unregister()",
    )


def test_the_same_under_another_number_is_not_told_again() -> None:
    first, second = Census(("chrdev 240 foo",)), Census(("chrdev 239 foo", "chrdev 240 foo"))
    (told,) = reasons(seen(first, second))
    assert told.startswith("round 1: left behind: character device number 240 foo;")


def test_what_is_expected_must_come_and_nothing_else() -> None:
    kept = ExpectedLeft("^class foo$", "for good")
    assert reasons(seen(CLASS), kept) == ()
    assert reasons(seen(Census()), kept) == (
        "expected something left that matches '^class foo$' (for good), saw no such thing",
    )
    assert reasons(seen(None), kept) == ()  # nobody could look
    (other,) = reasons(seen(Census((*CLASS.new, "thread foo"))), kept)
    assert other.startswith("round 1: left behind: thread foo;")


@pytest.mark.parametrize("line", ["cache :0000064", "thread foo", "workqueue foo"])
def test_what_a_subsystem_makes_when_it_is_first_used_does_not_come_again(line: str) -> None:
    once, twice, thrice = (Census((line,) * times) for times in (1, 2, 3))
    assert reasons(seen(once, once, once)) == ()
    assert len(reasons(seen(once, twice, thrice))) == 1
    assert len(reasons(seen(once))) == 1  # nobody knows
    assert len(reasons(seen(CLASS, CLASS))) == 1  # there cannot be two of a name


def test_an_exemption_expires() -> None:
    kept = ExpectedLeft("class", "until 2.0", expires=date(2026, 12, 31))
    assert reasons(seen(CLASS), kept, today=date(2026, 12, 31)) == ()
    (told,) = reasons(seen(CLASS), kept, today=date(2027, 1, 1))
    assert "was expected until 2026-12-31 (until 2.0): mend it" in told


def test_an_end_that_came_too_soon_tells_what_may_have_stayed() -> None:
    held = ("hrtimer 0x1 exact", "path /sys/module/foo/", "path /sys/module/foo/taint", "cache-link :1 x")
    told = reasons(seen(None, held=held, ending=Ending.HANG, detail="unload foo, round 1"))
    assert "while it was loaded it had pending hrtimer that calls exact: hrtimer_cancel()" in told
    assert judge("foo", Expectation(reloads=1), seen(None, held=held)).passed


@pytest.mark.parametrize(
    ("kib", "told"),
    [
        ([0, 0, 0], None),
        ([60, 80, 60], None),  # to and fro
        ([1024], "memory of 1024 KiB in the first round, in slabs"),
        ([1024, 0, 0], None),  # it came back
        ([1024, 1024, 1024], "memory of 1024 KiB in the first round, in slabs"),  # once and for all
        ([1024, 2048, 3072], "memory of 1024 KiB a round, give or take 0, in 2 rounds, in slabs"),
        ([0, 8, 8, 16, 16, 24, 24, 32], None),  # too little to be sure
        (
            [0, *(40 * number + number % 2 * 8 for number in range(1, 9))],
            "memory of 40 KiB a round, give or take",
        ),
    ],
)
def test_memory_that_grows(kib: list[int], told: str | None) -> None:
    rounds = [Census((), {"slab": 5000 + amount}) for amount in kib]
    found = reasons(seen(*rounds, sizes={"slab": 5000}))
    assert len(found) == (told is not None), found
    assert told is None or told in found[0]


def test_a_leftover_alone_is_a_failure_and_no_crash() -> None:
    assert judge("foo", Expectation(reloads=1), seen(CLASS)).outcome is Outcome.FAILED


def test_a_census_is_parsed() -> None:
    census = parse_census(
        "size slab 5000\nsize pages -3\npath /sys/class/foo bar/\ntimer 0x1 f\nunread /proc/crypto\n"
    )
    assert census.sizes == {"slab": 5000, "pages": -3}
    assert census.new == ("path /sys/class/foo bar/", "timer 0x1 f", "unread /proc/crypto")
    assert census.things == ("path /sys/class/foo bar/", "unread /proc/crypto")
    assert census.unread == ("/proc/crypto",)
