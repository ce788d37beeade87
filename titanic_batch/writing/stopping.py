"""Stopping of a run: immediately, but never while files that belong together are being published.

A signal handler calls `ask`. Publishing calls `hold` before its first rename. From then on the run is considered done,
and ends as if there had been no signal. A job that continues after publishing calls `release` before its next part.
Only the main thread is ever stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(SystemExit):
    """Raised to stop the process, which exits with ``code``."""

    code: int


class _Stop:
    held = False
    pending_code: int | None = None


def ask(code: int) -> None:
    """Raise `Stopped`, either now or at `release`. Called by signal handlers."""
    if not _Stop.held:
        raise Stopped(code)
    _Stop.pending_code = code


def hold() -> None:
    """Delay requests to stop the main thread until `release`. Does nothing in other threads."""
    if threading.current_thread() is threading.main_thread():
        _Stop.held = True


def release() -> None:
    """Stop if there was a request since `hold`. Otherwise, let later requests stop the main thread immediately."""
    if threading.current_thread() is threading.main_thread():
        _Stop.held = False
        if _Stop.pending_code is not None:
            code, _Stop.pending_code = _Stop.pending_code, None
            raise Stopped(code)


@contextmanager
def delayed() -> Iterator[None]:
    """Delay requests to stop during a short operation."""
    was_held = _Stop.held
    hold()
    try:
        yield
    finally:
        if not was_held:
            release()
