# SPDX-License-Identifier: MIT
"""Work done ahead of time: spares that are ready when asked for, and results that are under way."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

from kmod_harness.base import process

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Pool(Generic[K, R]):
    """Keeps up to `spares` resources ready for those who are expected to ask.

    make: opens a resource of a kind. usable: whether one that waited is still good. One thread makes them, one
    after the other, and lives as long as the pool: processes die with the thread that started them.
    """

    def __init__(
        self, make: Callable[[K], AbstractContextManager[R]], usable: Callable[[R], bool], spares: int
    ) -> None:
        self._make = make
        self._usable = usable
        self._spares = spares
        self._expected: Counter[K] = Counter()
        self._ready: deque[tuple[K, R, ExitStack]] = deque()
        self._changed = threading.Condition()
        self._scope = process.Scope()
        self._thread: threading.Thread | None = None

    def expect(self, kind: K, count: int) -> None:
        """So many more will be asked for. Without this nothing is made ahead."""
        with self._changed:
            self._expected[kind] += count
            self._changed.notify()

    def take(self, kind: K) -> tuple[R, ExitStack] | None:
        """A spare, and the stack that the taker closes; None when there is none."""
        with self._changed:
            self._expected[kind] = max(0, self._expected[kind] - 1)
        while (spare := self._next(kind)) is not None:
            _, resource, stack = spare
            with ExitStack() as unless_usable:
                unless_usable.callback(stack.close)
                if self._usable(resource):
                    unless_usable.pop_all()
                    return resource, stack
        with self._changed:
            self._start()
        return None

    def _next(self, kind: K) -> tuple[K, R, ExitStack] | None:
        with self._changed:
            spare = next((one for one in self._ready if one[0] == kind), None)
            if spare is not None:
                self._ready.remove(spare)
            self._changed.notify()
        return spare

    def close(self) -> None:
        """Give up what is being made, close what was not taken."""
        with self._changed:
            self._scope.close()
            self._changed.notify()
        if self._thread:
            self._thread.join()
        with ExitStack() as every_one:  # also those after one that fails
            for _, _, stack in self._ready:
                every_one.callback(stack.close)
            self._ready.clear()

    def _start(self) -> None:
        """Begin with the first taker: a run of a single test gains nothing from spares."""
        if self._thread is None and self._spares > 0 and sum(self._expected.values()) > 0:
            context = contextvars.copy_context()
            self._thread = threading.Thread(target=context.run, args=(self._work,), name="pool", daemon=True)
            self._thread.start()

    def _wanted(self) -> K | None:
        """A kind that is expected more often than it is ready."""
        if len(self._ready) >= self._spares:
            return None
        have = Counter(kind for kind, _, _ in self._ready)
        return next((kind for kind, count in self._expected.items() if count > have[kind]), None)

    def _work(self) -> None:
        with self._scope:
            while not self._scope.closed:
                with self._changed:
                    while (kind := self._wanted()) is None and not self._scope.closed:
                        self._changed.wait()
                if kind is not None and not self._scope.closed:
                    self._make_one(kind)

    def _make_one(self, kind: K) -> None:
        stack = ExitStack()
        try:
            resource = stack.enter_context(self._make(kind))
        except Exception:  # whatever it is: the other kinds must not pay for it
            log.debug("no spare of %s", kind, exc_info=True)
            with self._changed:
                self._expected.pop(kind, None)  # whoever asks will make one himself, and meet the reason
            return
        with self._changed:
            self._ready.append((kind, resource, stack))


class Ahead(Generic[K, R]):
    """Pieces of work under way in threads, `jobs` at a time, each asked for by its key later."""

    def __init__(self, jobs: int) -> None:
        self._scope = process.Scope()
        self._executor = ThreadPoolExecutor(jobs, thread_name_prefix="job")
        self._futures: dict[K, Future[R]] = {}

    def submit(self, key: K, work: Callable[[], R]) -> None:
        """Begin a piece of work when its turn comes."""
        with self._scope:
            context = contextvars.copy_context()
        self._futures[key] = self._executor.submit(context.run, work)

    def result(self, key: K, otherwise: Callable[[], R]) -> R:
        """The result of what was submitted, or of doing it now. Raises what the work raised."""
        future = self._futures.pop(key, None)
        if future is None:
            return otherwise()
        while True:
            with contextlib.suppress(TimeoutError):
                return future.result(timeout=0.2)  # in slices: a signal is only seen between them
            if future.done():
                return future.result()

    def close(self) -> None:
        """Give up everything that was not asked for."""
        for future in self._futures.values():
            future.cancel()
        self._scope.close()
        self._executor.shutdown()
