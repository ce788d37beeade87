"""The labelled rows that models are fitted on."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from titanic_batch import passenger
from titanic_batch.checking.contract import Contract
from titanic_batch.models.evaluation import Labels
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import LABEL


def packaged_rows() -> pd.DataFrame:
    """Return the labelled rows in the package."""
    with importlib.resources.files(passenger).joinpath("train.csv").open("rb") as file:
        return pd.read_csv(file)


def frame_of_rows(tables: Iterable[pa.Table], contract: Contract) -> pd.DataFrame:
    """Return tables of accepted rows as one frame, which may have no rows.

    Parameters
    ----------
    tables
        Accepted rows with the columns and types of the contract.
    contract
        The contract that they keep.
    """
    schema = pa.schema(list(contract.types.items()))
    table = pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries()
    # Without threads: Arrow crashes if one of them can't be started.
    frame: pd.DataFrame = table.to_pandas(use_threads=False)
    return frame


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the pipeline is fitted on: those of the contract but for its key."""
    return frame[CONTRACT.without_key]


def split_label(frame: pd.DataFrame) -> tuple[pd.DataFrame, Labels]:
    """Return the columns that the pipeline is fitted on, and the labels, of shape (n_samples,)."""
    return features_of(frame), frame[LABEL].to_numpy()
