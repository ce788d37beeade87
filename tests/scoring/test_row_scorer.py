"""A few rows of plain values get the scores that they get in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from tests.passengers import many
from titanic_batch.scoring import row_scorer
from titanic_batch.scoring.pipelines import PipelinePredictor
from titanic_batch.scoring.row_scorer import RowScorer
from titanic_batch.scoring.scorer import Scorer


def values_of(table: pa.Table) -> list[list[Any]]:
    return [list(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("name", ["ours", "ours, in threads", "tree behind a selection"])
def test_plain_values_get_the_scores_of_the_table(name: str, pipeline_named: Callable[[str], Pipeline]) -> None:
    table = many(1_000)
    expected = Scorer(PipelinePredictor(pipeline_named(name))).score(table)
    rows = RowScorer(Scorer(PipelinePredictor(pipeline_named(name))), table.column_names)
    assert rows.can_score
    for start, stop in ((0, 1), (1, 3), (3, 1_000), (0, 1_000)):
        found = rows.score(values_of(table.slice(start, stop - start)))
        assert [row.code for row in found] == expected.code[start:stop].tolist()
        assert [row.probability for row in found] == expected.probability[start:stop].tolist()
    assert [row.text for row in found] == pa.array(expected.probability).cast(pa.string()).to_pylist()


@pytest.mark.parametrize("name", ["forest on raw numbers", "tree on raw numbers", "boosting behind a scaler"])
def test_a_pipeline_without_simple_features_cannot_score_plain_values(
    name: str, pipeline_named: Callable[[str], Pipeline]
) -> None:
    assert not RowScorer(Scorer(PipelinePredictor(pipeline_named(name))), many(1).column_names).can_score


def test_the_number_of_remembered_rows_is_bounded(
    pipeline_named: Callable[[str], Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_scorer, "KNOWN_ROWS", 20)
    rows, table = RowScorer(Scorer(PipelinePredictor(pipeline_named("ours"))), many(1).column_names), many(400)
    for row in values_of(table):
        rows.score([row])
        assert len(rows._known) <= 20
    assert len({tuple(row[1:]) for row in values_of(table)}) > 20
