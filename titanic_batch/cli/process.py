"""The process that the command runs in: its signals, its streams, its heap."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from titanic_batch.cli.endings import STOPPED_BY, leave

_GRACE_SECONDS = 1.0
_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_M_ARENA_MAX = -8  # glibc's malloc.h


def on_signals(stop: Callable[[int], object]) -> None:
    """Have SIGINT and SIGTERM call ``stop`` with the exit code that tells of them."""
    for number, code in STOPPED_BY.items():
        signal.signal(number, lambda *_, code=code: stop(code))


def leave_if_stopping_takes_long() -> None:
    """Leave shortly after a signal, if the main thread does not: a call that takes long, or a thread, keeps it.

    That is so as long as the handlers stay that there are.
    """
    handlers = {number: signal.getsignal(number) for number in STOPPED_BY}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reader, 1)[0]
            if number in handlers and signal.getsignal(number) is handlers[signal.Signals(number)]:
                time.sleep(_GRACE_SECONDS)
                leave(STOPPED_BY[signal.Signals(number)])

    threading.Thread(target=watch, daemon=True).start()


def occupy_closed_streams() -> None:
    """Put something where stdin, stdout or stderr is closed, or a file we open would take its place."""
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # stdin and stdout fail where they are used
    # Both stay open as long as the process.
    if sys.stdout is None:
        sys.stdout = open(1, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def allocate_sparingly() -> None:
    """Let all threads, and Arrow too, share one heap, and start no threads but ours.

    A heap for each thread, and Arrow's own beside them, each keep room for what they held at their fullest: a third
    more memory in all, for no time gained. NumPy's and SciPy's own threads, one for each core, would wait for work
    that never comes, spinning at first.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def collect_rarely() -> None:
    """Look for cycles now and then only.

    Importing makes some hundred thousand objects that stay; going through them again and again takes a sixth of the
    time of a small run, and once more when they all end with the process.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
