"""The file formats that can be read and written, and their detection from file names."""

from __future__ import annotations

from typing import Literal, get_args

from titanic_batch.errors import UsageError

Format = Literal["csv", "csv.gz", "csv.zst", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
STDIN = "-"
REJECT_PREFIX = "reject_"  # columns added to a rejects file; ignored if the file is used as an input

COMPRESSION: dict[Format, str] = {"csv.gz": "gzip", "csv.zst": "zstd"}


def format_of(name: str, option: str = "--input-format") -> Format:
    """Return the format that a file's suffix indicates, or CSV for ``-``.

    Raises
    ------
    UsageError
        The suffix is unknown. The message suggests ``option`` as an alternative.
    """
    if name == STDIN:
        return "csv"
    for file_format in FORMATS:
        if name.lower().endswith(f".{file_format}"):
            return file_format
    raise UsageError(
        f"the format of {name} can't be told from its name: "
        f"use a suffix of {', '.join('.' + f for f in FORMATS)}, or {option}."
    )
