"""Results in order from several threads, which are waited for when the caller leaves early."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import pytest

from titanic_batch.checking import threads
from titanic_batch.checking.threads import map_in_order
from titanic_batch.errors import TransferError


class Signalled(Exception):  # noqa: N818  # as SystemExit
    """Raised by a signal."""


@pytest.fixture(autouse=True)
def none_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    # A signal between counting a thread and starting it leaves one that is counted and never runs.
    assert not threads.are_running() or request.node.name == test_a_signal_may_end_it_at_any_moment.__name__


def mapped(
    function: Callable[[int], int],
    items: Generator[int, None, None],
    count: int,
    memory: Callable[[int], int] = lambda item: 1,
    max_memory: int = 2**30,
) -> Generator[int, None, None]:
    return map_in_order(function, items, count, memory, max_memory)


def numbers(count: int) -> Generator[int, None, None]:
    yield from range(count)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.001 * (20 - number) if number < 20 else 0)
        return number * number

    assert list(mapped(slow_at_first, numbers(200), count)) == [number * number for number in range(200)]
    assert list(mapped(slow_at_first, numbers(0), count)) == []


@pytest.mark.parametrize("count", [1, 2, 7])
def test_an_exception_comes_in_the_place_of_its_result(count: int) -> None:
    def divide(number: int) -> int:
        return 60 // (5 - number)

    found: list[int] = []
    with pytest.raises(ZeroDivisionError):
        found += iter(mapped(divide, numbers(10), count))
    results = mapped(divide, numbers(10), count)
    assert [next(results) for _ in range(5)] == [12, 15, 20, 30, 60]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_an_exception_in_producing_an_item_comes_after_the_results_before_it(count: int) -> None:
    def broken() -> Generator[int, None, None]:
        yield from range(5)
        raise TransferError("cut")

    results = mapped(lambda number: number, broken(), count)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(TransferError, match="cut"):
        next(results)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_who_leaves_early_waits_for_the_threads_at_work_and_closes_the_items(count: int) -> None:
    at_work, closed = [0], []
    lock = threading.Lock()

    def items() -> Generator[int, None, None]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    def work(number: int) -> int:
        with lock:
            at_work[0] += 1
        time.sleep(0.05)
        with lock:
            at_work[0] -= 1
        return number

    with closing(mapped(work, items(), count)) as results:
        assert next(results) == 0
    assert (at_work, closed) == ([0], [True])


def test_only_a_thread_that_is_stalled_in_taking_an_item_is_left_behind() -> None:
    reader, writer = os.pipe()

    def items() -> Generator[int, None, None]:
        yield 1
        os.read(reader, 1)
        yield 2

    worked_on: list[int] = []

    def work(number: int) -> int:
        worked_on.append(number)
        return number

    with closing(mapped(work, items(), 2)) as results:
        assert next(results) == 1
    assert threads.are_running(), "it waits for the pipe"
    os.write(writer, b"x")
    for _ in range(1000):
        if not threads.are_running():
            break
        time.sleep(0.01)
    assert worked_on == [1], "nobody wants what comes after the end"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("max_memory", [1, 3, 10])
def test_memory_is_bounded_whatever_the_number_of_threads(max_memory: int) -> None:
    taken: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(50):
            taken.append(number)
            yield number

    results = mapped(lambda number: number, items(), 16, memory=lambda item: 1, max_memory=max_memory)
    for number in range(50):
        assert next(results) == number
        time.sleep(0.002)  # what would run ahead has the time to
        assert len(taken) <= number + max_memory
    assert list(results) == []


def test_an_item_larger_than_the_bound_is_taken_alone() -> None:
    assert list(mapped(lambda number: number, numbers(5), 3, memory=lambda item: 100, max_memory=10)) == [0, 1, 2, 3, 4]


def test_without_room_for_a_thread_it_is_a_transfer_error() -> None:
    old = threading.stack_size(2**45)  # more than there can be
    try:
        with pytest.raises(TransferError, match="no thread can be started: allow more processes or memory"):
            list(mapped(lambda number: number, numbers(5), 2))
        assert list(mapped(lambda number: number, numbers(5), 1)) == [0, 1, 2, 3, 4], "it needs no thread"
    finally:
        threading.stack_size(old)


def test_a_result_is_never_lost_for_lack_of_memory() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise MemoryError
        return number

    with pytest.raises(MemoryError):
        list(mapped(fail, numbers(10), 2))

    def immeasurable(number: int) -> int:
        if number == 3:
            raise MemoryError
        return 1

    with pytest.raises(MemoryError):
        list(mapped(lambda number: number, numbers(10), 2, memory=immeasurable))


def test_a_signal_may_end_it_at_any_moment() -> None:
    def end(*_: object) -> None:
        raise Signalled

    def run() -> None:
        with closing(mapped(lambda number: number, numbers(50), 4)) as results:
            assert list(results) == list(range(50))

    old, ended = signal.signal(signal.SIGALRM, end), 0
    try:
        for place in range(400):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + place % 200))
                    run()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Signalled:
                ended += 1
    finally:
        signal.signal(signal.SIGALRM, old)
    assert ended
