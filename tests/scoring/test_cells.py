"""Features are counted in cells that hold enough training rows: by value, or in ranges with about as many rows each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import sparse

from titanic_batch.scoring.cells import LEAST_ROWS, MAX_VALUES, RANGES, Cells, numeric_columns

NAN, INF = np.nan, np.inf


def cells_of(values: Any) -> Cells:
    cells = Cells.of(np.array(values, np.float64))
    assert cells is not None
    return cells


def counted(cells: Cells, values: Any) -> list[int]:
    places = cells.places(np.array(values, np.float64))
    counts: list[int] = np.bincount(places, minlength=len(cells.trained)).tolist()
    return counts


def test_few_values_have_a_cell_each() -> None:
    assert cells_of([0, 1, 1, 0.5] * 3).to_json() == {"values": [0, 0.5, 1], "counts": [3, 3, 6]}


def test_many_values_are_counted_in_ten_ranges_with_as_many_rows_each() -> None:
    assert cells_of(np.arange(1000) + 0.5).to_json() == {
        "lowest": 0.5,
        "edges": [99.5, 199.5, 299.5, 399.5, 499.5, 599.5, 699.5, 799.5, 899.5, 999.5],
        "counts": [100] * 10,
    }


def test_a_range_includes_its_upper_end_and_the_first_one_its_lower_too() -> None:
    cells = cells_of(np.arange(1000))
    assert cells.places(np.array([0, 99, 99.5, 100, 199, 999.0])).tolist() == [0, 0, 1, 1, 1, 9]


def test_equal_values_stay_in_one_range() -> None:
    heavy = np.concatenate([np.zeros(600), 1 + np.arange(400)])
    cells = cells_of(heavy)
    assert (cells.lowest, cells.points[0], cells.counts[0]) == (0, 0, 600)
    assert cells.counts[1:].tolist() == [45, 45, 45, 45, 44, 44, 44, 44, 44]
    assert counted(cells, heavy) == cells.trained.tolist()


@pytest.mark.parametrize("rows", [11, 17, 18, 30, 89, 91, 333, 1000])
def test_ranges_hold_enough_rows_and_all_of_them(rows: int) -> None:
    column = np.random.default_rng(rows).normal(size=rows)
    cells = cells_of(column)
    assert cells.lowest == column.min()
    assert cells.points[-1] == column.max()
    assert len(cells.points) == min(RANGES, max(rows // LEAST_ROWS, 1))
    assert cells.counts.sum() == rows
    assert cells.counts.min() >= min(rows, LEAST_ROWS)
    assert counted(cells, column) == cells.trained.tolist()


def test_whether_rows_share_values_decides_how_they_are_counted() -> None:
    masses = np.round(np.random.default_rng(1).normal(4200, 800, 333) / 50) * 50
    assert len(np.unique(masses)) < 100
    assert cells_of(masses).lowest is not None, "hardly any value has as many rows as a cell needs"
    assert cells_of(masses.tolist() * 30).lowest is None, "each has, now"
    assert cells_of(np.repeat(np.arange(RANGES), 2)).lowest is None, "ranges would not be more than the values"
    assert cells_of(np.repeat(np.arange(RANGES + 1), 2)).lowest is not None
    assert cells_of(np.repeat(np.arange(MAX_VALUES), 40)).lowest is None
    assert cells_of(np.repeat(np.arange(MAX_VALUES + 1), 40)).lowest is not None
    assert cells_of([*np.repeat(np.arange(20), 40), *range(20, 40)]).lowest is None, "few rows have rare values"


def test_what_lies_outside_the_range_or_is_missing_has_a_cell() -> None:
    column = np.concatenate([np.arange(990), [NAN] * 10])
    cells = cells_of(column)
    assert cells.to_json() == {
        "lowest": 0,
        "edges": [98, 197, 296, 395, 494, 593, 692, 791, 890, 989],
        "counts": [99] * 10,
        "missing": 10,
    }
    assert cells.trained.tolist() == [99] * 10 + [0, 10]
    assert counted(cells, [-1, 1e9, NAN, INF, -INF, 0]) == [1, *[0] * 9, 2, 3]
    assert counted(cells_of(np.arange(990)), [-1, 1e9, NAN, INF, -INF, 0]) == [1, *[0] * 9, 5]


def test_missing_values_among_few_values_have_a_cell() -> None:
    cells = cells_of([0, 1, 1, NAN])
    assert cells.to_json() == {"values": [0, 1], "counts": [1, 2], "missing": 1}
    assert cells.trained.tolist() == [1, 2, 0, 1]
    assert counted(cells, [0, 7, NAN, INF]) == [1, 0, 1, 2]
    assert counted(cells_of([0, 1, 1]), [0, 7, NAN, INF]) == [1, 0, 3]


@pytest.mark.parametrize("values", [[], [NAN, NAN], [INF, -INF]])
def test_without_numbers_there_are_no_cells(values: list[float]) -> None:
    assert Cells.of(np.array(values, np.float64)) is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cells_are_the_same_after_writing_and_reading(dtype: type[np.floating[Any]]) -> None:
    column = np.random.default_rng(2).lognormal(size=500).astype(dtype).astype(np.float64)
    column[:20] = NAN
    cells = cells_of(column)
    again = Cells.from_json(json.loads(json.dumps(cells.to_json(), allow_nan=False)))
    assert again.to_json() == cells.to_json()
    assert counted(again, column) == cells.trained.tolist()


GOOD = {"lowest": 0, "edges": [1, 2], "counts": [20, 20], "missing": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [2, 1]},
        {"edges": [1, 1]},
        {"edges": [1, NAN]},
        {"edges": [1, 2, 3]},
        {"edges": []},
        {"edges": [[1, 2]]},
        {"edges": ["a", "b"]},
        {"lowest": 1.5},
        {"lowest": NAN},
        {"lowest": None},
        {"counts": [20]},
        {"counts": [20, -1]},
        {"counts": [20, 0.5]},
        {"missing": -1},
        {"missing": 0.5},
        {"missing": None},
    ],
    ids=str,
)
def test_ranges_of_another_form_are_refused(change: dict[str, Any]) -> None:
    assert Cells.from_json(GOOD).to_json() == GOOD
    with pytest.raises((TypeError, ValueError)):
        Cells.from_json(GOOD | change)


MIXED = np.array([1, 2.5, True, None, "3", NAN, pd.NA, np.float32(4)], object)
AS_NUMBERS = [1, 2.5, 1, NAN, NAN, NAN, NAN, 4]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.array([[0, 1], [0, 2]], np.int8), [1, 2]),
        (np.array([[False, True]]), [1]),
        (np.column_stack([MIXED, MIXED]), AS_NUMBERS),
        (np.array([["a", "1"]]), [NAN]),
        (sparse.csr_matrix([[0, 0], [0, 3.0]]), [0, 3]),
        (sparse.csc_array([[0, 0], [1, 3]]), [0, 3]),
        (sparse.coo_matrix([[0, 0], [1, 3]]), [0, 3]),
        (pd.DataFrame({"a": [1, 2], "b": pd.array([1, None], "Int64")}), [1, NAN]),
        (pd.DataFrame({"a": [1, 2], "b": pd.array([True, None], "boolean")}), [1, NAN]),
        (pd.DataFrame({"a": [1, 2], "b": ["1", "x"]}), [NAN, NAN]),
        (pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["1", "x"])}), [NAN, NAN]),
        (pd.DataFrame({"a": [1], "b": pd.to_datetime(["2020-01-01"])}), [NAN]),
        (pd.DataFrame({"a": [1, 2], "b": pd.arrays.SparseArray([0, 5])}), [0, 5]),
    ],
)
def test_columns_of_any_features_are_numbers_where_they_hold_numbers(X: Any, expected: list[float]) -> None:
    found: NDArray[np.float64] = numeric_columns(X)(1)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
