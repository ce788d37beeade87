"""The HTTP server: waitress, hardened against slow and broken clients.

One loop reads and writes all connections, and threads work on requests that have arrived completely, so that a client
that is slow to send or to receive occupies a connection but no thread. Added to waitress are a limit on the time that a
request may take to arrive, and a response to leave; limits on the memory and on the descriptors that clients may take;
and a stop that answers whatever has arrived. `connections` has the rest.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from titanic_batch.errors import OutputError, TransferError, reason_of
from titanic_batch.reading.limits import start_thread
from titanic_batch.server.buffers import Arriving, Unsent
from titanic_batch.server.connections import Connection, Shared
from titanic_batch.server.http_requests import HEADER_BYTES
from titanic_batch.server.telemetry import log_fault

if TYPE_CHECKING:
    from flask import Flask


THREADS = 4
CONNECTIONS = 500
TRANSFER_SECONDS = 60.0
IDLE_SECONDS = 75.0  # longer than load balancers wait, so that they close a connection and not the server
STOP_SECONDS = 21.0  # Kubernetes kills after 30

_ARRIVING_BODIES = 4  # of the largest size, that may be held until they are answered
_UNSENT_BODIES = 3  # as much as they have, that may wait for clients to receive it
_ACCEPT_AGAIN_SECONDS = 0.2
_HANDSHAKE_SECONDS = 0.2
_GRACE_SECONDS = 2.0
_THREADS_SECONDS = 1.0
_SO_ATTACH_FILTER = 26
_IGNORE_SYN = b"".join(  # BPF, on a segment of TCP
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags
        (0x54, 0, 0, 0x12),  # SYN and ACK of them
        (0x15, 0, 1, 0x02),  # only SYN?
        (0x06, 0, 0, 0),  # then drop it
        (0x06, 0, 0, 0xFFFF_FFFF),
    )
)
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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
    probes
        The paths that are answered at once, whatever the threads do. The application has to answer them quickly.
    transfer_seconds
        How long a client may take to send a request or to receive a response.
    idle_seconds
        How long a connection is kept without a request.

    Raises
    ------
    OutputError
        The address can't be listened on.
    """

    def __init__(
        self,
        app: Flask,
        host: str,
        port: int,
        body_bytes: int,
        *,
        probes: Collection[str] = (),
        transfer_seconds: float = TRANSFER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        for name, level in (("waitress", logging.ERROR), ("waitress.queue", logging.CRITICAL)):
            logging.getLogger(name).setLevel(level)
        self._dispatchers: dict[int, wasyncore.dispatcher] = {}
        self._threads = _Threads()
        self._listeners: list[_Listener] = []
        self._stopping = False
        self._looks_at = 0.0
        self._shared = Shared(
            arriving=Arriving(_ARRIVING_BODIES * body_bytes),
            unsent=Unsent(_UNSENT_BODIES * body_bytes),
            probes=frozenset(probes),
            transfer_seconds=transfer_seconds,
            idle_seconds=idle_seconds,
            max_connections=_max_connections(),
            wake=self._wake,
        )
        try:
            settings = Adjustments(
                host=host,
                port=port,
                ident=None,
                recv_bytes=2**16,
                connection_limit=2**31,
                log_socket_errors=False,
                max_request_header_size=HEADER_BYTES,
                max_request_body_size=body_bytes + 1,
                clear_untrusted_proxy_headers=True,
            )
            for address in settings.listen:
                self._listeners.append(
                    _Listener(
                        self._shared,
                        app,
                        map=self._dispatchers,
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
        """Answer requests until `stop` is called, and then those that have arrived, for `STOP_SECONDS` at most.

        A request that takes longer still has its thread when this returns.

        Raises
        ------
        TransferError
            There can't be enough threads.
        """
        try:
            self._threads.set_thread_count(THREADS)
            while not self._stopping:
                self._turn(1.0)
            self._drain()
        finally:
            self._threads.shutdown(timeout=_THREADS_SECONDS)
            self._close()

    def stop(self) -> None:
        """Make `run` return. It may be called from any thread, and from a signal handler."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # so much has woken it that there is no room for more
            self._listeners[0].pull_trigger()

    def _turn(self, seconds: float) -> None:
        """Wait for something to do, for so long at most, and do it."""
        dispatchers = dict(self._dispatchers)
        poll = select.poll()
        for descriptor, dispatcher in dispatchers.items():
            flags = select.POLLIN | select.POLLPRI if _guarded(dispatcher, dispatcher.readable) else 0
            flags |= select.POLLOUT if _guarded(dispatcher, dispatcher.writable) else 0
            if flags:
                poll.register(descriptor, flags)
        for descriptor, flags in poll.poll(seconds * 1000):
            # Not if it was closed meanwhile to make room, and the number is another connection's.
            if self._dispatchers.get(descriptor) is dispatchers[descriptor]:
                _guarded(dispatchers[descriptor], partial(wasyncore.readwrite, dispatchers[descriptor], flags))
        for _ in range(len(self._shared.served)):  # those that this adds have their turn after all others
            served = self._shared.served.popleft()
            _guarded(served, served.resume)
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + 1
            for connection in list(self._shared.connections):
                if _guarded(connection, partial(connection.is_late, now)):
                    _guarded(connection, connection.handle_close)

    def _drain(self) -> None:
        """Answer what has arrived, and close each connection once it has been idle for a moment.

        A client that sends a request while its idle connection is closed gets no answer, so that only those are closed
        whose clients had the time to send one, and to be told in its answer that the connection ends.
        """
        self._shared.is_draining = True
        for listener in self._listeners:
            _guarded(listener, listener.refuse_new)
        began = time.monotonic()
        accepting = list(self._listeners)
        while accepting or self._shared.connections:
            self._turn(0.1)
            now = time.monotonic()
            if now > began + STOP_SECONDS:
                break
            if now > began + _HANDSHAKE_SECONDS:
                while accepting:
                    listener = accepting.pop()
                    _guarded(listener, listener.accept_last)
            for connection in list(self._shared.connections):
                is_idle = not connection.is_busy and now > max(began, connection.last_activity) + _GRACE_SECONDS
                if is_idle and connection.has_nothing_to_read():
                    _guarded(connection, connection.linger)

    def _close(self) -> None:
        if not self._threads.threads:  # one that still runs would write into another file of the trigger's number
            for listener in self._listeners:
                listener.trigger.close()
        wasyncore.close_all(self._dispatchers, ignore_all=True)


_Returned = TypeVar("_Returned")


def _guarded(dispatcher: wasyncore.dispatcher, act: Callable[[], _Returned]) -> _Returned | None:
    """Return what a connection or listener does, or None if it fails, which must not end the loop of all others."""
    try:
        return act()
    except Exception:  # a fault of ours too: the dispatcher logs it
        with suppress(Exception):  # such as from a lack of memory for the log
            dispatcher.handle_error()
    return None


def _max_connections() -> int:
    """Return how many connections there may be: the descriptors are for model files, too."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(CONNECTIONS, descriptors // 2) if descriptors != resource.RLIM_INFINITY else CONNECTIONS


def _log_fault(where: str) -> None:
    """Log the exception that is being handled."""
    if (error := sys.exception()) is not None:
        log_fault(where, error)


class _Threads(ThreadedTaskDispatcher):  # type: ignore[misc]  # untyped
    """The threads that work on requests."""

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        try:
            start_thread(partial(target, thread_no))
        except TransferError:
            self.threads.discard(thread_no)  # nobody is to wait for its end
            raise


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # untyped
    """A listening socket. It closes connections to make room for new ones."""

    channel_class = Connection

    def __init__(self, shared: Shared, *arguments: Any, **options: Any) -> None:
        self.shared = shared
        self._accepts_at = 0.0
        super().__init__(*arguments, **options)
        os.set_blocking(self.trigger.trigger, False)
        self.trigger.handle_error = partial(_log_fault, "waking the loop")  # waitress would close the trigger

    def readable(self) -> bool:
        return bool(self.accepting) and time.monotonic() >= self._accepts_at

    def handle_error(self) -> None:
        """Log a fault, and listen on: waitress would close the socket."""
        self._accept_later()
        _log_fault("accepting a connection")

    def handle_close(self) -> None:
        """Listen on after a fault that waitress takes for the end of a connection."""
        self.handle_error()

    def handle_accept(self) -> None:
        if self._is_full and not self._makes_room():
            self._accept_later()
            return
        is_waiting = True  # for the first, the loop has seen it
        while self._accepts(is_waiting) and not self._is_full:
            is_waiting = False

    def refuse_new(self) -> None:
        """Have the kernel ignore who wants to connect from now on.

        Closing the socket resets connections that are established but not accepted yet: there are none to be after a
        moment, when those whose handshake has begun are accepted, too.
        """
        filters = ctypes.create_string_buffer(_IGNORE_SYN)
        program = struct.pack("HP", len(_IGNORE_SYN) // 8, ctypes.addressof(filters))
        with suppress(OSError):  # not every kernel can: then the moment of closing is left
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def accept_last(self) -> None:
        """Accept what waits, and listen no longer."""
        try:
            while self._accepts(is_waiting=True):
                pass
        finally:
            wasyncore.dispatcher.close(self)

    def _accepts(self, is_waiting: bool) -> bool:
        """Accept a connection, and tell whether there may be more.

        If there is no descriptor for one that is known to wait, another one is closed.
        """
        try:
            accepted = self.accept()
        except OSError as error:
            if not is_waiting or error.errno not in _NO_ROOM:
                return False
            if not self._makes_room():
                self._accept_later()
                return False
            return True
        if accepted is None:
            return False
        connection, address = accepted
        try:
            self.set_socket_options(connection)
            Connection(self, connection, self.fix_addr(address), self.adj, map=self._map)
        except OSError:  # the client is gone
            connection.close()
        except BaseException:
            connection.close()
            raise
        return True

    @property
    def _is_full(self) -> bool:
        return len(self.shared.connections) >= self.shared.max_connections

    def _makes_room(self) -> bool:
        """Close a connection that nothing is worked on for, first one that is idle; tell whether there was any."""
        waiting = [each for each in self.shared.connections if not each.requests]
        if waiting:
            first = min(waiting, key=lambda each: (each.is_busy, each.last_activity))
            _guarded(first, first.handle_close)
        return bool(waiting)

    def _accept_later(self) -> None:
        self._accepts_at = time.monotonic() + _ACCEPT_AGAIN_SECONDS
