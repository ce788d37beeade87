"""``titanic serve`` as a process whose memory is watched and whose stderr is read, or for a while is not."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.serving import Address, Answer

MIB = 2**20
MEMORY_MIB = 700  # that a server may have at most, whatever is sent to it
_KILL_MIB = 4_000  # before one that takes more harms the machine
_SAMPLE_SECONDS = 0.02
_START_SECONDS = 120
_PROBES = ("/health/live", "/health/ready", "/ping")
_FAULT = re.compile(r"a fault in|Traceback|^\w*(?:Error|Exception)\b|Fatal Python error|terminate called|Assertion")


class WatchedServer:
    """A server that runs until `stop`.

    Parameters
    ----------
    folder
        The folder that it runs in.
    arguments
        Those of ``titanic serve``.
    variables
        What its environment has beside the environment of this process.
    """

    def __init__(self, folder: Path, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TITANIC_", "AIP_"))}
        self.port = _free_port()
        self.killed_for_memory = False
        self.peak_mib = 0.0
        self._address = Address(self.port)
        self._reads = threading.Event()
        self._reads.set()
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "titanic_batch", "serve", "--port", str(self.port), *map(str, arguments)],
            cwd=folder,
            env=inherited | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])} | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read_stderr, self._watch_memory)]
        for thread in self._threads:
            thread.start()
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> list[str]:
        """The lines on stderr so far."""
        return list(self._lines)

    @property
    def faults(self) -> list[str]:
        """Those lines that tell of a fault of the program."""
        return [line for line in self.said if not line.startswith("{") and _FAULT.search(line)]

    def ask(self, path: str, body: bytes | None = None, media_type: str = "text/csv", **headers: str) -> Answer:
        """Ask on a connection of its own; an underscore in the name of a header stands for a hyphen."""
        return self._address.ask(path, body, media_type, **headers)

    def connect(self, seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def dial(self, seconds: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def peak(self) -> float:
        """Return the most memory that it has had, in MiB."""
        with suppress(OSError, ValueError, IndexError):  # none while it ends
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.peak_mib = max(self.peak_mib, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return self.peak_mib

    def unanswered_probes(self) -> list[str]:
        """Return the probes that are not answered with 200."""
        failed = []
        for path in _PROBES:
            try:
                status = self.ask(path).status
            except (OSError, http.client.HTTPException) as error:
                failed.append(f"{path}: {type(error).__name__}")
            else:
                failed += [f"{path}: {status}"] if status != 200 else []
        return failed

    def stall_stderr(self) -> None:
        """Leave stderr unread until `read_stderr`."""
        self._reads.clear()

    def read_stderr(self) -> None:
        self._reads.set()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None if it is not gone by then."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def stop(self) -> None:
        """End it if it is still there, and read the rest of stderr."""
        self.read_stderr()
        if self.lives:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._reads.wait()
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _watch_memory(self) -> None:
        while self.lives:
            if self.peak() > _KILL_MIB:
                self.killed_for_memory = True
                self._process.kill()
            time.sleep(_SAMPLE_SECONDS)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.lives:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("/health/ready").status == 200:
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("the server does not start:\n" + "\n".join(self.said[-20:]))


@contextmanager
def watched(folder: Path, *arguments: str | Path, **variables: str) -> Iterator[WatchedServer]:
    """Run a server."""
    server = WatchedServer(folder, *arguments, variables=variables)
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])
