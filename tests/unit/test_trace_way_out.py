# SPDX-License-Identifier: MIT
"""Traces of real kernels (golden/trace): read, divided into the steps of delete_module, shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmod_harness.base.errors import HarnessError
from kmod_harness.features.trace.calltree import NO_CALL, side_by_side, tree
from kmod_harness.features.trace.command import only_call
from kmod_harness.features.trace.ftrace import Call, parse_graph
from kmod_harness.features.trace.way_out import STEPS, Taken, canonical_name, take_steps

GOLDEN = Path(__file__).parent / "golden" / "trace"
KERNELS = ("5.10", "6.1", "6.12", "7.2", "7.3")
HIDDEN = {"checks and stop"}  # in no kernel a call of its own


def golden(series: str) -> Call:
    return only_call((GOLDEN / f"depend_s-{series}.trace").read_text(encoding="utf-8"))


def steps(series: str) -> dict[str, Taken]:
    return {taken.step.title: taken for taken in take_steps(golden(series))}


def names(taken: Taken, depth: int) -> list[str]:
    return [call.name for call in taken.calls if call.depth == depth]


def test_lines() -> None:
    (outer,) = parse_graph(
        "# tracer: function_graph\n"
        "   22.004664 |                |  __x64_sys_delete_module() {\n"
        "   22.005008 |                |    capable() {\n"
        "   22.005040 |    54.491 us   |      cap_capable();\n"
        "   22.005255 |    247.671 us  |    }\n"
        "   22.005300 |    14.2 us     |    irq_enter_rcu();\n"
        " ------------------------------------------\n"
        "   22.029491 |                |    /* module_free: depend_s */\n"
        "   22.029500 |                |    gone [depend_s]() {\n"
        "   22.029600 |    1.5 us      |    } /* gone [depend_s] */\n"
        "   22.053229 |    48856.35 us |  }\n"
    )
    assert (outer.name, outer.at, outer.microseconds) == ("__x64_sys_delete_module", 22.004664, 48856.35)
    assert [call.name for call in outer.calls] == ["capable", "gone"]
    assert outer.calls[0].calls == [Call("cap_capable", 22.00504, 54.491)]
    assert outer.notes == ["module_free: depend_s"]


@pytest.mark.parametrize("text", ["    1.0 |   |  a() {\n", "    1.0 | 2 us |  }\n"])
def test_a_trace_with_a_part_lost(text: str) -> None:
    with pytest.raises(HarnessError, match="trace"):
        parse_graph(text)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("free_mod_mem.constprop.0", "free_mod_mem"),
        ("x.isra.0.part.1", "x"),
        ("_printk", "printk"),
        ("a.b", "a.b"),
    ],
)
def test_names(symbol: str, name: str) -> None:
    assert canonical_name(symbol) == name


@pytest.mark.parametrize("series", KERNELS)
def test_every_kernel_takes_the_steps_in_this_order(series: str) -> None:
    taken = steps(series)
    assert list(taken) == [step.title for step in STEPS]
    seen = [one for one in taken.values() if one.calls]
    begins = [one.calls[0].at for one in seen]
    assert begins == sorted(begins)
    missing = HIDDEN | ({"last_unloaded_module"} if series == "5.10" else set())
    assert {title for title, one in taken.items() if not one.calls} <= missing
    total = golden(series).microseconds / 1e3
    assert 0 < sum(one.milliseconds for one in seen) <= total


@pytest.mark.parametrize("series", KERNELS)
def test_what_exit_did_is_seen(series: str) -> None:
    exit_step = steps(series)["exit"]
    assert names(exit_step, 0) == ["printk"]
    assert any("depend_s: unloaded after" in note for note in exit_step.notes)


@pytest.mark.parametrize("series", KERNELS)
def test_the_module_is_freed_in_free_module(series: str) -> None:
    taken = steps(series)["free_module"]
    assert taken.notes == ("module_free: depend_s",)
    parts = [
        name
        for name in names(taken, 1)
        if name in ("mod_sysfs_teardown", "module_unload_free", "synchronize_rcu")
    ]
    assert parts == ["mod_sysfs_teardown", "module_unload_free", "synchronize_rcu"]


def test_differences_from_the_text() -> None:
    def new(series: str, title: str) -> list[str]:
        return [call.name for call in steps(series)[title].calls if call.new is not None]

    assert new("5.10", "free_module") == new("5.10", "last_unloaded_module") == []
    assert new("6.12", "last_unloaded_module") == ["module_flags"]
    assert new("6.12", "free_module") == ["free_mod_mem"]
    assert new("7.3", "exit") == []  # whatever a module's own function calls


def test_an_exit_that_calls_what_others_are_known_by() -> None:
    """The first and last calls of a kind are the kernel's own; those between belong to exit."""
    whole = golden("6.12")
    unlock = [call.name for call in whole.calls].index("mutex_unlock")
    own = [
        "capable",
        "mutex_lock_interruptible",
        "blocking_notifier_call_chain",
        "async_synchronize_full",
        "__wake_up",
    ]
    whole.calls[unlock + 1 : unlock + 1] = [Call(name, whole.at, 1.0) for name in own]
    taken = {one.step.title: one for one in take_steps(whole)}
    assert names(taken["exit"], 0) == [*own, "printk"]
    assert names(taken["wake-up"], 0) == ["__wake_up"]


def test_a_module_that_was_not_unloaded() -> None:
    refused = golden("6.12")
    refused.calls = refused.calls[:5]
    with pytest.raises(HarnessError, match="unloaded"):
        take_steps(refused)


def test_two_calls_are_not_one() -> None:
    text = (GOLDEN / "depend_s-6.1.trace").read_text(encoding="utf-8")
    with pytest.raises(HarnessError, match="2 system calls"):
        only_call(text + text)


def test_the_tree() -> None:
    text = tree("title", tuple(steps("6.12").values()))
    assert text == (GOLDEN / "depend_s-6.12.txt").read_text(encoding="utf-8")
    assert text.count(NO_CALL) == 1


def test_side_by_side() -> None:
    text = side_by_side(("5.10", "7.3"), tuple(steps("5.10").values()), tuple(steps("7.3").values()))
    assert text == (GOLDEN / "depend_s-5.10-7.3.txt").read_text(encoding="utf-8")
    assert "module_flags" in text
