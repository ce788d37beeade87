"""Encoders give a single value and an Arrow column the codes that a transformer gives a frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from tests.scoring.sample_transformers import age_encoder, codes_of, deck_encoder
from titanic_batch.passenger.features import AGE_EDGES, DECKS, FARE_EDGES, MISSING_NUMBER, SEXES
from titanic_batch.scoring.encoders import Encoder, Passthrough
from titanic_batch.scoring.transformers import BinEncoder, CategoryEncoder


@given(
    st.none() | st.floats(allow_nan=False) | st.sampled_from([*AGE_EDGES, *FARE_EDGES, -0.5, -0.0]),
    st.sampled_from([age_encoder(), BinEncoder(FARE_EDGES, MISSING_NUMBER), BinEncoder((0.0, 0.5), missing=2.0)]),
)
@settings(max_examples=100)
def test_a_single_number_has_the_code_that_it_has_in_a_column(value: float | None, encoder: BinEncoder) -> None:
    assert [encoder.encoder.code(value)] == codes_of(encoder, [value if value is not None else np.nan])


@given(
    st.none() | st.text(max_size=2) | st.sampled_from([*DECKS, *SEXES, "C85", "F G73"]),
    st.sampled_from([CategoryEncoder(SEXES), deck_encoder(), CategoryEncoder(("1", "-1"), first_letter=True)]),
)
@settings(max_examples=100)
def test_a_single_text_has_the_code_that_it_has_in_a_column(value: str | None, encoder: CategoryEncoder) -> None:
    assert [encoder.encoder.code(value)] == codes_of(encoder, [value, "any"])[:1]


ENCODERS = [
    age_encoder(),
    BinEncoder(FARE_EDGES, MISSING_NUMBER),
    BinEncoder((0.0, 0.5), missing=2.0),
    BinEncoder(AGE_EDGES, missing=-7.0),
    BinEncoder((1, 2, 3), missing=np.nan),
]
NUMBERS = st.none() | st.floats(width=32) | st.sampled_from([*AGE_EDGES, *FARE_EDGES, -0.5, -0.0])


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()], ids=str)
@given(st.lists(NUMBERS, max_size=9), st.sampled_from(ENCODERS), st.integers(0, 9))
def test_an_arrow_column_of_numbers_has_the_codes_of_its_frame(
    kind: pa.DataType, numbers: list[float | None], encoder: BinEncoder, cut: int
) -> None:
    column = pa.chunked_array([pa.array(numbers[:cut], kind), pa.array(numbers[cut:], kind)])
    frame = pd.DataFrame({"x": column.to_numpy()})
    expected = clone(encoder).fit(pd.DataFrame({"x": [1.0]}, dtype=frame["x"].dtype)).transform(frame)
    found = encoder.encoder.column_codes(column)
    assert found is not None
    assert found.dtype == np.int8
    assert found.tolist() == expected[:, 0].tolist()


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.int64()], ids=str)
def test_an_arrow_column_of_whole_numbers_has_the_codes_of_its_frame(kind: pa.DataType) -> None:
    column = pa.array([0, 5, 6, 100, 121, None], kind)
    codes = age_encoder().encoder.column_codes(column)
    assert codes is not None
    assert codes.tolist() == codes_of(age_encoder(), column.to_pandas())


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
@given(st.lists(st.none() | st.text(max_size=3) | st.sampled_from([*DECKS, *SEXES, "C85"]), max_size=9))
def test_an_arrow_column_of_text_has_the_codes_of_its_values(kind: pa.DataType, values: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(values[3:], kind.value_type if pa.types.is_dictionary(kind) else kind)])
    for encoder in (CategoryEncoder(SEXES), CategoryEncoder(SEXES, missing="male"), deck_encoder()):
        found = encoder.encoder.column_codes(column.cast(kind))
        assert found is not None
        assert found.dtype == np.int8
        assert found.tolist() == [encoder.encoder.code(value) for value in values[3:]]


def test_an_arrow_column_of_another_type_has_no_codes() -> None:
    for column in (pa.array(["1"]), pa.array([True])):
        assert age_encoder().encoder.column_codes(column) is None
    for column in (pa.array([1]), pa.array([b"male"])):
        assert CategoryEncoder(SEXES).encoder.column_codes(column) is None
    for column in (pa.array(["1"]), pa.array([True])):
        assert Passthrough().column_codes(column) is None


def test_a_column_of_nothing_has_the_codes_of_missing_values() -> None:
    texts = pa.null(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())
    of_types: list[tuple[Encoder, tuple[pa.DataType, ...]]] = [
        (age_encoder().encoder, (pa.null(), pa.float64(), pa.int32())),
        (deck_encoder().encoder, texts),
        (CategoryEncoder(SEXES).encoder, texts),
    ]
    for encoder, types in of_types:
        for arrow_type in types:
            codes = encoder.column_codes(pa.nulls(2, arrow_type))
            assert codes is not None
            assert codes.tolist() == [encoder.code(None)] * 2


def test_numbers_pass_as_they_are() -> None:
    for column, expected in (
        (pa.array([3, -1], pa.int8()), np.array([3, -1], np.int8)),
        (pa.array([3, None], pa.int64()), np.array([3, np.nan])),
        (pa.array([0.5, None], pa.float32()), np.array([0.5, np.nan], np.float32)),
    ):
        found = Passthrough().column_codes(column)
        assert found is not None
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected, equal_nan=True)
    assert [Passthrough().code(value) for value in (3, 0.5, None)] == [3, 0.5, None]


@pytest.mark.parametrize(
    ("index", "count"),
    [(pa.int8(), 128), (pa.uint8(), 256), (pa.int16(), 300), (pa.uint32(), 3), (pa.int64(), 3), (pa.uint64(), 3)],
    ids=str,
)
@pytest.mark.parametrize("nulls", [True, False])
def test_dictionaries_have_the_same_codes_whatever_their_indices(index: pa.DataType, count: int, nulls: bool) -> None:
    encoder = CategoryEncoder(("A", "B"), missing="B", first_letter=True).encoder
    texts = [f"A{number}" for number in range(count)]
    places = [0, count - 1, *([None] if nulls else [])]
    column = pa.DictionaryArray.from_arrays(pa.array(places, index), texts)
    codes = encoder.column_codes(column)
    assert codes is not None
    assert codes.tolist() == [0, 0, *([1] if nulls else [])]


@pytest.mark.parametrize("missing", [0.1, 0.1 + 1e-12, -7.0, float("nan")])
def test_a_null_has_the_code_of_nan_in_any_precision(missing: float) -> None:
    encoder = BinEncoder((0, 0.1, 1), missing).encoder
    for kind in (np.float32, np.float64):
        codes = encoder.column_codes(pa.array(np.array([0.5, np.nan], kind), mask=np.array([False, True])))
        assert codes is not None
        assert codes.tolist() == encoder.codes(np.array([0.5, np.nan], kind)).tolist()
