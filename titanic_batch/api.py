"""The two jobs as functions of file names, for a program that is not a shell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from titanic_batch import batch
from titanic_batch.batch import Inputs, RejectLimit, RunReport
from titanic_batch.schema import CONTRACT, LABEL, LABELLED_CONTRACT
from titanic_batch.sources import Format

if TYPE_CHECKING:
    from titanic_batch.model import Model

Names = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A file, a folder or a glob of CSV or Parquet, or several."""


def score_file(
    inputs: Names,
    output: str | os.PathLike[str],
    model: Model | str | os.PathLike[str],
    *,
    model_sha256: str | None = None,
    keep: Sequence[str] = (),
    max_rejects: int | str = 0,
    min_rows: int = 0,
    max_psi: float | None = None,
    rejects: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    input_format: Format | None = None,
    output_format: Format | None = None,
) -> RunReport:
    """Write a prediction for every row, as ``titanic score`` does, and return what was done.

    Parameters
    ----------
    output
        A CSV or Parquet file. It appears whole, or, where the report has a ``failure``, not at all.
    model
        A fitted model, or the file of one; ``model_sha256`` pins a file.
    keep
        Columns to carry over.
    max_rejects
        Rejected rows to bear: a number, or a share such as ``"2.5%"``.
    min_rows
        Fail if there are fewer rows.
    max_psi
        Fail if the rows moved further from those that the model was fitted on.
    rejects
        Where rejected rows are written; otherwise beside the output, as ``<output>.rejects.csv``.
    jobs
        Threads.

    Raises
    ------
    TitanicError
        What kept the run from its end, as one of the classes in `titanic_batch.errors`. Rows that break the contract
        raise nothing: they are in the report.
    """
    from titanic_batch.model import Model

    loaded = model if isinstance(model, Model) else Model.load(model, model_sha256)
    scores = loaded.scores()
    return batch.score(
        _inputs(inputs, max_rejects, min_rows, rejects, jobs, input_format),
        CONTRACT,
        batch.PredictedColumns(LABEL, scores, keep, loaded.provenance, scores.take_drift, max_psi),
        os.fspath(output),
        output_format,
    )


def validate_file(
    inputs: Names,
    *,
    labelled: bool = False,
    max_rejects: int | str = 0,
    min_rows: int = 0,
    rejects: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    input_format: Format | None = None,
) -> RunReport:
    """Check rows exactly as `score_file` does, and the label too where ``labelled``; return what was found.

    This imports no scikit-learn. Parameters are those of `score_file`; rejected rows are written only where ``rejects``
    names a file.

    Raises
    ------
    TitanicError
        As `score_file` does.
    """
    given = _inputs(inputs, max_rejects, min_rows, rejects, jobs, input_format)
    return batch.validate(given, LABELLED_CONTRACT if labelled else CONTRACT)


def _inputs(
    names: Names,
    max_rejects: int | str,
    min_rows: int,
    rejects: str | os.PathLike[str] | None,
    jobs: int,
    input_format: Format | None,
) -> Inputs:
    several = [names] if isinstance(names, str | os.PathLike) else names
    return Inputs(
        names=[os.fspath(name) for name in several],
        format=input_format,
        max_rejects=RejectLimit.parse(str(max_rejects)),
        min_rows=min_rows,
        rejects=None if rejects is None else os.fspath(rejects),
        jobs=jobs,
    )
