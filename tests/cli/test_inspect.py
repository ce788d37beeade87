"""Inspecting: what a model file says of itself."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from tests.cli.command import Titanic, digest_of
from tests.model_files import SEAL_BYTES, members_of, resealed, sealed
from titanic_batch.cli.inspect import artifact_json, artifact_text, difference_text
from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import MANIFEST, Artifact
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


@pytest.mark.parametrize("name", [MANIFEST, "more"])
@pytest.mark.parametrize(
    ("compression", "why"),
    [
        (zipfile.ZIP_LZMA, "its zip is encrypted, or packed in another way"),
        (zipfile.ZIP_DEFLATED, "its zip unpacks to far more than it holds"),
    ],
)
def test_inspect_does_not_unpack_a_bomb(
    titanic: Titanic, model_file: Path, name: str, compression: int, why: str
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for member, old in members_of(model_file.read_bytes()).items():
            file.writestr(member, old, zipfile.ZIP_DEFLATED)
        file.writestr(name, bytes(2**25), compression)
        file.comment = bytes(SEAL_BYTES)
    Path("bomb.skops").write_bytes(resealed(content.getvalue()))
    result = titanic("inspect", "bomb.skops")
    told = f"titanic: the model bomb.skops is not safe to read ({why}): fit it again.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (78, "", told)


@pytest.mark.parametrize("option", [(), ("--json",), ("--diff", "good.skops")])
def test_inspect_refuses_a_manifest_that_is_damaged(
    titanic: Titanic, model_file: Path, small_model: Model, option: tuple[str, ...]
) -> None:
    Path("good.skops").write_bytes(model_file.read_bytes())
    manifest = small_model.manifest
    manifest["reference"]["missing"]["Age"] = math.nan
    Path("bad.skops").write_bytes(sealed(members_of(model_file.read_bytes()), manifest))
    result = titanic("inspect", "bad.skops", *option)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith("titanic: the model bad.skops is damaged in its manifest, which holds a number ")


# What is printed


def artifact(manifest: dict[str, Any] | None, name: str = "model.skops") -> Artifact:
    known = None if manifest is None else Manifest.from_json(manifest)
    return Artifact(name, "joblib" if manifest is None else "skops", b"", "ab" * 32, known, None)


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
