"""Pipelines of many kinds, unfitted, and the columns that each is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from titanic_batch.passenger.pipeline import build_pipeline

NUMBERS = ["Pclass", "Age", "SibSp", "Parch", "Fare"]
TEXTS = ["Sex", "Cabin"]


def chosen(columns: list[str]) -> ColumnTransformer:
    return ColumnTransformer([("chosen", "passthrough", columns)])


def pandas_out(pipeline: Pipeline) -> Pipeline:
    return pipeline.set_output(transform="pandas")


def halved(X: Any) -> Any:
    return np.asarray(X, dtype=np.float64) / 2


def boosting(**parameters: Any) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=10, learning_rate=0.7, **parameters)


one_hot = ColumnTransformer(
    [("hot", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("numbers", SimpleImputer(), NUMBERS)],
    sparse_threshold=1,
)


# Those whose arithmetic on a row is the same whatever lies around it.
EXACT: dict[str, Callable[[], Pipeline]] = {
    "ours": lambda: build_pipeline(n_estimators=7),
    "ours, in threads": lambda: build_pipeline(n_estimators=7, n_jobs=-1),
    "ours, as frames": lambda: pandas_out(build_pipeline(n_estimators=7)),
    "ours, weighted": lambda: build_pipeline(n_estimators=7, class_weight="balanced_subsample", bootstrap=True),
    "forest on raw numbers": lambda: Pipeline([("forest", RandomForestClassifier(5, random_state=1))]),
    "tree on raw numbers": lambda: make_pipeline(DecisionTreeClassifier(random_state=1)),
    "tree behind a selection": lambda: make_pipeline(chosen(NUMBERS), DecisionTreeClassifier(random_state=1)),
    "tree on frames": lambda: pandas_out(make_pipeline(chosen(NUMBERS), DecisionTreeClassifier(random_state=1))),
    "extra trees": lambda: make_pipeline(SimpleImputer(), ExtraTreesClassifier(5, random_state=1, n_jobs=2)),
    "boosting": lambda: make_pipeline(boosting()),
    "boosting behind a scaler": lambda: make_pipeline(StandardScaler(), boosting()),
    "boosting on categories": lambda: make_pipeline(
        boosting(categorical_features="from_dtype")
    ),
    "forest on sparse": lambda: make_pipeline(one_hot, RandomForestClassifier(5, random_state=1)),
    "bins": lambda: make_pipeline(
        SimpleImputer(), KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
        RandomForestClassifier(5, random_state=1),
    ),
    "a pipeline in a pipeline": lambda: make_pipeline(
        make_pipeline(SimpleImputer(), FunctionTransformer(halved)), DecisionTreeClassifier(random_state=1)
    ),
}  # fmt: skip
# Those whose matrix products may differ in the last bits with the shape of what they are given.
CLOSE: dict[str, Callable[[], Pipeline]] = {
    "linear": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    "linear on sparse": lambda: make_pipeline(one_hot, LogisticRegression(max_iter=5000)),
    "bayes": lambda: make_pipeline(SimpleImputer(), GaussianNB()),
    "neighbours": lambda: make_pipeline(SimpleImputer(), StandardScaler(), KNeighborsClassifier(5)),
}
TAKES_TEXT = {"ours", "ours, in threads", "ours, as frames", "ours, weighted", "boosting on categories",
              "forest on sparse", "linear on sparse"}  # fmt: skip


def labels_of(table: pa.Table) -> NDArray[np.int64]:
    """Return labels that depend on the row, and not too simply."""
    frame = table.to_pandas()
    chance = 0.2 + 0.5 * (frame["Sex"] == "female") - 0.1 * frame["Pclass"] + 0.1 * frame["Age"].isna()
    labels: NDArray[np.int64] = (np.random.default_rng(3).random(len(frame)) < chance).to_numpy().astype(np.int64)
    return labels


def frame_of(table: pa.Table, name: str) -> pd.DataFrame:
    columns = NUMBERS + TEXTS * (name in TAKES_TEXT)
    frame: pd.DataFrame = table.select(columns).to_pandas()
    if name == "boosting on categories":
        return frame.drop(columns="Cabin")
    return frame
