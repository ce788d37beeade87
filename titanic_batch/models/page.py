"""A page about a model: what it is for and is not, how good it is and how sure that is, and how to score with it.

One HTML file that needs nothing else: it can be mailed, printed and kept beside the model.
"""

from __future__ import annotations

import re

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_curve
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from titanic_batch.models.cross_validation import FOLDS, CrossValidation, compare
from titanic_batch.models.evaluation import METRICS, Codes, Estimate, Probabilities
from titanic_batch.models.full_evaluation import FullEvaluation
from titanic_batch.models.model import Model
from titanic_batch.models.plots import HEIGHT, WIDTH, Bar, BarPlot, Histogram, LinePlot, Series
from titanic_batch.notebook import words
from titanic_batch.notebook.fitting import GROUPS, NOTEBOOK_CLAIM, NOTEBOOK_HELD_OUT
from titanic_batch.notebook.words import CLASSIFIER, HAPPENED, LABEL, LABELS

_BINS = 20
_OURS = "this model"
_NOTEBOOK = f"the notebook's {CLASSIFIER}"
_METRIC_NAMES = {"roc_auc": "ROC AUC", "brier_score": "Brier score"}


def page_of(model: Model, full: FullEvaluation, sha256: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    model
        Fitted here, so that its manifest tells how.
    full
        How good it is.
    sha256
        The digest of its file.
    """
    manifest = model.info
    shown = [(_OURS, "one", full.repeated)]
    shown += [] if full.notebook is None else [(_NOTEBOOK, "two", full.notebook)]
    return ENVIRONMENT.get_template("page.html").render(
        words=words,
        ours=_OURS,
        notebook=_NOTEBOOK,
        folds=FOLDS,
        metrics=METRICS,
        claim=NOTEBOOK_CLAIM,
        held_out=NOTEBOOK_HELD_OUT,
        manifest=manifest,
        fit=manifest.fit_record,
        full=full,
        evaluation=full.repeated.evaluation(),
        notebook_evaluation=None if full.notebook is None else full.notebook.evaluation(),
        comparisons=[compare(old, full.repeated, metric) for _, _, old in shown[1:] for metric in METRICS],
        roc=LinePlot(
            "ROC curve",
            "false positive rate",
            "true positive rate",
            [_roc(name, style, *folds.pooled()) for name, style, folds in shown],
        ),
        calibration=LinePlot(
            "Calibration",
            "predicted probability",
            f"share that {HAPPENED}",
            [_calibration(name, style, *folds.pooled()) for name, style, folds in shown],
            dots=True,
        ),
        slopes=[f"{folds.calibration_slope():.2f}" for _, _, folds in shown],
        distribution=_distribution(full.repeated),
        importances=_importances(full),
        confusion=_confusion(full.repeated),
        accuracies=_accuracies(full),
        diagram=_diagram(model.pipeline),
        sha256=sha256,
    )


def _roc(name: str, style: str, y: Codes, probabilities: Probabilities) -> Series:
    false_positives, true_positives, _ = roc_curve(y, probabilities)
    return Series(name, style, false_positives.tolist(), true_positives.tolist())


def _calibration(name: str, style: str, y: Codes, probabilities: Probabilities) -> Series:
    share, predicted = calibration_curve(y, probabilities, n_bins=10, strategy="quantile")
    return Series(name, style, predicted.tolist(), share.tolist())


def _distribution(folds: CrossValidation) -> Histogram:
    y, probabilities = folds.pooled()
    edges = np.linspace(0, 1, _BINS + 1)
    series = []
    for code, style in enumerate(("two", "one")):
        counts = np.histogram(probabilities[y == code], edges)[0] / folds.repeats
        series.append(Series(f"{LABEL} {LABELS[code]}", style, edges[:-1].tolist(), counts.tolist()))
    return Histogram("Score distribution", "predicted probability", "rows", edges.tolist(), series)


def _importances(full: FullEvaluation) -> BarPlot:
    bars = [_bar(name, estimate) for name, estimate in zip(full.columns, full.repeated.importances(), strict=True)]
    return BarPlot("Permutation importance", "growth of the log loss", sorted(bars, key=lambda bar: -bar.value))


def _accuracies(full: FullEvaluation) -> BarPlot:
    bars = [
        _bar(f"{column} {value}", evaluation.metrics["accuracy"])
        for column, values in full.groups.items()
        for value, evaluation in values.items()
    ]
    return BarPlot(f"Accuracy by {' and '.join(GROUPS)}", "accuracy", bars, span=(0.0, 1.0))


def _bar(name: str, estimate: Estimate) -> Bar:
    return Bar(name, estimate.value, estimate.low, estimate.high)


def _confusion(folds: CrossValidation) -> list[list[float]]:
    """Return how many rows of each label are predicted to have each, on average over the repeats."""
    y, probabilities = folds.pooled()
    counts: list[list[float]] = (confusion_matrix(y, probabilities > 0.5) / folds.repeats).tolist()
    return counts


def _diagram(pipeline: Pipeline) -> str:
    """Return scikit-learn's own diagram as HTML, without its script, which only copies names to the clipboard."""
    return re.sub(r"<script>.*?</script>", "", estimator_html_repr(pipeline), flags=re.DOTALL)


def _interval(estimate: Estimate, sign: str = "") -> str:
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def _metric(name: str) -> str:
    return _METRIC_NAMES.get(name, name.replace("_", " "))


def _px(coordinate: float) -> str:
    return f"{coordinate:.1f}"


ENVIRONMENT = Environment(
    loader=PackageLoader("titanic_batch.models"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.globals.update(WIDTH=WIDTH, HEIGHT=HEIGHT)
ENVIRONMENT.filters.update(interval=_interval, metric=_metric, px=_px)
