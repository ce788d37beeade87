"""How HTTP/1.1 is read: waitress' parser, strict about where a request ends, as RFC 9112 asks.

A request that two servers could understand in two ways is refused, and its connection closed: else the one behind a
proxy would take a part of one client's body for another client's request.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver

from titanic_batch.server.buffers import Body

HEADER_BYTES = 2**15
_SIZE_LINE_BYTES = 2**10
_TRAILER_BYTES = 2**13
_FREE_OVERHEAD_BYTES = 2**16

_VERSION = re.compile(rb" HTTP/([0-9])\.([0-9])[ \t]*\Z")
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_SIZE = rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n"
_FIRST_SIZE_LINE = re.compile(_SIZE)
_SIZE_LINE = re.compile(rb"\r\n" + _SIZE)

_DETAILS = {
    400: "the request is not valid HTTP.",
    413: "the body is larger than is allowed.",
    431: "the header is larger than is allowed.",
    501: "the transfer encoding of the body is none that is known here: chunked is.",
}


class Refusal(Exception):  # noqa: N818  # it is an answer, not a fault
    """Why a request is refused before the application sees it."""

    def __init__(self, status: int, detail: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.reason = HTTPStatus(status).phrase
        self.detail = detail or _DETAILS[status]


class HttpRequest(HTTPRequestParser):  # type: ignore[misc]  # untyped
    """A request as it arrives."""

    error: Any
    body_rcv: Any

    @property
    def body(self) -> Body | None:
        """Its body as far as it has arrived; None if it has none, or its header has not arrived yet."""
        if self.body_rcv is None:
            return None
        body: Body = self.body_rcv.getbuf()
        return body

    @property
    def refusal(self) -> Refusal | None:
        """Why it is refused, if it is."""
        if self.error is None or isinstance(self.error, Refusal):
            return self.error
        return Refusal(self.error.code)  # as waitress refuses it

    def refuse(self, refusal: Refusal) -> None:
        """Answer it with an error; no more of it is read."""
        self.error = refusal
        self.completed = True

    def received(self, data: bytes) -> int:
        """Read more of the request, and return how many bytes are part of it."""
        try:
            if self.body_rcv is None:
                return self._received_header(data)
            consumed = int(self.body_rcv.received(data))
        except Refusal as refusal:
            self.refuse(refusal)
            return len(data)
        if self.body_rcv.completed:
            self.completed = True
            self.headers["CONTENT_LENGTH"] = str(self.body.tell() if self.body else 0)
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header, once it has arrived."""
        first, *lines = header_plus.removesuffix(b"\r\n\r\n").split(b"\r\n")
        fields = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
        is_first_version = _is_first_version(first)
        if any(line.startswith((b" ", b"\t")) for line in lines):
            raise Refusal(400, "a line of the header is continued in another, which is obsolete.")
        _check_host([value for name, value in fields if name == b"host"], is_first_version)
        _check_framing(fields, is_first_version)
        if not is_first_version:
            first = _VERSION.sub(b" HTTP/1.1", first)  # a later minor version is to be read as this one
        try:
            super().parse_header(b"\r\n".join([first, *lines, b""]))
        except ValueError:  # from a URI or a length that Python can't parse, which waitress doesn't catch
            raise ParsingError("Bad URI or length") from None
        options = {option.strip(" \t") for option in self.headers.get("CONNECTION", "").lower().split(",")}
        if found := options & {"close", "keep-alive"}:
            self.headers["CONNECTION"] = min(found)  # waitress expects a single option
        if self.chunked:
            self.body_rcv = ChunkedReceiver(Body(), self.adj.max_request_body_size - 1)
        elif self.body_rcv is not None:
            self.body_rcv = FixedStreamReceiver(self.content_length, Body())

    def _received_header(self, data: bytes) -> int:
        consumed = int(super().received(data))
        end = self.header_plus.find(b"\n")
        if not self.completed and end >= 0 and not self.header_plus.endswith(b"\r", 0, end):
            raise Refusal(400)  # the end of such a header would never be seen
        return consumed

    def get_body_stream(self) -> Any:
        """Return the body as a stream."""
        if self.body is None:
            return super().get_body_stream()
        self.body.seek(0)
        return self.body


def _is_first_version(first_line: bytes) -> bool:
    """Tell whether the version is HTTP/1.0, and not a later minor version."""
    version = _VERSION.search(first_line)
    if version is None:
        raise ParsingError("No version")
    if version[1] != b"1":
        raise Refusal(505, "the version of HTTP is none that is known here: 1.1 is.")
    return version[2] == b"0"


def _check_host(hosts: list[bytes], is_first_version: bool) -> None:
    if len(hosts) != 1 and (hosts or not is_first_version):
        raise Refusal(400, "the header is to have one Host.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Refusal(400, "the Host header is not valid.")


def _check_framing(fields: list[tuple[bytes, bytes]], is_first_version: bool) -> None:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [
        coding.strip(b" \t").lower()
        for name, value in fields
        if name == b"transfer-encoding"
        for coding in value.split(b",")
    ]
    if len(lengths) > 1 or (codings and (lengths or is_first_version)):
        raise Refusal(400, "the length of the body is given twice, or in a way that HTTP/1.0 does not have.")
    if codings and (codings[-1] != b"chunked" or codings.count(b"chunked") > 1):
        raise Refusal(400, "the transfer encoding does not end with chunked, or has it twice.")


class ChunkedReceiver:
    """Reads a chunked body.

    In waitress' own, the time for many chunks in one buffer grows with the square of their number, and nothing but the
    body limit bounds extensions and trailers.

    Parameters
    ----------
    body
        Gets the bytes.
    max_bytes
        How many bytes the body may have.
    """

    def __init__(self, body: Body, max_bytes: int) -> None:
        self.completed = False
        self._body = body
        self._max_bytes = max_bytes
        self._missing = 0  # of the chunk that is being read
        self._overhead = 0
        self._line = _FIRST_SIZE_LINE
        self._rest = b""  # the begin of a line or of the trailer
        self._in_trailer = False

    def getbuf(self) -> Body:
        """Return the body."""
        return self._body

    def received(self, data: bytes) -> int:
        """Read more, and return how many bytes are part of the body.

        Raises
        ------
        Refusal
            It is not chunked, too large, or nearly all of it is not the body's.
        """
        before = len(self._rest)
        data, self._rest = self._rest + data, b""
        place = 0
        while not self.completed and place < len(data):
            if self._missing:
                piece = data[place : place + self._missing]
                self._body.append(piece)
                self._missing -= len(piece)
                place += len(piece)
                continue
            end = self._end_of_trailer(data, place) if self._in_trailer else self._end_of_size_line(data, place)
            if end is None:
                self._rest = data[place:]
                break
            self._overhead += end - place
            if self._overhead > _FREE_OVERHEAD_BYTES + self._body.tell() // 2:
                raise Refusal(400, "the chunks of the body are too small, or carry too much besides data.")
            place = end
        return (place if self.completed else len(data)) - before

    def _end_of_size_line(self, data: bytes, place: int) -> int | None:
        """Read the line before a chunk, and return where it ends; None if that has not arrived."""
        found = self._line.match(data, place)
        if found is None:
            before = b"" if self._line is _FIRST_SIZE_LINE else b"\r\n"
            is_begun = before.startswith(data[place : place + len(before)])
            is_ended = data.find(b"\n", place + len(before)) >= 0
            if not is_begun or is_ended or len(data) - place > _SIZE_LINE_BYTES:
                raise Refusal(400, "the body is not chunked as its header says.")
            return None
        self._line = _SIZE_LINE
        self._missing = int(found[1], 16)
        self._in_trailer = self._missing == 0
        if self._body.tell() + self._missing > self._max_bytes:
            raise Refusal(413)
        return found.end()

    def _end_of_trailer(self, data: bytes, place: int) -> int | None:
        """Return where the trailer ends; None if that has not arrived."""
        if data.startswith(b"\r\n", place):
            self.completed = True
            return place + 2
        end = data.find(b"\r\n\r\n", place)
        if max(end, len(data) if end < 0 else 0) - place > _TRAILER_BYTES:
            raise Refusal(400, "the trailer of the body is larger than is allowed.")
        if end < 0:
            return None
        self.completed = True
        return end + 4
