"""Bodies that may take much memory take turns: while one is read, scored and answered, it takes ten times its size."""

from __future__ import annotations

import threading
from typing import Self

from titanic_batch.reading.limits import give_memory_back

LARGE_BYTES = 2**20

_TURN = threading.Lock()  # of the whole process, since its memory is


class Turn:
    """The turn of a body, which ends when this is closed or left, in the thread that took it."""

    def __init__(self) -> None:
        self._is_taken = False

    def take(self) -> None:
        """Wait until it is the body's turn, if it was not already."""
        if not self._is_taken:
            _TURN.acquire()
            self._is_taken = True

    def close(self) -> None:
        """End the turn, if it was taken."""
        if self._is_taken:
            try:
                give_memory_back()
            finally:
                self._is_taken = False
                _TURN.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
