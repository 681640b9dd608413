# SPDX-License-Identifier: MIT
"""Records what the kernel runs inside one system call, by its function_graph tracer, and reads that."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from kmod_harness.base.errors import HarnessError
from kmod_harness.target.commands import CommandTarget

TRACEFS = "/sys/kernel/tracing"
DEPTH = 4  # system call, its parts, theirs (notifier_call_chain, where it is a function), each notifier
# Of function_graph itself: absolute times, no columns for several processors, no interrupts.
OPTIONS = ("funcgraph-abstime", "nofuncgraph-cpu", "nofuncgraph-overhead", "nofuncgraph-irqs")
EVENTS = ("module", "printk")  # their lines stand between the calls
# What an interrupt calls once it has begun and before it has ended: not a part of what it interrupted.
INTERRUPT = re.compile(
    r"irq_enter_rcu|irq_exit_rcu|__?sysvec_\w+|handle_softirqs|__do_softirq|do_softirq_own_stack|idle_cpu|raw_irqentry_exit_cond_resched"
    r"|__hrtimer_rearm_deferred|hrtimer_interrupt|preempt_schedule_irq|irqentry_\w+|clockevents_program_event"
)
SWITCH_SECONDS = 180.0  # the kernel patches each of its 50 000 functions: seconds under emulation
_LINE = re.compile(r"\s*(?P<at>\d+\.\d+) \|\s*(?:(?P<took>[\d.]+) us)?\s*\|  (?P<what>.*)")
_CALL = re.compile(r"(?P<name>[\w.]+)(?: \[\w+\])?\(.*\)(?P<kind>;| \{)")


@dataclass
class Call:
    """A function that was called."""

    name: str  # as the kernel's symbol table has it
    at: float  # when it began, seconds of the trace's clock
    microseconds: float  # how long it took, tracing included
    calls: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # events in it, e.g. "module_free: vms"


def parse_graph(text: str) -> tuple[Call, ...]:
    """The calls in an output of function_graph with OPTIONS, outermost first; without interrupts.

    HarnessError when brackets do not match, as when the kernel lost a part.
    """
    top = Call("", 0.0, 0.0)
    open_calls = [top]
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match:
            what, took = match["what"].strip(), float(match["took"] or 0)
            if what.startswith("}"):
                if len(open_calls) == 1:
                    raise HarnessError(f"trace, line {number}: the end of a call that never began")
                open_calls.pop().microseconds = took
            elif what.startswith("/*"):
                open_calls[-1].notes.append(what[2:].removesuffix("*/").strip())
            elif call := _CALL.fullmatch(what):
                new = Call(call["name"], float(match["at"]), took)
                open_calls[-1].calls.append(new)
                if call["kind"] != ";":
                    open_calls.append(new)
    if len(open_calls) > 1:
        raise HarnessError(f"trace: {open_calls[-1].name} never ends")
    _drop_interrupts(top)
    return tuple(top.calls)


def _drop_interrupts(call: Call) -> None:
    call.calls = [one for one in call.calls if not INTERRUPT.fullmatch(one.name)]
    for one in call.calls:
        _drop_interrupts(one)


def record_call(target: CommandTarget, function: str, action: Callable[[], object]) -> str:
    """Do something and return what function_graph says about `function` and below. Tracing is off afterwards.

    HarnessError when the kernel has no such tracer or no such function.
    """
    tracers = target.read(f"{TRACEFS}/available_tracers", root=True).split()
    if "function_graph" not in tracers:
        raise HarnessError(
            "this kernel has no function_graph tracer (CONFIG_FUNCTION_GRAPH_TRACER)",
            evidence=[" ".join(tracers)],
        )
    _set(target, "tracing_on", "0")
    _set(target, "current_tracer", "function_graph")
    _set(target, "set_graph_function", function)
    _set(target, "max_graph_depth", str(DEPTH))
    for option in OPTIONS:
        _set(target, "trace_options", option)
    for event in EVENTS:
        _set(target, f"events/{event}/enable", "1")
    _set(target, "trace", "")
    _set(target, "tracing_on", "1")
    try:
        action()
    finally:
        _set(target, "tracing_on", "0")
    text = target.read(f"{TRACEFS}/trace", root=True)
    for event in EVENTS:
        _set(target, f"events/{event}/enable", "0")
    _set(target, "current_tracer", "nop")
    return text


def _set(target: CommandTarget, file: str, value: str) -> None:
    path = f"{TRACEFS}/{file}"
    script = 'echo "$1" > "$2"'
    result = target.run("sh", "-c", script, "sh", value, path, root=True, seconds=SWITCH_SECONDS, check=False)
    if result.returncode != 0:
        raise HarnessError(f"cannot write {value!r} to {path}", evidence=result.output.splitlines())
