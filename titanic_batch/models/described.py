"""What the nodes of an audited archive describe: plain data, and objects by class and attributes. Nothing is built.

Two of these values are the same if their ``repr`` is, which tells 1 from True and from 1.0, and a list from a tuple.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.audit import Archive
from titanic_batch.models.trusted_types import TREE

_MOST_ELEMENTS = 64  # of an array that are looked at; those of attributes are fewer


@dataclass(frozen=True, slots=True)
class DescribedObject:
    """An object: the full name of its class, and its attributes, sorted by name."""

    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DescribedArray:
    """An array, or a scalar of NumPy's, with its shape and its first elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    elements: list[Any]


@dataclass(frozen=True, slots=True)
class DescribedTree:
    """A tree: what it was made with, and its arrays, which its ``repr`` leaves out."""

    n_features: int
    n_classes: DescribedArray
    n_outputs: int
    nodes: NDArray[Any] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)


def described(archive: Archive, but: Mapping[str, Any]) -> Any:
    """Return what an archive describes.

    Parameters
    ----------
    archive
        The archive.
    but
        Attributes to leave out where they have these values.

    Raises
    ------
    AttributeError, LookupError, RecursionError, TypeError, ValueError
        It is of a form that skops does not write.
    """
    return _Description(archive.arrays, but).value(archive.schema)


class _Description:
    def __init__(self, arrays: Mapping[str, NDArray[Any]], but: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._but = {name: repr(value) for name, value in but.items()}

    def value(self, node: Any) -> Any:
        """Return what a node describes."""
        match node["__loader__"]:
            case "JsonNode":
                return json.loads(node["content"])
            case "ListNode":
                return [self.value(item) for item in node["content"]]
            case "TupleNode":
                return tuple(self.value(item) for item in node["content"])
            case "DictNode" if node["__class__"] == "dict":
                key_types: Sequence[Callable[[str], Any]] = self.value(node["key_types"])
                items = node["content"].items()
                return {of(key): self.value(value) for of, (key, value) in zip(key_types, items, strict=True)}
            case "TypeNode":
                return {"int": int, "str": str}[node["__class__"]]
            case "SliceNode":
                return slice(*(node["content"][name] for name in ("start", "stop", "step")))
            case "NdArrayNode":
                return self._array(node)
            case "ObjectNode":
                attributes = self.value(node["content"])
                known = {name: attributes[name] for name in sorted(attributes)}
                return DescribedObject(
                    _name(node), {name: value for name, value in known.items() if self._but.get(name) != repr(value)}
                )
            case "TreeNode" if _name(node) == TREE:
                return self._tree(node)
            case loader:
                raise ValueError(f"there is a {loader}")

    def _array(self, node: Any) -> DescribedArray:
        if node["type"] == "json":
            elements = [self.value(item) for item in node["content"]]
            return DescribedArray(_name(node), "object", self.value(node["shape"]), elements)
        array = self._arrays[node["file"]]
        return DescribedArray(_name(node), array.dtype.str, array.shape, array.ravel()[:_MOST_ELEMENTS].tolist())

    def _tree(self, node: Any) -> DescribedTree:
        state = dict(node["content"]["content"])
        key_types = self.value(node["content"]["key_types"])
        nodes, values = (self._arrays[state.pop(name)["file"]] for name in ("nodes", "values"))
        if sorted(state) != ["max_depth", "node_count"] or key_types != [str] * 4:
            raise ValueError("a tree has another state")
        n_features, n_classes, n_outputs = self.value(node["__reduce__"]["args"])
        return DescribedTree(n_features, n_classes, n_outputs, nodes, values)


def _name(node: Any) -> str:
    return f"{node['__module__']}.{node['__class__']}"
