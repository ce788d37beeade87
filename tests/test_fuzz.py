"""The readers against inputs that nobody would write, and the fuzzer against readers that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests import corpus
from tests.fuzz import Case, check, fuzz, seeds
from titanic_batch.errors import DataError
from titanic_batch.runs import batch
from titanic_batch.runs.report import RunReport


@pytest.mark.slow
def test_readers_end_as_they_must_whatever_they_read() -> None:
    assert fuzz(20) > 0


def test_every_kind_of_file_is_a_seed() -> None:
    assert {kind for _, kind in seeds()} == {"csv", "csv.gz", "csv.zst", "parquet"}
    assert len(seeds()) > 200


@pytest.mark.parametrize(("data", "kind"), seeds()[::10])
def test_seeds_end_as_they_must(data: bytes, kind: Any) -> None:
    check(Case(data, kind))


@pytest.mark.slow
def test_fuzzer_finds_an_exception_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> RunReport:
        raise ZeroDivisionError

    monkeypatch.setattr(batch, "validate", broken)
    with pytest.raises(ZeroDivisionError):
        fuzz(60)


def test_fuzzer_finds_a_row_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = batch.validate

    def lossy(*arguments: Any) -> RunReport:
        report = judge(*arguments)
        report.rows += 1
        return report

    monkeypatch.setattr(batch, "validate", lossy)
    with pytest.raises(AssertionError):
        check(Case(corpus.csv_of(corpus.lines(1)), "csv"))


def test_fuzzer_finds_an_outcome_that_depends_on_how_the_input_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, calls = batch.validate, []

    def fickle(*arguments: Any) -> RunReport:
        calls.append(arguments)
        if len(calls) % 2:
            raise DataError("odd")
        return judge(*arguments)

    monkeypatch.setattr(batch, "validate", fickle)
    with pytest.raises(AssertionError):
        check(Case(corpus.csv_of(corpus.lines(1)), "csv"))
