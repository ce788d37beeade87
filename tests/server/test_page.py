"""The page for people, as HTML; test_online.py uses it in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pandera.pyarrow as pap
import pyarrow as pa
from flask.testing import FlaskClient

from tests.passengers import COLUMNS
from titanic_batch.checking.contract import Contract
from titanic_batch.models.model import Model
from titanic_batch.passenger import words
from titanic_batch.server import page
from titanic_batch.server.app import create_app
from titanic_batch.server.reloading import ModelHolder


def test_the_page_has_a_field_for_each_column_and_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/")
    text = answer.get_data(as_text=True)
    assert answer.mimetype == "text/html"
    assert all(f'name="{name}"' in text for name in COLUMNS if name != "PassengerId")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "http" not in text
    assert "style=" not in text
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_page_speaks_in_the_notebooks_words(client: FlaskClient) -> None:
    text = client.get("/").get_data(as_text=True)
    assert re.findall("<(?:title|h1)>(.*?)</", text) == [words.TITLE] * 2
    assert re.findall("<h2[^>]*>(.*?)</", text)[:2] == [f"One {words.ROW}", f"A file of {words.ROWS}"]
    assert f"Predictions for one {words.ROW} or for a file of them." in text
    spoken = dict(re.findall(r'data-(negative|positive|measure)="(.*?)"', text))
    assert spoken == {
        "negative": f"This {words.ROW} {words.VERDICTS[0]}",
        "positive": f"This {words.ROW} {words.VERDICTS[1]}",
        "measure": f"probability of {words.EVENT}",
    }


def test_the_page_shows_the_model(client: FlaskClient, small_model: Model) -> None:
    text = client.get("/").get_data(as_text=True)
    facts = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert facts["Model"] == small_model.identity
    assert facts["Fitted on rows"] == "891"


def test_the_page_says_that_the_model_is_being_loaded(model_file: Path) -> None:
    text = create_app(ModelHolder(str(model_file))).test_client().get("/").get_data(as_text=True)
    assert "It is being loaded" in text
    assert "<dl>" not in text


def test_what_may_be_missing_is_chosen_from_a_list_too() -> None:
    columns = {
        "id": pap.Column(pa.int64(), unique=True),
        "purpose": pap.Column(pa.string(), pap.Check.isin(["car", "house"]), nullable=True),
        "insured": pap.Column(pa.bool_(), nullable=True),
        "rank": pap.Column(pa.int64(), pap.Check.isin([1, 2]), nullable=True),
        "name": pap.Column(pa.string(), nullable=True),
    }
    fields = page._fields(Contract(pap.DataFrameSchema(columns, name="Loan"), 1))
    assert {field["name"]: field["options"] for field in fields} == {
        "purpose": ["car", "house"],
        "insured": [False, True],
        "rank": [1, 2],
        "name": [],
    }
