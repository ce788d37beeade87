"""Requests as raw bytes: malformed, ambiguous or exhausting ones, each with how it is to be answered."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.passengers import csv_bytes, passengers

ROW = csv_bytes(passengers(1))
GET = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class HostileRequest:
    """What is sent on a connection.

    Parameters
    ----------
    name
        What it is.
    content
        What is sent.
    statuses
        Those of which the first response has one. None: there may be no response.
    answers
        How many responses there are; None if that does not matter.
    closes
        Whether the server closes the connection afterwards.
    """

    name: str
    content: bytes = field(repr=False)
    statuses: Collection[int | None]
    answers: int | None = 1
    closes: bool = False


@dataclass(frozen=True)
class Reply:
    """What was received: the statuses of the responses, and how it ended: ``end``, ``reset`` or ``open``."""

    statuses: list[int]
    ending: str


def post(headers: bytes = b"", body: bytes = ROW, length: bytes | None = b"", host: bytes = b"Host: x\r\n") -> bytes:
    """Return a request to /predict; its Content-Length is right by default, and absent if ``length`` is None."""
    said = b"" if length is None else b"Content-Length: %s\r\n" % (length or b"%d" % len(body))
    return b"POST /predict HTTP/1.1\r\n" + host + b"Content-Type: text/csv\r\n" + said + headers + b"\r\n" + body


def chunked(body: bytes, headers: bytes = _CHUNKED) -> bytes:
    """Return a request to /predict with a body as it is, in whatever chunks."""
    return post(headers, body, None)


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


def exchange(port: int, request: HostileRequest, seconds: float) -> Reply:
    """Send a request and receive until the server closes or has answered, or says nothing for some seconds."""
    received, ending = b"", "end"
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        try:
            connection.sendall(request.content)
        except OSError:  # what was answered before the end is there to be read all the same
            ending = "reset"
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                part = connection.recv(2**16)
                if not part:
                    return Reply(_statuses(received), ending)
                received += part
                if request.answers is not None:  # what may come yet is one too many, or the end
                    connection.settimeout(5.0 if request.closes else 0.5)
            ending = "open"
        except TimeoutError:
            ending = "open"
        except OSError:
            ending = "reset"
    return Reply(_statuses(received), ending)


def _statuses(received: bytes) -> list[int]:
    return [int(status) for status in _STATUS_LINE.findall(received)]


def _bad(name: str, content: bytes, *statuses: int) -> HostileRequest:
    return HostileRequest(name, content, statuses or (400,), closes=True)


_TWO_LENGTHS = b"Content-Length: 3\r\n"

HOSTILE_REQUESTS: list[HostileRequest] = [
    HostileRequest("a good request", post(), (200,)),
    HostileRequest("a good request in chunks", chunked(chunk(ROW) + _LAST_CHUNK), (200,)),
    _bad("no Host", post(host=b"")),
    _bad("two Hosts", post(host=b"Host: a\r\nHost: b\r\n")),
    _bad("a length and chunks", post(_CHUNKED, chunk(ROW) + _LAST_CHUNK)),
    _bad("a request within chunks that a length hides", post(_CHUNKED, _LAST_CHUNK + GET)),
    _bad("chunked twice", chunked(chunk(ROW) + _LAST_CHUNK, b"Transfer-Encoding: chunked, chunked\r\n")),
    _bad("chunked in two headers", chunked(chunk(ROW) + _LAST_CHUNK, _CHUNKED * 2)),
    _bad("an unknown encoding", chunked(chunk(ROW), b"Transfer-Encoding: xchunked\r\n"), 400, 501),
    _bad("chunked, then identity", chunked(chunk(ROW), b"Transfer-Encoding: chunked, identity\r\n"), 400, 501),
    _bad("gzip, then chunked", chunked(chunk(ROW), b"Transfer-Encoding: gzip, chunked\r\n"), 400, 501),
    _bad("a vertical tab before chunked", chunked(chunk(ROW), b"Transfer-Encoding:\x0bchunked\r\n"), 400, 501),
    _bad("a blank after the name of a header", post(b"Transfer-Encoding : chunked\r\n")),
    _bad("two lengths", post(_TWO_LENGTHS)),
    _bad("a length with a sign", post(length=b"+%d" % len(ROW))),
    _bad("a length with an underscore", post(length=b"7_5")),
    _bad("a hexadecimal length", post(length=b"0x4b")),
    _bad("a negative length", post(length=b"-1")),
    _bad("a length of 5,000 digits", post(length=b"9" * 5000), 400, 413),
    _bad("a length in Arabic digits", post(length="\u0667\u0665".encode())),
    _bad("a superscript length", post(length=b"\xb2")),
    _bad("a line feed in a header", post(b"X: a\n" + _CHUNKED)),
    _bad("a carriage return in a header", post(b"X: a\r" + _CHUNKED)),
    HostileRequest("a folded length", post(length=b"\r\n 5", body=b"abcde"), (400,)),
    _bad("no colon in a header", b"GET /ping HTTP/1.1\r\nHost x\r\n\r\n"),
    _bad("a huge chunk", chunked(b"FFFFFFFFFFFFFFFF\r\nabc"), 400, 413),
    _bad("a chunk's size of 5,000 digits", chunked(b"F" * 5000 + b"\r\nabc"), 400, 413),
    _bad("a chunk's size without an end", chunked(b"0" * 2_000_000)),
    _bad("a negative chunk", chunked(b"-1\r\nabc\r\n" + _LAST_CHUNK)),
    _bad("a chunk's size with a prefix", chunked(b"0x3\r\nabc\r\n" + _LAST_CHUNK)),
    _bad("a chunk's size with a sign", chunked(b"+3\r\nabc\r\n" + _LAST_CHUNK)),
    _bad("a chunk's size with an underscore", chunked(b"0_3\r\nabc\r\n" + _LAST_CHUNK)),
    _bad("a chunk without its end", chunked(b"%x\r\n%sXX" % (len(ROW), ROW) + _LAST_CHUNK)),
    _bad("an extension without an end", chunked(b"%x;" % len(ROW) + b"a" * 3_000_000)),
    _bad("trailers without an end", chunked(chunk(ROW) + b"0\r\n" + b"X: y\r\n" * 300_000), 400, 413, 431),
    HostileRequest("an extension", chunked(chunk(ROW, b";a=b") + _LAST_CHUNK), (200, 400)),
    HostileRequest("a trailer", chunked(chunk(ROW) + b"0\r\nX: y\r\nContent-Length: 5\r\n\r\n"), (200, 400)),
    HostileRequest("200,000 chunks of a byte", chunked(chunk(b"a") * 200_000 + _LAST_CHUNK), (400, 413)),
    _bad("20,000 headers", b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431, 400),
    _bad("a header without an end", b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000_000, 431, 400),
    HostileRequest("100,000 blank lines first", b"\r\n" * 100_000 + GET, (200, 400, 431)),
    _bad("an address that can't be parsed", b"GET http://[::1/ping HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileRequest("another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 404, 405, 505, None), answers=None),
    HostileRequest("TLS", bytes.fromhex("16030100c8010000c40303") + bytes(200) + b"\r\n\r\n", (400, None)),
    HostileRequest("a path out of the page", b"GET /page/..%2fapp.py HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    HostileRequest("a problem, then a good request", b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" + GET, (404,), answers=2),
    HostileRequest("rejects, then a good request", post(body=ROW.replace(b"male", b"x", 1)) + GET, (422,), answers=2),
    HostileRequest("a body that is too large, then a request", post(length=b"%d" % 10**9) + GET, (413,), closes=True),
    HostileRequest(
        "a body for GET", b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde" + GET, (200,), 2
    ),
    HostileRequest("Accept with parameters", post(b"Accept: application/json; charset=utf-8\r\n"), (200,)),
    HostileRequest("2,000 media types", post(b"Accept: " + b"a/b;q=0.5," * 2000 + b"*/*\r\n"), (200, 406)),
    HostileRequest("a quality that is no number", post(b"Accept: text/csv;q=nan, */*;q=inf\r\n"), (200, 400, 406)),
    HostileRequest("gzip twice", post(b"Content-Encoding: gzip, gzip\r\n"), (415,)),
    HostileRequest("an encoding of odd bytes", post(b"Content-Encoding: \xff\r\n"), (400, 415)),
    HostileRequest(
        "a token of odd bytes",
        b"POST /fit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\nContent-Length: 0\r\n\r\n",
        (401,),
    ),
    HostileRequest("1,000 requests at once", GET * 1_000, (200,), answers=None),
    HostileRequest("1,000 bodies at once", post() * 1_000, (200,), answers=None),
    HostileRequest("a body that ends early", post(length=b"1000"), (None,), answers=0),
]


def amiss(request: HostileRequest, reply: Reply) -> str | None:
    """Return what is wrong with a reply, or None."""
    first = reply.statuses[0] if reply.statuses else None
    if first not in request.statuses:
        return f"answered with {first}, not {' or '.join(map(str, request.statuses))}"
    if any(status >= 500 and status not in (501, 505) for status in reply.statuses):
        return f"answered with {reply.statuses}"
    if request.answers is not None and first is not None and len(reply.statuses) != request.answers:
        return f"answered {len(reply.statuses)} times, not {request.answers}"
    if request.closes and reply.ending == "open":
        return "the connection is left open"
    return None
