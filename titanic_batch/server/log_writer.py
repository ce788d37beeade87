"""The server's log on stderr, written so that a reader who stalls holds up no request."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from titanic_batch.errors import TransferError
from titanic_batch.reading.limits import start_thread

WAITING_LINES = 5_000
_FLUSH_SECONDS = 1.0


class LogWriter(logging.Handler):
    """Writes log lines in a thread of its own. Beyond a number of lines that wait, further ones are dropped.

    Parameters
    ----------
    descriptor
        Where to write: stderr by default.

    Attributes
    ----------
    on_drop : callable
        Called for each line that is dropped, or can't be written.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self.on_drop: Callable[[], object] = lambda: None
        self._descriptor = descriptor
        self._lines = SimpleQueue[bytes | None]()  # None is the end
        self._ended = threading.Event()
        try:
            start_thread(self._write_all)
        except TransferError:  # the lines are counted as dropped
            self._ended.set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or drop it."""
        if self._ended.is_set() or self._lines.qsize() >= WAITING_LINES:
            self.on_drop()
        else:
            self._lines.put((self.format(record) + "\n").encode(errors="backslashreplace"))

    def close(self) -> None:
        """Write what still waits, as long as that takes no more than a moment."""
        self._lines.put(None)
        self._ended.wait(_FLUSH_SECONDS)
        super().close()

    def _write_all(self) -> None:
        try:
            while (line := self._lines.get()) is not None:
                if not self._is_written(line):
                    self.on_drop()
        finally:
            self._ended.set()

    def _is_written(self, line: bytes) -> bool:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                with suppress(OSError):
                    select.select([], [self._descriptor], [])
            except OSError:  # nobody can read it, and that is no reason to fail
                return False
        return True
