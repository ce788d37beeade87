"""Media types, content negotiation, and limits on the size of a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

TEXT = "text/plain"
HTML = "text/html"
CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
PROBLEM = "application/problem+json"
MULTIPART = "multipart/form-data"
TABLES = (CSV, JSON, PARQUET, ARROW)
BINARY = (PARQUET, ARROW)

# Other names that clients use for the same formats.
_ALIASES = {
    "application/csv": CSV,
    "application/x-parquet": PARQUET,
    "application/parquet": PARQUET,
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may be: how many bytes, compressed or not, and how many rows it has at most, and whether it may be
    in a binary format."""

    bytes: int = 16 * 2**20
    rows: int = 250_000
    binary: bool = False

    def check_bytes(self, size: int) -> None:
        """Raise RequestEntityTooLarge if ``size`` exceeds the limit."""
        if size > self.bytes:
            raise RequestEntityTooLarge(f"the body has more than {self.bytes} bytes once it is unpacked.")

    def check_rows(self, rows: int) -> None:
        """Raise RequestEntityTooLarge if ``rows`` exceeds the limit."""
        if rows > self.rows:
            raise RequestEntityTooLarge(f"the body has more than {self.rows} rows.")


def body_type(request: Request, allowed: Sequence[str], limits: Limits) -> str:
    """Return the media type of a request's body; an alias is replaced by the usual name.

    Raises
    ------
    UnsupportedMediaType
        The media type is not allowed, or the body is text in another encoding than UTF-8.
    """
    media_type = _ALIASES.get(request.mimetype, request.mimetype)
    if media_type in BINARY and media_type in allowed and not limits.binary:
        raise UnsupportedMediaType("Parquet and Arrow are taken only by a server started with --accept-binary.")
    allowed = [each for each in allowed if limits.binary or each not in BINARY]
    if media_type not in allowed:
        raise UnsupportedMediaType(f"the body is to be {', '.join(allowed[:-1])} or {allowed[-1]}.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("the body is to be UTF-8.")
    return media_type


def answer_type(accept: MIMEAccept, offered: Sequence[str], default: str) -> str:
    """Return the offered media type that the client prefers, or the default if it prefers no other.

    Parameters of media types are passed over: the answer has none that a client could choose.

    Raises
    ------
    NotAcceptable
        The client accepts none of those offered.
    """
    accept = MIMEAccept(
        (range_.partition(";")[0].strip(), quality)
        for range_, quality in accept
        # What is no media range says nothing, and to refuse a variant is not to refuse the type.
        if "/" in range_ and (quality > 0 or ";" not in range_)
    )
    if not accept or accept.quality(default) == max(quality for _, quality in accept) > 0:
        return default
    names = {name: name for name in offered} | {alias: name for alias, name in _ALIASES.items() if name in offered}
    best = accept.best_match([default, *names])
    if best is None or not accept.quality(best):
        raise NotAcceptable(f"the answer can be {', '.join(offered[:-1])} or {offered[-1]}.")
    return names.get(best, best)
