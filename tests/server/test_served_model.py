"""Scoring bodies: the command's predictions, bit for bit, whatever the format and however many rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner, Result

from tests.passengers import csv_bytes, many, parquet_bytes, passengers
from tests.server.exchange import body_of, post, predictions_of, table_of
from titanic_batch.cli.command import app as command
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET, Limits

COUNTS = [1, 3, 100]


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model, Limits(binary=True)).test_client()


@pytest.fixture(scope="module")
def scored(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], pa.Table]:
    """The command's predictions for the same rows."""
    folder = tmp_path_factory.mktemp("scored")

    @cache
    def score(count: int) -> pa.Table:
        source, target = folder / f"{count}.csv", folder / f"{count}.parquet"
        source.write_bytes(csv_bytes(passengers(count)))
        done: Result = CliRunner().invoke(command, ["score", str(source), "-o", str(target), "-m", str(model_file)])
        assert done.exit_code == 0
        return pq.read_table(target).replace_schema_metadata(None)

    return score


@pytest.mark.parametrize("accept", [CSV, JSON, PARQUET, ARROW])
@pytest.mark.parametrize("media_type", [CSV, JSON, PARQUET, ARROW])
@pytest.mark.parametrize("count", COUNTS)
def test_every_format_gives_the_commands_bits(
    client: FlaskClient, scored: Callable[[int], pa.Table], count: int, media_type: str, accept: str
) -> None:
    answer = post(client, body_of(count, media_type), media_type, Accept=accept)
    assert (answer.status_code, answer.mimetype) == (200, accept)
    assert predictions_of(answer.data, accept).equals(scored(count))


def test_a_row_is_scored_alone_as_among_others(client: FlaskClient) -> None:
    rows = passengers(20)
    together = post(client, csv_bytes(rows)).data.splitlines()[1:]
    alone = [post(client, csv_bytes([row])).data.splitlines()[1] for row in rows]
    assert alone == together


def test_a_large_body_is_scored_in_order(client: FlaskClient) -> None:
    table = many(20_000)
    answer = post(client, parquet_bytes(table), PARQUET)
    assert predictions_of(answer.data, PARQUET)["PassengerId"].equals(table["PassengerId"])


@pytest.mark.parametrize("accept", [PARQUET, ARROW])
@pytest.mark.parametrize("count", [1, 100])
def test_parquet_and_arrow_record_the_model(client: FlaskClient, count: int, accept: str) -> None:
    answer = post(client, body_of(count, CSV), Accept=accept)
    assert table_of(answer.data, accept).schema.metadata[b"titanic_batch.model"] == b"fitted"
