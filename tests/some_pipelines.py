"""Pipelines that real notebooks use, on the passengers' columns, to stand in for the notebook's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from titanic_batch.models import full_evaluation, pipelines, tuning
from titanic_batch.notebook import pipeline as notebook

Build = Callable[..., Pipeline]

NUMBERS, TEXTS = ["Age", "Fare"], ["Sex", "Cabin"]


def encoded(encoder: Any, **options: Any) -> ColumnTransformer:
    """Return steps that fill and scale numbers, fill and encode texts, and pass all other columns through."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), encoder)
    return ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("texts", texts, make_column_selector(dtype_exclude="number"))],
        **{"remainder": "passthrough"} | options,
    )


def one_hot(**options: Any) -> ColumnTransformer:
    return encoded(OneHotEncoder(handle_unknown="ignore", **options))


def ordinal() -> ColumnTransformer:
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    return ColumnTransformer([("texts", OrdinalEncoder(**unknown), TEXTS)], remainder="passthrough")


def grouped(**options: Any) -> ColumnTransformer:
    """Return steps whose sparse output groups rare texts and leaves some columns out."""
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3, drop="first")
    return ColumnTransformer(
        [("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), rare), TEXTS)], sparse_threshold=1, **options
    )


def ending_with(classifier: type, steps: Callable[[], Any] = one_hot, **fixed: Any) -> Build:
    """Return a function that builds a pipeline of steps and a classifier of a class."""

    def build(seed: int = 23, **parameters: Any) -> Pipeline:
        unseeded = classifier(**fixed)
        seeded = {"random_state": seed} if "random_state" in unseeded.get_params() else {}
        return make_pipeline(steps(), unseeded.set_params(**seeded, **parameters))

    return build


def in_frames(seed: int = 23, **parameters: Any) -> Pipeline:
    """Return a pipeline whose steps pass frames on."""
    steps = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("texts", OneHotEncoder(sparse_output=False, drop="if_binary"), ["Sex", "Pclass"]),
            ("as_is", FunctionTransformer(feature_names_out="one-to-one"), ["SibSp"]),
        ]
    )
    return make_pipeline(steps, LogisticRegression(**parameters)).set_output(transform="pandas")


def calibrated_forest(seed: int = 23, **parameters: Any) -> Pipeline:
    forest = RandomForestClassifier(3, max_depth=3, random_state=seed, **parameters)
    return Pipeline([("features", ordinal()), ("last", CalibratedClassifierCV(forest, method="isotonic", cv=2))])


def in_bins() -> ColumnTransformer:
    """Return steps that don't tell the names of what they make."""
    bins = make_pipeline(SimpleImputer(), KBinsDiscretizer(3, subsample=None, quantile_method="averaged_inverted_cdf"))
    return ColumnTransformer([("bins", bins, NUMBERS), ("nameless", FunctionTransformer(), ["SibSp"])])


PIPELINES: Mapping[str, Build] = {
    "logistic regression": ending_with(LogisticRegression, max_iter=500),
    "logistic regression on sparse features": ending_with(LogisticRegression, grouped, max_iter=500),
    "logistic regression on frames": in_frames,
    "features without names": ending_with(LogisticRegression, in_bins),
    "gradient boosting": ending_with(GradientBoostingClassifier, n_estimators=3),
    "gradient boosting from zero": ending_with(GradientBoostingClassifier, n_estimators=3, init="zero",
                                               loss="exponential"),
    "histogram gradient boosting": ending_with(HistGradientBoostingClassifier, ordinal, max_iter=3),
    "histogram gradient boosting of categories": ending_with(HistGradientBoostingClassifier, ordinal, max_iter=3,
                                                             categorical_features=[0, 1]),
    "random forest": ending_with(RandomForestClassifier, n_estimators=3, max_depth=4),
    "extra trees": ending_with(ExtraTreesClassifier, ordinal, n_estimators=3, max_depth=4),
    "calibrated random forest": calibrated_forest,
    "calibrated logistic regression": ending_with(CalibratedClassifierCV, estimator=LogisticRegression(max_iter=500),
                                                  cv=2),
    "decision tree": ending_with(DecisionTreeClassifier, ordinal, max_depth=4),
    "naive Bayes": ending_with(GaussianNB, lambda: one_hot(sparse_output=False)),
    "neural network": ending_with(MLPClassifier, grouped, hidden_layer_sizes=(4,), max_iter=1000, tol=0.1),
    "votes": ending_with(VotingClassifier, estimators=[("one", LogisticRegression(max_iter=500)),
                                                       ("other", DecisionTreeClassifier(max_depth=3, random_state=1))],
                         voting="soft"),
    "stack": ending_with(StackingClassifier, estimators=[("one", DecisionTreeClassifier(max_depth=3, random_state=1))],
                         cv=2),
    "bags": ending_with(BaggingClassifier, estimator=DecisionTreeClassifier(max_depth=3), n_estimators=2),
    "adaptive boosting": ending_with(AdaBoostClassifier, n_estimators=2),
}  # fmt: skip


def substitute(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    """Make a function the notebook's ``build_pipeline``."""
    for module in (notebook, pipelines, tuning, full_evaluation):
        monkeypatch.setattr(module, "build_pipeline", build)
