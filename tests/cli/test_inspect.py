"""Inspecting: what a model file says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib

from tests.cli.command import Titanic, digest_of
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
