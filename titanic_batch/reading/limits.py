"""The limits on a process: how many threads it may start, and how much memory it may have (``ulimit``).

Libraries don't cope with these limits: they abort the process, or try forever. So what they need is checked before.
"""

from __future__ import annotations

import _thread
import ctypes
import math
import mmap
import resource
import threading
from collections.abc import Callable
from contextlib import suppress

from titanic_batch.errors import TransferError

NO_THREAD = "no thread can be started: allow more processes or memory, or use fewer --jobs, and try again."
COMMAND_SIZE = 40 * 2**20
"""Bytes of address space that it takes to parse arguments, and to print help and messages."""
LIBRARIES_SIZE = 512 * 2**20
"""Bytes of address space that a small run takes, nearly all of it for libraries.

OpenBLAS, which NumPy and SciPy bundle, tries forever to allocate memory while it is loaded.
"""
_START_SECONDS = 10.0


def start_thread(run: Callable[[], None]) -> None:
    """Call ``run`` in a new thread, which does not keep the process from ending, and return once the thread has begun.

    ``threading.Thread.start`` never returns if the new thread finds too little memory to begin with.

    Raises
    ------
    TransferError
        The limit on processes or memory does not allow another thread.
    """
    has_begun, is_wanted = threading.Lock(), threading.Event()
    has_begun.acquire()
    is_wanted.set()

    def body() -> None:
        has_begun.release()
        if is_wanted.is_set():
            run()

    try:
        _thread.start_new_thread(body, ())
    except RuntimeError:
        raise TransferError(NO_THREAD) from None
    if not has_begun.acquire(timeout=_START_SECONDS):
        is_wanted.clear()
        raise TransferError(NO_THREAD)


def memory_left() -> float:
    """Return the number of bytes that the limits on address space and data leave the process; infinity without one."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    if limits == [resource.RLIM_INFINITY] * 2:
        return math.inf
    with open("/proc/self/statm") as file:
        pages = [int(number) for number in file.read().split()]
    used = [pages[0] * mmap.PAGESIZE, pages[5] * mmap.PAGESIZE]  # all, and data with stacks: see proc_pid_statm(5)
    return min(limit - used for limit, used in zip(limits, used, strict=True) if limit != resource.RLIM_INFINITY)


def give_memory_back() -> None:
    """Give memory that is free within the process back to the machine, which the C library would rather keep."""
    with suppress(AttributeError, OSError):  # not every C library has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def require_memory(size: int) -> None:
    """Check that the limits leave the process ``size`` bytes.

    Raises
    ------
    TransferError
        They leave less.
    """
    if (left := memory_left()) < size:
        raise TransferError(
            f"there is not enough memory: the limits on this process (ulimit) leave {max(int(left), 0) >> 20} MiB, and "
            f"{size >> 20} are needed; raise them, or use fewer --jobs, and try again."
        )
