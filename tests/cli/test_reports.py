"""What a command prints in the end: aligned, on one line each, and nothing that a terminal would obey."""

from __future__ import annotations

import json
from typing import Any

import pytest

from titanic_batch.cli.reports import artifact_json, artifact_text, difference_text, fit_text
from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.cross_validation import Comparison
from titanic_batch.models.evaluation import Estimate, Evaluation
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.model import Model
from titanic_batch.runs.fit import FitReport


def evaluation(rows: int) -> Evaluation:
    return Evaluation(
        rows,
        {
            "accuracy": Estimate(0.8, 0.75, 0.85),
            "log_loss": Estimate(0.4, 0.3, 0.5),
            "brier_score": Estimate(0.12, 0.1, 0.14),
        },
    )


def artifact(manifest: dict[str, Any] | None, name: str = "model.skops") -> Artifact:
    known = None if manifest is None else Manifest.from_json(manifest)
    return Artifact(name, "joblib" if manifest is None else "skops", b"", "ab" * 32, known)


def test_a_fit_is_one_table() -> None:
    report = FitReport(Model(), "model.skops", evaluation(891), {"max_depth": 3}, evaluation(418), html="model.html")
    assert fit_text(report) == (
        "evaluated by                rows  accuracy                log loss   Brier\n"
        "10-fold cross-validation     891  0.8000 (0.750-0.850)      0.4000  0.1200\n"
        "holdout                      418  0.8000 (0.750-0.850)      0.4000  0.1200\n"
        "chosen: max_depth 3\n"
        "saved: model.skops\n"
        "report: model.html"
    )


def test_a_fit_that_failed_saved_nothing() -> None:
    text = fit_text(FitReport(Model(), "model.skops", evaluation(891), failure="too bad"))
    assert "saved" not in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("metric", "difference", "p_value", "verdict"),
    [
        ("accuracy", 0.02, 0.01, "better, and not by chance"),
        ("accuracy", -0.02, 0.01, "worse, and not by chance"),
        ("log_loss", 0.02, 0.01, "worse, and not by chance"),
        ("brier_score", -0.02, 0.01, "better, and not by chance"),
        ("accuracy", 0.02, 0.2, "may be chance"),
    ],
)
def test_a_difference_is_told_with_what_it_is_worth(
    metric: str, difference: float, p_value: float, verdict: str
) -> None:
    comparison = Comparison(metric, 0.7, 0.7 + difference, Estimate(difference, difference - 0.01, 0.03), p_value)
    head, line = fit_text(FitReport(Model(), "m", evaluation(1), comparisons=[comparison])).splitlines()[2:4]
    assert head == "the old model and the new, each refitted on the same 50 folds:"
    assert line.startswith(f"{metric.replace('_', ' ')}: 0.7000 -> {0.7 + difference:.4f}, {difference:+.4f} (")
    assert line.endswith(f"p = {p_value:.3f}: {verdict}")


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
