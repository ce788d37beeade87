"""A model that is ready to score the rows of bodies, few or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.models.model import Model
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.reading.input_table import InputTable
from titanic_batch.scoring.row_scorer import RowScore, RowScorer
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.server.bodies import Record, json_bytes, table_of, table_of_records, write_table
from titanic_batch.server.media import CSV, JSON, JSON_LINES, Limits
from titanic_batch.server.small_bodies import Row, SmallBodies
from titanic_batch.writing.predictions import PROBABILITY, PredictedColumns

_HEADER = f"{CONTRACT.key},{LABEL},{PROBABILITY}\n".encode()
_SMALL = SmallBodies(CONTRACT)
_REJECTS = pa.schema([("row", pa.int64()), ("column", pa.string()), ("rule", pa.string())])


class Predictions:
    """The predictions for the rows of one body, in their order: a table, or the scores of a few rows by their keys."""

    def __init__(self, schema: pa.Schema, found: pa.Table | list[tuple[int, RowScore]]) -> None:
        self._schema = schema
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def records(self) -> list[dict[str, Any]]:
        """Return them as JSON's objects."""
        if isinstance(self._found, list):
            return [{CONTRACT.key: key, LABEL: row.label, PROBABILITY: row.probability} for key, row in self._found]
        records: list[dict[str, Any]] = self._found.to_pylist()
        return records

    def write(self, kind: str, *, header: bool = True) -> bytes:
        """Return them in a media type; ``header`` tells whether a CSV is to have one."""
        if kind == JSON:
            return json_bytes(self.records())
        if kind == JSON_LINES:
            return b"".join(json_bytes(record) + b"\n" for record in self.records())
        if kind == CSV and isinstance(self._found, list):
            lines = [f"{key},{row.label},{row.text}\n" for key, row in self._found]
            return (_HEADER if header else b"") + "".join(lines).encode()
        table = self._found
        if isinstance(table, list):
            table = pa.Table.from_pylist(self.records(), self._schema)
        written = write_table(table, kind)
        return written if header or kind != CSV else written.removeprefix(_HEADER)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the rows of one body.

    ``rejects`` has a line for each rejected row (1 is the first) and each rule that it breaks: row, column (null: the
    whole row) and rule.
    """

    rows: int
    rejected: int
    predictions: Predictions
    rejects: pa.Table


class ServedModel:
    """A model that is ready to score; one row was scored already."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._scorer = Scorer(model.pipeline)
        self._rows = RowScorer(self._scorer, tuple(CONTRACT.types))
        self._columns = PredictedColumns(CONTRACT, LABEL, self._scores, provenance=model.provenance)
        self._schema = self._columns.schema([], "parquet")
        self._key = list(CONTRACT.types).index(CONTRACT.key)
        example = pa.Table.from_pylist([CONTRACT.example()], pa.schema(list(CONTRACT.types.items())))
        self._scorer.score(example)

    def score_body(self, kind: str, body: bytes, limits: Limits) -> Outcome:
        """Judge the rows of a body of CSV, Parquet or an Arrow stream, and score those that are accepted.

        Raises
        ------
        DataError
            The body is damaged, or its columns are not those of the contract.
        RequestEntityTooLarge
            It has too many rows, or too many bytes once unpacked.
        UnsupportedMediaType
            It can't be told how large it is.
        """
        few = _SMALL.from_csv(body) if kind == CSV and self._rows.can_score else None
        if few is None:
            return self._score(table_of(kind, body, limits), limits)
        limits.check_rows(len(few))
        return self._score_few(few)

    def score_records(self, records: Sequence[Record], limits: Limits) -> Outcome:
        """Do the same with rows out of JSON.

        Raises
        ------
        DataError, RequestEntityTooLarge
            As `score_body` does.
        """
        if not records:
            return self._score_few([])
        limits.check_rows(len(records))
        few = _SMALL.from_records(records) if self._rows.can_score else None
        return self._score(table_of_records(records, CONTRACT.types), limits) if few is None else self._score_few(few)

    def _score_few(self, rows: Sequence[Row]) -> Outcome:
        scores = self._rows.score(rows) if rows else []
        found = [(row[self._key], score) for row, score in zip(rows, scores, strict=True)]
        return Outcome(len(rows), 0, Predictions(self._schema, found), _REJECTS.empty_table())

    def _score(self, table: InputTable, limits: Limits) -> Outcome:
        rows = 0
        blocks: list[JudgedBlock] = []
        with table:
            judge = Judge(CONTRACT, lambda accepted: self._columns.of(accepted, self._schema))
            judge.require_columns(table)
            for block in judge.judged([table]):
                rows += block.count
                limits.check_rows(rows)
                blocks.append(block)
        predictions = pa.concat_tables([self._schema.empty_table(), *(block.output for block in blocks)])
        return Outcome(rows, rows - len(predictions), Predictions(self._schema, predictions), rejects_table(blocks))

    def _scores(self, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        scores = self._scorer.score(rows)
        return pa.array(scores.label), pa.array(scores.probability)


def rejects_table(blocks: Sequence[JudgedBlock]) -> pa.Table:
    """Return the rejected rows of some blocks, one line for each rule that a row breaks; see `Outcome`."""
    parts = [
        pa.table(
            [problem.rows + block.first_row, *([text] * len(problem.rows) for text in (problem.column, problem.rule))],
            schema=_REJECTS,
        )
        for block in blocks
        for problem in block.problems
    ]
    if not parts:
        return _REJECTS.empty_table()
    return pa.concat_tables(parts).sort_by([("row", "ascending"), ("column", "ascending"), ("rule", "ascending")])
