# SPDX-License-Identifier: MIT
"""Work done ahead of time, and how it is given up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmod_harness.base import process
from kmod_harness.base.errors import HarnessError
from kmod_harness.run.pool import Ahead, Pool
from tests.patience import patient, wait_until


class Maker:
    """Makes numbered resources and remembers what became of them."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.closed: list[str] = []
        self.broken: set[str] = set()

    @contextlib.contextmanager
    def make(self, kind: str) -> Iterator[str]:
        if kind in self.broken:
            raise HarnessError("no machine")
        name = f"{kind}{len(self.made)}"
        self.made.append(name)
        yield name
        self.closed.append(name)


def test_a_spare_is_ready_after_the_first_was_taken() -> None:
    maker = Maker()
    pool = Pool(maker.make, lambda name: True, 1)
    pool.expect("a", 3)
    assert pool.take("a") is None
    wait_until(lambda: maker.made == ["a0"], "a spare")
    time.sleep(0.05)
    assert maker.made == ["a0"]  # no more than one spare
    taken = pool.take("a")
    assert taken and taken[0] == "a0"
    wait_until(lambda: len(maker.made) == 2, "another spare")
    taken[1].close()
    assert maker.closed == ["a0"]
    pool.close()
    assert maker.closed == ["a0", "a1"]


def test_nothing_is_made_that_nobody_expects() -> None:
    maker = Maker()
    pool = Pool(maker.make, lambda name: True, 2)
    pool.expect("a", 1)
    assert pool.take("a") is None
    time.sleep(0.05)
    assert maker.made == []
    assert pool.take("b") is None
    pool.close()


def test_a_spare_that_died_is_not_given_out() -> None:
    maker = Maker()
    pool = Pool(maker.make, lambda name: name != "a0", 1)
    pool.expect("a", 3)
    assert pool.take("a") is None
    wait_until(lambda: pool._ready, "a spare")
    assert pool.take("a") is None
    assert maker.closed == ["a0"]
    wait_until(lambda: maker.made == ["a0", "a1"], "another spare")  # one more is expected
    pool.close()


def test_a_kind_that_cannot_be_made_is_left_to_the_taker() -> None:
    maker = Maker()
    maker.broken = {"a"}
    pool = Pool(maker.make, lambda name: True, 1)
    pool.expect("a", 5)
    pool.expect("b", 2)
    assert pool.take("a") is None
    wait_until(lambda: maker.made == ["b0"], "a spare")
    assert pool.take("a") is None
    pool.close()
    assert maker.closed == ["b0"]


@pytest.mark.parametrize("error", [AssertionError("bug"), KeyError("bug"), AttributeError("bug")])
def test_an_error_that_nobody_foresaw_ends_one_kind_only(error: Exception) -> None:
    maker = Maker()

    @contextlib.contextmanager
    def make(kind: str) -> Iterator[str]:
        if kind == "a":
            raise error
        with maker.make(kind) as made:
            yield made

    pool = Pool(make, lambda name: True, 1)
    pool.expect("a", 5)
    pool.expect("b", 3)
    assert pool.take("a") is None
    wait_until(lambda: maker.made == ["b0"], "a spare")
    assert pool.take("a") is None
    taken = pool.take("b")
    assert taken and taken[0] == "b0"
    taken[1].close()
    wait_until(lambda: maker.made == ["b0", "b1"], "another spare")  # the thread goes on
    pool.close()


def test_closing_closes_all_whatever_one_of_them_does() -> None:
    closed: list[str] = []

    @contextlib.contextmanager
    def make(kind: str) -> Iterator[str]:
        yield kind
        closed.append(kind)
        if kind == "b":
            raise ValueError("bug")

    pool = Pool(make, lambda name: True, 3)
    for kind in "abc":
        pool.expect(kind, 1)
    pool.expect("d", 1)
    assert pool.take("d") is None
    wait_until(lambda: len(pool._ready) == 3, "three spares")
    with pytest.raises(ValueError, match="bug"):
        pool.close()
    assert sorted(closed) == ["a", "b", "c"]


def test_a_spare_that_cannot_be_examined_is_closed() -> None:
    maker = Maker()

    def examine(name: str) -> bool:
        raise ValueError("bug")

    pool = Pool(maker.make, examine, 1)
    pool.expect("a", 2)
    assert pool.take("a") is None
    wait_until(lambda: pool._ready, "a spare")
    with pytest.raises(ValueError, match="bug"):
        pool.take("a")
    assert maker.closed == ["a0"]
    pool.close()


def test_results_and_exceptions_arrive() -> None:
    def fail() -> int:
        raise HarnessError("broken")

    ahead = Ahead[str, int](2)
    ahead.submit("a", lambda: 1)
    ahead.submit("b", fail)
    assert ahead.result("a", lambda: 0) == 1
    assert ahead.result("c", lambda: 3) == 3
    with pytest.raises(HarnessError, match="broken"):
        ahead.result("b", lambda: 0)
    ahead.close()


def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    began = tmp_path / "began"
    ended: list[str] = []

    def work() -> int:
        try:
            process.run(["sh", "-c", f"touch {began}; exec sleep 600"], deadline=patient("sleep"))
        except HarnessError as error:
            ended.append(type(error).__name__)
            raise
        return 0

    ahead = Ahead[str, int](1)
    ahead.submit("a", work)

    def never() -> int:
        ended.append("started")
        return 0

    ahead.submit("never", never)
    wait_until(began.exists, "the first is under way")
    ahead.close()
    # The first was ended, or had not quite begun; its deadline had no part in it. The second never began.
    assert ended in (["CommandError"], ["CancelledError"])
