"""Which keys were seen before, exactly, in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PAGE_BITS = 16
_PAGE = 1 << _PAGE_BITS
_PAGE_WORTH = _PAGE // 8  # keys that take as much room in a run as their page does
_FULL_PAGE = np.ones(_PAGE, dtype=np.bool_)


class SeenKeys:
    """A growing set of 64-bit integers that tells, of each key, whether it came before.

    Keys that lie close together are marked in pages, one byte for each of 65,536 neighbouring values; the others stand
    in sorted runs, eight bytes each. A page is made where at least 8,192 keys of it stand in a run, or 16,384 keys
    without gaps come at once, so that a key never takes more than eight bytes; all pages that are full share one, so
    that ids without gaps take none. Merging two runs needs as much again for a moment: at most 16 bytes a key.
    """

    def __init__(self) -> None:
        self._pages: dict[int, NDArray[np.bool_]] = {}
        self._runs: list[NDArray[np.int64]] = []

    def add(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add keys and return which of them came before, in an earlier call or earlier in ``keys``.

        ``keys`` is of shape (n_keys,) and not kept; so is the mask.
        """
        if (keys[1:] > keys[:-1]).all():
            return self._add_new(keys)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        repeated = np.zeros(len(keys), dtype=np.bool_)
        repeated[1:] = ordered[1:] == ordered[:-1]
        came_before = self._add_new(ordered[~repeated])
        in_order = repeated.copy()
        in_order[~repeated] = came_before
        seen = np.empty(len(keys), dtype=np.bool_)
        seen[order] = in_order
        return seen

    def _add_new(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add rising, distinct keys and return which of them are in the set already."""
        if self._can_add_span(keys):
            return self._add_span(keys)
        seen = np.zeros(len(keys), dtype=np.bool_)
        rest = np.ones(len(keys), dtype=np.bool_)
        if len(keys) and self._pages:
            pages = np.array(sorted(p for p in self._pages if keys[0] >> _PAGE_BITS <= p <= keys[-1] >> _PAGE_BITS))
            for page, start, end in zip(pages, *self._bounds(keys, pages), strict=True):
                marks = self._pages[int(page)]
                low = _places(keys[start:end])
                seen[start:end] = marks[low]
                self._mark(int(page), low)
                rest[start:end] = False
        for run in self._runs:
            places = np.searchsorted(run, keys)
            places[places == len(run)] = 0
            seen |= run[places] == keys
        self._add_run(keys[rest & ~seen])
        return seen

    def _can_add_span(self, keys: NDArray[np.int64]) -> bool:
        """Tell whether rising, distinct keys have no gaps, and no run has keys between the first and the last."""
        if not len(keys) or int(keys[-1]) - int(keys[0]) != len(keys) - 1:
            return False
        return not any(run[0] <= keys[-1] and keys[0] <= run[-1] for run in self._runs)

    def _add_span(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Do what `_add_new` does, page by page and not key by key."""
        seen = np.zeros(len(keys), dtype=np.bool_)
        start = 0
        while start < len(keys):
            page, low = int(keys[start]) >> _PAGE_BITS, int(keys[start]) & (_PAGE - 1)
            end = min(start + _PAGE - low, len(keys))
            # So many that the pages at both ends, little of which may be marked, take no more than eight bytes a key.
            if page not in self._pages and len(keys) >= 2 * _PAGE_WORTH:
                self._pages[page] = np.zeros(_PAGE, dtype=np.bool_)
            if page in self._pages:
                places = slice(low, low + end - start)
                seen[start:end] = self._pages[page][places]
                self._mark(page, places)
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
        """Mark the keys of well-filled pages there and return the others."""
        if len(run) < _PAGE_WORTH:
            return run
        pages = run >> _PAGE_BITS
        last = pages[_PAGE_WORTH - 1 :]
        full = last[last == pages[: len(last)]]
        if not len(full):
            return run
        full = full[np.diff(full, prepend=full[0] - 1) != 0]
        keep = np.ones(len(run), dtype=np.bool_)
        for page, start, end in zip(full, *self._bounds(run, full), strict=True):
            self._pages.setdefault(int(page), np.zeros(_PAGE, dtype=np.bool_))
            self._mark(int(page), _places(run[start:end]))
            keep[start:end] = False
        return run[keep]

    def _mark(self, page: int, places: NDArray[np.int64] | slice) -> None:
        marks = self._pages[page]
        if marks is not _FULL_PAGE:
            marks[places] = True
            if marks.all():
                self._pages[page] = _FULL_PAGE

    @staticmethod
    def _bounds(keys: NDArray[np.int64], pages: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return where the keys of each page begin and end."""
        numbers = keys >> _PAGE_BITS
        return np.searchsorted(numbers, pages), np.searchsorted(numbers, pages, side="right")


def _places(keys: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return where rising, distinct keys of one page stand in it; a slice, which is faster, where there are no gaps."""
    if not len(keys):
        return slice(0)
    first, last = int(keys[0]) & (_PAGE - 1), int(keys[-1]) & (_PAGE - 1)
    return slice(first, last + 1) if last - first == len(keys) - 1 else keys & (_PAGE - 1)
