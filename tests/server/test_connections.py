"""Connections: slow and greedy clients cost a bounded amount, and others are answered meanwhile."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask, Response, request

from tests.serving import Address, connected, problem_in, received, running
from titanic_batch.server import connections, http_server

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
TEXT = b"".join(b'{"row":%d,"column":"Sex","rule":"not_allowed"},' % row for row in range(2**17))
NOISE = random.Random(1).randbytes(2**24)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(body: bytes, close: bool = True, path: str = "/digest") -> bytes:
    end = "Connection: close\r\n" if close else ""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{end}\r\n".encode() + body


@dataclass
class Fake:
    """An application whose answers take as long, and are as long, as a test wants."""

    app: Flask = field(default_factory=lambda: Flask(__name__))
    may_go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    pings: int = 0

    def __post_init__(self) -> None:
        def digest() -> str:
            return hashlib.sha256(request.get_data()).hexdigest()

        def keep() -> str:
            kept = request.get_data()
            return self.wait() if kept else ""

        for rule in (self.ping, self.wait, self.text, self.noise, self.pieces, self.fault, self.broken):
            self.app.add_url_rule(f"/{rule.__name__}", view_func=rule)
        self.app.add_url_rule("/digest", view_func=digest, methods=["POST"])
        self.app.add_url_rule("/keep", view_func=keep, methods=["POST"])

    def ping(self) -> str:
        if request.query_string == b"wait":
            self.wait()
        self.pings += 1
        return "pong"

    def wait(self) -> str:
        self.asked.append("wait")
        self.may_go_on.wait(30)
        return "waited"

    def text(self) -> Response:
        self.asked.append("text")
        return Response(TEXT)

    def noise(self) -> Response:
        self.asked.append("noise")
        return Response(NOISE)

    def pieces(self) -> Response:
        return Response(TEXT[start : start + 1_000] for start in range(0, len(TEXT), 1_000))

    def fault(self) -> Response:
        length = int(request.args["after"])

        def pieces() -> Iterator[bytes]:
            yield bytes(length)
            raise ValueError("SECRET")

        return Response(pieces())

    def broken(self) -> Response:
        def pieces() -> Iterator[bytes]:
            yield bytes(2**20)
            raise OSError("SECRET")

        return Response(pieces())


@pytest.fixture
def fake() -> Iterator[Fake]:
    fake = Fake()
    yield fake
    fake.may_go_on.set()


@pytest.fixture
def address(fake: Fake) -> Iterator[Address]:
    with running(fake.app) as address:
        yield address
        fake.may_go_on.set()


def wait_until_asked(fake: Fake, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(fake.asked) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# Requests


def test_probes_and_errors_are_answered_while_all_threads_are_busy(address: Address, fake: Fake) -> None:
    with connected(address, 10, get("/wait")) as waiting:
        wait_until_asked(fake, http_server.THREADS)
        for _ in range(20):
            assert address.ask("/ping").body == b"pong"
        assert address.ask("/ping", method="HEAD").status == 200
        with connected(address, 1, b"nonsense\r\n\r\n") as (broken,):
            assert problem_in(received(broken))[0] == 400
        assert len(fake.asked) == http_server.THREADS
        fake.may_go_on.set()
        assert all(each.recv(15) == b"HTTP/1.1 200 OK" for each in waiting)


def test_pipelined_requests_are_answered_in_order(address: Address) -> None:
    bodies = [b"%d" % number for number in range(200)]
    requests = b"".join(post(body, close=False) + PING for body in bodies)
    with connected(address, 1, requests) as (connection,):
        connection.shutdown(socket.SHUT_WR)
        answer = received(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 400
    places = [answer.index(hashlib.sha256(body).hexdigest().encode()) for body in bodies]
    assert places == sorted(places)


def test_pipelined_probes_leave_others_their_turn(address: Address, fake: Fake) -> None:
    many = 1_000
    with connected(address, 1, get("/ping?wait") + PING * many) as (greedy,):
        wait_until_asked(fake, 1)  # the loop waits there
        with connected(address, 1, PING) as (other,):
            fake.may_go_on.set()
            assert other.recv(15) == b"HTTP/1.1 200 OK"
            assert fake.pings < many / 2
        greedy.shutdown(socket.SHUT_WR)
        assert received(greedy).count(b"pong") == many + 1


def test_what_is_pipelined_waits_until_the_answer_before_is_read(address: Address, fake: Fake) -> None:
    with connected(address, 1, get("/text") * 500) as (connection,):
        wait_until_asked(fake, 1)
        for _ in range(10):
            assert address.ask("/ping").status == 200
        time.sleep(0.3)
        assert len(fake.asked) < 5  # what fits into the kernel's buffers, and one more
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_uploads_beyond_the_budget_wait_and_are_all_answered(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_ARRIVING_BODIES", 1)
    bodies = [bytes([number]) * (12 * 2**20) for number in range(6)]
    answers: dict[int, bytes] = {}
    with running(fake.app) as address:

        def upload(number: int) -> None:
            with connected(address, 1, post(bodies[number])) as (connection,):
                answers[number] = body_of(received(connection))

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(len(bodies))]
        for thread in threads:
            thread.start()
        assert address.ask("/ping").status == 200
        for thread in threads:
            thread.join(60)
    assert answers == {number: hashlib.sha256(body).hexdigest().encode() for number, body in enumerate(bodies)}


def test_a_body_counts_until_it_is_answered(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_ARRIVING_BODIES", 1)
    body = bytes(14 * 2**20)
    with running(fake.app) as address, connected(address, 1, post(body, path="/keep")) as (kept,):
        wait_until_asked(fake, 1)
        with connected(address) as (other,):
            other.settimeout(1)
            with pytest.raises(TimeoutError):
                other.sendall(post(body))
        fake.may_go_on.set()
        assert body_of(received(kept)) == b"waited"
        assert address.ask("/digest", body).body == hashlib.sha256(body).hexdigest().encode()


def test_stalled_uploads_give_way_to_others(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_ARRIVING_BODIES", 1)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.5)
    body = bytes(12 * 2**20)
    with running(fake.app) as address, connected(address, 3, post(body)[:-1]) as stalled:
        small = post(b"small")
        with connected(address, 1, small) as (connection,):
            assert body_of(received(connection)) == hashlib.sha256(b"small").hexdigest().encode()
        with connected(address, 1, post(body)) as (connection,):
            assert body_of(received(connection)) == hashlib.sha256(body).hexdigest().encode()
        assert received(stalled[0]) == b""


def test_a_thread_is_not_needed_for_a_client_that_has_gone(address: Address, fake: Fake) -> None:
    with connected(address, http_server.THREADS, get("/wait")):
        wait_until_asked(fake, http_server.THREADS)
        with connected(address, 50, get("/wait")):
            pass
        fake.may_go_on.set()
        assert address.ask("/noise").body == NOISE


def test_urgent_data_ends_a_connection(address: Address) -> None:
    with connected(address) as (connection,):
        connection.send(b"x", socket.MSG_OOB)
        assert received(connection) == b""
    assert address.ask("/ping").status == 200


# Answers


@pytest.mark.parametrize("path", ["/text", "/pieces"])
def test_an_answer_is_complete_however_slowly_it_is_read(address: Address, fake: Fake, path: str) -> None:
    with connected(address, 1, get(path)) as (connection,):
        time.sleep(0.5)  # it is packed meanwhile
        connection.shutdown(socket.SHUT_WR)
        answer = received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if path == "/pieces":
        assert b"\r\nTransfer-Encoding: chunked" in head
        pieces = [TEXT[start : start + 1_000] for start in range(0, len(TEXT), 1_000)]
        assert body == b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        assert body == TEXT


def test_answers_that_cannot_be_packed_are_complete(address: Address) -> None:
    with connected(address, 5, get("/noise")) as slow:
        time.sleep(0.3)
        for each in slow:
            each.shutdown(socket.SHUT_WR)
            assert body_of(received(each)) == NOISE


def test_an_old_client_gets_pieces_until_the_end_of_the_connection(address: Address) -> None:
    with connected(address, 1, b"GET /pieces HTTP/1.0\r\n\r\n") as (connection,):
        assert body_of(received(connection)) == TEXT


def test_the_client_that_is_stuck_for_longest_is_given_up(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_UNSENT_BODIES", 2)
    with running(fake.app) as address, connected(address, 6) as clients:
        for count, client in enumerate(clients, start=1):
            client.sendall(get("/noise"))
            wait_until_asked(fake, count)
            time.sleep(0.1)
        time.sleep(0.3)
        clients[-1].shutdown(socket.SHUT_WR)
        assert body_of(received(clients[-1])) == NOISE
        assert body_of(received(clients[0])) != NOISE
        assert address.ask("/noise").body == NOISE


@pytest.mark.parametrize("length", [4, 2**20])
def test_an_answer_that_fails_is_an_error_or_has_no_end(
    address: Address, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    with connected(address, 1, get(f"/fault?after={length}")) as (connection,):
        answer = received(connection)
    if length == 4:
        assert problem_in(answer) == (500, "a fault of the server, which its log tells of.")
    else:
        assert body_of(answer) == b"%X\r\n%s\r\n" % (length, bytes(length))
    assert "a fault in an answer: ValueError" in caplog.text
    assert "SECRET" not in caplog.text


def test_an_answer_that_cannot_be_read_from_a_disk_is_a_fault(
    address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(address, 1, get("/broken")) as (connection,):
        assert body_of(received(connection)) == b"%X\r\n%s\r\n" % (2**20, bytes(2**20))
    assert "a fault in an answer: OSError" in caplog.text
    assert "SECRET" not in caplog.text


def fail(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("place", ["log_fault", "ProblemTask.service"])
def test_a_fault_in_answering_a_fault_ends_the_connection(
    address: Address, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(f"titanic_batch.server.connections.{place}", fail)
    with connected(address, 1, get("/fault?after=4")) as (connection,):
        received(connection)
    assert address.ask("/ping").body == b"pong"


@pytest.mark.parametrize("place", ["readable", "writable", "resume", "is_late", "received", "handle_write"])
def test_a_fault_in_one_connection_does_not_end_the_server(
    address: Address, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connections.Connection, place, fail)
        with connected(address, 1, b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as (connection,):
            received(connection)
    assert "a fault in a connection: MemoryError" in caplog.text
    assert address.ask("/ping").body == b"pong"


# Time


@pytest.mark.slow
def test_each_answer_on_a_connection_has_its_own_time(fake: Fake) -> None:
    with running(fake.app, transfer_seconds=2.5) as address, connected(address, 1) as (connection,):
        for _ in range(3):
            connection.sendall(get("/noise"))
            time.sleep(1.6)  # while it leaves
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            left = len(NOISE)
            while left:
                piece = connection.recv(min(left, 2**16))
                assert piece, "it is cut off"
                left -= len(piece)


def test_an_idle_connection_is_kept_for_a_while(fake: Fake) -> None:
    with running(fake.app, idle_seconds=0.5) as address, connected(address, 2, PING) as (idle, busy):
        for _ in range(6):
            assert busy.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.3)
            while not busy.recv(2**16).endswith(b"pong"):
                pass
            busy.sendall(PING)
        assert received(idle).endswith(b"pong")
        assert busy.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_closes_no_connection(
    address: Address, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    with connected(address, 1) as (connection,):
        true = time.time
        monkeypatch.setattr(time, "time", lambda: true() + jump)
        time.sleep(1.5)
        connection.sendall(PING)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
