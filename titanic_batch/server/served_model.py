"""A loaded model, ready to score the rows of request bodies, few or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.models.model import Model
from titanic_batch.models.scores import ModelScores
from titanic_batch.notebook.labels import written_labels
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import LABEL, LABELS, PROBABILITY
from titanic_batch.reading.columns import arrow_numbers
from titanic_batch.reading.input_table import InputTable
from titanic_batch.scoring.row_scorer import RowScore, RowScorer
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.server.bodies import table_from_body, table_from_records
from titanic_batch.server.json_rows import JsonRows
from titanic_batch.server.media import CSV, JSON, JSON_LINES, Limits
from titanic_batch.server.responses import PIECE_ROWS, encode_json, encode_records, encode_table
from titanic_batch.server.small_bodies import MAX_BYTES, Row, SmallBodies
from titanic_batch.writing.predictions import PredictedColumns

_HEADER = f"{CONTRACT.key},{LABEL},{PROBABILITY}\n".encode()
_LABEL_TEXTS = [
    b"".join(encode_table(pa.table({"": written_labels(np.array([code], np.int8))}), CSV)).decode()[3:-1]
    for code in (0, 1)
]
_SMALL_BODIES = SmallBodies(CONTRACT)
_NO_TEXTS = [pa.array([], pa.string()).dictionary_encode()] * 2


class Predictions:
    """The predictions for the rows of one body, in order: a table or, for a few rows, a list of keys and scores."""

    def __init__(self, schema: pa.Schema, predictions: pa.Table | list[tuple[int, RowScore]]) -> None:
        self._schema = schema
        self._predictions = predictions

    def __len__(self) -> int:
        return len(self._predictions)

    def records(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the predictions as dictionaries by column name, some at a time."""
        if isinstance(self._predictions, list):
            yield [
                {CONTRACT.key: key, LABEL: LABELS[score.code], PROBABILITY: score.probability}
                for key, score in self._predictions
            ]
        else:
            for start in range(0, len(self), PIECE_ROWS):
                yield self._predictions.slice(start, PIECE_ROWS).to_pylist()

    def encode(self, media_type: str, *, header: bool = True) -> Iterator[bytes]:
        """Yield the predictions as the pieces of a response body; ``header`` applies to CSV."""
        if media_type == JSON:
            yield from encode_records(self.records())
        elif media_type == JSON_LINES:
            for records in self.records():
                yield b"".join(encode_json(record) + b"\n" for record in records)
        elif media_type == CSV and isinstance(self._predictions, list):
            lines = [f"{key},{_LABEL_TEXTS[score.code]},{score.text}\n" for key, score in self._predictions]
            yield (_HEADER if header else b"") + "".join(lines).encode()
        else:
            table = self._predictions
            if isinstance(table, list):
                table = pa.Table.from_pylist([row for rows in self.records() for row in rows], self._schema)
            pieces = encode_table(table, media_type)
            first = next(pieces)
            yield first if header or media_type != CSV else first.removeprefix(_HEADER)
            yield from pieces


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of scoring one body: how many rows it has and how many were rejected, predictions and rejects.

    ``rejects`` has one line for each rule that a rejected row breaks: row (1 is the first), column (null if the rule is
    about the whole row) and rule.
    """

    rows: int
    rejected: int
    predictions: Predictions
    rejects: pa.Table


class ServedModel:
    """Scores request bodies with one model. Its constructor scores a row: a model that can't is never served."""

    def __init__(self, model: Model) -> None:
        self.model = model
        scorer = Scorer(model.predictor())  # without a reference: a server does not measure drift
        self._row_scorer = RowScorer(scorer, tuple(CONTRACT.types))
        self._columns = PredictedColumns(CONTRACT, LABEL, ModelScores(scorer), provenance=model.provenance)
        self._schema = self._columns.schema([], "parquet")
        self._key = list(CONTRACT.types).index(CONTRACT.key)
        example = pa.Table.from_pylist([CONTRACT.example()], pa.schema(list(CONTRACT.types.items())))
        scorer.score(example)

    def score_body(self, media_type: str, body: bytes, limits: Limits) -> Outcome:
        """Check the rows of a CSV, Parquet or Arrow body, and score those that are accepted.

        Raises
        ------
        DataError
            The body is damaged, or its columns are not those of the contract.
        RequestEntityTooLarge
            It has too many rows, or too many bytes once decompressed.
        UnsupportedMediaType
            It is an Arrow stream whose buffers are compressed.
        """
        few = _SMALL_BODIES.from_csv(body) if media_type == CSV and self._row_scorer.can_score else None
        if few is None:
            return self._score_table(table_from_body(media_type, body, limits), limits)
        limits.check_rows(len(few))
        return self._score_rows(few)

    def score_json(self, rows: JsonRows, limits: Limits) -> Outcome:
        """Check the rows of a JSON body, and score those that are accepted.

        Raises
        ------
        BadRequest, DataError, RequestEntityTooLarge
            As for `score_body`; or a value is nested too deeply.
        """
        records = rows.records
        if rows.size <= MAX_BYTES:
            listed = list(records)
            limits.check_rows(len(listed))
            if not listed:
                return self._score_rows([])
            few = _SMALL_BODIES.from_records(listed) if self._row_scorer.can_score else None
            if few is not None:
                return self._score_rows(few)
            records = iter(listed)
        return self._score_table(table_from_records(records, CONTRACT, limits), limits)

    def _score_rows(self, rows: Sequence[Row]) -> Outcome:
        scores = self._row_scorer.score(rows) if rows else []
        predictions = [(row[self._key], score) for row, score in zip(rows, scores, strict=True)]
        return Outcome(len(rows), 0, Predictions(self._schema, predictions), _NO_REJECTS)

    def _score_table(self, table: InputTable, limits: Limits) -> Outcome:
        blocks = judged_blocks(
            Judge(CONTRACT, lambda accepted: self._columns.of(accepted, self._schema)), table, limits
        )
        rows = sum(block.count for block in blocks)
        predictions = pa.concat_tables([self._schema.empty_table(), *(block.output for block in blocks)])
        return Outcome(rows, rows - len(predictions), Predictions(self._schema, predictions), rejects_table(blocks))


def judged_blocks(judge: Judge, table: InputTable, limits: Limits) -> list[JudgedBlock]:
    """Return the rows of a body, judged, and close its table.

    Raises
    ------
    DataError
        A column is missing or can't be converted, or the body is damaged.
    RequestEntityTooLarge
        It has too many rows; no more are read then.
    """
    rows, blocks = 0, []
    with table:
        judge.require_columns(table)
        for block in judge.judged([table]):
            rows += block.count
            limits.check_rows(rows)
            blocks.append(block)
    return blocks


def rejects_table(blocks: Sequence[JudgedBlock]) -> pa.Table:
    """Return the rejects of some blocks, as `Outcome` describes them, sorted. Texts are dictionary-encoded."""
    found = [(problem, block.first_row) for block in blocks for problem in block.problems]
    pairs = sorted({(problem.column, problem.rule) for problem, _ in found}, key=lambda pair: (pair[0] is None, pair))
    codes = {pair: code for code, pair in enumerate(pairs)}
    # Sorted in place, as one number for row, column and rule: there may be millions.
    both = np.concatenate(
        [(problem.rows + first_row) * len(pairs) + codes[problem.column, problem.rule] for problem, first_row in found]
        or [np.empty(0, np.int64)]
    )
    both.sort()
    rows, of_row = np.divmod(both, max(len(pairs), 1), dtype=np.int64)
    texts = [pa.array(list(text), pa.string()).dictionary_encode() for text in zip(*pairs, strict=True)] or _NO_TEXTS
    taken = arrow_numbers(of_row.astype(np.int16))
    return pa.table([rows, *(text.take(taken) for text in texts)], names=["row", "column", "rule"])


_NO_REJECTS = rejects_table([])
