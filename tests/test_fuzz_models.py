"""Model files that somebody changed and sealed again, and the fuzzer against loaders that are wrong."""

from __future__ import annotations

import json

import pytest

from tests import fuzz_models
from tests.fuzz_footers import fuzz
from tests.fuzz_models import all_members, examine, expected, kinds, mutated, notebook_of, original
from tests.model_files import sealed
from tests.some_pipelines import PIPELINES
from titanic_batch.models import audit, manifest
from titanic_batch.models.artifact import MANIFEST, SCHEMA


def test_changed_models_end_as_they_must() -> None:
    outcomes, failures = fuzz(0, 20, mutated, examine)
    assert not failures
    assert outcomes.total() == 20
    assert len(outcomes) > 5


@pytest.mark.slow
def test_many_changed_models_end_as_they_must() -> None:
    outcomes, failures = fuzz(1_000, 400, mutated, examine)
    assert not failures
    assert outcomes.total() == 400
    for engine in ("plain", "scikit-learn"):
        assert outcomes[f"the same bits, {engine}"] > 10
        assert outcomes[f"another pipeline, {engine}"] > 0


@pytest.mark.filterwarnings("ignore:Found unknown categories")  # a file may know other ones
@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_changed_models_of_other_notebooks_end_as_they_must(name: str) -> None:
    with notebook_of(name):
        original(), expected(), kinds()
        outcomes, failures = fuzz(2_000, 150, mutated, examine)
    assert not failures
    assert outcomes["the same bits, scikit-learn"] > 10


def test_seed_makes_the_same_file_again() -> None:
    assert mutated(7) == mutated(7)
    assert len({mutated(seed) for seed in range(10)}) > 7


def test_a_file_that_is_not_changed_predicts_the_same_bits() -> None:
    assert fuzz(0, 1, lambda _: original(), examine) == ({"the same bits, plain": 1}, {})
    assert fuzz(0, 1, lambda _: sealed(all_members(), None), examine) == ({"the same bits, plain": 1}, {})


def test_fuzzer_finds_a_manifest_that_its_readers_fail_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_check", lambda data: None)
    members = all_members()
    data = json.loads(members[MANIFEST])
    data["reference"]["features"]["Sex"]["counts"] = [0, 0]
    outcomes, failures = fuzz(1, 1, lambda _: sealed(members | {MANIFEST: json.dumps(data).encode()}, None), examine)
    assert not outcomes
    assert "ZeroDivisionError" in failures[1]


@pytest.mark.slow
def test_fuzzer_finds_memory_that_is_wasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_FEW_NODES", 2**30)
    monkeypatch.setattr("titanic_batch.models.zip_members.MAX_UNPACKED_BYTES", 2**26)
    bomb = b"[" + b"[]," * 2**23 + b"[]]"
    outcomes, failures = fuzz(1, 1, lambda _: sealed(all_members() | {SCHEMA: bomb}, None), examine)
    assert not outcomes
    assert "MB more memory" in failures[1] or "MemoryError" in failures[1]


def test_fuzzer_finds_other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_models, "expected", lambda: b"other bits")
    outcomes, failures = fuzz(1, 1, lambda _: original(), examine)
    assert not outcomes
    assert "the same pipeline predicts otherwise" in failures[1]
