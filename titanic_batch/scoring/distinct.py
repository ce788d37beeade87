"""Each distinct feature row predicted once.

Binned and encoded features take few distinct values: millions of passengers share some thousand feature rows. Here a
feature row is packed into one integer, and the prediction is looked up under it. A prediction is taken over bit by bit,
so the answer is the one that the classifier gives for the whole frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

DENSE_KEYS = 2**22  # up to so many possible feature rows, a plain table is the index (int32: 16 MiB)
MAX_KEYS = 2**62
MAX_DISTINCT = 2**20
MAX_COLUMN_VALUES = 2**16
PROBE_ROWS = 10_000
HARDLY_REPEAT = 0.5

_INT64_MAX = 2**63 - 1


class TooManyDistinctError(Exception):
    """The rows don't repeat enough for remembering them to pay."""


@dataclass(frozen=True, slots=True)
class _Offset:
    """Codes whole numbers of a narrow range by their distance from its lowest."""

    low: int
    size: int

    def codes(self, column: NDArray[Any]) -> NDArray[Any] | None:
        """Return whole numbers from 0 up to below the size, of any type; None if a value is outside."""
        if not len(column):
            return np.empty(0, dtype=np.int64)
        if not (column.min() >= self.low and column.max() < self.low + self.size):  # so put, NaN is outside
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
    """Codes any numbers by the position of their bits among those known; the bits, so that NaN and -0.0 count too."""

    bits: NDArray[np.int64]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return len(self.bits)

    def codes(self, column: NDArray[Any]) -> NDArray[np.int64] | None:
        bits = _bits(column, self.dtype)
        codes = np.searchsorted(self.bits, bits)
        codes[codes == len(self.bits)] = 0
        return codes if (self.bits[codes] == bits).all() else None


class _Known:
    """Feature rows and their predictions, found by a key that is packed from the codes of a row's values.

    It grows under a lock, and is read without one: predictions are there before the key that leads to them, and a
    reader takes the predictions after it has followed the keys.
    """

    def __init__(self, coders: list[_Offset | _Values], rows: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        sizes = [coder.size for coder in coders]
        space = prod(sizes)
        if space > MAX_KEYS:
            raise TooManyDistinctError
        self.coders = coders
        # Half the bytes are done in half the time.
        self._key_type: type[np.signedinteger[Any]] = np.int32 if space < 2**31 else np.int64
        self.rows = rows[:0]
        self.outputs = outputs[:0]
        # Either a table with the place of every possible key, or the known keys in order and the place of each.
        self._table: NDArray[np.int32] | None = np.full(space, -1, dtype=np.int32) if space <= DENSE_KEYS else None
        self._ordered = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.add(rows, outputs)

    def keys(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.signedinteger[Any]] | None:
        """Return an integer for each row, the same for equal rows only; None where a value has no code yet."""
        keys: NDArray[np.signedinteger[Any]] = np.zeros(len(columns[0]), dtype=self._key_type)
        for coder, column in zip(self.coders, columns, strict=True):
            codes = coder.codes(column)
            if codes is None:
                return None
            np.multiply(keys, coder.size, out=keys)
            np.add(keys, codes, out=keys, casting="same_kind")
        return keys

    def known_keys(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.signedinteger[Any]]:
        """Return `keys` of rows that the coders were made for."""
        keys = self.keys(columns)
        if keys is None:
            raise AssertionError("the coders must know the rows that they were made for")
        return keys

    def places(self, keys: NDArray[np.signedinteger[Any]]) -> NDArray[np.integer[Any]]:
        """Return the place of each key's row among ``rows``, -1 where it isn't there."""
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
        """Return the places of the rows, a new array; -1 for each that isn't known, or for all where a value isn't."""
        keys = self.keys(columns)
        return np.full(len(columns[0]), -1) if keys is None else self.places(keys)

    def add(self, rows: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        """Make known rows that are not, each distinct one once."""
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
    """Predict feature rows, each distinct one once, for as long as rows repeat.

    Safe to call from several threads. Where rows turn out to repeat hardly, every later call goes to the classifier as
    it is.

    Parameters
    ----------
    predict
        Takes features of shape (n_samples, n_features) and returns an array of shape (n_samples, n_outputs), each row
        a function of the feature row alone. Called by one thread at a time with distinct rows.
    on_others
        Is given rows and predictions that are not remembered, and so not in `counted`.
    """

    def __init__(
        self,
        predict: Callable[[NDArray[Any]], NDArray[np.float64]],
        on_others: Callable[[NDArray[Any], NDArray[np.float64]], None] | None = None,
    ) -> None:
        self._predict = predict
        self._on_others = on_others
        self._lock = threading.Lock()
        # By dtype: the same number has other bits in another.
        self._known: dict[np.dtype[Any], _Known] = {}
        # How often each known row was asked for. A row keeps its place, also where the coders change.
        self._counts: dict[np.dtype[Any], NDArray[np.int64]] = {}
        self._counting = threading.Lock()
        self._given_up: dict[np.dtype[Any], tuple[NDArray[Any], NDArray[np.float64]]] = {}
        self._rows_seen = 0
        self.on = True

    def __call__(self, columns: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
        """Return the columns of the predictions, n_outputs new arrays of shape (n_samples,).

        Of ``columns``, each of shape (n_samples,), there is at least one. They are the features, as they would be side
        by side in an array of the type that holds them all.
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
        """Return distinct rows, their predictions, and how often each was asked for since this was last called.

        Rows given to ``on_others`` are not among them. Nothing is being predicted meanwhile.
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
        """Make known all rows, and return what knows them."""
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
            # In the order of their keys: a tree leads neighbours to the same leaves, which the processor then foresees.
            new = _side_by_side([column[unknown[first]] for column in columns], dtype)
            known.add(new, self._predict(new))
        self._known[dtype] = known
        return known


def _coder(column: NDArray[Any], rows: NDArray[Any], known: _Offset | _Values | None) -> _Offset | _Values:
    """Return a coder that knows the values of a column, and those of the rows so far."""
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
    """Return the bits that the numbers have in an array of type ``dtype``."""
    if dtype.kind == "f":
        return column.astype(dtype).astype(np.float64).view(np.int64)
    return column.astype(np.int64)


def _side_by_side(columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    X = np.empty((len(columns[0]), len(columns)), dtype)
    for position, column in enumerate(columns):
        X[:, position] = column
    return X


def _appended(array: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return both below each other, in Fortran's order, in new memory that has room for as much again.

    An ``array`` with rows is what this returned before: then ``rows`` go into the room that it left, if that is enough.
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
