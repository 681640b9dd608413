# SPDX-License-Identifier: MIT
"""Takes a module through its life and writes down what is seen. Judges nothing."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kmod_harness.base.deadline import Deadline
from kmod_harness.base.errors import Failure, GuestFailure, GuestPanic
from kmod_harness.target.census import Census
from kmod_harness.target.runner import OK, GuestHang
from kmod_harness.target.target import Target
from kmod_harness.verdict.observation import Ending, Memory, Observation, Round

LAST_WORDS_SECONDS = 4.0  # for what a machine in which something hangs may still tell
SETTLE_SECONDS = 2.0  # what a module has given back may take its time: RCU, threads that end, udev
SETTLE_PAUSE = 0.2
MISC_MAJOR = 10
MUCH_KIB = 256  # of memory that is in use and was not
CONSOLE_LINES = 200  # a panic with the oops that led to it, or the stacks of some blocked tasks


@dataclass(frozen=True)
class Subject:
    """A module that lies on the target, ready to be loaded."""

    name: str  # as the kernel knows it
    path: str  # of the .ko there
    parameters: Mapping[str, str] = field(default_factory=dict)
    # Names the function at a place in its code, counted from where that begins; None: not known.
    function_at: Callable[[int], str | None] = lambda offset: None


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
            observer.begin()
            for number in range(1, rounds + 1):
                observer.go_round(number)
                if not observer.clean:
                    break
        observer.taint_after = target.taint()
    except GuestFailure as failure:
        observer.ending = ending_of(failure)
        observer.detail = f"{observer.doing}: {failure.message}"
        if observer.ending is Ending.HANG:
            _ask_for_blocked_tasks(target)
    return observer.observation()


def ending_of(failure: GuestFailure) -> Ending:
    """How an observation ended; after whatever else ends a target there is no connection any more."""
    if isinstance(failure, GuestPanic):
        return Ending.PANIC
    return Ending.HANG if isinstance(failure, GuestHang) else Ending.LOST


def _ask_for_blocked_tasks(target: Target) -> None:
    """Make the kernel tell the stacks of blocked tasks (SysRq w), on its console and in its log."""
    with contextlib.suppress(Failure):
        target.run(
            "sh", "-c", "echo w > /proc/sysrq-trigger", root=True, check=False, seconds=LAST_WORDS_SECONDS
        )


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
        self.held: tuple[str, ...] = ()
        self.sizes: Mapping[str, int] = {}
        self.unpinned: tuple[str, ...] = ()
        self._others: dict[str, int] = {}  # modules that were loaded when the census was taken: their counts
        self.taint_before = target.taint()
        self._begin: int | None = None  # where the log was when the first step was taken
        self.taint_after: int | None = None
        self.ending = Ending.COMPLETE
        self.detail = ""

    @property
    def clean(self) -> bool:
        """Whether the last round left the machine fit for another one."""
        last = self.rounds[-1]
        unread = last.left is not None and last.left.unread
        return last.load == OK and last.unload == OK and last.listed_after is False and not unread

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

    def begin(self) -> None:
        """Note what is there, once all is loaded that the subject needs."""
        self._do("note what the kernel has")
        self.sizes = self._target.take_census().sizes
        self._others = self._counts()

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
            if listed:
                self._see(references=listed.references, users=listed.users)
            self._see(permanent=bool(listed and listed.permanent and listed.state == "Live"))
            if listed and number == 1 and listed.state == "Live":
                self.drivers = self._target.drivers(name)
                self.held = self._named(self._target.census().new, listed.address, listed.size)
                self.unpinned = self._unpinned()
            was_there = self.rounds[-1].load == "EEXIST"  # never unload what was there before
            broken = self.rounds[-1].references < 0  # the kernel would not survive it
            if listed and not (was_there or broken or self.rounds[-1].permanent):
                self._do(f"unload {name}, round {number}")
                outcome, census = self._target.unload_and_look(name)
                self._see(unload=outcome, left=census if outcome == OK else None)
                self._see(listed_after=name in self._target.modules())
            if not listed or self.rounds[-1].listed_after is False:
                self._do(f"look for what is left of {name}, round {number}")
                self._see(left=self._left(number, self.rounds[-1].left or self._target.census()))
        except GuestHang:
            with contextlib.suppress(Failure):
                self._read_log(mark, LAST_WORDS_SECONDS)
            raise
        self._read_log(mark)

    def _unpinned(self) -> tuple[str, ...]:
        """The nodes of /dev that can be open without the module's count telling. Only those that it serves
        itself: misc devices, and those of a number of its own. A watchdog would begin to bark.
        """
        nodes = [line.removeprefix("path ") for line in self.held if line.startswith("path /dev/")]
        numbers = {line.split(" ")[1] for line in self.held if line.startswith(("chrdev ", "blkdev "))}
        quiet = [node for node in nodes if not node.endswith("/") and "watchdog" not in node]
        if not quiet:
            return ()
        self._do(f"open {', '.join(quiet)}")
        opened = self._target.open_nodes(self._subject.name, quiet)
        own = [one for one in opened if one.major == MISC_MAJOR or str(one.major) in numbers]
        return tuple(one.path for one in own if one.before == one.meanwhile == 0)

    def _named(self, lines: Sequence[str], start: int, size: int) -> tuple[str, ...]:
        """Lines of a census in which the functions of the subject have names instead of addresses."""

        def name(found: re.Match[str]) -> str:
            at = int(found[0], 16) - start
            return (self._subject.function_at(at) if 0 <= at < size else None) or found[0]

        return tuple(re.sub(r"(?<= )0x[0-9a-f]+$", name, line) for line in lines)

    def _left(self, number: int, census: Census) -> Census | None:
        """What there is now that was not there before. What goes by itself is waited for, unless it stayed
        the last time. Modules that came meanwhile have their own things: then all is noted anew.
        """
        others = self._counts()
        if others.keys() - self._others.keys():
            self._others = others
            self.sizes = self._target.take_census().sizes
            return None
        known = self.rounds[-2].left if number > 1 else None
        deadline = Deadline(SETTLE_SECONDS, "settle")
        census = self._with_references(census)
        while self._may_go(census) and not (known and known.things == census.things) and not deadline.expired():
            time.sleep(SETTLE_PAUSE)
            census = self._with_references(self._target.census())
        return census

    def _counts(self) -> dict[str, int]:
        return {one.name: one.references for one in self._target.modules().values()}

    def _with_references(self, census: Census) -> Census:
        """With a line for each module whose count has not gone back."""
        grown = [
            f"reference {name}" for name, now in self._counts().items() if now > self._others.get(name, now)
        ]
        return replace(census, new=(*census.new, *grown))

    def _may_go(self, census: Census) -> bool:
        """Whether to look again. Not into a table whose reader was killed."""
        grown = any(size - self.sizes.get(name, size) > MUCH_KIB for name, size in census.sizes.items())
        return not census.unread and (bool(census.things) or grown)

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
            held=self.held,
            unpinned=self.unpinned,
            sizes=self.sizes,
            taint_before=self.taint_before,
            taint_after=self.taint_after,
            ending=self.ending,
            detail=self.detail,
            console_tail=self._last_lines(),
            console_log=self._target.heard(),
        )
