"""Bodies that may take much memory take turns: while one is read, scored and answered, it takes ten times its size."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from titanic_batch.reading.limits import give_memory_back
from titanic_batch.server.media import BINARY

LARGE_BYTES = 2**20

_TURN = threading.Lock()  # of the whole process, since its memory is


@contextmanager
def turn(media_type: str, size: int) -> Iterator[None]:
    """Wait until no other body is worked on that may take much memory, if one of this type and size, in bytes, may."""
    if size <= LARGE_BYTES and media_type not in BINARY:
        yield
        return
    with _TURN:
        try:
            yield
        finally:
            give_memory_back()
