"""Files that can't be opened, are damaged, or fail while they are read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.passengers import COLUMNS, csv_bytes, passengers
from tests.reading.inputs import CSV, KEYS, PARQUET, keys_of, opened, zstd
from titanic_batch.errors import DataError, InputError, TransferError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.files import FileDigest
from titanic_batch.reading.formats import Format
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source


def test_a_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    kinds: list[Format] = ["csv", "csv.gz", "parquet"]
    for kind in kinds:
        with pytest.raises(InputError, match=r"gone can't be opened \(No such file or directory\)"):
            open_table(Source("gone", kind))
        with pytest.raises(InputError, match=r"can't be opened \(Is a directory\)"):
            open_table(Source(str(tmp_path), kind))


# Damage


def outcome(data: bytes, kind: Format) -> list[str] | str:
    """Return the keys that are read, or what is said."""
    try:
        with open_table(Source("in", kind, io.BytesIO(data)), 50) as table:
            table.require(CONTRACT.types)
            return keys_of(table)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zst"])
def test_a_truncated_compressed_file_is_always_reported_as_damaged(kind: Format) -> None:
    compress = gzip.compress if kind == "csv.gz" else zstd
    rows = csv_bytes(passengers(5))
    data = compress(rows)
    assert outcome(data, kind) == KEYS[:5]
    for end in range(1, len(data)):
        assert outcome(data[:end], kind) == "in is damaged: it cannot be read to its end. Write it again."
    two = compress(rows[:100]) + compress(rows[100:])
    assert outcome(two, kind) == KEYS[:5]
    for end in range(len(compress(rows[:100])) + 1, len(two)):
        assert outcome(two[:end], kind) == "in is damaged: it cannot be read to its end. Write it again."


def test_a_gzip_with_a_changed_byte_gives_the_rows_or_is_reported_as_damaged() -> None:
    data = bytearray(gzip.compress(CSV, mtime=0))
    for place in range(len(data)):
        data[place] ^= 0x10
        assert outcome(bytes(data), "csv.gz") in (
            KEYS,
            "in is damaged: it cannot be read to its end. Write it again.",
        )
        data[place] ^= 0x10


@pytest.mark.slow
def test_a_parquet_with_a_changed_byte_gives_rows_or_is_reported() -> None:
    data = bytearray(PARQUET)
    for place in range(0, len(data), 3):
        data[place] ^= 0xFF
        said = outcome(bytes(data), "parquet")
        assert isinstance(said, list) or said.startswith(("in is ", "in: column"))
        data[place] ^= 0xFF


# Faults on the way


def test_a_file_that_shrinks_while_it_is_read_is_reported_as_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    data = csv_bytes(passengers(20_000))
    path.write_bytes(data)
    with opened(path, block_bytes=10_000) as table:
        blocks = table.blocks(COLUMNS)
        next(blocks)
        os.truncate(path, data.index(b"\n", len(data) // 2) + 1)  # at a row's end: nothing else would tell
        with pytest.raises(TransferError, match=r"reading .*in\.csv failed midway \(the file shrank .*\): try again"):
            list(blocks)


class Breaking(io.BytesIO):
    """A stream that fails after its data, as a network file may."""

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(buffer) or self._fail()

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or bytes(self._fail())

    def _fail(self) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.zst", "parquet"])
def test_a_stream_that_fails_midway_is_reported_as_worth_another_try(kind: Format) -> None:
    data = {"csv": CSV, "csv.gz": gzip.compress(CSV), "csv.zst": zstd(CSV), "parquet": PARQUET}[kind]
    cut = len(data) // 2

    def read() -> Iterator[object]:
        with open_table(Source("in", kind, Breaking(data[:cut])), 100) as table:
            yield from table.blocks(COLUMNS)

    with pytest.raises(TransferError, match=r"reading in failed midway \(Input/output error\): try again"):
        list(read())


@pytest.mark.parametrize("kind", ["csv", "csv.gz"])
def test_a_file_that_changes_between_its_header_and_its_rows_is_reported(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"in.{kind}"
    path.write_bytes(CSV if kind == "csv" else gzip.compress(CSV))
    with opened(path) as table:
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(TransferError, match=r"in\.csv.* changed while it was read: try again"):
            list(table.blocks(COLUMNS))
    path.write_bytes(CSV if kind == "csv" else gzip.compress(CSV))
    with opened(path) as table:
        path.unlink()
        with pytest.raises(InputError, match=r"can't be opened \(No such file or directory\)"):
            list(table.blocks(COLUMNS))


def test_a_fault_after_the_last_row_is_reported() -> None:
    """The rest of a compressed file is read for its digest alone."""
    with pytest.raises(TransferError, match=r"reading in failed midway \(Input/output error\): try again"):
        list(open_table(Source("in", "csv.zst", Breaking(zstd(CSV))), digest=True).blocks(COLUMNS))


def test_a_digest_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """It is computed beside the reading, so that a fault may strike it alone."""
    path = tmp_path / "in.parquet"
    path.write_bytes(PARQUET)
    digest = FileDigest("/proc/self/mem")
    with digest, pytest.raises(OSError, match="Input/output error"):
        digest.hexdigest()
    with FileDigest(str(path)) as digest:
        assert digest.hexdigest() == hashlib.sha256(PARQUET).hexdigest()


def test_tables_keep_no_file_open_until_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(CSV))
    (tmp_path / "c.parquet").write_bytes(PARQUET)
    before = len(os.listdir("/proc/self/fd"))
    tables = [opened(tmp_path / name) for name in ("a.csv", "b.csv.gz", "c.parquet")]
    assert len(os.listdir("/proc/self/fd")) == before
    assert [keys_of(table) for table in tables] == [KEYS] * 3
    assert len(os.listdir("/proc/self/fd")) == before
