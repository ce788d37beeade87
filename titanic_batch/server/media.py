"""Media types, and how large a body may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
PROBLEM = "application/problem+json"
MULTIPART = "multipart/form-data"
TABLES = (CSV, JSON, PARQUET, ARROW)

# Other names under which clients send the same.
_CALLED_ALSO = {
    "application/csv": CSV,
    "application/x-parquet": PARQUET,
    "application/parquet": PARQUET,
    "application/x-jsonlines": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a body may be, packed or not, and how many rows it may have."""

    bytes: int = 16 * 2**20
    rows: int = 250_000

    def check_bytes(self, size: int) -> None:
        """Raise RequestEntityTooLarge where ``size`` is beyond the limit."""
        if size > self.bytes:
            raise RequestEntityTooLarge(f"the body has more than {self.bytes} bytes once it is unpacked.")

    def check_rows(self, rows: int) -> None:
        """Raise RequestEntityTooLarge where ``rows`` are beyond the limit."""
        if rows > self.rows:
            raise RequestEntityTooLarge(f"the body has more than {self.rows} rows.")


def body_type(request: Request, allowed: Sequence[str]) -> str:
    """Return the media type of a body, by its usual name.

    Raises
    ------
    UnsupportedMediaType
        It is none of those allowed, or text of another encoding than UTF-8.
    """
    found = _CALLED_ALSO.get(request.mimetype, request.mimetype)
    if found not in allowed:
        raise UnsupportedMediaType(f"the body is to be {', '.join(allowed[:-1])} or {allowed[-1]}.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("the body is to be UTF-8.")
    return found


def answer_type(accept: MIMEAccept, offered: Sequence[str], default: str) -> str:
    """Return the offered media type that a client likes best; the default where it does not care.

    Raises
    ------
    NotAcceptable
    """
    if not accept or accept.quality(default) == max(quality for _, quality in accept) > 0:
        return default
    called = {**{name: name for name in offered}, **{name: of for name, of in _CALLED_ALSO.items() if of in offered}}
    best = accept.best_match([default, *called])
    if best is None or not accept.quality(best):
        raise NotAcceptable(f"the answer can be {', '.join(offered[:-1])} or {offered[-1]}.")
    return called.get(best, best)
