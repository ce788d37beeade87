"""The notebook's bins of age and fare, and its decks: every edge and every code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scoring.sample_transformers import codes_of, deck_encoder
from titanic_batch.passenger.features import AGE_EDGES, DECKS, FARE_EDGES
from titanic_batch.scoring.transformers import BinEncoder, CategoryEncoder

EDGES = {
    "Age": (AGE_EDGES, [-1, 0, 5, 12, 18, 25, 35, 60, 120]),
    "Fare": (FARE_EDGES, [-1, 0, 8, 15, 31, 1000]),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EDGES)
def test_bins_are_right_closed(name: str, dtype: type[np.floating[Any]]) -> None:
    edges, expected_edges = EDGES[name]
    assert list(edges) == expected_edges
    outside = len(expected_edges) - 1
    for position, edge in enumerate(expected_edges):
        at = dtype(edge)
        below, above = np.nextafter(at, dtype(-np.inf)), np.nextafter(at, dtype(np.inf))
        closed = position - 1 if position else outside
        column = np.array([below, at, above], dtype=dtype)
        assert codes_of(BinEncoder(edges), column) == [closed, closed, position]


@pytest.mark.parametrize("number", [-np.inf, -2.0, 1000.5, 1e300, np.inf])
@pytest.mark.parametrize("name", EDGES)
def test_number_outside_all_bins_has_its_own_code(name: str, number: float) -> None:
    edges, _ = EDGES[name]
    assert codes_of(BinEncoder(edges), [number, 1.0]) == [len(edges) - 1, 1]


DECK_CODES = {"A": 0, "B": 1, "C": 2, "D": 3, "E": 4, "F": 5, "G": 6, "T": 7, "N": 8}


def test_decks_are_coded_in_the_given_order() -> None:
    column = list(DECK_CODES)
    assert codes_of(deck_encoder(), column) == list(DECK_CODES.values())
    assert codes_of(CategoryEncoder(DECKS[::-1]), column) == list(DECK_CODES.values())[::-1]
