"""The columns of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.errors import UsageError
from titanic_batch.reading.column_text import as_text, is_plain
from titanic_batch.reading.columns import is_text
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.scoring.drift import Drift

PROBABILITY = "Probability"

ScoreRows = Callable[[pa.Table], tuple[pa.Array, pa.Array]]
"""Takes accepted rows and returns their labels (int8) and probabilities (float64)."""


@dataclass(frozen=True, slots=True)
class PredictedColumns:
    """What a row of predictions holds: its key, the columns to keep, the label and the probability.

    ``label`` names the predicted column. ``provenance`` goes into Parquet's metadata. ``drift`` tells how the rows that
    were scored since its last call compare with those of the fit, and ``max_psi`` how far they may have moved: a run
    that passes it fails.
    """

    label: str
    scores: ScoreRows
    keep: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    drift: Callable[[], Drift | None] = lambda: None
    max_psi: float | None = None

    def check_names(self, contract: Contract) -> None:
        """Check that no column would be written twice.

        Raises
        ------
        UsageError
            A column to keep is one that is written anyway.
        """
        written = [contract.key, *self.keep, self.label, PROBABILITY]
        if twice := {name for name in written if written.count(name) > 1}:
            raise UsageError(f"{', '.join(sorted(twice))} is written anyway, or kept twice: leave it out of --keep.")

    def schema(self, contract: Contract, tables: Sequence[InputTable], output_format: Format) -> pa.Schema:
        """Return the schema of predictions.

        Kept columns are as they stand in the tables, but text is no longer codes or views; they are text where the
        tables differ, or where a CSV has no form for them.
        """
        fields = [(contract.key, contract.types[contract.key])]
        for name in self.keep:
            kinds = {contract.types.get(name) or table.type_of(name) for table in tables}
            kind = kinds.pop() if len(kinds) == 1 else pa.string()
            stays = (
                is_plain(kind) if output_format != "parquet" else pa.types.is_large_string(kind) or not is_text(kind)
            )
            fields.append((name, kind if stays else pa.string()))
        fields += [(self.label, pa.int8()), (PROBABILITY, pa.float64())]
        return pa.schema(fields, metadata=dict(self.provenance))

    def of(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """Return the predictions for accepted rows."""
        labels, probabilities = self.scores(rows)
        carried = [_as(rows[field.name], field.type) for field in schema if field.name in rows.column_names]
        return pa.table([*carried, labels, probabilities], schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else as_text(column) if pa.types.is_string(kind) else column.cast(kind)
