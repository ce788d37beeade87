"""An ensemble of trees as arrays: it gives the bits that ``RandomForestClassifier.predict_proba`` returns.

scikit-learn compares a float32 feature with a float64 threshold, goes left where it is not greater, takes the shares of
the classes in the leaf as they are, adds the trees up in their order, and divides the sum by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 2**15  # rows times trees that are led through the trees at a time: what stays in the processor's cache


class TreeEnsemble:
    """The trees of a fitted ``RandomForestClassifier``, one after another in one set of arrays. A leaf leads to itself.

    It is safe to call from several threads.

    Parameters
    ----------
    nodes
        For each tree, scikit-learn's array of nodes, which must have been audited: each path ends in a leaf. They are
        not kept.
    values
        For each tree, the shares of the classes at each node, float64 of shape (n_nodes, 1, n_classes).
    """

    def __init__(self, nodes: Sequence[NDArray[Any]], values: Sequence[NDArray[np.float64]]) -> None:
        sizes = [len(tree) for tree in nodes]
        starts = np.cumsum([0, *sizes[:-1]])
        every = np.concatenate(nodes)
        is_leaf = every["left_child"] < 0
        children = np.stack([every["left_child"], every["right_child"]], axis=1) + np.repeat(starts, sizes)[:, None]
        children[is_leaf] = np.flatnonzero(is_leaf)[:, None]
        self._roots = starts.astype(np.int32)
        self._children = children.astype(np.int32).ravel()
        self._feature = np.where(is_leaf, 0, every["feature"]).astype(np.int32)
        self._threshold = np.where(is_leaf, np.inf, every["threshold"])
        self._missing_goes_right = every["missing_go_to_left"] == 0
        self._shares = np.concatenate(values)[:, 0, :]
        self._depth = self._depth_of(is_leaf)

    def _depth_of(self, is_leaf: NDArray[np.bool_]) -> int:
        """Return how many steps lead from the roots to the furthest leaf."""
        places, depth = self._roots, 0
        while len(inner := places[~is_leaf[places]]):
            places, depth = np.concatenate([self._children[2 * inner], self._children[2 * inner + 1]]), depth + 1
        return depth

    def __call__(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of the classes, a new array of shape (n_samples, n_classes).

        Parameters
        ----------
        X
            Features of shape (n_samples, n_features), finite as float32, or NaN where missing. They are not changed.
        """
        total = np.zeros((len(X), self._shares.shape[1]))
        for first in range(0, len(X), _CELLS):
            values = np.ascontiguousarray(X[first : first + _CELLS], dtype=np.float32)
            self._add(values.astype(np.float64), total[first : first + _CELLS])  # a float32 is compared as a float64
        total /= len(self._roots)
        return total

    def _add(self, values: NDArray[np.float64], total: NDArray[np.float64]) -> None:
        """Add the shares in the leaves of some rows to ``total``, tree by tree."""
        at_a_time = max(_CELLS // len(values), 1)
        flat, rows = values.ravel(), np.arange(0, values.size, values.shape[1], dtype=np.int32)
        has_missing = bool(np.isnan(flat).any())
        for first in range(0, len(self._roots), at_a_time):
            roots = self._roots[first : first + at_a_time, None]
            places = np.repeat(roots, len(values), axis=1)  # of each row in each tree
            for _ in range(self._depth):
                value = flat.take(self._feature.take(places) + rows)
                goes_right = value > self._threshold.take(places)
                if has_missing:
                    goes_right |= np.isnan(value) & self._missing_goes_right.take(places)
                places = self._children.take(2 * places + goes_right)
            for leaves in places:
                total += self._shares.take(leaves, axis=0)
