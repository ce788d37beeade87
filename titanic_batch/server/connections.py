"""A connection, from the request that arrives on it to the answer that has left.

waitress' connection, with its own loop and threads, but: one request at a time is taken from what a client sends;
probes, and errors in HTTP itself, are answered by the loop, whatever the threads do; answers wait in an `Outbox`; the
end of a connection loses no answer; and time is measured by a clock that does not jump.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waitress.channel import ClientDisconnected, HTTPChannel

from titanic_batch.server.buffers import PIECE_BYTES, Arriving, Outbox, Unsent, pack
from titanic_batch.server.http_requests import HttpRequest, Refusal
from titanic_batch.server.tasks import ApplicationTask, ProblemTask
from titanic_batch.server.telemetry import log_fault

if TYPE_CHECKING:
    from collections.abc import Callable

LINGER_SECONDS = 5.0
STALLED_SECONDS = 10.0  # while others wait for room
_PROBING = 32  # connections on which no request waits for a thread
_FLUSH_BYTES = 2**20  # to one client, before the others have their turn


@dataclass(slots=True)
class Shared:
    """What all connections of a server share.

    Parameters
    ----------
    arriving, unsent
        What they hold.
    probes
        The paths that the loop itself answers.
    transfer_seconds
        How long a client may take to send a request, or to receive a response.
    idle_seconds
        How long it may do neither.
    max_connections
        How many connections there may be. Some are left to probes, so that fewer requests wait for a thread.
    wake
        Makes the loop look for changes. It may be called from any thread.
    """

    arriving: Arriving
    unsent: Unsent
    probes: frozenset[str]
    transfer_seconds: float
    idle_seconds: float
    max_connections: int
    wake: Callable[[], None]
    connections: set[Connection] = field(default_factory=set)
    served: deque[Connection] = field(default_factory=deque)  # the next request of each may begin
    is_draining: bool = False


class Connection(HTTPChannel):  # type: ignore[misc]  # untyped
    """A connection. Methods are the loop's, where nothing else is said."""

    parser_class = HttpRequest
    request: HttpRequest | None
    requests: list[HttpRequest]  # the one that is being answered, if any
    total_outbufs_len: int
    _fileno: int | None = None
    _active_since = 0.0
    progressed_at = 0.0  # in receiving what is unsent
    _unparsed = b""
    _has_pushed = False  # something of the present answer
    _lingers_since: float | None = None
    _begun = 0  # requests
    _transfer = (0, False, False)
    _transfer_since = 0.0
    _looked_at = 0.0

    def __init__(self, server: Any, *arguments: Any, **options: Any) -> None:
        self._shared: Shared = server.shared
        self._written = bytearray()  # by the thread that answers, not yet in the outbox
        self._outbox = Outbox()
        try:
            super().__init__(server, *arguments, **options)
            self.outbufs = [self._outbox]
        except BaseException:
            self.del_channel(options["map"])
            raise

    @property
    def last_activity(self) -> float:
        """When something was received or sent, by `time.monotonic`. waitress sets it by a clock that may jump."""
        return self._active_since

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        self._active_since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a request is arriving or being worked on, or a response is leaving."""
        is_receiving = self.request is not None or bool(self._unparsed)
        is_ending = self.close_when_flushed or self.will_close or self._lingers_since is not None
        return bool(self.requests or is_receiving or self.total_outbufs_len or is_ending)

    def add_channel(self, map: dict[int, Any] | None = None) -> None:
        """Count the connection."""
        super().add_channel(map)
        self._shared.connections.add(self)

    def del_channel(self, map: dict[int, Any] | None = None) -> None:
        """Count the connection no longer."""
        super().del_channel(map)
        self._shared.connections.discard(self)

    # What is received

    def readable(self) -> bool:
        """Tell whether what the client sends is to be read now."""
        if self._lingers_since is not None:
            return True
        return self._is_free and not self._unparsed and self._shared.arriving.has_room_for(self)

    def handle_expt(self) -> None:
        """Close a connection with urgent data, which HTTP does not use: it would keep the loop busy for ever."""
        self.handle_close()

    def handle_error(self) -> None:
        """Log a fault, and close the connection."""
        error = sys.exception()
        try:
            if error is not None:
                log_fault("a connection", error)
        finally:
            self.handle_close()

    def received(self, data: bytes) -> bool:
        """Take what was read."""
        if self._is_free:
            self._parse(data)
        return True

    def resume(self) -> None:
        """Begin with the next request, if it has arrived and the one before is answered."""
        if self._unparsed and self._is_free:
            data, self._unparsed = self._unparsed, b""
            self._parse(data)

    def has_nothing_to_read(self) -> bool:
        """Tell whether nothing has arrived that was not read yet, not even the end."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:  # handled as soon as it is read
            pass
        return False

    @property
    def _is_free(self) -> bool:
        """Whether the next request may begin: what a client sends before it has read an answer waits."""
        is_ending = self.will_close or self.close_when_flushed or self._lingers_since is not None
        return not (self.requests or self.total_outbufs_len or is_ending)

    def _parse(self, data: bytes) -> None:
        while data and self.connected:
            if self.request is None:
                data = data.lstrip(b"\r\n")
                if not data:
                    break
                self.request = HttpRequest(self.adj)
                self._begun += 1
            request = self.request
            data = data[request.received(data) :]
            if request.completed:
                self.request, self.sent_continue = None, False
                self._shared.arriving.complete(self)
                if not request.empty:
                    self._unparsed = data  # even after a probe, others have their turn before the next request
                    self._begin(request)
                    return
            elif request.body is not None:
                self._shared.arriving.hold(self, request.body.tell())
                if request.expect_continue and not self.sent_continue:
                    self.send_continue()

    def _begin(self, request: HttpRequest) -> None:
        shared = self._shared
        is_probe = not request.error and request.command in ("GET", "HEAD") and request.path in shared.probes
        max_waiting = shared.max_connections - min(_PROBING, shared.max_connections // 2)
        if not is_probe and not request.error and len(self.server.task_dispatcher.queue) >= max_waiting:
            request.refuse(Refusal(503, "there are too many requests: try again."))
        self.requests.append(request)
        if is_probe or request.error:
            self.service()
        else:
            self.server.add_task(self)

    # What is answered

    def service(self) -> None:
        """Answer the request that has arrived. Called by a thread, or by the loop."""
        request, is_last = self.requests[0], True
        try:
            with suppress(Exception):  # from answering a fault, such as one of memory, which then lacks for that, too
                is_last = self._answer(request)
            with suppress(Exception):
                request.close()
        finally:
            self._shared.arriving.release(self)
            self._written.clear()
            with self.requests_lock:
                if is_last:
                    self.close_when_flushed = True
                self.requests = []
            self.last_activity = time.monotonic()
            self._shared.served.append(self)
            self._shared.wake()

    def _answer(self, request: HttpRequest) -> bool:
        """Answer a request, and tell whether the connection ends then."""
        self._has_pushed = False
        task = ProblemTask(self, request) if request.error else ApplicationTask(self, request)
        try:
            if self.connected:
                task.service()
                self._push_written()
            else:
                task.close_on_finish = True
        except ClientDisconnected:
            task.close_on_finish = True
        except Exception as error:  # the application answers its own: this one was raised by what it returned
            task.close_on_finish = True  # so that the client sees that the answer has no end
            try:
                log_fault("an answer", error)
            finally:
                if not self._has_pushed:
                    self._answer_fault(request)
        return bool(task.close_on_finish)

    def write_soon(self, data: bytes) -> int:
        """Take a part of an answer. It never waits for the client.

        Raises
        ------
        ClientDisconnected
            There is no client any more.
        """
        if not self.connected:
            raise ClientDisconnected
        if len(data) < PIECE_BYTES:
            self._written += data
        if len(data) >= PIECE_BYTES or len(self._written) >= PIECE_BYTES:
            self._push_written()
        if len(data) >= PIECE_BYTES:
            self._push(data)
        return len(data)

    def give_up(self) -> None:
        """Close the connection soon, without what is unsent. This may be called from any thread."""
        with self.outbuf_lock:
            self.connected = False
            self.will_close = True
            self._clear_outbox()
        self._shared.wake()

    def _push_written(self) -> None:
        written = bytes(self._written)
        self._written.clear()
        self._push(written)

    def _push(self, content: bytes) -> None:
        """Add to what is to be sent, and send what the client takes now."""
        self._has_pushed = True
        view = memoryview(content)
        for start in range(0, len(view), PIECE_BYTES):
            piece = bytes(view[start : start + PIECE_BYTES])
            packed = pack(piece) if self._outbox.packs else piece
            with self.outbuf_lock:
                if not self.connected:
                    raise ClientDisconnected
                if not self.total_outbufs_len:
                    self.progressed_at = time.monotonic()
                if len(packed) < len(piece):
                    self._outbox.append_packed(packed, len(piece))
                else:
                    self._outbox.append(piece)
                self.total_outbufs_len = len(self._outbox)
                self._flush_exception(self._flush_some, do_close=False)
                self._shared.unsent.hold(self, self._outbox.held)
            while (stuck := self._shared.unsent.to_give_up()) is not None:
                stuck.give_up()
            if self.total_outbufs_len or self.will_close:
                self._shared.wake()

    def _answer_fault(self, request: HttpRequest) -> None:
        self._written.clear()
        request.refuse(Refusal(500, "a fault of the server, which its log tells of."))
        with suppress(ClientDisconnected):
            ProblemTask(self, request).service()
            self._push_written()

    # What is sent

    def writable(self) -> bool:
        """Tell whether there is something to send, or to end."""
        is_sending = self.total_outbufs_len or self.close_when_flushed or self.will_close
        return self._lingers_since is None and bool(is_sending)

    def handle_write(self) -> None:
        """Send what the client takes, and then begin with what comes next."""
        if self.outbuf_lock.acquire(blocking=False):  # else a thread is adding to it, and sends it too
            try:
                self._flush_exception(self._flush_some)
                self._shared.unsent.hold(self, self._outbox.held)
            finally:
                self.outbuf_lock.release()
        if self.will_close:
            self.handle_close()
        elif self.close_when_flushed and not self.total_outbufs_len:
            self.linger()
        else:
            self.resume()

    def linger(self) -> None:
        """Send the end, and close the connection once the client has, or after a moment.

        If it were closed at once, what the client still sends would be answered with a reset, which may overtake the
        answer.
        """
        self.close_when_flushed = False
        self._lingers_since = time.monotonic()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has closed it
            self.handle_close()

    def handle_close(self) -> None:
        """Close the connection at once."""
        self._shared.arriving.complete(self)
        if not self.requests:  # else the thread that takes it does so
            self._shared.arriving.release(self)
        with self.outbuf_lock:
            self._clear_outbox()
        super().handle_close()

    def _clear_outbox(self) -> None:
        self._outbox.close()
        self.total_outbufs_len = 0
        self._shared.unsent.hold(self, 0)

    def _flush_some(self, do_close: bool = True) -> bool:
        sent = 0
        while self.total_outbufs_len and sent < _FLUSH_BYTES:
            count = self.send(self._outbox.get(self.sendbuf_len), do_close=do_close)
            if not count:
                break
            self._outbox.skip(count)
            self.total_outbufs_len = len(self._outbox)
            sent += count
        if sent:
            self.last_activity = self.progressed_at = time.monotonic()
        return sent > 0

    # How long it may take

    def is_late(self, now: float) -> bool:
        """Tell whether the client has used up its time. To be called every second or so."""
        looked_at, self._looked_at = self._looked_at or now, now
        if self._lingers_since is not None:
            return now - self._lingers_since > LINGER_SECONDS
        if self.requests:
            return False
        if not self.is_busy:
            return now - self.last_activity > self._shared.idle_seconds
        transfer = self._begun, self.request is not None, self.total_outbufs_len > 0
        if transfer != self._transfer:
            self._transfer, self._transfer_since = transfer, now
        arriving = self._shared.arriving
        if arriving.is_full and self.request is not None and self.request.body is not None:
            if not arriving.has_room_for(self) and not self.has_nothing_to_read():
                # It is not the client that takes time.
                self._transfer_since += now - looked_at
                self.last_activity = now
            elif now - self.last_activity > STALLED_SECONDS:
                return True
        return now - self._transfer_since > self._shared.transfer_seconds
