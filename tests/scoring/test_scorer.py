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
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.passengers import many
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.reading.columns import STRING
from titanic_batch.scoring import row_scorer
from titanic_batch.scoring import scorer as scoring
from titanic_batch.scoring.row_scorer import RowScorer
from titanic_batch.scoring.scorer import Scorer, Scores

NUMBERS = ["Pclass", "Age", "SibSp", "Parch", "Fare"]
TEXTS = ["Sex", "Cabin"]


def chosen(columns: list[str]) -> ColumnTransformer:
    return ColumnTransformer([("chosen", "passthrough", columns)])


def pandas_out(pipeline: Pipeline) -> Pipeline:
    return pipeline.set_output(transform="pandas")


def halved(X: Any) -> Any:
    return np.asarray(X, dtype=np.float64) / 2


def boosting(**parameters: Any) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=10, learning_rate=0.7, **parameters)


one_hot = ColumnTransformer(
    [("hot", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("numbers", SimpleImputer(), NUMBERS)],
    sparse_threshold=1,
)

# Those whose arithmetic on a row is the same whatever lies around it.
EXACT: dict[str, Callable[[], Pipeline]] = {
    "ours": lambda: build_pipeline(n_estimators=7),
    "ours, in threads": lambda: build_pipeline(n_estimators=7, n_jobs=-1),
    "ours, as frames": lambda: pandas_out(build_pipeline(n_estimators=7)),
    "ours, weighted": lambda: build_pipeline(n_estimators=7, class_weight="balanced_subsample", bootstrap=True),
    "forest on raw numbers": lambda: Pipeline([("forest", RandomForestClassifier(5, random_state=1))]),
    "tree on raw numbers": lambda: make_pipeline(DecisionTreeClassifier(random_state=1)),
    "tree behind a selection": lambda: make_pipeline(chosen(NUMBERS), DecisionTreeClassifier(random_state=1)),
    "tree on frames": lambda: pandas_out(make_pipeline(chosen(NUMBERS), DecisionTreeClassifier(random_state=1))),
    "extra trees": lambda: make_pipeline(SimpleImputer(), ExtraTreesClassifier(5, random_state=1, n_jobs=2)),
    "boosting": lambda: make_pipeline(boosting()),
    "boosting behind a scaler": lambda: make_pipeline(StandardScaler(), boosting()),
    "boosting on categories": lambda: make_pipeline(
        boosting(categorical_features="from_dtype")
    ),
    "forest on sparse": lambda: make_pipeline(one_hot, RandomForestClassifier(5, random_state=1)),
    "bins": lambda: make_pipeline(
        SimpleImputer(), KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
        RandomForestClassifier(5, random_state=1),
    ),
    "a pipeline in a pipeline": lambda: make_pipeline(
        make_pipeline(SimpleImputer(), FunctionTransformer(halved)), DecisionTreeClassifier(random_state=1)
    ),
}  # fmt: skip

# Those whose matrix products may differ in the last bits with the shape of what they are given.
CLOSE: dict[str, Callable[[], Pipeline]] = {
    "linear": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    "linear on sparse": lambda: make_pipeline(one_hot, LogisticRegression(max_iter=5000)),
    "bayes": lambda: make_pipeline(SimpleImputer(), GaussianNB()),
    "neighbours": lambda: make_pipeline(SimpleImputer(), StandardScaler(), KNeighborsClassifier(5)),
}
TAKES_TEXT = {"ours", "ours, in threads", "ours, as frames", "ours, weighted", "boosting on categories",
              "forest on sparse", "linear on sparse"}  # fmt: skip


def labels_of(table: pa.Table) -> NDArray[np.int64]:
    """Return labels that depend on the row, and not too simply."""
    frame = table.to_pandas()
    chance = 0.2 + 0.5 * (frame["Sex"] == "female") - 0.1 * frame["Pclass"] + 0.1 * frame["Age"].isna()
    labels: NDArray[np.int64] = (np.random.default_rng(3).random(len(frame)) < chance).to_numpy().astype(np.int64)
    return labels


def frame_of(table: pa.Table, name: str) -> pd.DataFrame:
    columns = NUMBERS + TEXTS * (name in TAKES_TEXT)
    frame: pd.DataFrame = table.select(columns).to_pandas()
    if name == "boosting on categories":
        return frame.drop(columns="Cabin")
    return frame


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Pipeline]:
    """Return a function that gives a fitted pipeline by its name, each fitted once."""
    done: dict[str, Pipeline] = {}
    table = many(600, seed=1)

    def fit(name: str) -> Pipeline:
        if name not in done:
            pipeline = (EXACT | CLOSE)[name]()
            done[name] = pipeline.fit(frame_of(table, name), labels_of(table))
        return done[name]

    return fit


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
    assert found.label.dtype == np.int8
    assert found.probability.dtype == np.float64
    assert found.label.tobytes() == wanted.label.tobytes()
    assert found.probability.tobytes() == np.ascontiguousarray(wanted.probability).tobytes()


def joined(scores: list[Scores]) -> Scores:
    return Scores(
        np.concatenate([part.label for part in scores]), np.concatenate([part.probability for part in scores])
    )


# The same bits


@pytest.mark.parametrize("name", EXACT)
def test_scores_are_those_of_the_pipeline(fitted: Callable[[str], Pipeline], table: pa.Table, name: str) -> None:
    pipeline = fitted(name)
    wanted = expected(pipeline, table, name)
    assert set(np.unique(wanted.label)) == {0, 1}
    check_same(Scorer(pipeline).score(table), wanted)
    scorer = Scorer(pipeline)
    cuts = [0, 1, 2, 2, 700, 701, 2_900, 3_000]
    parts = [scorer.score(table.slice(start, end - start)) for start, end in pairwise(cuts)]
    check_same(joined(parts), wanted)
    check_same(scorer.score(table), wanted)


@pytest.mark.parametrize("name", CLOSE)
def test_scores_of_linear_models_are_the_same_but_for_rounding(
    fitted: Callable[[str], Pipeline], table: pa.Table, name: str
) -> None:
    pipeline = fitted(name)
    wanted = expected(pipeline, table, name)
    scorer = Scorer(pipeline)
    for found in (
        scorer.score(table),
        joined([scorer.score(table.slice(start, 100)) for start in range(0, 3_000, 100)]),
    ):
        np.testing.assert_array_equal(found.label, wanted.label)
        np.testing.assert_allclose(found.probability, wanted.probability, rtol=0, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.data())
def test_any_cut_and_any_order_give_the_same_bits(fitted: Callable[[str], Pipeline], data: st.DataObject) -> None:
    pipeline = fitted("ours")
    rows = many(200, seed=4)
    wanted = expected(pipeline, rows, "ours")
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(200)
    cuts = sorted(data.draw(st.lists(st.integers(0, 200), max_size=6)))
    scorer = Scorer(pipeline)
    shuffled = rows.take(pa.array(order))
    found = joined(
        [scorer.score(shuffled.slice(start, end - start)) for start, end in zip([0, *cuts], [*cuts, 200], strict=True)]
    )
    check_same(found, Scores(wanted.label[order], wanted.probability[order]))


def test_slices_that_bound_the_memory_do_not_show(
    monkeypatch: pytest.MonkeyPatch, fitted: Callable[[str], Pipeline], table: pa.Table
) -> None:
    monkeypatch.setattr(scoring, "SLICE_ROWS", 7)
    pipeline, rows = fitted("ours"), table[:100]
    check_same(Scorer(pipeline).score(rows), expected(pipeline, rows, "ours"))


@pytest.mark.parametrize("name", ["ours", "boosting behind a scaler", "forest on raw numbers"])
def test_threads_share_a_scorer(fitted: Callable[[str], Pipeline], table: pa.Table, name: str) -> None:
    pipeline = fitted(name)
    scorer = Scorer(pipeline)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: scorer.score(table.slice(start, 50)), range(0, 3_000, 50)))
    check_same(joined(parts), expected(pipeline, table, name))


@pytest.mark.parametrize("name", ["ours", "tree on raw numbers", "forest on sparse", "boosting on categories"])
def test_no_rows_have_no_scores(fitted: Callable[[str], Pipeline], table: pa.Table, name: str) -> None:
    scorer = Scorer(fitted(name))
    for _ in range(2):
        found = scorer.score(table.slice(0, 0))
        assert found.label.dtype == np.int8
        assert found.probability.dtype == np.float64
        assert found.label.shape == found.probability.shape == (0,)
        scorer.score(table)


def test_rows_that_hardly_repeat_are_scored_as_well(fitted: Callable[[str], Pipeline]) -> None:
    numbers = np.random.default_rng(5)
    rows = 15_000
    table = many(rows)
    table = table.set_column(3, "Age", pa.array(numbers.random(rows) * 80))
    table = table.set_column(6, "Fare", pa.array(numbers.random(rows) * 100))
    pipeline = fitted("forest on raw numbers")
    scorer = Scorer(pipeline)
    found = joined([scorer.score(table.slice(start, 5_000)) for start in range(0, rows, 5_000)])
    check_same(found, expected(pipeline, table, "forest on raw numbers"))


# What it takes


def test_columns_are_those_the_pipeline_was_fitted_on(fitted: Callable[[str], Pipeline], table: pa.Table) -> None:
    scorer = Scorer(fitted("ours"))
    assert set(scorer.columns) == {*NUMBERS, *TEXTS}
    wanted = scorer.score(table)
    check_same(scorer.score(table.select(table.column_names[::-1])), wanted)
    check_same(scorer.score(table.select(scorer.columns)), wanted)
    check_same(scorer.score(table.append_column("Name", pa.array(["x"] * 3_000))), wanted)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_text_may_be_plain_or_encoded(fitted: Callable[[str], Pipeline], table: pa.Table, kind: pa.DataType) -> None:
    scorer = Scorer(fitted("ours"))
    other = table
    for name in TEXTS:
        other = other.set_column(other.column_names.index(name), name, table[name].cast(kind))
    check_same(scorer.score(other), scorer.score(table))


def test_unseen_text_and_missing_values_are_scored(fitted: Callable[[str], Pipeline]) -> None:
    rows = many(3)
    rows = rows.set_column(7, "Cabin", pa.array(["Z99", None, "Ω"]).dictionary_encode().cast(STRING))
    rows = rows.set_column(3, "Age", pa.nulls(3, pa.float64())).set_column(6, "Fare", pa.nulls(3, pa.float64()))
    check_same(Scorer(fitted("ours")).score(rows), expected(fitted("ours"), rows, "ours"))


def test_pipeline_and_table_are_left_as_they_were(fitted: Callable[[str], Pipeline], table: pa.Table) -> None:
    pipeline = fitted("ours, in threads")
    before = table.slice(0)
    Scorer(pipeline).score(table)
    assert table.equals(before)
    assert pipeline[-1].n_jobs == -1
    tree = fitted("tree on raw numbers")
    Scorer(tree).score(table)
    assert list(tree[-1].feature_names_in_) == NUMBERS


def test_probability_is_that_of_the_last_class(table: pa.Table) -> None:
    """Whatever integers the two classes are, and also where one of them is hardly there."""
    frame = frame_of(table, "tree")
    for low, high in ((0, 1), (1, 2), (-1, 1)):
        labels = np.where(np.arange(len(frame)) % 50 == 0, high, low)
        pipeline = make_pipeline(DecisionTreeClassifier(max_depth=3, random_state=1)).fit(frame, labels)
        found = Scorer(pipeline).score(table)
        check_same(found, Scores(pipeline.predict(frame).astype(np.int8), pipeline.predict_proba(frame)[:, 1]))


def test_ties_are_labelled_as_the_forest_labels_them() -> None:
    frame = pd.DataFrame({"Age": [1.0, 1.0, 2.0, 2.0]})
    for labels in ([0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]):
        pipeline = make_pipeline(RandomForestClassifier(4, bootstrap=False, random_state=1)).fit(frame, labels)
        found = Scorer(pipeline).score(pa.Table.from_pandas(frame))
        check_same(found, Scores(pipeline.predict(frame).astype(np.int8), pipeline.predict_proba(frame)[:, 1]))


# A few rows of plain values


def values_of(table: pa.Table) -> list[list[Any]]:
    return [list(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("name", ["ours", "ours, in threads", "tree behind a selection"])
def test_plain_values_get_the_scores_of_the_table(name: str, fitted: Callable[[str], Pipeline]) -> None:
    table = many(1_000)
    expected = Scorer(fitted(name)).score(table)
    rows = RowScorer(Scorer(fitted(name)), table.column_names)
    assert rows.can_score
    for start, stop in ((0, 1), (1, 3), (3, 1_000), (0, 1_000)):
        found = rows.score(values_of(table.slice(start, stop - start)))
        assert [row.label for row in found] == expected.label[start:stop].tolist()
        assert [row.probability for row in found] == expected.probability[start:stop].tolist()
    assert [row.text for row in found] == pa.array(expected.probability).cast(pa.string()).to_pylist()


@pytest.mark.parametrize("name", ["forest on raw numbers", "tree on raw numbers", "boosting behind a scaler"])
def test_features_that_single_values_do_not_make_are_left_alone(name: str, fitted: Callable[[str], Pipeline]) -> None:
    assert not RowScorer(Scorer(fitted(name)), many(1).column_names).can_score


def test_what_is_known_of_rows_is_bounded(fitted: Callable[[str], Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_scorer, "KNOWN_ROWS", 20)
    rows, table = RowScorer(Scorer(fitted("ours")), many(1).column_names), many(400)
    for row in values_of(table):
        rows.score([row])
        assert len(rows._known) <= 20
    assert len({tuple(row[1:]) for row in values_of(table)}) > 20
