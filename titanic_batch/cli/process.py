"""Setup of the command's process: signals, standard streams and memory."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from titanic_batch.checking.threads import are_running
from titanic_batch.cli.endings import STOPPED_BY, leave
from titanic_batch.errors import TransferError
from titanic_batch.reading.limits import start_thread
from titanic_batch.runs.exit_codes import DONE, INTERNAL_ERROR
from titanic_batch.writing.publishing import discard_all
from titanic_batch.writing.stopping import Stopped
from titanic_batch.writing.streams import trust_only_inherited_descriptors

_GRACE_SECONDS = 1.0
_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_LARGE_BLOCK_BYTES = 2**18
_KEPT_BYTES = 2**22


def on_signals(stop: Callable[[int], object]) -> None:
    """Make SIGINT and SIGTERM call ``stop`` with the exit code of the signal."""
    for number, code in STOPPED_BY.items():
        signal.signal(number, lambda *_, code=code: stop(code))
    sys.unraisablehook = _report_unraisable


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Report an exception that Python ignores, such as one in a finalizer, unless a signal raised it to stop the run.

    Such a stop is lost, and `leave_if_stopping_takes_long` makes up for it.
    """
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)


def leave_if_stopping_takes_long() -> None:
    """Leave shortly after a signal if the main thread does not, such as when a long call or another thread delays it.

    This applies as long as the current signal handlers stay installed.
    """
    handlers = {number: signal.getsignal(number) for number in STOPPED_BY}

    def watch() -> None:
        while True:
            number = os.read(reader, 1)[0]
            if number in handlers and signal.getsignal(number) is handlers[signal.Signals(number)]:
                time.sleep(_GRACE_SECONDS)
                leave(STOPPED_BY[signal.Signals(number)])

    try:
        reader, writer = os.pipe()
        start_thread(watch)
    except (OSError, TransferError):  # too many files or threads: the run matters more than how fast it stops
        return
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)


def end_despite_threads(error: BaseException) -> None:
    """End the process at once, as ``error`` would end it, if a thread is still running. Otherwise, do nothing.

    A thread that is inside a library when the interpreter is finalized crashes the process.
    """
    if not are_running():
        return
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else DONE
    else:
        code = INTERNAL_ERROR
        sys.excepthook(type(error), error, error.__traceback__)
    _exit(code)


def end_at_once(code: int) -> NoReturn:
    """End the process, whatever its threads do.

    A thread that is inside a library when the interpreter is finalized crashes the process.
    """
    discard_all(for_good=True)
    _exit(code)


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def occupy_closed_streams() -> None:
    """Open the null device in place of a closed stdin, stdout or stderr, or another file would get its descriptor.

    None of them can be named as an output, nor can other descriptors that the process opens itself.
    """
    trust_only_inherited_descriptors()
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # reading stdin or writing stdout then fails
    # Both stay open until the process ends.
    if sys.stdout is None:
        sys.stdout = open(1, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def allocate_sparingly() -> None:
    """Make all threads and Arrow share one heap, and keep NumPy and SciPy from starting threads of their own.

    Separate heaps for each thread and for Arrow would each keep the memory of their peak: a third more in total,
    without saving time. The threads of NumPy and SciPy, one for each core, would wait for work that never comes, and
    spin at first.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # for the allocator that is not used
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _tell_allocator(_M_ARENA_MAX, 1)


def return_large_blocks() -> None:
    """Have each large block that is freed go back to the machine at once, in a process that runs for long.

    The C library learns from large blocks that are freed to take the next ones from the heap, up to 32 MiB each. There
    small ones that live longer get between them, so that what is free can't be used: as much again as is in use.
    """
    _tell_allocator(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
    _tell_allocator(_M_TRIM_THRESHOLD, _KEPT_BYTES)  # what it is else makes the heap grow and shrink all the time


def _tell_allocator(parameter: int, value: int) -> None:
    with suppress(AttributeError, OSError):  # not every C library has mallopt
        ctypes.CDLL(None).mallopt(parameter, value)


def expect_no_semaphores() -> None:
    """Keep joblib from warning where there is no /dev/shm for semaphores, which only its processes need."""
    warnings.filterwarnings("ignore", message=".*joblib will operate in serial mode")


def collect_rarely() -> None:
    """Make the garbage collector run rarely, and ignore existing objects at exit.

    Imports create some hundred thousand objects that stay alive. Traversing them repeatedly takes a sixth of the time
    of a small run, and they would be traversed once more at exit.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
