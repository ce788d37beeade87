"""Bytes that are not UTF-8 as characters of their own, so that text stays valid and they can be given back."""

from __future__ import annotations

import codecs
import re

# A byte that is not UTF-8 travels as one of these characters of a private plane, so that all text stays valid and the
# byte can be given back.
_ESCAPE_BASE = 0x10FF00
ESCAPED = re.compile("[\U0010ff80-\U0010ffff]")

_ESCAPED_BYTES = re.compile(b"\xf4\x8f[\xbe\xbf][\x80-\xbf]")
_ESCAPE_ERRORS = "titanic_batch.escape"


def _escape_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_ESCAPE_BASE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE_ERRORS, _escape_error)


def escape(data: bytes) -> bytes:
    """Return ``data`` as valid UTF-8, each byte that was not UTF-8 as a character of its own.

    So are the bytes of such a character that was there before, or `unescape` would take it for a byte.
    """
    data = _ESCAPED_BYTES.sub(lambda match: "".join(chr(_ESCAPE_BASE + byte) for byte in match.group()).encode(), data)
    return data.decode("utf-8", _ESCAPE_ERRORS).encode()


def unescape(data: bytes) -> bytes:
    """Return the bytes that ``data`` stood for before `escape`."""
    return _ESCAPED_BYTES.sub(lambda match: bytes([ord(match.group().decode()) - _ESCAPE_BASE]), data)


def printable(text: str) -> str:
    """Return `escape`d text with each foreign byte written as ``\\xNN``."""
    return unescape(text.encode()).decode("utf-8", "backslashreplace")


def decoded(data: bytes) -> str | None:
    """Return bytes as text; None where they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
