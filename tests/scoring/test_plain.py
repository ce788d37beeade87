"""The plain predictor gives the bits of scikit-learn's pipeline, for tables of any kind and in both scorers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from tests.passengers import many
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.passenger.features import FEATURES
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.scoring.pipelines import PipelinePredictor
from titanic_batch.scoring.plain import PlainPredictor
from titanic_batch.scoring.predictor import Predictor
from titanic_batch.scoring.row_scorer import RowScorer
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.scoring.trees import TreeEnsemble

TEXTS = ("Sex", "Cabin")
WHOLE = ("Pclass", "SibSp", "Parch")


@cache
def fitted() -> Pipeline:
    rows = packaged_rows()
    return build_pipeline(n_estimators=9, max_depth=None, min_samples_leaf=1).fit(features_of(rows), rows[LABEL])


def plain_of(pipeline: Pipeline) -> PlainPredictor:
    states = [tree.tree_.__getstate__() for tree in pipeline[-1].estimators_]
    trees = TreeEnsemble([state["nodes"] for state in states], [state["values"] for state in states])
    return PlainPredictor(CONTRACT.without_key, FEATURES, trees)


def both() -> tuple[Predictor, Predictor]:
    return plain_of(fitted()), PipelinePredictor(fitted())


def check_same(table: pa.Table) -> None:
    """Check that both predictors give the bits of the pipeline itself, and that both make the same features."""
    frame = table.select(list(CONTRACT.without_key)).to_pandas()
    expected = np.column_stack([fitted().predict(frame), fitted().predict_proba(frame)[:, 1]])
    features = []
    for predictor in both():
        scores = Scorer(predictor).score(table)
        assert scores.code.tobytes() == expected[:, 0].astype(np.int8).tobytes()
        assert scores.probability.tobytes() == expected[:, 1].tobytes()
        made = predictor.features(table.select(list(predictor.columns)))
        assert predictor.predict(np.column_stack(made)).tobytes() == expected.tobytes()
        features.append([(each.dtype.str, each.tobytes()) for each in made])
    assert features[0] == features[1]


def test_both_say_the_same_of_themselves() -> None:
    plain, full = both()
    assert plain.columns == full.columns == tuple(CONTRACT.without_key)
    assert list(plain.feature_names) == list(full.feature_names)
    assert plain.parts == full.parts


# Tables


def test_many_rows_get_the_bits_of_the_pipeline() -> None:
    check_same(many(5_000, seed=3))


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)
def test_text_of_any_type_gets_the_same_bits(kind: pa.DataType) -> None:
    table = many(500, seed=4)
    for name in TEXTS:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    check_same(table)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.int64(), pa.float32(), pa.float64()]
)
def test_numbers_of_any_type_get_the_same_bits(kind: pa.DataType) -> None:
    table = many(500, seed=5)
    for name in WHOLE:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    check_same(table)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float64()], ids=str)
def test_whole_numbers_of_which_some_are_missing_get_the_same_bits(kind: pa.DataType) -> None:
    table = many(300, seed=6)
    for name in WHOLE:
        values = [None if row % 5 == 2 else value for row, value in enumerate(table[name].to_pylist())]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, kind))
    check_same(table)


@pytest.mark.parametrize("name", ["Age", "Fare", "Sex", "Cabin"])
def test_a_column_of_nothing_gets_the_same_bits(name: str) -> None:
    table = many(100, seed=7)
    kinds = (pa.null(), pa.string(), pa.dictionary(pa.int32(), pa.string()))
    for kind in kinds if name in TEXTS else (pa.null(), pa.float64(), pa.int64()):
        other = table.set_column(table.column_names.index(name), name, pa.nulls(100, kind))
        if pa.types.is_null(kind) and name not in TEXTS:
            check_as_if_typed(other, name, pa.float64())
        else:
            check_same(other)


def check_as_if_typed(table: pa.Table, name: str, kind: pa.DataType) -> None:
    typed = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    found, expected = (Scorer(plain_of(fitted())).score(each) for each in (table, typed))
    assert found.probability.tobytes() == expected.probability.tobytes()


def test_tables_in_pieces_get_the_same_bits() -> None:
    table = many(300, seed=8)
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1, 100), table.slice(101)])
    assert pieces["Age"].num_chunks > 1
    check_same(pieces)
    check_same(table.slice(7, 11))


def test_no_rows_have_no_scores() -> None:
    for predictor in both():
        scores = Scorer(predictor).score(many(3).slice(0, 0))
        assert (scores.code.dtype.str, scores.code.shape) == ("|i1", (0,))
        assert (scores.probability.dtype.str, scores.probability.shape) == ("<f8", (0,))
    empty = plain_of(fitted()).predict(np.empty((0, 7)))
    assert empty.shape == (0, 2)


EDGES = [-1.0, 0.0, -0.0, 5.0, 8.0, 12.0, 15.0, 31.0, 60.0, 120.0, 1000.0, 1e300, 5e-324, 8.000000000000002]


@settings(max_examples=30)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "Pclass": st.integers(1, 3),
                "Sex": st.sampled_from(["male", "female"]),
                "Age": st.none() | st.floats(0, 120) | st.sampled_from(EDGES),
                "SibSp": st.integers(0, 20) | st.sampled_from([2**31, 2**53 + 1, 2**63 - 1]),
                "Parch": st.integers(0, 20),
                "Fare": st.none() | st.floats(0, 1000) | st.sampled_from(EDGES),
                "Cabin": st.none() | st.text(max_size=3) | st.sampled_from(["C85", "T", "n", "É1", "N"]),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_rows_get_the_same_bits(rows: list[dict[str, Any]]) -> None:
    types = {name: pa.int64() for name in WHOLE} | dict.fromkeys(TEXTS, pa.string())
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in CONTRACT.without_key])
    check_same(pa.Table.from_pylist(rows, schema))


def test_a_column_of_another_type_is_an_error_that_names_it() -> None:
    table = many(3)
    other = table.set_column(table.column_names.index("Age"), "Age", pa.array(["1", "2", "3"]))
    with pytest.raises(TypeError, match="the column Age can't be encoded: it is of type string"):
        plain_of(fitted()).features(other)


def test_the_table_is_not_changed() -> None:
    table = many(50, seed=9)
    before = table.to_pydict()
    Scorer(plain_of(fitted())).score(table)
    assert table.to_pydict() == before


# Labels


def test_ties_are_labelled_as_the_classifier_labels_them() -> None:
    """A probability of exactly a half is label 0, and what only rounding keeps from a half is not."""
    rows = packaged_rows().head(40).assign(Age=30.0, Fare=9.0, Cabin=None, Sex="male", Pclass=3, SibSp=0, Parch=0)
    for ones in (20, 19, 21):
        labels = [1] * ones + [0] * (40 - ones)
        pipeline = build_pipeline(n_estimators=4, bootstrap=False, max_samples=None).fit(features_of(rows), labels)
        frame = features_of(rows.head(3))
        probabilities = pipeline.predict_proba(frame)[:, 1]
        assert (probabilities[0] == 0.5) == (ones == 20)
        for predictor in (plain_of(pipeline), PipelinePredictor(pipeline)):
            scores = Scorer(predictor).score(pa.Table.from_pandas(frame.astype({"Cabin": "string"})))
            assert scores.code.tolist() == pipeline.predict(frame).tolist() == [int(ones > 20)] * 3
            assert scores.probability.tolist() == probabilities.tolist()


def test_a_tie_between_trees_is_labelled_as_the_classifier_labels_it() -> None:
    X = np.array([[0.0] * 7, [1.0] * 7] * 10)
    for seed in range(20):
        forest = RandomForestClassifier(2, max_samples=1, random_state=seed).fit(X, [0, 1] * 10)
        states = [tree.tree_.__getstate__() for tree in forest.estimators_]
        trees = TreeEnsemble([state["nodes"] for state in states], [state["values"] for state in states])
        found = PlainPredictor(CONTRACT.without_key, FEATURES, trees).predict(X)
        assert found[:, 0].tolist() == forest.predict(X).tolist()
        assert found[:, 1].tolist() == forest.predict_proba(X)[:, 1].tolist()


# Scorers


def test_single_rows_of_plain_values_get_the_same_scores() -> None:
    table = many(400, seed=10)
    values = [list(row.values()) for row in table.to_pylist()]
    found = []
    for predictor in both():
        rows = RowScorer(Scorer(predictor), table.column_names)
        assert rows.can_score
        found.append(rows.score(values))
        assert found[-1] == [rows.score([row])[0] for row in values]
    expected = Scorer(PipelinePredictor(fitted())).score(table)
    assert found[0] == found[1]
    assert [row.code for row in found[0]] == expected.code.tolist()
    assert [row.probability for row in found[0]] == expected.probability.tolist()


def test_threads_share_a_plain_scorer() -> None:
    table = many(4_000, seed=11)
    scorer = Scorer(plain_of(fitted()))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: scorer.score(table.slice(start, 40)), range(0, 4_000, 40)))
    expected = Scorer(PipelinePredictor(fitted())).score(table)
    assert np.concatenate([part.probability for part in parts]).tobytes() == expected.probability.tobytes()
    assert np.concatenate([part.code for part in parts]).tobytes() == expected.code.tobytes()


def test_both_measure_the_same_drift(tmp_path: Path, passengers: pd.DataFrame) -> None:
    model = Model(n_estimators=3).fit(packaged_rows())
    model.save(tmp_path / "model.skops")
    drifts = []
    for each in (Model.load(tmp_path / "model.skops"), model):
        scores = each.scores()
        scores(pa.Table.from_pandas(passengers))
        drift = scores.take_drift()
        assert drift is not None
        drifts.append(drift.to_json())
    assert drifts[0] == drifts[1]
