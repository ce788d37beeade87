"""Each distinct feature row predicted once.

Binned and encoded features take few distinct values: millions of passengers share some thousand feature rows. Here a
feature row is packed into one integer, and the prediction is looked up under it. A prediction is taken over bit by bit,
so the answer is the one that the classifier gives for the whole frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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


class TooManyDistinctError(Exception):
    """The rows don't repeat enough for remembering them to pay."""


@dataclass(frozen=True, slots=True)
class _Offset:
    """Codes whole numbers of a narrow range by their distance from its lowest."""

    low: int
    size: int

    def codes(self, column: NDArray[Any]) -> NDArray[np.int64] | None:
        if not len(column):
            return np.empty(0, dtype=np.int64)
        if column.min() < self.low or column.max() >= self.low + self.size:
            return None
        codes = column.astype(np.int64)
        if column.dtype.kind == "f" and (codes != column).any():
            return None
        codes -= self.low
        return codes


@dataclass(frozen=True, slots=True)
class _Values:
    """Codes any numbers by the position of their bits among those known; the bits, so that NaN and -0.0 count too."""

    bits: NDArray[np.int64]

    @property
    def size(self) -> int:
        return len(self.bits)

    def codes(self, column: NDArray[Any]) -> NDArray[np.int64] | None:
        bits = _bits(column)
        codes = np.searchsorted(self.bits, bits)
        codes[codes == len(self.bits)] = 0
        return codes if (self.bits[codes] == bits).all() else None


class _Index:
    """A fixed set of feature rows, and the place of each. Never changed once made, so that threads may share it."""

    def __init__(self, rows: NDArray[Any], coders: list[_Offset | _Values]) -> None:
        self.rows = rows
        self.coders = coders
        sizes = [coder.size for coder in coders]
        space = prod(sizes)
        if space > MAX_KEYS:
            raise TooManyDistinctError
        self._strides = [prod(sizes[position + 1 :]) for position in range(len(sizes))]
        keys = self.known_keys(rows)
        self._order = np.argsort(keys)
        self._sorted_keys = keys[self._order]
        self._table = None
        if space <= DENSE_KEYS:
            self._table = np.full(space, -1, dtype=np.int32)
            self._table[keys] = np.arange(len(keys), dtype=np.int32)

    def keys(self, X: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return an integer for each row, the same for equal rows only; None where a value has no code yet."""
        keys = np.zeros(len(X), dtype=np.int64)
        for position, (coder, stride) in enumerate(zip(self.coders, self._strides, strict=True)):
            codes = coder.codes(X[:, position])
            if codes is None:
                return None
            codes *= stride
            keys += codes
        return keys

    def known_keys(self, X: NDArray[Any]) -> NDArray[np.int64]:
        """Return `keys` of rows that the coders were made for."""
        keys = self.keys(X)
        if keys is None:
            raise AssertionError("the coders must know the rows that they were made for")
        return keys

    def places(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the place of each key's row among ``rows``, -1 where it isn't there."""
        if self._table is not None:
            return self._table[keys].astype(np.intp)
        distinct, inverse = np.unique(keys, return_inverse=True)
        places = np.searchsorted(self._sorted_keys, distinct)
        if not len(self._sorted_keys):
            return np.full(len(keys), -1)
        places[places == len(self._sorted_keys)] = 0
        found = self._sorted_keys[places] == distinct
        return np.where(found, self._order[places], -1)[inverse]


class DistinctRows:
    """Predict feature rows, each distinct one once, for as long as rows repeat.

    Safe to call from several threads. Where rows turn out to repeat hardly, every later call goes to the classifier as
    it is.

    Parameters
    ----------
    predict
        Takes features of shape (n_samples, n_features) and returns an array of shape (n_samples, n_outputs), each row
        a function of the feature row alone. Called by one thread at a time with distinct rows.
    """

    def __init__(self, predict: Callable[[NDArray[Any]], NDArray[np.float64]]) -> None:
        self._predict = predict
        self._lock = threading.Lock()
        self._known: tuple[_Index, NDArray[np.float64]] | None = None
        self._rows_seen = 0
        self.on = True

    def __call__(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the predictions of ``X``, of shape (n_samples, n_features); a new array."""
        self._rows_seen += len(X)
        if not len(X) or not self.on or X.ndim != 2 or not X.shape[1] or X.dtype.kind not in "biuf":
            return self._predict(X)
        known = self._known
        if known is not None:
            index, outputs = known
            keys = index.keys(X)
            if keys is not None:
                places = index.places(keys)
                if (places >= 0).all():
                    return outputs[places]
        with self._lock:
            try:
                index, outputs = self._learn(X)
            except TooManyDistinctError:
                self.on = False
                self._known = None
                return self._predict(X)
        return outputs[index.places(index.known_keys(X))]

    def _learn(self, X: NDArray[Any]) -> tuple[_Index, NDArray[np.float64]]:
        """Make known all rows of ``X``."""
        rows = self._known[0].rows if self._known else X[:0]
        known = self._known[0].coders if self._known else [None] * X.shape[1]
        coders = [_coder(X[:, position], rows[:, position], coder) for position, coder in enumerate(known)]
        index = _Index(rows, coders)
        keys = index.known_keys(X)
        new_places = np.flatnonzero(index.places(keys) < 0)
        _, first = np.unique(keys[new_places], return_index=True)
        new = X[np.sort(new_places[first])]
        distinct = len(rows) + len(new)
        if distinct > MAX_DISTINCT or (self._rows_seen >= PROBE_ROWS and distinct > HARDLY_REPEAT * self._rows_seen):
            raise TooManyDistinctError
        outputs = [self._known[1]] if self._known else []
        if len(new):
            outputs.append(self._predict(new))
            index = _Index(np.concatenate([rows, new]), coders)
        self._known = index, np.concatenate(outputs)
        return self._known


def _coder(column: NDArray[Any], rows: NDArray[Any], known: _Offset | _Values | None) -> _Offset | _Values:
    """Return a coder that knows the values of a column, and those of the rows so far."""
    if known is not None and known.codes(column) is not None:
        return known
    if not isinstance(known, _Values):
        low, high = column.min(), column.max()
        if isinstance(known, _Offset):
            low, high = min(low, known.low), max(high, known.low + known.size - 1)
        if np.isfinite(low) and np.isfinite(high) and high - low < MAX_COLUMN_VALUES:
            offset = _Offset(int(low), int(high) - int(low) + 1)
            if offset.codes(column) is not None:
                return offset
    values = np.unique(np.concatenate([_bits(rows), _bits(column)]))
    if len(values) > MAX_COLUMN_VALUES:
        raise TooManyDistinctError
    return _Values(values)


def _bits(column: NDArray[Any]) -> NDArray[np.int64]:
    if column.dtype.kind == "f":
        return column.astype(np.float64).view(np.int64)
    return column.astype(np.int64)
