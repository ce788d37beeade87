"""`titanic fit` prints how good a new model is, in one table."""

from __future__ import annotations

import pytest

from titanic_batch.cli.fit import text_of
from titanic_batch.models.cross_validation import Comparison
from titanic_batch.models.evaluation import Estimate, Evaluation
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


def test_a_fit_is_one_table() -> None:
    report = FitReport(Model(), "model.skops", evaluation(891), {"max_depth": 3}, evaluation(418), html="model.html")
    assert text_of(report) == (
        "evaluated by                rows  accuracy                log loss   Brier\n"
        "10-fold cross-validation     891  0.8000 (0.750-0.850)      0.4000  0.1200\n"
        "holdout                      418  0.8000 (0.750-0.850)      0.4000  0.1200\n"
        "chosen: max_depth 3\n"
        "saved: model.skops\n"
        "report: model.html"
    )


def test_a_fit_that_failed_saved_nothing() -> None:
    text = text_of(FitReport(Model(), "model.skops", evaluation(891), failure="too bad"))
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
    head, line = text_of(FitReport(Model(), "m", evaluation(1), comparisons=[comparison])).splitlines()[2:4]
    assert head == "the old model and the new, each refitted on the same 50 folds:"
    assert line.startswith(f"{metric.replace('_', ' ')}: 0.7000 -> {0.7 + difference:.4f}, {difference:+.4f} (")
    assert line.endswith(f"p = {p_value:.3f}: {verdict}")
