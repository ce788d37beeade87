"""The labelled rows that models are fitted on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.judging import Judge
from titanic_batch.errors import DataError, NotebookError
from titanic_batch.notebook.folder import TRAINING_ROWS, file_in_folder
from titanic_batch.notebook.labels import codes_of
from titanic_batch.notebook.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.notebook.words import LABEL, LABELS, ROWS
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source
from titanic_batch.scoring.frames import frame_of

Labels = NDArray[Any]
"""Labels as they stand in the notebook's column."""


def packaged_rows() -> pd.DataFrame:
    """Return the labelled rows in the folder of the notebook, as `frame_of_rows` does.

    Raises
    ------
    DataError
        It has none.
    NotebookError
        Some of them break the contract.
    """
    path = file_in_folder(TRAINING_ROWS)
    if path is None:
        raise DataError(f"there are no labelled {ROWS} in this package: name a file of them.")
    with open_table(Source(str(path), "csv")) as table:
        judge = Judge(LABELLED_CONTRACT)
        judge.require_columns(table)
        blocks = list(judge.judged([table]))
    if rejected := sum(len(block.rejected) for block in blocks):
        raise NotebookError(f"{rejected} rows in {path} break the contract: titanic validate --labelled says which.")
    return frame_of_rows((block.output for block in blocks), LABELLED_CONTRACT)


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
    return frame_of(pa.concat_tables([schema.empty_table(), *tables]))


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the pipeline is fitted on: those of the contract but for its key."""
    return frame[CONTRACT.without_key]


def split_label(frame: pd.DataFrame) -> tuple[pd.DataFrame, Labels]:
    """Return the columns that the pipeline is fitted on, and the labels as they are, of shape (n_samples,).

    Raises
    ------
    DataError
        There is another label than the two.
    """
    try:
        codes = codes_of(frame[LABEL])
    except ValueError:
        raise DataError(f"{LABEL} must be {LABELS[0]} or {LABELS[1]} in all rows.") from None
    return features_of(frame), np.array(LABELS).take(codes)
