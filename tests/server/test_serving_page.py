"""The page about the server's limits: it names those that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from titanic_batch.reading import csv_table, parquet_pages
from titanic_batch.server import binary_bodies, connections, http_server, json_reader

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "serving.md").read_text().split())


@pytest.mark.parametrize(
    "words",
    [
        f"CSV: {csv_table._MAX_COLUMNS:,} columns",
        f"an object has {json_reader.MAX_PARTS:,} names",
        f"what is nested in a row has {json_reader.MAX_CHARACTERS >> 20} MiB",
        f"a footer of {binary_bodies._MAX_FOOTER_BYTES >> 10} KiB, {parquet_pages.MAX_PAGES:,} pages",
        f"a schema of {binary_bodies._MAX_SCHEMA_BYTES >> 20} MiB, {binary_bodies.MAX_BATCHES:,} batches",
        f"There may be {http_server.CONNECTIONS}, or half",
        f"is kept for {http_server.IDLE_SECONDS:.0f} s",
        f"within {http_server.TRANSFER_SECONDS:.0f} s",
        f"closed after {connections.STALLED_SECONDS:.0f} s",
        f"not answered after {http_server.STOP_SECONDS:.0f} s",
    ],
)
def test_the_page_names_the_limits_of_the_code(words: str) -> None:
    assert words in PAGE
