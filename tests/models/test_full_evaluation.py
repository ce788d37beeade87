"""What the page shows beside the notebook's classifier: both on the same folds, and both by the notebook's protocol."""

from __future__ import annotations

import pandas as pd
import pytest

from titanic_batch.models import full_evaluation as module
from titanic_batch.models.cross_validation import RepeatedFolds
from titanic_batch.models.full_evaluation import full_evaluation, notebook_protocol
from titanic_batch.models.training_data import split_label
from titanic_batch.passenger.fitting import GROUPS, NOTEBOOK_HELD_OUT
from titanic_batch.passenger.pipeline import build_pipeline


def test_the_notebooks_protocol_is_its_split_and_its_folds(passengers: pd.DataFrame) -> None:
    pipeline = build_pipeline(n_estimators=4)
    X, y = split_label(passengers)
    found = notebook_protocol(pipeline, X, y, NOTEBOOK_HELD_OUT)
    assert found == notebook_protocol(pipeline, X, y, NOTEBOOK_HELD_OUT)
    assert round(found.held_out_accuracy * 179) == pytest.approx(found.held_out_accuracy * 179), "a share of 179 rows"
    assert 0.7 < found.folds_accuracy < 0.85


@pytest.mark.slow
def test_a_full_evaluation_has_both_on_the_same_folds_and_each_group(
    passengers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTEBOOK_PARAMETERS", {"n_estimators": 1})
    pipeline = build_pipeline(n_estimators=1)
    folds = RepeatedFolds(*split_label(passengers), seed=1)
    full = full_evaluation(pipeline, folds.cross_validate(pipeline, importance=True), folds)
    assert full.notebook is not None
    assert [fold.rows.tolist() for fold in full.repeated.folds] == [fold.rows.tolist() for fold in full.notebook.folds]
    assert len(full.columns) == len(full.repeated.importances())
    assert list(full.groups) == list(GROUPS)
    for column, values in full.groups.items():
        assert {value: evaluation.rows for value, evaluation in values.items()} == {
            str(value): count for value, count in passengers[column].value_counts().items()
        }
