"""Inspecting: what a model file says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from tests.cli.command import Titanic, digest_of
from titanic_batch.cli.inspect import artifact_json, artifact_text, difference_text
from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.model import Model


def test_inspect_shows_a_model_without_building_it(titanic: Titanic, model_file: Path, small_model: Model) -> None:
    result = titanic("inspect", model_file)
    assert (result.exit_code, result.stderr) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["sha256"] == digest_of(model_file)
    assert shown["training.rows"] == "891"
    result = titanic("inspect", model_file, "--json")
    assert json.loads(result.stdout) == {"sha256": digest_of(model_file), "manifest": small_model.manifest}
    joblib.dump(_Exploding(), "model.joblib")
    result = titanic("inspect", "model.joblib")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"\nsha256  {digest_of(Path('model.joblib'))}\n")
    assert not Path("it ran").exists()


class _Exploding:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("it ran",)


# What is printed


def artifact(manifest: dict[str, Any] | None, name: str = "model.skops") -> Artifact:
    known = None if manifest is None else Manifest.from_json(manifest)
    return Artifact(name, "joblib" if manifest is None else "skops", b"", "ab" * 32, known)


def test_a_manifest_is_told_line_by_line(small_model: Model) -> None:
    lines = artifact_text(artifact(small_model.manifest)).splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert shown["features"] == "Age, Fare, Cabin, Sex, Pclass, SibSp, Parch"
    assert shown["training.rows"] == "891"
    assert shown["parameters.max_leaf_nodes"] == "null"
    assert shown["sha256"] == "ab" * 32
    assert not any(name.startswith("reference") for name in shown)
    assert len({line.index(line.split(maxsplit=1)[1], 12) for line in lines}) == 1, "values stand below each other"


def test_json_is_the_whole_manifest(small_model: Model) -> None:
    shown = json.loads(artifact_json(artifact(small_model.manifest)))
    assert shown == {"sha256": "ab" * 32, "manifest": small_model.manifest}


def test_a_terminal_is_told_nothing_to_obey(small_model: Model) -> None:
    spoiled = small_model.manifest | {"description": "\x1b[2Jgone\nnext", "more": ["\x07"], "a\x1b": 1}
    text = artifact_text(artifact(spoiled))
    assert "\x1b" not in text.replace("\n", "")
    assert "\x07" not in text
    assert text.count("\n") == artifact_text(artifact(small_model.manifest)).count("\n") + 2


def test_two_models_are_told_apart_by_name(small_model: Model) -> None:
    other = small_model.manifest | {"seed": 24, "extra": [1, 2]}
    assert difference_text(artifact(small_model.manifest), artifact(other)) == "seed   23 -> 24\nextra  null -> 1, 2"
    assert difference_text(artifact(other), artifact(other)) == "the models are the same"


def test_a_pickle_tells_nothing(small_model: Model) -> None:
    assert artifact_text(artifact(None, "a.joblib")).startswith("a.joblib: a pickle, of which nothing is known")
    assert json.loads(artifact_json(artifact(None))) == {"sha256": "ab" * 32, "manifest": None}
    with pytest.raises(ModelError, match=r"a\.joblib is a pickle"):
        difference_text(artifact(None, "a.joblib"), artifact(small_model.manifest))
