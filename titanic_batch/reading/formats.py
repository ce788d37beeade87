"""The file formats that are read and written, and how a name tells them."""

from __future__ import annotations

from typing import Literal, get_args

from titanic_batch.errors import UsageError

Format = Literal["csv", "csv.gz", "csv.zst", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
STDIN = "-"
OWN_PREFIX = "reject_"  # our columns in a rejects file, not looked at when it is fed back in

COMPRESSION: dict[Format, str] = {"csv.gz": "gzip", "csv.zst": "zstd"}
MAGIC: dict[bytes, Format] = {b"PAR1": "parquet", b"\x1f\x8b": "csv.gz", b"\x28\xb5\x2f\xfd": "csv.zst"}


def format_of(name: str, option: str = "--input-format") -> Format:
    """Return the format that a file's suffix tells, CSV for ``-``; ``option`` is named where it tells none.

    Raises
    ------
    UsageError
    """
    if name == STDIN:
        return "csv"
    for known in FORMATS:
        if name.lower().endswith(f".{known}"):
            return known
    raise UsageError(
        f"the format of {name} can't be told from its name: "
        f"use a suffix of {', '.join('.' + f for f in FORMATS)}, or {option}."
    )
