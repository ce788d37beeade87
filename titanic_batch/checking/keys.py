"""An exact and memory-efficient set of the keys seen so far."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_PAGE_BITS = 16
_PAGE = 1 << _PAGE_BITS
_BREAK_EVEN = _PAGE // 8  # number of keys that take as much memory in a run as in a page
_DIGEST_BYTES = 16
_FULL_PAGE = np.ones(_PAGE, dtype=np.bool_)


class SeenKeys:
    """A growing set of 64-bit integers that detects repeated keys.

    Dense keys are marked in pages, one byte for each of 65,536 consecutive values. Other keys are stored in sorted
    runs, eight bytes each. A page is created if at least 8,192 of its keys are in a run, or if at least 16,384 keys
    without gaps are added at once, so a key never takes more than eight bytes. All full pages share one array, so ids
    without gaps take no memory. Merging two runs temporarily doubles the memory, to at most 16 bytes per key.
    """

    def __init__(self) -> None:
        self._pages: dict[int, NDArray[np.bool_]] = {}
        self._runs: list[NDArray[np.int64]] = []

    def add(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add keys and return the mask of those that were added before, in an earlier call or earlier in ``keys``.

        ``keys`` and the mask have the shape (n_keys,). Neither is kept.
        """
        if (keys[1:] > keys[:-1]).all():
            return self._add_distinct(keys)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        repeated = np.zeros(len(keys), dtype=np.bool_)
        repeated[1:] = ordered[1:] == ordered[:-1]
        seen_in_order = repeated.copy()
        seen_in_order[~repeated] = self._add_distinct(ordered[~repeated])
        seen = np.empty(len(keys), dtype=np.bool_)
        seen[order] = seen_in_order
        return seen

    def _add_distinct(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add ascending, distinct keys and return the mask of those that are already in the set."""
        if self._can_add_span(keys):
            return self._add_span(keys)
        seen = np.zeros(len(keys), dtype=np.bool_)
        rest = np.ones(len(keys), dtype=np.bool_)
        if len(keys) and self._pages:
            pages = np.array(sorted(p for p in self._pages if keys[0] >> _PAGE_BITS <= p <= keys[-1] >> _PAGE_BITS))
            for page, start, end in zip(pages, *self._bounds(keys, pages), strict=True):
                marks = self._pages[int(page)]
                offsets = _offsets(keys[start:end])
                seen[start:end] = marks[offsets]
                self._mark(int(page), offsets)
                rest[start:end] = False
        for run in self._runs:
            positions = np.searchsorted(run, keys)
            positions[positions == len(run)] = 0
            seen |= run[positions] == keys
        self._add_run(keys[rest & ~seen])
        return seen

    def _can_add_span(self, keys: NDArray[np.int64]) -> bool:
        """Return whether ascending, distinct keys have no gaps and don't overlap with the range of any run."""
        if not len(keys) or int(keys[-1]) - int(keys[0]) != len(keys) - 1:
            return False
        return not any(run[0] <= keys[-1] and keys[0] <= run[-1] for run in self._runs)

    def _add_span(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Do the same as `_add_distinct`, page by page instead of key by key."""
        seen = np.zeros(len(keys), dtype=np.bool_)
        start = 0
        while start < len(keys):
            page, low = int(keys[start]) >> _PAGE_BITS, int(keys[start]) & (_PAGE - 1)
            end = min(start + _PAGE - low, len(keys))
            # With this many keys, a key takes at most eight bytes even if the first and last pages are almost empty.
            if page not in self._pages and len(keys) >= 2 * _BREAK_EVEN:
                self._pages[page] = np.zeros(_PAGE, dtype=np.bool_)
            if page in self._pages:
                offsets = slice(low, low + end - start)
                seen[start:end] = self._pages[page][offsets]
                self._mark(page, offsets)
            else:
                self._add_run(keys[start:end].copy())
            start = end
        return seen

    def _add_run(self, run: NDArray[np.int64]) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")
        run = self._move_to_pages(run)
        if len(run):
            self._runs.append(run)

    def _move_to_pages(self, run: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move keys that are dense enough from a run to pages, and return the other keys."""
        if len(run) < _BREAK_EVEN:
            return run
        pages = run >> _PAGE_BITS
        last = pages[_BREAK_EVEN - 1 :]
        full = last[last == pages[: len(last)]]
        if not len(full):
            return run
        full = full[np.diff(full, prepend=full[0] - 1) != 0]
        keep = np.ones(len(run), dtype=np.bool_)
        for page, start, end in zip(full, *self._bounds(run, full), strict=True):
            self._pages.setdefault(int(page), np.zeros(_PAGE, dtype=np.bool_))
            self._mark(int(page), _offsets(run[start:end]))
            keep[start:end] = False
        return run[keep]

    def _mark(self, page: int, offsets: NDArray[np.int64] | slice) -> None:
        marks = self._pages[page]
        if marks is not _FULL_PAGE:
            marks[offsets] = True
            if marks.all():
                self._pages[page] = _FULL_PAGE

    @staticmethod
    def _bounds(keys: NDArray[np.int64], pages: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the start and end indices of the keys of each page."""
        numbers = keys >> _PAGE_BITS
        return np.searchsorted(numbers, pages), np.searchsorted(numbers, pages, side="right")


class SeenTexts:
    """A growing set of texts that detects repeated ones.

    Of each text, a digest of 16 bytes is kept, in sorted runs: BLAKE2b, keyed anew for each set, so that nobody can
    write two texts with the same. Merging two runs temporarily doubles the memory.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._runs: list[NDArray[np.bytes_]] = []

    def add(self, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Add keys and return the mask of those that were added before, in an earlier call or earlier in ``keys``."""
        digests = np.array(
            [blake2b(key.encode(), digest_size=_DIGEST_BYTES, key=self._key).digest() for key in keys],
            f"S{_DIGEST_BYTES}",
        )
        order = np.argsort(digests, kind="stable")
        ordered = digests[order]
        repeated = np.zeros(len(keys), np.bool_)
        repeated[1:] = ordered[1:] == ordered[:-1]
        seen = repeated.copy()
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, ordered), len(run) - 1)
            seen |= run[places] == ordered
        if not seen.all():
            self._add_run(ordered[~seen])
        mask = np.empty(len(keys), np.bool_)
        mask[order] = seen
        return mask

    def _add_run(self, run: NDArray[np.bytes_]) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")
        self._runs.append(run)


def _offsets(keys: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return the offsets of ascending, distinct keys within their page. Without gaps, these are a slice, for speed."""
    if not len(keys):
        return slice(0)
    first, last = int(keys[0]) & (_PAGE - 1), int(keys[-1]) & (_PAGE - 1)
    return slice(first, last + 1) if last - first == len(keys) - 1 else keys & (_PAGE - 1)
