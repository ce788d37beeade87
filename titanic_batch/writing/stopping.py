"""Being told to stop: at once, but never between two files that belong together.

Whoever handles the signal calls `ask`. Publishing calls `hold` before its first rename: from there on the run is as
good as done, and ends as if nobody had asked. A job that goes on after publishing calls `release` before its next part.
Only the main thread is ever stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(SystemExit):
    """The process was told to stop, and ends with ``code``."""

    code: int


class _Stop:
    held = False
    asked: int | None = None


def ask(code: int) -> None:
    """Raise `Stopped`, now or when the process is released. Called by a signal handler."""
    if not _Stop.held:
        raise Stopped(code)
    _Stop.asked = code


def hold() -> None:
    """Let nothing but `release` stop the main thread from here on."""
    if threading.current_thread() is threading.main_thread():
        _Stop.held = True


def release() -> None:
    """Stop now if it was asked for, else let the next who asks stop the main thread."""
    if threading.current_thread() is threading.main_thread():
        _Stop.held = False
        if _Stop.asked is not None:
            code, _Stop.asked = _Stop.asked, None
            raise Stopped(code)


@contextmanager
def delayed() -> Iterator[None]:
    """Do something short as a whole."""
    was_held = _Stop.held
    hold()
    try:
        yield
    finally:
        if not was_held:
            release()
