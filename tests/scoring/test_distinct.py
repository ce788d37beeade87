"""Distinct rows predicted once: the bits of the plain function, and how often it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from titanic_batch.scoring import distinct
from titanic_batch.scoring.distinct import DistinctRows

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", ">f8", ">i4"]


def digest(X: NDArray[Any]) -> NDArray[np.float64]:
    """Return two numbers of each row that tell it from nearly every other: of its bits, so that -0.0 is not 0.0."""
    raw = (
        np.ascontiguousarray(X, np.result_type(X.dtype))
        .view(np.uint8)
        .reshape(len(X), X.shape[1] * X.itemsize)
        .astype(np.uint64)
    )
    weights = np.random.default_rng(7).integers(1, 2**20, (raw.shape[1], 2)).astype(np.uint64)
    return (raw @ weights).astype(np.float64)


class Asked:
    """A classifier that remembers what it was asked."""

    def __init__(self, predict: Callable[[NDArray[Any]], NDArray[np.float64]] = digest) -> None:
        self._predict = predict
        self._busy = threading.Lock()
        self.calls = 0
        self.rows = 0
        self.at_once = False

    def __call__(self, X: NDArray[Any]) -> NDArray[np.float64]:
        self.at_once |= not self._busy.acquire(blocking=False)
        self.calls += 1
        self.rows += len(X)
        try:
            return self._predict(X)
        finally:
            if self._busy.locked():
                self._busy.release()


def predicted(predict: DistinctRows, X: NDArray[Any]) -> NDArray[np.float64]:
    """Return what is predicted of rows, of shape (n_samples, n_outputs)."""
    return np.column_stack(predict(list(X.T)))


def check(*tables: NDArray[Any]) -> Asked:
    """Predict tables one after the other, compare the bits with the plain function, and tell what it was asked."""
    asked = Asked()
    predict = DistinctRows(asked)
    for X in tables:
        before = X.tobytes()
        found = predict(list(X.T))
        assert {output.dtype for output in found} == {np.dtype(np.float64)}
        assert np.column_stack(found).tobytes() == digest(X).tobytes()
        assert X.tobytes() == before
        for output in found:
            output[:] = -1  # what is returned is the caller's
        assert predicted(predict, X).tobytes() == digest(X).tobytes()
    return asked


def random_rows(rows: int, high: int, columns: int = 4) -> NDArray[np.int64]:
    return np.random.default_rng(rows).integers(0, high, (rows, columns))


# The same bits


def tables_of(dtype: str, width: int) -> st.SearchStrategy[NDArray[Any]]:
    kind = np.dtype(dtype)
    special: dict[str, list[Any]] = {
        "f": [0.0, -0.0, 1.0, 2.5, -3.0, np.nan, np.inf, -np.inf, 70_000.0 if kind.itemsize > 2 else 7.0],
        "b": [False, True],
    }
    some = st.sampled_from(special[kind.kind]) if kind.kind in special else st.integers(0, 5)
    any_value = hnp.from_dtype(kind, allow_nan=True)
    return hnp.arrays(kind, st.tuples(st.integers(0, 6), st.just(width)), elements=some | any_value, fill=st.nothing())


@given(st.data())
def test_any_numbers_give_the_bits_of_the_plain_function(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 3))
    dtypes = data.draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=2))
    check(*data.draw(st.lists(st.sampled_from(dtypes).flatmap(lambda dtype: tables_of(dtype, width)), max_size=4)))


small_integers = hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.just(2)), elements=st.integers(-9, 9))


@given(st.lists(small_integers, max_size=9))
@example([np.array([[0, 0]]), np.array([[-9, 9]]), np.array([[9, -9]]), np.array([[0, 0]])])
def test_ranges_that_grow_from_call_to_call(tables: list[NDArray[np.int64]]) -> None:
    check(*tables)
    check(*(table * 10_000 for table in tables))
    check(*(table * 2**50 for table in tables))
    check(*(table.astype(np.float64) for table in tables))
    check(*(table / 4 for table in tables))


INT64 = np.iinfo(np.int64)


@pytest.mark.parametrize(
    "tables",
    [
        [[[1.0], [2.0]], [[np.nan], [1.0]], [[np.inf], [-np.inf]]],
        [[[0.0], [1.0]], [[-0.0], [1.0]]],
        [[[-0.0]], [[0.0]]],
        [[[INT64.min], [INT64.max]], [[0], [INT64.max - 1]]],
        [[[INT64.max]], [[INT64.max - 1]], [[INT64.min]]],
        [[[2.0**53], [2.0**53 + 2]], [[2.0**53 - 1]]],
        [[[1e300, 5e-324]], [[-1e300, 0.0]]],
        [np.array([[2**64 - 1], [1]], dtype=np.uint64), np.array([[2**63], [2**63 - 1]], dtype=np.uint64)],
        [np.array([[-128], [127]], dtype=np.int8)],
        [np.array([[True], [False]]), np.array([[False]])],
        [np.array([[3], [4]]), np.array([[3.5], [4.0]]), np.array([[5], [3]])],
        [np.array([[3]]), np.array([[4614253070214989087]]), np.array([[3.14]])],
        [np.array([[0.1]]), np.array([[0.1]], dtype=np.float32)],
        [np.array([[1.5]], dtype=np.longdouble)],
        [np.asfortranarray(random_rows(50, 3)), random_rows(100, 3)[::2, ::-1]],
        [random_rows(200, 2, columns=70)],
        [np.empty((0, 3)), np.ones((2, 3)), np.empty((0, 3))],
    ],
    ids=str,
)
def test_extremes(tables: list[Any]) -> None:
    check(*(np.asarray(table) for table in tables))


def test_a_wide_space_of_keys_is_searched() -> None:
    """So many values in so many columns that no table could hold every possible row."""
    X = random_rows(20_000, 40) * 1_000
    tables = [X[np.random.default_rng(seed).integers(0, 2_000, 5_000)] for seed in range(4)]
    asked = check(*tables)
    assert asked.rows == len(np.unique(np.concatenate(tables), axis=0))


def test_what_cannot_be_coded_goes_to_the_classifier() -> None:
    words = np.array([["a"], ["b"]], dtype=object)
    predict = DistinctRows(lambda X: np.full((len(X), 2), 7.0))
    assert predicted(predict, words).tolist() == [[7.0, 7.0]] * 2


MIXED = {
    "int8 and int64": [np.array([1, -1, 1, 1], np.int8), np.array([5, 5, 5, 2**60])],
    "bool and int8": [np.array([True, False, True, True]), np.array([3, 3, 3, -4], np.int8)],
    "int8 and float64": [np.array([1, 2, 1, 1], np.int8), np.array([0.5, np.nan, 0.5, -0.0])],
    "integers that are no floats": [np.array([2**53, 2**53 + 1, 2**53, 2**53 + 1]), np.array([0.5, 0.5, 0.5, 0.5])],
    "signed and unsigned": [np.array([-1, 1, -1, 1]), np.array([2**64 - 1, 2**64 - 2, 2**64 - 1, 1], np.uint64)],
    "float32 and int32": [np.array([0.1, 0.2, 0.1, 0.1], np.float32), np.array([7, 7, 7, -(2**30)], np.int32)],
}


@pytest.mark.parametrize("name", MIXED)
def test_columns_of_several_types_are_predicted_as_the_array_that_holds_them_all(name: str) -> None:
    columns = MIXED[name]
    asked = Asked()
    predict = DistinctRows(asked)
    for rows in (slice(0, 1), slice(0, 3), slice(None), slice(3, 4), slice(None)):
        X = np.column_stack([column[rows] for column in columns])
        assert np.column_stack(predict([column[rows] for column in columns])).tobytes() == digest(X).tobytes()
    assert asked.rows <= 3


# How often the classifier is asked


def test_each_distinct_row_is_asked_once() -> None:
    X = random_rows(9_000, 4)
    asked = check(X[:100], X[:100], X, X[::-1], X[50:60])
    assert asked.rows == len(np.unique(X, axis=0))
    assert asked.calls <= 2


def test_one_distinct_row() -> None:
    asked = check(np.full((5_000, 3), 2.5), np.full((1, 3), 2.5), np.full((50_000, 3), 2.5))
    assert (asked.calls, asked.rows) == (1, 1)


def test_rows_that_hardly_repeat_go_to_the_classifier() -> None:
    asked = Asked()
    predict = DistinctRows(asked)
    X = np.arange(100_000).reshape(-1, 2)
    for start in range(0, len(X), 5_000):
        found = predicted(predict, X[start : start + 5_000])
        assert found.tobytes() == digest(X[start : start + 5_000]).tobytes()
    assert not predict.on
    assert asked.rows <= len(X) + 10_000
    calls = asked.calls
    predicted(predict, X[:1])
    predicted(predict, X[:1])
    assert asked.calls == calls + 2


@pytest.mark.parametrize(("limit", "value"), [("MAX_DISTINCT", 100), ("MAX_COLUMN_VALUES", 100), ("MAX_KEYS", 5_000)])
def test_more_than_can_be_remembered_goes_to_the_classifier(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(distinct, limit, value)
    few, many = np.tile(np.arange(80.0), (2, 1)).T + 0.5, np.tile(np.arange(150.0), (2, 1)).T + 0.5
    predict = DistinctRows(digest)
    for X in (few, many, few):
        assert predicted(predict, X).tobytes() == digest(X).tobytes()
    assert not predict.on


def test_few_rows_that_do_not_repeat_do_not_turn_it_off() -> None:
    predict = DistinctRows(digest)
    X = random_rows(40_000, 4)
    predicted(predict, np.unique(X, axis=0))
    predicted(predict, X)
    assert predict.on


def test_threads_share_what_is_known() -> None:
    tables = [random_rows(2_000, 3 + seed % 3)[seed:] for seed in range(30)]
    halves = [table / 2 for table in tables]
    asked = Asked()
    predict = DistinctRows(asked)
    start = threading.Barrier(4)

    def work(place: int) -> list[bytes]:
        start.wait()
        return [predicted(predict, X).tobytes() for X in [*tables[place::2], *halves[place::2]]]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, [0, 1, 0, 1]))
    for place, found in enumerate(results):
        assert found == [digest(X).tobytes() for X in [*tables[place % 2 :: 2], *halves[place % 2 :: 2]]]
    assert not asked.at_once
    assert asked.rows == 2 * len(np.unique(np.concatenate(tables), axis=0))
