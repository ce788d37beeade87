"""From a source to an open table, whatever its format."""

from __future__ import annotations

from titanic_batch.reading.csv_splitter import BLOCK_BYTES
from titanic_batch.reading.csv_table import CsvTable
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.parquet_table import ParquetTable
from titanic_batch.reading.sources import Source


def open_table(source: Source, block_bytes: int = BLOCK_BYTES, *, digest: bool = False) -> InputTable:
    """Open a source and look at its columns.

    Parameters
    ----------
    source
        What to open.
    block_bytes
        About how many bytes of a CSV a block has.
    digest
        Whether the SHA-256 of its bytes will be asked for.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        It is empty, damaged, not of its format, or its header can't be read.
    """
    if source.format == "parquet":
        return ParquetTable(source, digest=digest)
    return CsvTable(source, block_bytes, digest=digest)
