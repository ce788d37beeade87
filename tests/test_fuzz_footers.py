"""Parquet footers that nobody would write, and the fuzzer against readers that are wrong."""

from __future__ import annotations

import io
import os
import signal

import pyarrow.parquet as pq
import pytest

from tests import corpus, odd_parquet
from tests.fuzz_footers import fuzz, mutated, seeds
from titanic_batch.runs import batch


def test_runs_over_changed_footers_end_as_they_must() -> None:
    outcomes, failures = fuzz(0, 40)
    assert not failures
    assert outcomes.total() == 40
    assert len(outcomes) > 1


@pytest.mark.slow
def test_runs_over_many_changed_footers_end_as_they_must() -> None:
    outcomes, failures = fuzz(1_000, 500)
    assert not failures
    assert outcomes.total() == 500


def test_seed_makes_the_same_file_again() -> None:
    assert mutated(7) == mutated(7)
    assert len({mutated(seed) for seed in range(50)}) > 40


def test_files_are_read_in_full_as_long_as_their_footers_are_not_changed() -> None:
    outcomes, failures = fuzz(0, len(seeds()), lambda seed: seeds()[seed])
    assert not failures
    assert set(outcomes) <= {"rows rows", "rows DataError"}  # the latter where a column is kept that is not there


def test_fuzzer_finds_a_process_that_dies_and_goes_on() -> None:
    def make(seed: int) -> bytes:
        if seed == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return seeds()[0]

    outcomes, failures = fuzz(1, 5, make)
    assert failures == {3: f"the process ended with {-signal.SIGSEGV}"}
    assert outcomes.total() == 4


def test_fuzzer_finds_that_pyarrow_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*_: object) -> None:
        metadata = pq.read_metadata(io.BytesIO(odd_parquet.encrypted(corpus.good_table(1, 2), "Name")))
        for column in range(metadata.num_columns):
            metadata.row_group(0).column(column)

    monkeypatch.setattr(batch, "validate", careless)
    assert fuzz(1, 1)[1] == {1: f"the process ended with {-signal.SIGABRT}"}


def test_fuzzer_finds_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batch, "validate", broken)
    outcomes, failures = fuzz(1, 2)
    assert not outcomes
    assert all("ZeroDivisionError" in failure for failure in failures.values())
    assert set(failures) == {1, 2}


@pytest.mark.slow
def test_fuzzer_finds_memory_that_is_wasted() -> None:
    outcomes, failures = fuzz(1, 1, lambda seed: (b"\1" * (500 * 2**20))[:0] + seeds()[0])
    assert not outcomes
    assert "MB more memory" in failures[1]
