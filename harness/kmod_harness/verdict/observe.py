# SPDX-License-Identifier: MIT
"""Takes a module through its life and writes down what is seen. Judges nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kmod_harness.base.errors import Failure, GuestFailure, GuestPanic
from kmod_harness.target.runner import OK, GuestHang
from kmod_harness.target.target import Target
from kmod_harness.verdict.observation import Ending, Memory, Observation, Round

LAST_WORDS_SECONDS = 4.0  # for what a machine in which something hangs may still tell
CONSOLE_LINES = 200  # a panic with the oops that led to it, or the stacks of some blocked tasks


@dataclass(frozen=True)
class Subject:
    """A module that lies on the target, ready to be loaded."""

    name: str  # as the kernel knows it
    path: str  # of the .ko there
    parameters: Mapping[str, str] = field(default_factory=dict)


def observe(
    target: Target,
    subject: Subject,
    dependencies: Sequence[Subject],
    rounds: int,
    *,
    stage: Callable[[str], None] = lambda stage: None,
) -> Observation:
    """Load the dependencies, then load and unload the subject `rounds` times.

    It ends early when the machine ends or hangs, when a step fails, or when the module cannot be unloaded.
    stage: called with what is about to be done. Raises HarnessError for failures that are not the module's.
    """
    observer = _Observer(target, subject, stage)
    try:
        observer.load_dependencies(dependencies)
        if all(outcome == OK for _, outcome in observer.dependencies):
            for number in range(1, rounds + 1):
                observer.go_round(number)
                if not observer.clean:
                    break
        observer.taint_after = target.taint()
    except GuestFailure as failure:
        observer.ending = _ending(failure)
        observer.detail = f"{observer.doing}: {failure.message}"
        if observer.ending is Ending.HANG:
            _ask_for_blocked_tasks(target)
    return observer.observation()


def _ending(failure: GuestFailure) -> Ending:
    """How an observation ended; after whatever else ends a target there is no connection any more."""
    if isinstance(failure, GuestPanic):
        return Ending.PANIC
    return Ending.HANG if isinstance(failure, GuestHang) else Ending.LOST


def _ask_for_blocked_tasks(target: Target) -> None:
    """Make the kernel tell the stacks of blocked tasks (SysRq w), on its console and in its log."""
    with contextlib.suppress(Failure):
        target.run("sh", "-c", "echo w > /proc/sysrq-trigger", root=True, seconds=LAST_WORDS_SECONDS)


class _Observer:
    """What has been seen so far."""

    def __init__(self, target: Target, subject: Subject, stage: Callable[[str], None]) -> None:
        self._target = target
        self._subject = subject
        self._stage = stage
        self.doing = "before the first step"
        self.rounds: list[Round] = []
        self.dependencies: list[tuple[str, str]] = []
        self.drivers: dict[str, int] = {}
        self.taint_before = target.taint()
        self._begin: int | None = None  # where the log was when the first step was taken
        self.taint_after: int | None = None
        self.ending = Ending.COMPLETE
        self.detail = ""

    @property
    def clean(self) -> bool:
        """Whether the last round left the machine fit for another one."""
        last = self.rounds[-1]
        return last.load == OK and last.unload == OK and last.listed_after is False

    def _do(self, what: str) -> None:
        self.doing = what
        self._stage(what)

    def _mark_log(self) -> int:
        mark = self._target.log_mark()
        if self._begin is None:
            self._begin = mark
        return mark

    def _see(self, **facts: object) -> None:
        self.rounds[-1] = replace(self.rounds[-1], **facts)  # type: ignore[arg-type]

    def load_dependencies(self, dependencies: Sequence[Subject]) -> None:
        if dependencies:
            self._mark_log()
        for module in dependencies:
            self._do(f"load {module.name}")
            self.dependencies.append((module.name, self._target.load(module.path, module.parameters)))

    def go_round(self, number: int) -> None:
        name = self._subject.name
        mark = self._mark_log()
        self.rounds.append(Round(number, None, None, None, None, ()))
        try:
            self._do(f"load {name}, round {number}")
            self._see(load=self._target.load(self._subject.path, self._subject.parameters))
            loaded = self._target.modules()
            listed = loaded.get(name)
            memory = tuple(Memory(one.name, one.address, one.size) for one in loaded.values() if one.address)
            self._see(state=listed.state if listed else None, memory=memory)
            self._see(permanent=bool(listed and listed.permanent and listed.state == "Live"))
            if listed and number == 1 and listed.state == "Live":
                self.drivers = self._target.drivers(name)
            was_there = self.rounds[-1].load == "EEXIST"  # never unload what was there before
            if listed and not was_there and not self.rounds[-1].permanent:
                self._do(f"unload {name}, round {number}")
                self._see(unload=self._target.unload(name))
                self._see(listed_after=name in self._target.modules())
        except GuestHang:
            with contextlib.suppress(Failure):
                self._read_log(mark, LAST_WORDS_SECONDS)
            raise
        self._read_log(mark)

    def _read_log(self, mark: int, seconds: float | None = None) -> None:
        records = self._target.log(mark, seconds=seconds)
        self._see(records=records, lost=max(0, records[0].sequence - mark) if records else 0)

    def _last_lines(self) -> tuple[str, ...]:
        """What was heard from outside; where nobody listens, what the log tells of a life that went wrong."""
        heard = self._target.last_lines(CONSOLE_LINES)
        if not heard and self._begin is not None and not (self.rounds and self.ending is Ending.COMPLETE):
            with contextlib.suppress(Failure):
                records = self._target.log(self._begin, seconds=LAST_WORDS_SECONDS)
                return tuple(record.text for record in records[-CONSOLE_LINES:])
        return heard

    def observation(self) -> Observation:
        return Observation(
            rounds=tuple(self.rounds),
            dependencies=tuple(self.dependencies),
            drivers=tuple(self.drivers.items()),
            taint_before=self.taint_before,
            taint_after=self.taint_after,
            ending=self.ending,
            detail=self.detail,
            console_tail=self._last_lines(),
            console_log=self._target.heard(),
        )
