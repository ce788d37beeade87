"""Serving, as a process, and in an environment that Kubernetes sets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import Titanic, assert_fails
from tests.cli.process import TIMEOUT, environment


def test_the_server_answers_until_sigterm(tmp_path: Path, model_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "titanic_batch", "serve", "-m", str(model_file), "--port", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        answer = b""
        while not answer.startswith(b"HTTP/1.0 200 OK\r\n") and server.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
                    answer = b"".join(iter(lambda: connection.recv(1000), b""))
            except ConnectionRefusedError:
                time.sleep(0.1)
        assert answer.endswith(b"\r\n\r\npong")
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=TIMEOUT)
        assert (server.returncode, out) == (0, "")
        assert err == f"titanic: serving {model_file} on http://127.0.0.1:{port}\n"
    finally:
        server.kill()
        server.communicate()


def test_variables_that_kubernetes_sets_change_nothing(titanic: Titanic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITANIC_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("TITANIC_SERVICE_HOST", "10.0.0.1")
    assert_fails(titanic("serve", "-m", "gone.skops"), 78)
