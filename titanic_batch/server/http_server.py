"""The HTTP server: waitress, hardened against slow and broken clients.

One loop reads and writes all connections, and threads work on requests that have arrived completely, so that a client
that is slow to send or to receive occupies a connection but no thread. Added to waitress are errors as
``application/problem+json``, which reach even a client that is still sending; a limit on the time that a request may
take to arrive, and a response to leave; room for a new connection, made by closing an idle one; and a graceful stop.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from titanic_batch.errors import OutputError, reason_of
from titanic_batch.server.media import PROBLEM

if TYPE_CHECKING:
    from flask import Flask


THREADS = 4
CONNECTIONS = 500
HEADER_BYTES = 2**15
TRANSFER_SECONDS = 60.0
LINGER_SECONDS = 5.0
STOP_SECONDS = 25.0  # Kubernetes kills after 30

_DETAILS = {
    400: "the request is no HTTP that can be read.",
    413: "the body is larger than is allowed.",
    431: "the header is larger than is allowed.",
    501: "the transfer encoding of the body is none that is known here: chunked is.",
}


class Server:
    """Listens from the moment it is made, and answers once it runs.

    Parameters
    ----------
    app
        The application. It is called from several threads.
    host, port
        Where to listen; port 0 is any free port.
    body_bytes
        The largest body that is read.
    transfer_seconds
        How long a client may take to send a request or to receive a response, and how long it may be idle.

    Raises
    ------
    OutputError
        The address can't be listened on.
    """

    def __init__(
        self, app: Flask, host: str, port: int, body_bytes: int, transfer_seconds: float = TRANSFER_SECONDS
    ) -> None:
        for name, level in (("waitress", logging.ERROR), ("waitress.queue", logging.CRITICAL)):
            logging.getLogger(name).setLevel(level)
        self._connections: dict[int, wasyncore.dispatcher] = {}
        self._threads = ThreadedTaskDispatcher()
        self._listeners: list[_Listener] = []
        self._stopping = threading.Event()
        try:
            settings = Adjustments(
                host=host,
                port=port,
                ident=None,
                recv_bytes=2**16,
                outbuf_overflow=2**24,
                outbuf_high_watermark=2**30,  # beyond it, a thread would wait for the client
                connection_limit=2**31,
                cleanup_interval=1,
                channel_timeout=transfer_seconds,
                log_socket_errors=False,
                max_request_header_size=HEADER_BYTES,
                max_request_body_size=body_bytes + 1,
                clear_untrusted_proxy_headers=True,
            )
            for address in settings.listen:
                self._listeners.append(
                    _Listener(
                        app,
                        map=self._connections,
                        dispatcher=self._threads,
                        adj=settings,
                        sockinfo=address,
                        _start=False,
                    )
                )
                self._listeners[-1].accept_connections()
        except (OSError, ValueError) as error:
            self._close()
            why = reason_of(error) if isinstance(error, OSError) else "no such address"
            raise OutputError(f"{host}:{port} can't be listened on ({why}): choose another --host or --port.") from None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listeners[0].effective_port)

    def run(self) -> None:
        """Answer requests until `stop` is called, and then finish those that have begun, for `STOP_SECONDS` at most."""
        self._threads.set_thread_count(THREADS)
        try:
            while not self._stopping.is_set():
                wasyncore.poll2(1.0, self._connections)
            self._drain()
        finally:
            self._threads.shutdown()
            self._close()

    def stop(self) -> None:
        """Make `run` return. It may be called from any thread, and from a signal handler."""
        self._stopping.set()
        self._listeners[0].pull_trigger()

    def _drain(self) -> None:
        for listener in self._listeners:
            listener.drains = True
            wasyncore.dispatcher.close(listener)
        deadline = time.monotonic() + STOP_SECONDS
        while channels := [channel for listener in self._listeners for channel in listener.active_channels.values()]:
            for channel in channels:
                if not channel.is_busy or time.monotonic() > deadline:
                    channel.close_now()
            wasyncore.poll2(0.1, self._connections)

    def _close(self) -> None:
        for listener in self._listeners:
            listener.trigger.close()
        wasyncore.close_all(self._connections, ignore_all=True)


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # untyped
    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:  # from a URI or a length that Python can't parse, which waitress doesn't catch
            raise ParsingError("Bad URI or length") from None


class _Task(WSGITask):  # type: ignore[misc]  # untyped
    """Closes the connection after a response that is sent while the server stops."""

    def start(self) -> None:
        super().start()
        if self.channel.server.drains:
            self.set_close_on_finish()


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # untyped
    """Answers a request that is malformed or too large."""

    def execute(self) -> None:
        error = self.request.error
        content = {"type": "about:blank", "title": error.reason, "status": error.code}
        if error.code in _DETAILS:
            content["detail"] = _DETAILS[error.code]
        body = json.dumps(content).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", PROBLEM))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.lingers = True
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """A connection. After an error it stays half open: a client that is still sending would not see the response."""

    parser_class = _Parser
    task_class = _Task
    error_task_class = _ProblemTask
    lingers = False
    _lingers_since: float | None = None
    _transfer: tuple[object, bool] = (None, False)
    _transfer_since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a request is arriving or being worked on, or a response is leaving."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len or self._lingers_since)

    def is_late(self, now: float) -> bool:
        """Tell whether the client has used up its time at ``now``, by `time.time`."""
        if self._lingers_since is not None:
            return now - self._lingers_since > LINGER_SECONDS
        if self.requests:
            return False
        transfer = self.request, self.total_outbufs_len > 0
        if transfer != self._transfer:
            self._transfer, self._transfer_since = transfer, now
        since = self._transfer_since if self.is_busy else self.last_activity
        return now - since > float(self.adj.channel_timeout)

    def close_now(self) -> None:
        """Close the connection without lingering."""
        self.lingers = False
        self.handle_close()

    def readable(self) -> bool:
        return self._lingers_since is not None or super().readable()

    def writable(self) -> bool:
        return self._lingers_since is None and bool(super().writable())

    def received(self, data: bytes) -> bool:
        return self._lingers_since is None and bool(super().received(data))

    def handle_close(self) -> None:
        if self.lingers and self.connected:
            self.lingers = False
            self._lingers_since = time.time()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
            return
        super().handle_close()


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # untyped
    """A listening socket. It closes connections that have used up their time, or that make room for a new one."""

    channel_class = _Channel
    drains = False

    def handle_accept(self) -> None:
        if len(self.active_channels) >= CONNECTIONS and (
            idle := [channel for channel in self.active_channels.values() if not channel.requests]
        ):
            min(idle, key=lambda channel: float(channel.last_activity)).close_now()
        super().handle_accept()

    def maintenance(self, now: float) -> None:
        for channel in list(self.active_channels.values()):
            if channel.is_late(now):
                channel.close_now()
