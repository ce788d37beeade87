"""Scorer gives what the pipeline gives on the whole frame: any cut, any order, any thread, any classifier."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier

from tests.passengers import many
from tests.scoring.pipelines import CLOSE, EXACT, NUMBERS, TEXTS, frame_of
from titanic_batch.reading.columns import STRING
from titanic_batch.scoring import scorer as scoring
from titanic_batch.scoring.pipelines import PipelinePredictor
from titanic_batch.scoring.scorer import Scorer, Scores


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return many(3_000, seed=2)


def expected(pipeline: Pipeline, table: pa.Table, name: str) -> Scores:
    frame = frame_of(table, name)
    if getattr(pipeline[-1], "n_jobs", None) is not None:
        # A forest in threads adds up its trees in whichever order they finish: its own bits change from call to call.
        pipeline = copy.deepcopy(pipeline)
        pipeline[-1].n_jobs = 1
    return Scores(pipeline.predict(frame).astype(np.int8), pipeline.predict_proba(frame)[:, -1])


def check_same(found: Scores, wanted: Scores) -> None:
    assert found.code.dtype == np.int8
    assert found.probability.dtype == np.float64
    assert found.code.tobytes() == wanted.code.tobytes()
    assert found.probability.tobytes() == np.ascontiguousarray(wanted.probability).tobytes()


def joined(scores: list[Scores]) -> Scores:
    return Scores(np.concatenate([part.code for part in scores]), np.concatenate([part.probability for part in scores]))


# The same bits


@pytest.mark.parametrize("name", EXACT)
def test_scores_are_those_of_the_pipeline(
    pipeline_named: Callable[[str], Pipeline], table: pa.Table, name: str
) -> None:
    pipeline = pipeline_named(name)
    wanted = expected(pipeline, table, name)
    assert set(np.unique(wanted.code)) == {0, 1}
    check_same(Scorer(PipelinePredictor(pipeline)).score(table), wanted)
    scorer = Scorer(PipelinePredictor(pipeline))
    cuts = [0, 1, 2, 2, 700, 701, 2_900, 3_000]
    parts = [scorer.score(table.slice(start, end - start)) for start, end in pairwise(cuts)]
    check_same(joined(parts), wanted)
    check_same(scorer.score(table), wanted)


@pytest.mark.parametrize("name", CLOSE)
def test_scores_of_linear_models_are_the_same_but_for_rounding(
    pipeline_named: Callable[[str], Pipeline], table: pa.Table, name: str
) -> None:
    pipeline = pipeline_named(name)
    wanted = expected(pipeline, table, name)
    scorer = Scorer(PipelinePredictor(pipeline))
    for found in (
        scorer.score(table),
        joined([scorer.score(table.slice(start, 100)) for start in range(0, 3_000, 100)]),
    ):
        np.testing.assert_array_equal(found.code, wanted.code)
        np.testing.assert_allclose(found.probability, wanted.probability, rtol=0, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.data())
def test_any_cut_and_any_order_give_the_same_bits(
    pipeline_named: Callable[[str], Pipeline], data: st.DataObject
) -> None:
    pipeline = pipeline_named("ours")
    rows = many(200, seed=4)
    wanted = expected(pipeline, rows, "ours")
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(200)
    cuts = sorted(data.draw(st.lists(st.integers(0, 200), max_size=6)))
    scorer = Scorer(PipelinePredictor(pipeline))
    shuffled = rows.take(pa.array(order))
    found = joined(
        [scorer.score(shuffled.slice(start, end - start)) for start, end in zip([0, *cuts], [*cuts, 200], strict=True)]
    )
    check_same(found, Scores(wanted.code[order], wanted.probability[order]))


def test_scoring_in_slices_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, pipeline_named: Callable[[str], Pipeline], table: pa.Table
) -> None:
    monkeypatch.setattr(scoring, "SLICE_ROWS", 7)
    pipeline, rows = pipeline_named("ours"), table[:100]
    check_same(Scorer(PipelinePredictor(pipeline)).score(rows), expected(pipeline, rows, "ours"))


@pytest.mark.parametrize("name", ["ours", "boosting behind a scaler", "forest on raw numbers"])
def test_threads_share_a_scorer(pipeline_named: Callable[[str], Pipeline], table: pa.Table, name: str) -> None:
    pipeline = pipeline_named(name)
    scorer = Scorer(PipelinePredictor(pipeline))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: scorer.score(table.slice(start, 50)), range(0, 3_000, 50)))
    check_same(joined(parts), expected(pipeline, table, name))


@pytest.mark.parametrize("name", ["ours", "tree on raw numbers", "forest on sparse", "boosting on categories"])
def test_no_rows_have_no_scores(pipeline_named: Callable[[str], Pipeline], table: pa.Table, name: str) -> None:
    scorer = Scorer(PipelinePredictor(pipeline_named(name)))
    for _ in range(2):
        found = scorer.score(table.slice(0, 0))
        assert found.code.dtype == np.int8
        assert found.probability.dtype == np.float64
        assert found.code.shape == found.probability.shape == (0,)
        scorer.score(table)


def test_rows_that_hardly_repeat_get_the_same_scores(pipeline_named: Callable[[str], Pipeline]) -> None:
    numbers = np.random.default_rng(5)
    rows = 15_000
    table = many(rows)
    table = table.set_column(3, "Age", pa.array(numbers.random(rows) * 80))
    table = table.set_column(6, "Fare", pa.array(numbers.random(rows) * 100))
    pipeline = pipeline_named("forest on raw numbers")
    scorer = Scorer(PipelinePredictor(pipeline))
    found = joined([scorer.score(table.slice(start, 5_000)) for start in range(0, rows, 5_000)])
    check_same(found, expected(pipeline, table, "forest on raw numbers"))


# What it takes


def test_the_scorer_needs_the_columns_the_pipeline_was_fitted_on(
    pipeline_named: Callable[[str], Pipeline], table: pa.Table
) -> None:
    scorer = Scorer(PipelinePredictor(pipeline_named("ours")))
    assert set(scorer.predictor.columns) == {*NUMBERS, *TEXTS}
    wanted = scorer.score(table)
    check_same(scorer.score(table.select(table.column_names[::-1])), wanted)
    check_same(scorer.score(table.select(list(scorer.predictor.columns))), wanted)
    check_same(scorer.score(table.append_column("Name", pa.array(["x"] * 3_000))), wanted)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_text_may_be_plain_or_encoded(
    pipeline_named: Callable[[str], Pipeline], table: pa.Table, kind: pa.DataType
) -> None:
    scorer = Scorer(PipelinePredictor(pipeline_named("ours")))
    other = table
    for name in TEXTS:
        other = other.set_column(other.column_names.index(name), name, table[name].cast(kind))
    check_same(scorer.score(other), scorer.score(table))


def test_unseen_text_and_missing_values_are_scored(pipeline_named: Callable[[str], Pipeline]) -> None:
    rows = many(3)
    rows = rows.set_column(7, "Cabin", pa.array(["Z99", None, "Ω"]).dictionary_encode().cast(STRING))
    rows = rows.set_column(3, "Age", pa.nulls(3, pa.float64())).set_column(6, "Fare", pa.nulls(3, pa.float64()))
    check_same(
        Scorer(PipelinePredictor(pipeline_named("ours"))).score(rows), expected(pipeline_named("ours"), rows, "ours")
    )


def test_pipeline_and_table_are_left_as_they_were(pipeline_named: Callable[[str], Pipeline], table: pa.Table) -> None:
    pipeline = pipeline_named("ours, in threads")
    before = table.slice(0)
    Scorer(PipelinePredictor(pipeline)).score(table)
    assert table.equals(before)
    assert pipeline[-1].n_jobs == -1
    tree = pipeline_named("tree on raw numbers")
    Scorer(PipelinePredictor(tree)).score(table)
    assert list(tree[-1].feature_names_in_) == NUMBERS


@pytest.mark.parametrize("classes", [(0, 1), (1, 2), (-1, 1), (False, True), ("no", "yes"), (1.0, 2.0)], ids=str)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("model", [DecisionTreeClassifier, RandomForestClassifier])
def test_probability_is_that_of_the_event(table: pa.Table, classes: Any, place: int, model: Any) -> None:
    """Whatever the two classes are, and also where one of them is hardly there."""
    frame = frame_of(table, "tree")
    labels = np.array(classes)[(np.arange(len(frame)) % 50 == 0).astype(int)]
    pipeline = make_pipeline(model(max_depth=3, random_state=1)).fit(frame, labels)
    found = Scorer(PipelinePredictor(pipeline, classes[place])).score(table)
    codes = (pipeline.predict(frame) == classes[place]).astype(np.int8)
    check_same(found, Scores(codes, pipeline.predict_proba(frame)[:, place]))


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("forest on raw numbers", NUMBERS),
        ("tree behind a selection", [f"chosen__{name}" for name in NUMBERS]),
        ("a pipeline in a pipeline", ["x0", "x1", "x2", "x3", "x4"]),
    ],
)
def test_features_have_names_even_if_steps_give_none(
    pipeline_named: Callable[[str], Pipeline], name: str, features: list[str]
) -> None:
    assert PipelinePredictor(pipeline_named(name)).feature_names == features


def test_ties_are_labelled_as_the_forest_labels_them() -> None:
    frame = pd.DataFrame({"Age": [1.0, 1.0, 2.0, 2.0]})
    for labels in ([0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]):
        pipeline = make_pipeline(RandomForestClassifier(4, bootstrap=False, random_state=1)).fit(frame, labels)
        found = Scorer(PipelinePredictor(pipeline)).score(pa.Table.from_pandas(frame))
        check_same(found, Scores(pipeline.predict(frame).astype(np.int8), pipeline.predict_proba(frame)[:, 1]))
