"""Where a request begins and ends: what could be understood in two ways is refused, and its connection closed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.passengers import csv_bytes, passengers
from tests.serving import Address, connected, problem_in, received, running
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import Limits

BODY = csv_bytes(passengers(1))
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def address(small_model: Model) -> Iterator[Address]:
    with running(create_app(small_model)) as address:
        yield address


def head(*fields: str, start: str = "POST /predict HTTP/1.1", host: str = "Host: x") -> bytes:
    lines = [start, *([host] if host else []), "Content-Type: text/csv", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(BODY)}"


def answer_to(address: Address, sent: bytes) -> bytes:
    with connected(address, 1, sent) as (connection,):
        connection.shutdown(socket.SHUT_WR)
        return received(connection)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        # The start
        (b"nonsense\r\n\r\n", 400),
        (b"GET /ping\r\nHost: x\r\n\r\n", 400),
        (b"get /ping HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[/ping HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /ping HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /ping HTTP/1.1\nHost: x\n\n", 400),
        # The header
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (head("X: a\r\n b", LENGTH) + BODY, 400),
        (head("X: a\rY: b", LENGTH) + BODY, 400),
        (head("X: a\nY: b", LENGTH) + BODY, 400),
        (head("X: a\0b", LENGTH) + BODY, 400),
        (head("X: a\r", LENGTH) + BODY, 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2**16 + b"\r\n\r\n", 431),
        # The host
        (head(LENGTH, host="") + BODY, 400),
        (head("Host: y", LENGTH) + BODY, 400),
        (head("Host: x", LENGTH) + BODY, 400),
        (head("Host: x", LENGTH, start="POST /predict HTTP/1.0") + BODY, 400),
        (head(LENGTH, host="Host: a b") + BODY, 400),
        (head(LENGTH, host="Host: a/b") + BODY, 400),
        # The length
        (head(LENGTH, LENGTH) + BODY, 400),
        (head(LENGTH, "Content-Length: 3") + BODY, 400),
        (head(f"{LENGTH}, {len(BODY)}") + BODY, 400),
        (head(f"Content-Length: +{len(BODY)}") + BODY, 400),
        (head("Content-Length: -1") + BODY, 400),
        (head("Content-Length: 0x4b") + BODY, 400),
        (head("Content-Length: 7_5") + BODY, 400),
        (head("Content-Length: \xb2") + BODY, 400),
        (head("Content-Length:") + BODY, 400),
        (head("Content-Length: " + "9" * 5_000), 400),
        (head("Content-Length: 99999999999"), 413),
        # The transfer encoding
        (head(CHUNKED, LENGTH) + chunked(BODY), 400),
        (head(LENGTH, CHUNKED) + b"0\r\n\r\n" + PING, 400),
        (head(CHUNKED, start="POST /predict HTTP/1.0") + chunked(BODY), 400),
        (head(CHUNKED, CHUNKED) + chunked(BODY), 400),
        (head(f"{CHUNKED}, chunked") + chunked(BODY), 400),
        (head(f"{CHUNKED}, identity") + chunked(BODY), 400),
        (head("Transfer-Encoding: identity") + BODY, 400),
        (head("Transfer-Encoding: xchunked") + chunked(BODY), 400),
        (head("Transfer-Encoding: \x0bchunked") + chunked(BODY), 400),
        (head("Transfer-Encoding:") + BODY, 400),
        (head("Transfer-Encoding : chunked") + chunked(BODY), 400),
        (head("Transfer-Encoding: gzip, chunked") + chunked(BODY), 501),
        # The chunks
        (head(CHUNKED) + b"zz\r\n", 400),
        (head(CHUNKED) + b"\r\n" + chunked(BODY), 400),
        (head(CHUNKED) + b"-1\r\nabc\r\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"+3\r\nabc\r\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"3 \r\nabc\r\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"3\nabc\n0\n\n", 400),
        (head(CHUNKED) + b"3\r\nabcXX0\r\n\r\n", 400),
        (head(CHUNKED) + b"3\r\nabc\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"3;a\rb\r\nabc\r\n0\r\n\r\n", 400),
        (head(CHUNKED) + b"F" * 17 + b"\r\nabc", 400),
        (head(CHUNKED) + b"FFFFFFFFFFFFFFFF\r\nabc", 413),
        (head(CHUNKED) + b"0" * 2_000, 400),
        (head(CHUNKED) + b"3;" + b"a" * 2_000, 400),
        (head(CHUNKED) + b"1\r\na\r\n" * 100_000, 400),
        (head(CHUNKED) + b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n" * 3_000, 400),
        (head(CHUNKED) + b"0\r\n" + b"X: y\r\n" * 5_000, 400),
    ],
    ids=lambda value: value[:100] if isinstance(value, bytes) else value,
)
def test_a_request_that_is_not_clear_is_refused_and_its_connection_closed(
    address: Address,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    status: int,
) -> None:
    answer = answer_to(address, sent)
    assert problem_in(answer)[0] == status  # there is no second answer behind it
    assert b"\r\nConnection: close\r\n" in answer
    assert (caplog.text, capfd.readouterr().err) == ("", "")


@pytest.mark.parametrize(
    "sent",
    [
        head(LENGTH) + BODY,
        head(LENGTH, start="POST /predict HTTP/1.0", host="") + BODY,
        head(f"Content-Length: 00{len(BODY)}") + BODY,
        head(LENGTH, host="Host:") + BODY,
        head(LENGTH, host="Host: [::1]:8080") + BODY,
        head(CHUNKED) + chunked(BODY),
        head(CHUNKED.upper()) + chunked(BODY),
        head("Transfer-Encoding:\tchunked") + chunked(BODY),
        head(CHUNKED, start="POST /predict HTTP/1.2") + chunked(BODY),
        head(CHUNKED) + chunked(*(bytes([byte]) for byte in BODY)),
        head(CHUNKED) + chunked(BODY, trailer=b"X: y\r\nContent-Length: 5\r\n"),
        head(CHUNKED) + b'%X;a=b;c="d e"\r\n%s\r\n0;e\r\n\r\n' % (len(BODY), BODY),
        b"\r\n" * 50_000 + head(LENGTH) + BODY,
        head(LENGTH, start="POST http://elsewhere/predict HTTP/1.1") + BODY,
        head(LENGTH, "Expect: nothing") + BODY,
    ],
    ids=lambda value: value[:100],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_clear_request_is_answered_however_it_arrives(address: Address, sent: bytes, at_once: bool) -> None:
    with connected(address) as (connection,):
        for start in [0] if at_once or len(sent) > 5_000 else range(len(sent)):
            connection.sendall(sent if at_once or len(sent) > 5_000 else sent[start : start + 1])
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"))


@pytest.mark.parametrize("option", ["close", "keep-alive, close", "Close", "TE, close"])
def test_a_connection_is_closed_as_asked(address: Address, option: str) -> None:
    with connected(address, 1, head(LENGTH, f"Connection: {option}") + BODY + PING) as (connection,):
        assert received(connection).count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("option", ["keep-alive", "TE, Keep-Alive"])
def test_an_old_client_may_keep_its_connection(address: Address, option: str) -> None:
    old = head(LENGTH, f"Connection: {option}", start="POST /predict HTTP/1.0") + BODY
    assert answer_to(address, old * 2).count(b"HTTP/1.0 200 OK") == 2


def test_a_client_is_told_to_go_on_unless_its_body_is_refused(address: Address) -> None:
    with connected(address, 1, head(LENGTH, "Expect: 100-continue")) as (connection,):
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    too_long = head(f"Content-Length: {2 * Limits().bytes}", "Expect: 100-continue")
    assert problem_in(answer_to(address, too_long))[0] == 413
    assert answer_to(address, head("Expect: 100-continue", start="GET /ping HTTP/1.1")).endswith(b"pong")


def test_a_chunked_body_may_be_as_long_as_any_other(address: Address) -> None:
    content = BODY + b"\n" * (Limits().bytes - len(BODY))
    pieces = [content[start : start + 4_000] for start in range(0, len(content), 4_000)]
    assert answer_to(address, head(CHUNKED) + chunked(*pieces)).startswith(b"HTTP/1.1 200 OK")


def test_a_chunked_body_over_the_limit_is_refused(address: Address) -> None:
    pieces = [bytes(2**20)] * 17
    assert problem_in(answer_to(address, head(CHUNKED) + chunked(*pieces)))[0] == 413


def test_small_chunks_hold_up_no_others(address: Address) -> None:
    row = b"1234567,3,male,22,1,0,7.25,\n"
    flood = head(CHUNKED) + (b"%x\r\n%s\r\n" % (len(row), row)) * 100_000
    with connected(address, 4, flood):
        started = time.monotonic()
        assert address.ask("/ping").status == 200
        assert time.monotonic() - started < 10
