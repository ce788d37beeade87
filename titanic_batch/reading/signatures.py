"""Recognition of content by its first bytes, to say what a file is that was taken for something else."""

from __future__ import annotations

import re

from titanic_batch.reading.formats import COMPRESSION, Format

START_BYTES = 512

_FORMATS: dict[Format, re.Pattern[bytes]] = {
    "parquet": re.compile(rb"PAR[1E]"),
    "csv.gz": re.compile(rb"\x1f\x8b"),
    "csv.zst": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}
_BYTE_ORDER_MARK = rb"(?:\xef\xbb\xbf)*"
_STAND_INS = {
    rb"version https?://(?:git-lfs|hawser)\.github\.com/spec/":
        "a Git LFS pointer, and not the file that it stands for: run git lfs pull",
    rb"[^\r\n]{0,250}/annex/objects/": "a git-annex pointer, and not the file that it stands for: run git annex get",
    _BYTE_ORDER_MARK + rb"\s*<(?:!doctype\s+html|html|head|body)\b":
        "an HTML page: get the file itself, where a page such as one to sign in may have come instead",
}  # fmt: skip
_COMPRESSIONS = {
    rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)": "bzip2",
    rb"\xfd7zXZ\0": "xz",
    rb"\x04\x22\x4d\x18": "lz4",
    rb"\xff\x06\0\0sNaPpY": "snappy",
    rb"\x1f\x9d": "compress",
    rb"LZIP": "lzip",
}
_ARCHIVES = {
    rb"PK\x03\x04.{0,480}?(?:\[Content_Types\]\.xml|_rels/|xl/|docProps/)": "an Excel workbook: save it as CSV",
    rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis": "an OpenDocument spreadsheet: save it as CSV",
    rb"PK(?:\x03\x04|\x05\x06|\x07\x08)": "a zip archive: unpack it",
    rb"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    rb"Rar!\x1a\x07": "a RAR archive: unpack it",
    rb".{257}ustar": "a tar archive: unpack it",
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook of the old format: save it as CSV",
}
_DATA_FORMATS = {
    rb"ORC": "ORC",
    rb"Obj\x01": "Avro",
    rb"ARROW1|FEA1": "an Arrow (Feather) file",
    rb"\xff\xff\xff\xff": "an Arrow stream",
    rb"SQLite format 3\0": "an SQLite database",
    rb"\x89HDF\r\n\x1a\n": "HDF5",
    rb"\x93NUMPY": "a NumPy array",
    rb"\x80[\x02-\x05][^,]": "a pickle",
    rb"%PDF-": "a PDF",
    _BYTE_ORDER_MARK + rb"\s*<\?xml\b": "XML",
    _BYTE_ORDER_MARK + rb"\s*[\[{]\s*[\"{\[\]}]": "JSON",
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def format_of_content(start: bytes) -> Format | None:
    """Return the format of content that begins with ``start``, or None if it is CSV or unknown."""
    return next((known for known, pattern in _FORMATS.items() if pattern.match(start)), None)


def looks_like_text(start: bytes) -> bool:
    """Return whether content that begins with ``start`` may be a CSV."""
    return not _CONTROL.search(start)


def stand_in(start: bytes) -> str | None:
    """Return what content is that stands in the place of a file, and what to do, or None if it is nothing of the kind.

    It may stand in the place of a file of any format.
    """
    return _described(_STAND_INS, start)


def other_content(start: bytes, expected: Format, *, decompressed: bool = False) -> str | None:
    """Return what content is that is not of the ``expected`` format, and what to do, or None if that can't be told.

    Parameters
    ----------
    start
        How the content begins.
    expected
        The format of the file.
    decompressed
        Whether ``start`` is what was in a compressed file.
    """
    found = format_of_content(start)
    compression = _described(_COMPRESSIONS, start) if found is None else COMPRESSION.get(found)
    if decompressed and compression is not None:
        return f"compressed twice ({compression} in {COMPRESSION[expected]}): decompress it once"
    if decompressed and found is not None:
        return f"{found} in {COMPRESSION[expected]}: decompress it, and say --input-format {found}"
    if found is not None:
        return f"{found}, not {expected}: say --input-format {found}" if found != expected else None
    if compression is not None:
        return f"compressed by {compression}: decompress it, or compress it by gzip or zstd"
    data_format = _described(_DATA_FORMATS, start)
    converted = None if data_format is None else f"{data_format}: convert it to CSV or Parquet"
    return stand_in(start) or _described(_ARCHIVES, start) or converted


def _described(patterns: dict[bytes, str], start: bytes) -> str | None:
    for pattern, description in patterns.items():
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE if b"html" in pattern else re.DOTALL):
            return description
    return None
