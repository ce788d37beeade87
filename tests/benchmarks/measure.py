"""Run one command as a fresh process tree and print, as JSON, what it took.

    python tests/benchmarks/measure.py COMMAND...

``seconds``
    Wall time from before the process starts until it has ended: interpreter, imports and all.
``cpu_seconds``
    User and system time of the process and of every child it waited for, as the kernel reports them (``wait4``).
``peak_bytes``
    The most memory that all processes of the run held together. Where the run is one process, this is the kernel's own
    high-water mark of resident memory (``VmHWM``; ``ru_maxrss`` would count what this process held before it became
    the other), read every few milliseconds until the end. Where it has children, it is the highest sum, over all of
    them at one moment, of the proportional set size (``Pss``), which counts a page that several share once.
    Both count mapped pages of files as memory. Left out (``null``) where there is no ``/proc``.
``other_cpu_seconds``
    What everything else on the machine took meanwhile: where it is much, the figures above are too high.
``exit_code``, ``stderr``
    How it ended, and the end of what it said.

This is a program of its own, and a small one, so that the measuring process neither weighs on the machine nor passes
anything on to what it measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PAUSE = 0.01
LAST_WORDS = 2_000
PROC = Path("/proc")


@dataclass
class Measurement:
    """What one run took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    other_cpu_seconds: float | None
    exit_code: int
    stderr: str


class Watcher(threading.Thread):
    """Follows the memory of a process and its descendants until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, memory_of(tree(self._pid)))
            if self._ended.wait(PAUSE):
                return

    def stop(self) -> None:
        self._ended.set()
        self.join()


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:  # grows as it goes
        with contextlib.suppress(OSError):
            for task in (PROC / str(each) / "task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def memory_of(pids: list[int]) -> int:
    """Return the high-water mark of a single process, the present sum of several."""
    if len(pids) == 1:
        return field(pids[0], "status", "VmHWM:")
    return sum(field(pid, "smaps_rollup", "Pss:") for pid in pids)


def field(pid: int, file: str, name: str) -> int:
    """Return a number of bytes out of a file of ``/proc``; 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def machine_busy() -> float | None:
    """Return the seconds that all cores together have been busy or taken away since the machine started."""
    with contextlib.suppress(OSError):
        user, nice, system, _idle, _wait, *more = (PROC / "stat").read_text().splitlines()[0].split()[1:9]
        return sum(map(int, (user, nice, system, *more))) / os.sysconf("SC_CLK_TCK")
    return None


def measure(command: list[str]) -> Measurement:
    """Run the command to its end; what it prints is thrown away."""
    with tempfile.TemporaryFile() as errors:
        busy = machine_busy()
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        watcher = Watcher(process.pid)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        busy_after = machine_busy()
        watcher.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(max(errors.seek(0, os.SEEK_END) - LAST_WORDS, 0))
        words = errors.read().decode(errors="replace")
    own = usage.ru_utime + usage.ru_stime
    return Measurement(
        seconds=seconds,
        cpu_seconds=own,
        peak_bytes=watcher.peak or None,
        other_cpu_seconds=None if busy is None or busy_after is None else max(busy_after - busy - own, 0.0),
        exit_code=process.returncode,
        stderr=words,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1:]))))
