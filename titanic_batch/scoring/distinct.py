"""Predictions of distinct feature rows, each made once.

Binned and encoded features have few distinct values: millions of rows share some thousand feature rows. Here a feature
row is packed into one integer, the key by which its prediction is looked up. Predictions are copied bit by bit, so they
are those that the classifier returns for the whole frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

DENSE_KEYS = 2**22  # up to this many possible keys, a plain array is the index (int32: 16 MiB)
MAX_KEYS = 2**62
MAX_DISTINCT = 2**20
MAX_COLUMN_VALUES = 2**16
PROBE_ROWS = 10_000
HARDLY_REPEAT = 0.5

_INT64_MAX = 2**63 - 1


class TooManyDistinctError(Exception):
    """Rows repeat too rarely for caching to be worthwhile."""


@dataclass(frozen=True, slots=True)
class _Offset:
    """Encodes the integers of a narrow range by their distance from the lowest."""

    low: int
    size: int

    def codes(self, column: NDArray[Any]) -> NDArray[Any] | None:
        """Return integers from 0 to ``size - 1``, of any dtype; None if a value is outside the range."""
        if not len(column):
            return np.empty(0, dtype=np.int64)
        if not (column.min() >= self.low and column.max() < self.low + self.size):  # NaN fails this too
            return None
        if not self.low and column.dtype.kind in "bi":
            return column
        codes = column.astype(np.int64)
        if column.dtype.kind == "f" and ((codes != column) | (np.signbit(column) & (codes == 0))).any():
            return None
        codes -= self.low
        return codes


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """Encodes any numbers by the position of their bits among the known ones. Bits tell NaN and -0.0 apart as well."""

    bits: NDArray[np.int64]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return len(self.bits)

    def codes(self, column: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return positions, of shape (n_samples,); None if a value is unknown."""
        bits = _bits(column, self.dtype)
        codes = np.searchsorted(self.bits, bits)
        codes[codes == len(self.bits)] = 0
        return codes if (self.bits[codes] == bits).all() else None


class _Known:
    """Feature rows and their predictions, indexed by keys, each of which is packed from the codes of a row's values.

    It is written under a lock and read without one: predictions are stored before the key that leads to them, and a
    reader looks up keys before it takes predictions.
    """

    def __init__(self, coders: list[_Offset | _Values], rows: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        sizes = [coder.size for coder in coders]
        space = prod(sizes)
        if space > MAX_KEYS:
            raise TooManyDistinctError
        self.coders = coders
        # Half the bytes take half the time.
        self._key_type: type[np.signedinteger[Any]] = np.int32 if space < 2**31 else np.int64
        self.rows = rows[:0]
        self.outputs = outputs[:0]
        # Either an array with the position of every possible key, or the known keys, sorted, and the position of each.
        self._table: NDArray[np.int32] | None = np.full(space, -1, dtype=np.int32) if space <= DENSE_KEYS else None
        self._ordered = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.add(rows, outputs)

    def keys(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.signedinteger[Any]] | None:
        """Return an integer for each row, the same only for equal rows; None if a value has no code yet."""
        keys: NDArray[np.signedinteger[Any]] = np.zeros(len(columns[0]), dtype=self._key_type)
        for coder, column in zip(self.coders, columns, strict=True):
            codes = coder.codes(column)
            if codes is None:
                return None
            np.multiply(keys, coder.size, out=keys)
            np.add(keys, codes, out=keys, casting="same_kind")
        return keys

    def known_keys(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.signedinteger[Any]]:
        """Return `keys` of rows whose values all have codes."""
        keys = self.keys(columns)
        if keys is None:
            raise AssertionError("the coders must know the rows that they were made for")
        return keys

    def places(self, keys: NDArray[np.signedinteger[Any]]) -> NDArray[np.integer[Any]]:
        """Return the position of each key's row in ``rows``, -1 where it is unknown."""
        if self._table is not None:
            return self._table.take(keys)
        ordered, order = self._ordered
        if not len(ordered):
            return np.full(len(keys), -1)
        distinct, inverse = np.unique(keys.astype(np.int64), return_inverse=True)
        places = np.searchsorted(ordered, distinct)
        places[places == len(ordered)] = 0
        return np.where(ordered[places] == distinct, order[places], -1)[inverse]

    def find(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.integer[Any]]:
        """Return the positions of rows, a new array; -1 for unknown rows, and for all rows if a value is unknown."""
        keys = self.keys(columns)
        return np.full(len(columns[0]), -1) if keys is None else self.places(keys)

    def add(self, rows: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        """Add distinct rows that are unknown, and their predictions."""
        places = np.arange(len(self.rows), len(self.rows) + len(rows))
        self.rows = _appended(self.rows, rows)
        self.outputs = _appended(self.outputs, outputs)
        keys = self.known_keys(list(rows.T))
        if self._table is not None:
            self._table[keys] = places
        else:
            ordered, order = (np.concatenate(pair) for pair in zip(self._ordered, (keys, places), strict=True))
            sorting = np.argsort(ordered)
            self._ordered = ordered[sorting], order[sorting]


class DistinctRows:
    """Predicts each distinct feature row once, as long as rows repeat.

    It is safe to call from several threads. If rows turn out to repeat seldom, all later calls go to the classifier.

    Parameters
    ----------
    predict
        Takes features of shape (n_samples, n_features) and returns an array of shape (n_samples, n_outputs), each row
        of which must depend on the feature row alone. It must be safe to call from several threads.
    on_others
        Called with rows and predictions that are not cached, and which `take_counted` does not count.
    """

    def __init__(
        self,
        predict: Callable[[NDArray[Any]], NDArray[np.float64]],
        on_others: Callable[[NDArray[Any], NDArray[np.float64]], None] | None = None,
    ) -> None:
        self._predict = predict
        self._on_others = on_others
        self._lock = threading.Lock()
        # By dtype, since the bits of a number depend on it.
        self._known: dict[np.dtype[Any], _Known] = {}
        # How often each known row was predicted. A row keeps its position when the codes change.
        self._counts: dict[np.dtype[Any], NDArray[np.int64]] = {}
        self._counting = threading.Lock()
        self._given_up: dict[np.dtype[Any], tuple[NDArray[Any], NDArray[np.float64]]] = {}
        self._rows_seen = 0
        self.on = True

    def __call__(self, columns: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
        """Return the predictions as n_outputs new arrays of shape (n_samples,).

        Parameters
        ----------
        columns
            The features, at least one, each of shape (n_samples,). Together they stand for an array of shape
            (n_samples, n_features), whose dtype is their common one.
        """
        dtype = np.result_type(*{column.dtype for column in columns})
        self._rows_seen += len(columns[0])
        if not len(columns[0]) or not self.on or not _can_be_coded(dtype):
            return self._predict_all(columns, dtype)
        if dtype.kind == "f":  # two integers may be the same float
            columns = [c.astype(dtype) if c.dtype.kind in "iu" and c.itemsize == 8 else c for c in columns]
        known = self._known.get(dtype)
        places = np.full(len(columns[0]), -1) if known is None else known.find(columns)
        unknown = np.flatnonzero(places < 0)
        if len(unknown):
            rows = columns if len(unknown) == len(places) else [column[unknown] for column in columns]
            with self._lock:
                try:
                    known = self._learned(rows, dtype) if self.on else None
                except TooManyDistinctError:
                    self.on, known = False, None
                    self._given_up |= {dtype: (known.rows, known.outputs) for dtype, known in self._known.items()}
                    self._known = {}
            if known is not None:
                places[unknown] = known.find(rows)
        if known is None:
            return self._predict_all(columns, dtype)
        self._count(dtype, places)
        return [output.take(places) for output in known.outputs.T]

    def take_counted(self) -> list[tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64]]]:
        """Return distinct rows, their predictions, and how often each was predicted since the last call.

        Rows given to ``on_others`` are not included. It must not be called while rows are being predicted.
        """
        taken = []
        for dtype, counts in self._counts.items():
            known = self._known.get(dtype)
            rows, outputs = self._given_up[dtype] if known is None else (known.rows, known.outputs)
            asked = np.flatnonzero(counts)
            taken.append((rows[asked], outputs[asked], counts[asked]))
        self._counts = {}
        return taken

    def _count(self, dtype: np.dtype[Any], places: NDArray[np.integer[Any]]) -> None:
        counts = np.bincount(places)
        with self._counting:
            before = self._counts.get(dtype, counts[:0])
            if len(counts) < len(before):
                counts, before = before, counts
            counts[: len(before)] += before
            self._counts[dtype] = counts

    def _predict_all(self, columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> list[NDArray[np.float64]]:
        X = _side_by_side(columns, dtype)
        outputs = self._predict(X)
        if self._on_others is not None and len(X):
            self._on_others(X, outputs)
        return list(outputs.T.copy())

    def _learned(self, columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> _Known:
        """Predict the unknown rows among these, and return an index that has all of them."""
        known = self._known.get(dtype)
        rows = np.empty((0, len(columns)), dtype) if known is None else known.rows
        old = [None] * len(columns) if known is None else known.coders
        coders = [_coder(*each) for each in zip(columns, rows.T, old, strict=True)]
        if known is None or coders != known.coders:
            known = _Known(coders, rows, np.empty((0, 0)) if known is None else known.outputs)
        keys = known.known_keys(columns)
        unknown = np.flatnonzero(known.places(keys) < 0)
        _, first = np.unique(keys[unknown], return_index=True)
        distinct = len(rows) + len(first)
        if distinct > MAX_DISTINCT or (self._rows_seen >= PROBE_ROWS and distinct > HARDLY_REPEAT * self._rows_seen):
            raise TooManyDistinctError
        if len(first):
            # Sorted by their keys: trees lead neighbours to the same leaves, which suits the branch predictor.
            new = _side_by_side([column[unknown[first]] for column in columns], dtype)
            known.add(new, self._predict(new))
        self._known[dtype] = known
        return known


def _coder(column: NDArray[Any], rows: NDArray[Any], known: _Offset | _Values | None) -> _Offset | _Values:
    """Return a coder for the values of a column and those of the known rows; ``known`` itself if it will do."""
    if known is not None and known.codes(column) is not None:
        return known
    if not isinstance(known, _Values):
        bounds = column.min(), column.max()
        if np.isfinite(bounds).all():
            low, high = (int(bound) for bound in bounds)
            if isinstance(known, _Offset):
                low, high = min(low, known.low), max(high, known.low + known.size - 1)
            offset = _Offset(low, high - low + 1)
            if offset.size <= MAX_COLUMN_VALUES and high <= _INT64_MAX and offset.codes(column) is not None:
                return offset
    values = np.unique(np.concatenate([_bits(rows, rows.dtype), _bits(column, rows.dtype)]))
    if len(values) > MAX_COLUMN_VALUES:
        raise TooManyDistinctError
    return _Values(values, rows.dtype)


def _can_be_coded(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _bits(column: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """Return the bits of the numbers in an array of dtype ``dtype``."""
    if dtype.kind == "f":
        return column.astype(dtype).astype(np.float64).view(np.int64)
    return column.astype(np.int64)


def _side_by_side(columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    X = np.empty((len(columns[0]), len(columns)), dtype)
    for position, column in enumerate(columns):
        X[:, position] = column
    return X


def _appended(array: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return both arrays, concatenated, in Fortran order.

    The memory has room for as many rows again. If ``array`` is not empty, it must come from this function, and ``rows``
    are copied into its room if that is enough.
    """
    count = len(array) + len(rows)
    base = array.base if len(array) else None
    if base is None or len(base) < count:
        base = np.empty((2 * count, *rows.shape[1:]), rows.dtype, order="F")
        if len(array):
            base[: len(array)] = array
    base[len(array) : count] = rows
    both: NDArray[Any] = base[:count]
    return both
