"""The columns of a predictions file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.key_text import KEY_TEXT
from titanic_batch.errors import UsageError
from titanic_batch.notebook.labels import LABEL_TYPE
from titanic_batch.notebook.words import PROBABILITY
from titanic_batch.reading.column_text import as_text, is_plain
from titanic_batch.reading.columns import is_text
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.scoring.drift import Drift
from titanic_batch.writing.tables import is_writable

ScoreRows = Callable[[pa.Table], tuple[pa.Array, pa.Array]]
"""Function that takes accepted rows and returns their labels (`LABEL_TYPE`) and probabilities (float64)."""


@dataclass(frozen=True, slots=True)
class PredictedColumns:
    """The columns of the predictions: the key, perhaps also as text, the columns to keep, label and probability.

    Attributes
    ----------
    contract
        The contract that accepted rows satisfy.
    label
        Name of the predicted column.
    scores
        Function that computes the labels and probabilities of accepted rows.
    keep
        Input columns to copy to the predictions.
    key_text
        Name of a column for the key as it stands in the input, as text. If None, there is no such column.
    provenance
        Metadata to store in Parquet files.
    drift
        Function that compares the rows scored since its last call with the training rows. It returns None if no rows
        were scored, or if the distribution of the training rows is not known.
    """

    contract: Contract
    label: str
    scores: ScoreRows
    keep: Sequence[str] = ()
    key_text: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    drift: Callable[[], Drift | None] = lambda: None

    def require_distinct_names(self) -> None:
        """Check that no column would be written twice.

        Raises
        ------
        UsageError
            A column to keep is listed twice, or is always written, or the column for the key's text has no name of its
            own.
        """
        written = [self.contract.key, *self.keep, self.label, PROBABILITY]
        if twice := {name for name in written if written.count(name) > 1}:
            raise UsageError(f"{', '.join(sorted(twice))} is written anyway, or kept twice: leave it out of --keep.")
        if self.key_text in written:
            raise UsageError(f"--keep-key-text {self.key_text}: that column is written anyway: choose another name.")

    def schema(self, tables: Sequence[InputTable], output_format: Format) -> pa.Schema:
        """Return the schema of the predictions.

        Kept columns have the same type as in the tables, except that dictionary-encoded text and string views become
        plain strings. A column is also converted to strings if its type differs between tables, or if the output's
        format can't represent its type.
        """
        types = self.contract.types
        fields = [(self.contract.key, types[self.contract.key])]
        fields += [] if self.key_text is None else [(self.key_text, pa.string())]
        for name in self.keep:
            found = {types.get(name) or table.type_of(name) for table in tables}
            arrow_type = found.pop() if len(found) == 1 else pa.string()
            if output_format == "parquet":
                keeps_type = pa.types.is_large_string(arrow_type) or not is_text(arrow_type)
                keeps_type = keeps_type and is_writable(arrow_type)
            else:
                keeps_type = is_plain(arrow_type)
            fields.append((name, arrow_type if keeps_type else pa.string()))
        fields += [(self.label, LABEL_TYPE), (PROBABILITY, pa.float64())]
        return pa.schema(fields, metadata=dict(self.provenance))

    def of(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """Return the predictions for accepted rows, with the given schema."""
        labels, probabilities = self.scores(rows)
        names = [self.contract.key, *([] if self.key_text is None else [KEY_TEXT]), *self.keep]
        copied = [_cast(rows[name], arrow_type) for name, arrow_type in zip(names, schema.types, strict=False)]
        return pa.table([*copied, labels, probabilities], schema=schema)


def _cast(column: pa.ChunkedArray, arrow_type: pa.DataType) -> pa.ChunkedArray:
    if column.type == arrow_type:
        return column
    return as_text(column) if pa.types.is_string(arrow_type) else column.cast(arrow_type)
