"""A function applied by several threads to the items of an iterator, with the results in the order of the items.

joblib is not used because a run may end early, and does not wait for joblib's threads then: one that is still inside
Arrow when the interpreter is finalized crashes the process. Nor does joblib bound the memory of what it has begun.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from titanic_batch.errors import TransferError
from titanic_batch.reading.limits import memory_left, start_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

_STALLED_SECONDS = 0.5

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
    """The state that the threads share. ``_changed`` guards all of it; ``_taking`` is held while an item is taken."""

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
        self._taking = threading.Lock()
        self._changed = threading.Condition()
        self._outcomes: dict[int, _Outcome[Result]] = {}
        self._held: dict[int, int] = {}  # the memory of each item that was taken and is not yet released
        self._taken = 0
        self._alive = 0
        self._at_work = 0
        self._memory_at_work = 0
        self._has_all = self._stopped = False

    def start(self, threads: int) -> None:
        """Start the threads, or as many as can be started.

        Raises
        ------
        TransferError
            There is none.
        """
        for number in range(threads):
            try:
                start_thread(self._run)
            except TransferError:
                if number == 0:
                    raise
                break
            with self._changed:
                self._alive += 1

    def wait_for(self, number: int) -> _Outcome[Result] | None:
        """Return the outcome of an item once it is known, or None if there are fewer items."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._outcomes or not self._alive)
            if number not in self._outcomes and number < self._taken:
                raise MemoryError  # the thread that took it found none
            return self._outcomes.pop(number, None)

    def release(self, number: int) -> None:
        """Make room for another item: the result of this one is no longer used."""
        with self._changed:
            del self._held[number]
            self._changed.notify_all()

    def stop(self) -> None:
        """Make the threads end, wait for those at work, and close the items."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._at_work or not self._alive)
            has_ended = self._changed.wait_for(lambda: not self._alive, _STALLED_SECONDS)
        if has_ended:
            with suppress(TransferError):  # of closing a file that is no longer needed
                self._items.close()

    def _run(self) -> None:
        thread = object()
        _running.add(thread)
        try:
            while self._has_done_another():
                pass
        except MemoryError:
            self._stopped = True  # whoever waits for the item that was taken is told
        finally:
            _running.discard(thread)
            with self._changed:
                self._alive -= 1
                self._changed.notify_all()

    def _has_done_another(self) -> bool:
        """Take an item and apply the function to it. Return False if there is nothing left to do."""
        with self._taking:
            with self._changed:
                self._changed.wait_for(self._may_go_on)
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
                self._put(number, _Outcome(error=error))
                return False
            with self._changed:
                self._taken += 1
                self._held[number] = needed
                if not self._may_begin(needed):
                    return False
                self._at_work += 1
                self._memory_at_work += needed
        try:
            outcome = _Outcome(self._function(item))
        except BaseException as error:  # likewise
            outcome = _Outcome(error=error)
        del item
        self._put(number, outcome)
        with self._changed:
            self._at_work -= 1
            self._memory_at_work -= needed
            self._changed.notify_all()
        return True

    def _may_go_on(self) -> bool:
        has_room = len(self._held) < self._width and sum(self._held.values()) < self._max_memory
        return self._stopped or self._has_all or has_room

    def _may_begin(self, needed: int) -> bool:
        """Wait until there is memory for another item. Return False if there is nothing to begin any more."""
        self._changed.wait_for(
            lambda: self._stopped or not self._at_work or memory_left() >= self._memory_at_work + needed
        )
        return not self._stopped

    def _put(self, number: int, outcome: _Outcome[Result]) -> None:
        with self._changed:
            self._outcomes[number] = outcome
            self._changed.notify_all()
