"""Whatever the notebook is: a server answers as ``titanic score`` does, and its pages speak of this notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from tests.notebook.conftest import Run
from tests.serving import Address, running
from titanic_batch.models.model import Model
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import LABEL, PROBABILITY, ROW, ROWS, TITLE, VERDICTS
from titanic_batch.server.app import create_app

SENT = 20


@pytest.fixture(scope="module")
def server(model_of_rows: Path) -> Iterator[Address]:
    with running(create_app(Model.load(model_of_rows))) as address:
        yield address


def test_csv_is_answered_as_score_answers_it(run: Run, server: Address, train_csv: Path, model_of_rows: Path) -> None:
    sent = b"".join(train_csv.read_bytes().splitlines(keepends=True)[: SENT + 1])
    Path("rows.csv").write_bytes(sent)
    assert run("score", "rows.csv", "-o", "predictions.csv", "-m", model_of_rows).exit_code == 0
    answer = server.ask("/predict", sent)
    assert (answer.status, answer.body) == (200, Path("predictions.csv").read_bytes())


def test_json_is_answered_as_score_answers_it(run: Run, server: Address, table: pa.Table, model_of_rows: Path) -> None:
    sent = table.slice(0, SENT).select(list(CONTRACT.types))
    pq.write_table(sent, "rows.parquet")
    assert run("score", "rows.parquet", "-o", "predictions.parquet", "-m", model_of_rows).exit_code == 0
    body = json.dumps(sent.to_pylist(), default=date.isoformat).encode()
    answer = server.ask("/predict", body, "application/json")
    assert answer.status == 200
    assert json.loads(answer.body) == pq.read_table("predictions.parquet").to_pylist()


def test_a_bad_row_is_named(server: Address, table: pa.Table) -> None:
    (row,) = table.slice(0, 1).select(list(CONTRACT.types)).to_pylist()
    column = ([name for name in CONTRACT.required if name != CONTRACT.key] or [CONTRACT.key])[0]
    answer = server.ask(
        "/predict", json.dumps(row | {column: None}, default=date.isoformat).encode(), "application/json"
    )
    assert answer.status == 422
    assert json.loads(answer.body)["rejects"] == [{"row": 1, "column": column, "rule": "missing"}]


def test_the_api_is_described_with_the_columns_of_the_notebook(server: Address) -> None:
    description = json.loads(server.ask("/openapi.json").body)
    assert description["openapi"].startswith("3.1")
    said = json.dumps(description)
    for name in [*CONTRACT.types, LABEL, PROBABILITY]:
        assert json.dumps(name) in said


def test_the_page_speaks_of_the_notebook(server: Address) -> None:
    page = server.ask("/").body.decode()
    assert f"<title>{escape(TITLE)}</title>" in page
    for said in (f"One {ROW}", f"A file of {ROWS}", *VERDICTS, *CONTRACT.types):
        assert escape(said) in page
