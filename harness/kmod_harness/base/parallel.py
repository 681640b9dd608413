# SPDX-License-Identifier: MIT
"""Several pieces of work at once, all ended when one of them fails or the user interrupts."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

from kmod_harness.base import process

T = TypeVar("T")


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def run_parallel(work: Sequence[Callable[[], T]], workers: int | None = None) -> list[T]:
    """Call all functions, at most `workers` (default: one for each core) at a time, started in order.

    Returns their results in the same order. The first exception (also Ctrl-C in the calling thread) ends
    the processes that the others have under way, waits for the threads, and is raised.
    """
    if len(work) == 1:
        return [work[0]()]
    futures: list[Future[T]] = []
    with (
        process.Scope() as scope,
        ThreadPoolExecutor(max(1, min(workers or cores(), len(work)))) as pool,
    ):
        try:
            futures.extend(pool.submit(contextvars.copy_context().run, one) for one in work)
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            scope.close()
            raise
    return [future.result() for future in futures]
