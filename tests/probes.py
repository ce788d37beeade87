"""Probes a server as a kubelet does: ``python tests/probes.py PORT``, until stdin ends.

It is a process of its own, and imports little, so that what it measures is the server. How late it runs itself, on a
machine that is busy, is measured beside it: a wake-up call that comes late while a probe is under way is subtracted.
The result is one line of JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence

PATHS = ("/health/live", "/health/ready", "/ping")
PERIOD = 0.2
PATIENCE = 30.0
_TICK = 0.02


class Probes:
    """Asks for each of the paths, each from a thread of its own, five times a second."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends = threading.Event()
        self._seconds: dict[str, list[float]] = {path: [] for path in PATHS}
        self._failures: list[str] = []
        self._delays: list[tuple[float, float]] = [(0.0, 0.0)]

    def run_until(self, ended: threading.Event) -> None:
        threads = [threading.Thread(target=self._ask_again_and_again, args=(path,)) for path in PATHS]
        threads.append(threading.Thread(target=self._measure_delays))
        for thread in threads:
            thread.start()
        ended.wait()
        self._ends.set()
        for thread in threads:
            thread.join()

    def result(self) -> dict[str, object]:
        return {
            "paths": {path: figures(seconds) for path, seconds in self._seconds.items()},
            "failures": self._failures,
            "own_delay": figures([delay for _, delay in self._delays]),
        }

    def _ask_again_and_again(self, path: str) -> None:
        while not self._ends.wait(PERIOD):
            start = time.monotonic()
            try:
                status = self._ask(path)
            except OSError as error:
                self._failures.append(f"{path}: {type(error).__name__} after {time.monotonic() - start:.2f} s")
                continue
            seconds = time.monotonic() - start
            if status != b"200":
                self._failures.append(f"{path}: {status.decode('latin-1')}")
            self._seconds[path].append(max(0.0, seconds - self._delay_since(start)))

    def _ask(self, path: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        return answer[9:12]

    def _measure_delays(self) -> None:
        while not self._ends.is_set():
            start = time.monotonic()
            time.sleep(_TICK)
            now = time.monotonic()
            self._delays.append((now, now - start - _TICK))

    def _delay_since(self, start: float) -> float:
        """Return the longest delay of this process's own since ``start``."""
        longest = 0.0
        for moment, delay in reversed(self._delays):
            if moment < start:
                break
            longest = max(longest, delay)
        return longest


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Return how many there are, the 99.9th percentile and the maximum."""
    ordered = sorted(seconds) or [0.0]
    return {"count": len(seconds), "p999": ordered[int((len(ordered) - 1) * 0.999)], "max": ordered[-1]}


def main() -> None:
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    probes = Probes(int(sys.argv[1]))
    probes.run_until(ended)
    print(json.dumps(probes.result()))


if __name__ == "__main__":
    main()
