"""The jobs over inputs that are called by their names, as `titanic_batch.api` makes them of what a user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from titanic_batch.api import sources_and_target
from titanic_batch.checking.contract import Contract
from titanic_batch.reading.formats import Format
from titanic_batch.reading.sources import find_inputs
from titanic_batch.runs import batch
from titanic_batch.runs.options import RunOptions
from titanic_batch.runs.report import RunReport
from titanic_batch.writing.predictions import PredictedColumns


class Inputs:
    """Names of inputs, and the options of a run over them; one thread, unless they say otherwise."""

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        self.names = names
        self.options = RunOptions(**{"jobs": 1} | options)


def score(
    inputs: Inputs,
    columns: PredictedColumns,
    output: str,
    output_format: Format | None = None,
    report: RunReport | None = None,
) -> RunReport:
    options = inputs.options
    if output_format is not None:
        options = RunOptions(**options.given() | {"output_format": output_format})
    sources, target = sources_and_target(find_inputs(inputs.names, options.input_format), output, options)
    return batch.score(sources, target, columns, options, report)


def validate(
    inputs: Inputs, contract: Contract, on_accepted: Callable[[pa.Table], None] = lambda rows: None
) -> RunReport:
    sources = find_inputs(inputs.names, inputs.options.input_format).require_all()
    return batch.validate(sources, contract, inputs.options, on_accepted)
