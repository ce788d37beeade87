"""The format that a name tells."""

from __future__ import annotations

import pytest

from titanic_batch.errors import UsageError
from titanic_batch.reading.formats import format_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a/b.CSV", "csv"),
        ("a.csv.gz", "csv.gz"),
        ("a.Csv.Zst", "csv.zst"),
        ("a.b.parquet", "parquet"),
        ("x.parquet.csv", "csv"),
        ("-", "csv"),
    ],
)
def test_format_follows_the_suffix(name: str, expected: str) -> None:
    assert format_of(name) == expected


@pytest.mark.parametrize("name", ["a", "a.txt", "csv", "a.gz", "a.csv.bz2", "a.parquet.gz", "a.csv/b", "acsv"])
def test_another_suffix_is_refused_with_the_option_to_use(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} can't be told .*\.csv, \.csv\.gz, .*, or --output-format\.$"):
        format_of(name, "--output-format")
