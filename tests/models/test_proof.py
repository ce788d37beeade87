"""A proof holds where all answers are the same, bit by bit, and tells nothing of the rows of the fit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from titanic_batch.models import proof as proofs
from titanic_batch.models.model import Model
from titanic_batch.models.proof import VERSION, Proof
from titanic_batch.models.training_data import features_of, packaged_rows

N_FEATURES = 7
STRUCTURE = "0123456789abcdef" * 4


def answers(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Answer as a model might: with numbers from 0 to 1, all bits of which are used."""
    numbers: NDArray[np.float64] = np.abs(np.sin(np.nan_to_num(X).sum(axis=1)))
    return numbers


def rows_asked(n_features: int = N_FEATURES) -> NDArray[np.float64]:
    """Return the rows that a model is asked."""
    asked: list[NDArray[np.float64]] = []

    def answer(X: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(X)
        return answers(X)

    Proof.of(STRUCTURE, n_features, answer)
    return asked[0]


def usual() -> Proof:
    return Proof.of(STRUCTURE, N_FEATURES, answers)


# The rows


def test_the_rows_are_those_that_files_in_the_field_were_proven_with() -> None:
    """If they must change, so must the version of the proof: all files would lose theirs."""
    rows = rows_asked()
    assert (rows.dtype.str, rows.shape) == ("<f8", (64, N_FEATURES))
    assert VERSION == 1
    written = np.where(np.isnan(rows), 99.0, rows)  # whatever bits stand for NaN
    digest = hashlib.sha256(np.ascontiguousarray(written, "<f8").tobytes()).hexdigest()
    assert digest == "00804e68670dde0cbbf19837ce9f414d118560ee3a12d5560ca03413d6fdad68"


def test_the_rows_are_the_same_each_time_and_for_each_reader() -> None:
    first = rows_asked()
    first[:] = 0
    assert rows_asked().tobytes() == rows_asked().tobytes() != first.tobytes()
    held: list[bytes] = []
    usual().holds(N_FEATURES, lambda X: held.append(X.tobytes()) or answers(X))  # type: ignore[func-returns-value]  # it returns None, so that the answers follow
    assert held == [rows_asked().tobytes()]


def test_no_row_is_one_that_a_model_was_fitted_on() -> None:
    fitted_on = Model(n_estimators=1).pipeline[:-1].fit_transform(features_of(packaged_rows()))
    known = {tuple(row) for row in np.asarray(fitted_on, np.float64).tolist()}
    assert len(known) > 100
    assert not known & {tuple(row) for row in rows_asked().tolist()}


def test_the_rows_reach_all_codes_and_what_lies_between_and_beyond() -> None:
    rows = rows_asked()
    for column in rows.T:
        assert np.isnan(column).any()
        assert np.nanmin(column) < 0
        assert np.nanmax(column) > 9
        assert len(np.unique(column[~np.isnan(column)])) > 15


# What holds


def test_a_proof_holds_where_the_answers_are_the_same() -> None:
    proof = usual()
    assert (proof.structure, len(proof.probabilities)) == (STRUCTURE, 64)
    assert proof.holds(N_FEATURES, answers)
    assert Proof.from_bytes(proof.to_bytes()) == proof


@pytest.mark.parametrize("position", [0, 31, 63])
@pytest.mark.parametrize("direction", [-1, 2])
def test_a_proof_does_not_hold_where_one_answer_is_one_ulp_off(position: int, direction: int) -> None:
    def off(X: NDArray[np.float64]) -> NDArray[np.float64]:
        numbers = answers(X)
        numbers[position] = np.nextafter(numbers[position], direction)
        return numbers

    assert not usual().holds(N_FEATURES, off)
    assert not Proof.of(STRUCTURE, N_FEATURES, off).holds(N_FEATURES, answers)


def test_a_proof_does_not_hold_for_other_shapes_types_and_signs_of_zero() -> None:
    proof = Proof.of(STRUCTURE, N_FEATURES, lambda X: np.zeros(len(X)))
    assert proof.holds(N_FEATURES, lambda X: np.zeros(len(X)))
    assert not proof.holds(N_FEATURES, lambda X: -np.zeros(len(X)))
    assert not proof.holds(N_FEATURES, lambda X: np.zeros(len(X) - 1))
    assert not proof.holds(N_FEATURES, lambda X: np.zeros(len(X), np.float32))
    assert not proof.holds(N_FEATURES, lambda X: np.full(len(X), np.nan))
    assert not usual().holds(N_FEATURES - 1, answers)


@given(st.lists(st.floats(0, 1), min_size=64, max_size=64))
def test_any_answers_survive_the_file(numbers: list[float]) -> None:
    proof = Proof.of(STRUCTURE, N_FEATURES, lambda X: np.array(numbers))
    read = Proof.from_bytes(proof.to_bytes())
    assert np.array(read.probabilities).tobytes() == np.array(numbers).tobytes()
    assert read.holds(N_FEATURES, lambda X: np.array(numbers))


# What is no proof


def data(**other: Any) -> bytes:
    return json.dumps(json.loads(usual().to_bytes()) | other).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 1, "version": 1}',
        data(version=VERSION + 1),
        data(version=VERSION - 1),
        data(version=True),
        data(version=1.0),
        data(version="1"),
        data(version=None),
        data(structure=STRUCTURE[:-1]),
        data(structure=STRUCTURE.upper()),
        data(structure=STRUCTURE + "\n"),
        data(structure=None),
        data(probabilities=None),
        data(probabilities={}),
        data(probabilities=[]),
        data(probabilities=[0.5] * 63),
        data(probabilities=[0.5] * 65),
        data(probabilities=[0.5] * 63 + [None]),
        data(probabilities=[0.5] * 63 + [True]),
        data(probabilities=[0.5] * 63 + ["0.5"]),
        data(probabilities=[0.5] * 63 + [1.0000001]),
        data(probabilities=[0.5] * 63 + [-1e-300]),
        data(probabilities=[0.5] * 63 + [float("nan")]),
        data(probabilities=[0.5] * 63 + [float("inf")]),
        data(probabilities=[0.5] * 63 + [10**400]),
        data().replace(b"0.", b"1" * 5_000 + b"0.", 1),
    ],
    ids=lambda content: f"{len(content)} {content[-30:]!r}",
)
def test_anything_else_is_no_proof(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each says something else, which nobody reads
        Proof.from_bytes(content)


def test_whole_numbers_are_probabilities_too() -> None:
    proof = Proof.from_bytes(data(probabilities=[0, 1] * 32))
    assert proof.holds(N_FEATURES, lambda X: np.array([0.0, 1.0] * 32))


def test_members_that_are_not_known_are_passed_over() -> None:
    assert Proof.from_bytes(data(more=[1])) == usual()


def test_a_proof_fits_into_what_is_read_of_it() -> None:
    longest = Proof(STRUCTURE, [2.2250738585072014e-308] * proofs._ROWS)
    assert len(longest.to_bytes()) < 2**12
