"""Figures are scikit-learn's, and their intervals hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from titanic_batch.models.evaluation import calibration_slope, evaluate


def test_the_interval_of_a_share_is_wilsons() -> None:
    y = np.array([1] * 80 + [0] * 20)
    estimate = evaluate(y, np.full(100, 0.9)).metrics["accuracy"]
    # Wilson's score interval for 80 of 100.
    assert (estimate.value, round(estimate.low, 4), round(estimate.high, 4)) == (0.8, 0.7112, 0.8666)
    assert evaluate(np.array([1]), np.array([0.9])).metrics["accuracy"].high == 1


def test_the_interval_of_a_loss_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(500)
    y = (rng.random(500) < p).astype(np.int64)
    estimate = evaluate(y, p).metrics["log_loss"]
    losses = np.where(y == 1, -np.log(p), -np.log(1 - p))
    assert estimate.value == pytest.approx(log_loss(y, p))
    assert estimate.high - estimate.value == pytest.approx(1.959964 * losses.std(ddof=1) / math.sqrt(500), rel=1e-6)


def test_certainty_that_is_wrong_is_no_error() -> None:
    metrics = evaluate(np.array([1, 0]), np.array([0.0, 1.0])).metrics
    assert metrics["accuracy"].value == 0
    assert all(math.isfinite(part) for estimate in metrics.values() for part in (estimate.value, estimate.high))


def test_the_calibration_slope_tells_bold_probabilities_from_timid_ones() -> None:
    rng = np.random.default_rng(1)
    log_odds = rng.normal(0, 1.5, 20_000)
    y = (rng.random(20_000) < expit(log_odds)).astype(np.int64)
    right = calibration_slope(y, expit(log_odds))
    assert right == pytest.approx(1, abs=0.05)
    assert calibration_slope(y, expit(log_odds / 2)) == pytest.approx(2 * right, rel=1e-3)
    assert 0.4 < calibration_slope(y, expit(2 * log_odds)) < 0.6
    assert 0 < calibration_slope(y, (log_odds > 0).astype(np.float64)) < 0.5
