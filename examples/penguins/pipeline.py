"""The notebook's pipeline: from the columns of a penguin to a probability."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "delta_15_n", "delta_13_c"]
CATEGORIES = ["species", "island"]


def build_pipeline(seed: int = 0, **parameters: Any) -> Pipeline:
    """Return the unfitted pipeline: numbers without gaps and scaled, categories as columns, a logistic regression.

    The day of the egg is checked by the contract, and is no feature.
    """
    numbers = Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    features = ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES)],
        remainder="drop",
        verbose_feature_names_out=False,
    )
    classifier = LogisticRegression(**{"max_iter": 1000, "random_state": seed, **parameters})
    return Pipeline([("features", features), ("classifier", classifier)])
