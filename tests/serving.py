"""A real server for tests: on a port of its own, in this process or as the command."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask

from titanic_batch.server.app import probes
from titanic_batch.server.http_server import Server
from titanic_batch.server.media import Limits

TIMEOUT = 60


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Address:
    """Where a server listens, and how to ask it."""

    port: int
    host: str = "127.0.0.1"
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "text/csv", method: str | None = None, **headers: str
    ) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            given = {"Content-Type": kind} | given
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, body, given)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def wait_until_ready(self) -> None:
        for _ in range(TIMEOUT * 20):
            try:
                if self.ask("/health/ready").status == 200:
                    return
            except OSError:
                pass
            assert self.process is None or self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("the server is not ready")


@contextmanager
def running(app: Flask, **options: float) -> Iterator[Address]:
    """Serve an application from a thread."""
    server = Server(app, "127.0.0.1", 0, Limits().bytes, probes=probes(app), **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Address(server.port)
    finally:
        server.stop()
        thread.join(TIMEOUT)
    assert not thread.is_alive()


@contextmanager
def command(folder: Path, *arguments: str | Path, **variables: str) -> Iterator[Address]:
    """Run ``titanic serve`` in a folder; what it says is in ``process``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TITANIC_", "AIP_"))}
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "titanic_batch", "serve", *map(str, arguments)],
        cwd=folder,
        env=environment | {"AIP_HTTP_PORT": str(port)} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = Address(port, process=process)
    try:
        address.wait_until_ready()
        yield address
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def connected(address: Address, count: int = 1, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections, and send the same on each."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection((address.host, address.port), 30)) for _ in range(count)
        ]
        for each in sockets:
            each.sendall(sent)
        yield sockets


def received(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection; nothing if it resets it."""
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(2**16), b""))
    return b""


def problem_in(answer: bytes) -> tuple[int, str]:
    """Return the status and the detail of an answer that is a problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    found = json.loads(body)
    assert head.split(b" ")[1] == str(found["status"]).encode()
    return found["status"], found["detail"]
