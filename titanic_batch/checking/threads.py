"""A function applied by several threads to the items of an iterator, with the results in the order of the items.

joblib is not used because a run may end early, and does not wait for joblib's threads then: one that is still inside
Arrow when the interpreter is finalized crashes the process. Nor does joblib bound the memory of what it has begun.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from titanic_batch.errors import TransferError
from titanic_batch.reading.limits import memory_left, start_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

_STALLED_SECONDS = 0.5
_LOOK_SECONDS = 1.0  # after which a thread is missed that ended without a word, for lack of memory

_running: set[object] = set()


def are_running() -> bool:
    """Return whether a thread of any `map_in_order` is running: one that was stalled in taking an item."""
    return bool(_running)


def map_in_order(
    function: Callable[[Item], Result],
    items: Generator[Item, None, None],
    threads: int,
    memory: Callable[[Item], int],
    max_memory: int,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in order.

    Each thread takes an item and applies the function to it, so that an item is also produced while others are worked
    on. With one thread, that is the caller's own. An exception, of the function or in producing an item, is raised in
    the place of its result.

    If the generator is closed early, the threads at work are waited for, and ``items`` is closed. Only a thread that is
    stalled in taking an item, such as from a pipe, is left behind after a moment.

    Parameters
    ----------
    function
        Called from several threads.
    items
        Advanced by one thread at a time. Closed at the end.
    threads
        Number of threads. If fewer can be started, those do all the work.
    memory
        Returns how many bytes it takes to apply the function to an item, roughly. If the limits on the process leave
        less for another item, those that are worked on are finished first.
    max_memory
        No further item is taken while those that were taken, up to the one whose result was yielded last, take this
        many bytes or more.

    Raises
    ------
    TransferError
        Not a single thread can be started.
    """
    if threads == 1:
        try:
            for item in items:
                yield function(item)
        finally:
            items.close()
        return
    work = _Work(function, items, threads + 2, memory, max_memory)
    try:
        work.start(threads)
        number = 0
        while (outcome := work.wait_for(number)) is not None:
            yield outcome.get()
            del outcome
            work.release(number)
            number += 1
    finally:
        work.stop()


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[Result]):
    result: Result | None = None
    error: BaseException | None = None

    def get(self) -> Result:
        if self.error is not None:
            raise self.error
        return cast("Result", self.result)


class _Work(Generic[Item, Result]):
    """The state that the threads share with their caller.

    A signal may raise an exception in the caller, which is the main thread, at any moment. So the caller waits for
    nothing but queues: an exception in the midst of a `threading.Condition` would leave it locked, or fail to unlock
    it.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Generator[Item, None, None],
        width: int,
        memory: Callable[[Item], int],
        max_memory: int,
    ) -> None:
        self._function = function
        self._items = items
        self._width = width
        self._memory = memory
        self._max_memory = max_memory
        self._threads: set[object] = set()
        self._results = SimpleQueue[tuple[int, _Outcome[Result]] | None]()  # None: a thread has ended
        self._received: dict[int, _Outcome[Result]] = {}
        self._released = SimpleQueue[int | None]()  # None: there is nothing to take any more
        self._stopped = self._has_all = False
        self._taken = 0
        # What follows is the threads' own.
        self._taking = threading.Lock()  # held while an item is taken
        self._held: dict[int, int] = {}  # the memory of each item that was taken and is not yet released
        self._finished = threading.Condition()
        self._at_work = 0
        self._memory_at_work = 0

    def start(self, threads: int) -> None:
        """Start the threads, or as many as can be started.

        Raises
        ------
        TransferError
            There is none.
        """
        for number in range(threads):
            thread = object()
            self._threads.add(thread)
            _running.add(thread)
            try:
                start_thread(partial(self._run, thread))
            except TransferError:
                _running.discard(thread)
                if number == 0:
                    raise
                break

    def wait_for(self, number: int) -> _Outcome[Result] | None:
        """Return the outcome of an item once it is known, or None if there are fewer items."""
        while number not in self._received and self._are_running():
            self._receive(_LOOK_SECONDS)
        while number not in self._received and self._receive(0):  # what a thread left when it ended
            pass
        if number not in self._received and number < self._taken:
            raise MemoryError  # the thread that took it found none
        return self._received.pop(number, None)

    def release(self, number: int) -> None:
        """Make room for another item: the result of this one is no longer used."""
        self._released.put(number)

    def stop(self) -> None:
        """Make the threads end, wait for those at work, and close the items."""
        self._stopped = True
        self._released.put(None)
        while self._are_running():
            if not self._receive(_STALLED_SECONDS) and not self._at_work:
                return
        with suppress(TransferError):  # of closing a file that is no longer needed
            self._items.close()

    def _are_running(self) -> bool:
        return not self._threads.isdisjoint(_running)

    def _receive(self, seconds: float) -> bool:
        """Wait for news of a thread, for so long at most. Return whether there is any."""
        try:
            news = self._results.get(timeout=seconds)
        except Empty:
            return False
        if news is not None:
            number, outcome = news
            self._received[number] = outcome
        return True

    def _run(self, thread: object) -> None:
        try:
            while self._has_done_another():
                pass
        except MemoryError:
            self._stopped = True  # whoever waits for the item that was taken is told
        finally:
            _running.discard(thread)
            self._results.put(None)

    def _has_done_another(self) -> bool:
        """Take an item and apply the function to it. Return False if there is nothing left to do."""
        with self._taking:
            while not self._has_room():
                if (number := self._released.get()) is not None:
                    del self._held[number]
            if self._stopped or self._has_all:
                return False
            number = self._taken
            try:
                item = next(self._items)
                needed = self._memory(item)
            except StopIteration:
                self._has_all = True
                return False
            except BaseException as error:  # raised where the result is asked for
                self._has_all = True
                self._results.put((number, _Outcome(error=error)))
                return False
            self._taken += 1
            self._held[number] = needed
            with self._finished:
                self._finished.wait_for(lambda: not self._at_work or memory_left() >= self._memory_at_work + needed)
                self._at_work += 1
                self._memory_at_work += needed
        try:
            if self._is_stopped():  # asked after the thread counts as at work, so that it is waited for if it works
                return False
            self._results.put((number, self._outcome_of(item)))
            return True
        finally:
            with self._finished:
                self._at_work -= 1
                self._memory_at_work -= needed
                self._finished.notify_all()

    def _is_stopped(self) -> bool:
        return self._stopped

    def _outcome_of(self, item: Item) -> _Outcome[Result]:
        try:
            return _Outcome(self._function(item))
        except BaseException as error:  # raised where the result is asked for
            return _Outcome(error=error)

    def _has_room(self) -> bool:
        has_room = len(self._held) < self._width and sum(self._held.values()) < self._max_memory
        return has_room or self._stopped or self._has_all
