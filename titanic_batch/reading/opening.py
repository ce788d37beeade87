"""Opening of sources in any format."""

from __future__ import annotations

from titanic_batch.reading.csv_splitter import BLOCK_BYTES
from titanic_batch.reading.csv_table import CsvTable
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.sources import Source


def open_table(source: Source, block_bytes: int = BLOCK_BYTES, *, digest: bool = False) -> InputTable:
    """Open a source and read the names of its columns.

    Parameters
    ----------
    source
        The source to open.
    block_bytes
        Approximate size of a block of a CSV.
    digest
        Whether to compute the digest that `InputTable.sha256` returns.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        The source is empty, damaged or not in its format, or its header can't be read.
    """
    if source.format == "parquet":
        from titanic_batch.reading.parquet_table import ParquetTable  # and Arrow's reader, which a CSV does without

        return ParquetTable(source, digest=digest)
    return CsvTable(source, block_bytes, digest=digest)
