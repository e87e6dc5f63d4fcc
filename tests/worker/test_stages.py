"""Stages that work ahead: bounded, in order, and gone when nobody reads any more."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from worker.stages import iter_ahead, iter_mapped

LONG_SECONDS = 30
"""Far above what any step here takes: reached only if something hangs."""


def no_check() -> None:
    """Let the reader wait on."""


def test_iter_ahead_yields_everything_in_order() -> None:
    def create(_: Callable[[], bool]) -> Generator[int, None, None]:
        yield from range(50)

    assert list(iter_ahead(create, capacity=3, check=no_check)) == list(range(50))


def test_iter_ahead_works_while_the_reader_does_not_and_then_waits() -> None:
    made: list[int] = []
    is_full = threading.Event()

    def create(_: Callable[[], bool]) -> Generator[int, None, None]:
        for number in range(100):
            made.append(number)
            if number == 4:  # the one read, three in the queue, and this one, for which there is no room
                is_full.set()
            yield number

    with closing(iter_ahead(create, capacity=3, check=no_check)) as items:
        next(items)
        assert is_full.wait(LONG_SECONDS)
        assert made == [0, 1, 2, 3, 4]


def test_iter_ahead_raises_where_the_stage_failed() -> None:
    def create(_: Callable[[], bool]) -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken stage")

    items = iter_ahead(create, capacity=3, check=no_check)

    assert next(items) == 1
    with pytest.raises(ValueError, match="broken stage"):
        next(items)


def test_closing_iter_ahead_ends_a_stage_that_waits_for_room() -> None:
    closed = threading.Event()

    def create(_: Callable[[], bool]) -> Generator[int, None, None]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    before = threading.active_count()
    with closing(iter_ahead(create, capacity=1, check=no_check)) as items:
        next(items)

    assert closed.is_set()
    assert threading.active_count() == before


def test_check_ends_a_stage_that_never_delivers() -> None:
    """The stage sees `is_closed` only because the waiting reader's check raised."""

    def create(is_closed: Callable[[], bool]) -> Generator[int, None, None]:
        tick = threading.Event()
        while not is_closed():
            tick.wait(0.01)
        yield from ()

    def check() -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        next(iter_ahead(create, capacity=1, check=check))

    assert threading.active_count() == before


def test_iter_mapped_keeps_the_order_whatever_finishes_first() -> None:
    second_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_done.wait(LONG_SECONDS)
        if number == 1:
            second_done.set()
        return number * 10

    with ThreadPoolExecutor(2) as executor:
        assert list(iter_mapped(work, iter(range(5)), executor=executor, ahead=3)) == [0, 10, 20, 30, 40]


def test_iter_mapped_takes_no_more_items_than_it_may_hold() -> None:
    taken: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as executor, closing(iter_mapped(str, items(), executor=executor, ahead=3)) as results:
        assert next(results) == "0"
        assert taken == [0, 1, 2]


def test_iter_mapped_raises_in_the_place_of_the_failed_item() -> None:
    def work(number: int) -> float:
        return 1 / (number - 2)

    with (
        ThreadPoolExecutor(2) as executor,
        closing(iter_mapped(work, iter(range(9)), executor=executor, ahead=3)) as it,
    ):
        assert [next(it), next(it)] == [-0.5, -1.0]
        with pytest.raises(ZeroDivisionError):
            next(it)
