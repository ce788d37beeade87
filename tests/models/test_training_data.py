"""The rows to fit on: those in the package, and those that a job accepted."""

from __future__ import annotations

import pandas as pd

from tests.passengers import passengers, typed
from titanic_batch.models.training_data import features_of, frame_of_rows, packaged_rows, split_label
from titanic_batch.passenger.schema import CONTRACT


def test_blocks_of_rows_become_one_frame() -> None:
    whole = typed(passengers(40))
    blocks = [typed(passengers(15)), typed(passengers(25, first_key=16))]
    found = frame_of_rows(blocks, CONTRACT)
    pd.testing.assert_frame_equal(
        found.astype({"Sex": object, "Cabin": object}), whole.to_pandas().astype({"Sex": object, "Cabin": object})
    )
    assert len({block.column("Cabin").chunk(0).dictionary.to_pylist()[0] for block in blocks}) >= 1


def test_no_blocks_become_a_frame_without_rows() -> None:
    found = frame_of_rows([], CONTRACT)
    assert list(found.columns) == list(CONTRACT.types)
    assert len(found) == 0


def test_the_label_and_the_key_are_no_features() -> None:
    frame = packaged_rows()
    X, y = split_label(frame)
    assert list(X.columns) == ["Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin"]
    pd.testing.assert_frame_equal(X, features_of(frame))
    assert y.tolist() == frame["Survived"].tolist()
