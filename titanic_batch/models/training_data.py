"""The rows that the package carries to fit on."""

from __future__ import annotations

import importlib.metadata
import importlib.resources

import pandas as pd

from titanic_batch.passenger.schema import CONTRACT


def packaged_rows() -> pd.DataFrame:
    """Return the labelled rows that the package carries."""
    with importlib.resources.files("titanic_batch.passenger").joinpath("train.csv").open("rb") as file:
        return pd.read_csv(file)


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the pipeline is fitted on."""
    return frame[[name for name in CONTRACT.types if name != CONTRACT.key]]
