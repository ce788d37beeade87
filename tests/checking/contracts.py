"""Contracts of two columns, and the problems that a contract finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.csv_blocks import CsvBlock

Found = list[tuple[str, str | None, list[int]]]


def problems_in(rows: Rows | CsvBlock, contract: Contract = CONTRACT) -> Found:
    if isinstance(rows, CsvBlock):
        rows = rows.read(contract.types)
    problems = contract.problems(rows)
    assert all(problem.rows.dtype == np.int64 and (np.diff(problem.rows) > 0).all() for problem in problems)
    assert {(problem.rule, problem.column) for problem in problems} <= set(contract.rules())
    return [(problem.rule, problem.column, problem.rows.tolist()) for problem in problems]


check = pap.Check


def contract_of(
    *checks: pap.Check, kind: pa.DataType | None = None, nullable: bool = False, version: int = 1
) -> Contract:
    columns = {
        "id": pap.Column(pa.int64(), unique=True),
        "value": pap.Column(kind or pa.int64(), list(checks), nullable=nullable),
    }
    return Contract(pap.DataFrameSchema(columns, name="Other"), version)


def problems_of(contract: Contract, values: Sequence[Any]) -> Found:
    kind = contract.types["value"]
    column = pa.array(values, pa.string()).dictionary_encode().cast(kind) if kind == STRING else pa.array(values, kind)
    return problems_in(Rows(pa.table({"id": np.arange(len(values)), "value": column})), contract)
