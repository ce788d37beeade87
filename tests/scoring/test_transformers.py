"""The transformers: scikit-learn's own checks, their bins and categories, and every kind of column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.scoring.sample_transformers import age_encoder, codes_of, deck_encoder
from titanic_batch.passenger.features import AGE_EDGES, FARE_EDGES, MISSING_NUMBER, SEXES
from titanic_batch.scoring.transformers import BinEncoder, CategoryEncoder

NO_DECK = 9


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        age_encoder(),
        BinEncoder(FARE_EDGES, MISSING_NUMBER),
        BinEncoder((0.0, 0.5), missing=2.0),
        CategoryEncoder(SEXES),
        deck_encoder(),
        CategoryEncoder(("1", "-1"), first_letter=True),
    ]
)
def test_estimator_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "column",
    [
        [np.nan, 30.0],
        np.array([np.nan, 30.0], dtype=np.float32),
        np.array([None, 30], dtype=object),
        pd.Series([None, 30.0], dtype="Float64"),
        pd.Series([None, 30], dtype="Int64"),
        pd.Series([None, 30.0], dtype=pd.ArrowDtype(pa.float64())),
    ],
)
@pytest.mark.parametrize(("missing", "code"), [(-0.5, 0), (0.5, 1), (120, 7), (-1, 8), (121, 8)])
def test_missing_number_counts_as_its_stand_in(column: Any, missing: float, code: int) -> None:
    assert codes_of(BinEncoder(AGE_EDGES, missing), column) == [code, 5]


def test_whole_numbers_are_binned_like_fractions() -> None:
    column = [0, 1, 5, 6, 12, 13, 18, 19, 25, 26, 35, 36, 60, 61, 120, 121]
    expected = [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    for dtype in (np.int8, np.int64, np.float32, np.float64, object):
        assert codes_of(age_encoder(), np.array(column, dtype=dtype)) == expected


@given(st.lists(st.floats(), min_size=1))
@settings(deadline=None)
def test_bins_agree_with_their_definition(numbers: list[float]) -> None:
    edges = [-1, 0, 8, 15, 31, 1000]
    expected = []
    for given_number in numbers:
        number = -0.5 if np.isnan(given_number) else given_number
        inside = [i for i in range(5) if edges[i] < number <= edges[i + 1]]
        expected.append(inside[0] if inside else 5)
    assert codes_of(BinEncoder(FARE_EDGES, MISSING_NUMBER), numbers) == expected


def test_text_in_a_column_of_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        age_encoder().fit(pd.DataFrame({"Age": ["old"]}))


CABINS = ["C85", None, "T", "", "c85", "N", "Z9", "F G73", "C85", " B1", "A", "B", "D", "E", "G6"]
CABIN_CODES = [2, 8, 7, NO_DECK, NO_DECK, 8, NO_DECK, 5, 2, NO_DECK, 0, 1, 3, 4, 6]
KINDS: dict[str, Callable[[list[str | None]], Any]] = {
    "object, None": lambda values: np.array(values, dtype=object),
    "object, NaN": lambda values: pd.Series([np.nan if v is None else v for v in values], dtype=object),
    "object, NA": lambda values: pd.Series([pd.NA if v is None else v for v in values], dtype=object),
    "inferred": lambda values: pd.Series(values),
    "string[python]": lambda values: pd.Series(values, dtype="string[python]"),
    "string[pyarrow]": lambda values: pd.Series(values, dtype="string[pyarrow]"),
    "arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "categorical": lambda values: pd.Categorical(values),
    "categorical of arrow": lambda values: pd.Series(values, dtype="string[pyarrow]").astype("category"),
    "categorical, reversed": lambda values: pd.Categorical(
        values, categories=sorted({v for v in values if v is not None}, reverse=True), ordered=True
    ),
    "categorical, unused": lambda values: pd.Categorical(
        values, categories=["Q", "A99", *dict.fromkeys(v for v in values if v is not None), "B99", "QQ"]
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_column_has_the_same_codes(kind: str) -> None:
    assert codes_of(deck_encoder(), KINDS[kind](CABINS)) == CABIN_CODES


@pytest.mark.parametrize("kind", KINDS)
def test_whole_values_are_looked_up_unless_told_otherwise(kind: str) -> None:
    column = KINDS[kind](["male", "female", "m", "", "Male", "male ", None])
    assert codes_of(CategoryEncoder(SEXES), column) == [1, 0, 2, 2, 2, 2, 2]
    assert codes_of(CategoryEncoder(SEXES, missing="male"), column) == [1, 0, 2, 2, 2, 2, 1]
    assert codes_of(CategoryEncoder(SEXES, missing="neither"), column) == [1, 0, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_column_of_nothing_but_missing_values(kind: str) -> None:
    column = KINDS[kind]([None, None])
    assert codes_of(deck_encoder(), column) == [8, 8]
    assert codes_of(CategoryEncoder(SEXES), column) == [2, 2]


def test_codes_do_not_depend_on_the_rows_of_fit() -> None:
    encoder = deck_encoder().fit(pd.DataFrame({"Cabin": ["G6", "Z1"]}))
    codes = encoder.transform(pd.DataFrame({"Cabin": CABINS}))
    assert codes[:, 0].tolist() == CABIN_CODES


class Deck:
    """A value that counts how often one of its kind is hashed."""

    hashed = 0

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def __str__(self) -> str:
        return self.letter

    def __hash__(self) -> int:
        Deck.hashed += 1
        return hash(self.letter)


def test_categorical_is_not_looked_up_row_by_row() -> None:
    positions = np.arange(1000) % 3 - 1
    decks = pd.Categorical.from_codes(positions, categories=pd.Index([Deck("B"), Deck("C")], dtype=object))
    frame = pd.DataFrame({"Cabin": decks})
    Deck.hashed = 0
    codes = deck_encoder().fit_transform(frame)[:, 0]
    assert Deck.hashed < 10
    np.testing.assert_array_equal(codes, np.array([1, 2, 8])[positions])


def numbers_and_words() -> list[tuple[BinEncoder | CategoryEncoder, pd.DataFrame]]:
    """Return each encoder with a frame of two columns for it, under an index of its own."""
    index = pd.Index([7, 3, 5])
    numbers = pd.DataFrame({"a": [1.0, np.nan, 2000.0], "b": [0.0, 9.0, -3.0]}, index=index)
    words = pd.DataFrame({"a": ["A1", None, "Z"], "b": ["", "B", "N"]}, index=index)
    return [
        (age_encoder(), numbers),
        (BinEncoder(FARE_EDGES, MISSING_NUMBER), numbers.astype(np.float32)),
        (BinEncoder(FARE_EDGES, MISSING_NUMBER), numbers.astype("Float64")),
        (deck_encoder(), words),
        (deck_encoder(), words.astype(object)),
        (deck_encoder(), words.astype("category")),
    ]


both = pytest.mark.parametrize(
    ("encoder", "frame"),
    numbers_and_words(),
    ids=lambda value: str(value.dtypes.iloc[0]) if isinstance(value, pd.DataFrame) else type(value).__name__,
)


@both
def test_input_is_left_as_it_was(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    before = frame.copy(deep=True)
    codes = encoder.fit(frame).transform(frame)
    codes[:] = 77
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("order", ["C", "F"])
@both
def test_read_only_array_has_the_codes_of_its_frame(
    encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame, order: Any
) -> None:
    numeric = isinstance(encoder, BinEncoder)
    array = np.array(frame.to_numpy(dtype=float if numeric else object), order=order)
    array.setflags(write=False)
    codes = encoder.fit(frame).transform(frame)
    np.testing.assert_array_equal(clone(encoder).fit(array).transform(array), codes)


@both
def test_set_output(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    codes = clone(encoder).set_output(transform="default").fit_transform(frame)
    assert type(codes) is np.ndarray
    coded = clone(encoder).set_output(transform="pandas").fit_transform(frame)
    pd.testing.assert_frame_equal(coded, pd.DataFrame(codes, index=frame.index, columns=frame.columns))


@both
def test_feature_names(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    fitted = clone(encoder).fit(frame)
    assert fitted.n_features_in_ == 2
    assert list(fitted.feature_names_in_) == ["a", "b"]
    assert list(fitted.get_feature_names_out()) == ["a", "b"]


@both
def test_other_columns_than_in_fit_are_refused(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    fitted = clone(encoder).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.transform(frame[["b", "a"]])
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame[["a"]])
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.iloc[:0].rename(columns={"b": "c"}))


@both
def test_clone_has_the_parameters_and_is_not_fitted(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    copied = clone(encoder.fit(frame))
    assert copied.get_params() == encoder.get_params()
    with pytest.raises(NotFittedError):
        copied.transform(frame)


def test_parameters() -> None:
    assert BinEncoder((0, 1), missing=0.5).get_params() == {"edges": (0, 1), "missing": 0.5}
    assert CategoryEncoder(("a",), missing="a", first_letter=True).get_params() == {
        "categories": ("a",),
        "missing": "a",
        "first_letter": True,
    }
    assert codes_of(age_encoder().set_params(edges=(0, 50, 100)), [1, 51, 101]) == [0, 1, 2]


@both
def test_no_rows(encoder: BinEncoder | CategoryEncoder, frame: pd.DataFrame) -> None:
    fitted = clone(encoder).fit(frame)
    empty = frame.iloc[:0]
    untyped = pd.DataFrame({"a": [], "b": []}, dtype=object)
    for rows in (empty, untyped):
        codes = fitted.transform(rows)
        assert codes.shape == (0, 2)
        assert codes.dtype == np.int8
    named = fitted.set_output(transform="pandas").transform(empty)
    assert named.shape == (0, 2)
    assert list(named.columns) == ["a", "b"]
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        clone(encoder).fit(empty)


@pytest.mark.parametrize("encoder", [age_encoder(), CategoryEncoder(SEXES)])
def test_array_without_rows(encoder: BinEncoder | CategoryEncoder) -> None:
    fitted = encoder.fit(np.array([[1.0, 2.0, 3.0]]))
    assert fitted.transform(np.empty((0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="expecting 3 features"):
        fitted.transform(np.empty((0, 2)))
