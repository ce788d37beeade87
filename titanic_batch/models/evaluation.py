"""How good predictions are, and how sure that is: scikit-learn's metrics with 95% confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtri
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)

CONFIDENCE = 0.95

Probabilities = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
"""1 for the event, and 0 for the other label."""

# Each takes codes of labels, and probabilities of the event.
METRICS: dict[str, Callable[[Codes, Probabilities], float]] = {
    "accuracy": lambda y, p: accuracy_score(y, p > 0.5),
    "balanced_accuracy": lambda y, p: balanced_accuracy_score(y, p > 0.5),
    "roc_auc": roc_auc_score,
    "log_loss": partial(log_loss, labels=[0, 1]),
    "brier_score": brier_score_loss,
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier_score"})
QUICK_METRICS = ("accuracy", "log_loss", "brier_score")  # those of `evaluate`


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95% confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on ``rows`` labelled rows that it has not seen: some of `METRICS`."""

    rows: int
    metrics: Mapping[str, Estimate]

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return self.metrics["accuracy"].value

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"rows": self.rows, **{name: asdict(estimate) for name, estimate in self.metrics.items()}}


def evaluate(y: Codes, probabilities: Probabilities) -> Evaluation:
    """Return how good the probabilities of the event are; there is at least one row.

    Parameters
    ----------
    y
        Codes of labels, of shape (n_samples,).
    probabilities
        Of shape (n_samples,).
    """
    rows = len(y)
    likelihood = np.clip(np.where(y == 1, probabilities, 1 - probabilities), np.finfo(float).eps, 1)
    return Evaluation(
        rows,
        {
            "accuracy": _share(METRICS["accuracy"](y, probabilities), rows),
            "log_loss": _mean(METRICS["log_loss"](y, probabilities), -np.log(likelihood)),
            "brier_score": _mean(METRICS["brier_score"](y, probabilities), (probabilities - y) ** 2),
        },
    )


def calibration_slope(y: Codes, probabilities: Probabilities) -> float:
    """Return the factor by which log-odds must be multiplied to fit the labels: 1 where they are right.

    It is greater where they are too timid, and less where they are too bold: the slope of the labels' logistic
    regression on the log-odds (Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958).
    Probabilities are clipped to 0.001 and 0.999, since a classifier may be certain, and log-odds are infinite there.
    """
    from sklearn.linear_model import LogisticRegression  # scoring, which needs `evaluate` alone, starts sooner

    log_odds = logit(np.clip(probabilities, 0.001, 0.999))
    return float(LogisticRegression(C=np.inf).fit(log_odds[:, np.newaxis], y).coef_[0, 0])


def _mean(value: float, losses: Probabilities) -> Estimate:
    """Return the mean of the losses of rows, which is ``value``, with the interval of a mean."""
    deviation = float(losses.std(ddof=1)) if len(losses) > 1 else 0.0
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * deviation / sqrt(len(losses))
    return Estimate(float(value), float(value) - reach, float(value) + reach)


def _share(share: float, rows: int) -> Estimate:
    """Return a share of rows with Wilson's interval."""
    z2 = float(ndtri(0.5 + CONFIDENCE / 2)) ** 2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return Estimate(float(share), max(0.0, centre - reach), min(1.0, centre + reach))
