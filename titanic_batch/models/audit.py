"""Safety checks on a model's archive, made before anything in it is built.

That only trusted types are built is not enough, since their values may be anything: a tree may lead to a node that is
not there, which scikit-learn follows without looking, and a zip of some kilobytes may unpack to gigabytes. So the
archive is read here as the plain data that it is, zip, JSON and NumPy's ``.npy``, and may contain what our pipelines
are made of and nothing else.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.artifact import SCHEMA
from titanic_batch.models.zip_members import ZipError, ZipMembers

TREE = "sklearn.tree._tree.Tree"
_MAX_DEPTH = 100
# Parsed JSON takes ten times and more the memory of its text where it is little but brackets, in two dozen bytes each.
_BYTES_OF_A_NODE = 16
_FEW_NODES = 10_000

# The loaders of skops, and the types that each may build. ObjectNode and TreeNode build those that are trusted.
_PLAIN_LOADERS: dict[str, frozenset[str]] = {
    "DictNode": frozenset({"builtins.dict"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "NdArrayNode": frozenset({"numpy.ndarray", "numpy.bool", "numpy.int64", "numpy.float64", "numpy.str_"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({"builtins.int", "builtins.str"}),
}
_ARRAY_KINDS = frozenset("biufU")
# The start of a member: NumPy's own reader evaluates whatever stands there, and fails on some of it in ways of its own.
_DTYPE = rb"'[<>|][biufcmMOSUV]\d{0,8}'"
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)(?P<header>\{"
    rb"'descr': (?P<dtype>" + _DTYPE + rb"|\[(?:\('\w{0,64}', " + _DTYPE + rb"\)(?:, |(?=\]))){1,64}\]), "
    rb"'fortran_order': (?P<by_columns>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,19}(?:,|(?:, \d{1,19}){1,8}))?)\), "
    rb"\} *\n)",
    re.DOTALL | re.ASCII,
)
_NODE_FIELDS = frozenset({"left_child", "right_child", "feature", "threshold"})


class AuditError(Exception):
    """The archive must not be built; the message says why, in a few words."""


class UntrustedTypeError(AuditError):
    """It would build a type that our pipelines don't contain."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A skops archive that was audited.

    Attributes
    ----------
    schema
        Its JSON: nodes, each of which describes an object and names the loader that builds it.
    arrays
        Its arrays, read-only, by the names of their members.
    structure
        SHA-256, in hex, of the schema as it is in the file: of all but the arrays.
    """

    schema: Any
    arrays: Mapping[str, NDArray[Any]]
    structure: str


def audit(content: bytes, trusted: Collection[str]) -> Archive:
    """Check a skops archive as plain data: nothing is imported, and nothing is built.

    Parameters
    ----------
    content
        The zip.
    trusted
        Full names of the classes that may be built. Their attributes may have any names: those that would hide a method
        are refused by `building.build`, which imports the classes.

    Raises
    ------
    AuditError
        It is damaged, or contains anything else.
    """
    try:
        members = ZipMembers(content)
        packed = members.read(SCHEMA)
        if sum(map(packed.count, b"[{")) > len(packed) // _BYTES_OF_A_NODE + _FEW_NODES:
            raise AuditError("it has more nodes than their descriptions take")
        schema, arrays = json.loads(packed), _Arrays(members)
        _check_schema(schema, arrays, frozenset(trusted))
        return Archive(schema, arrays.known, hashlib.sha256(packed).hexdigest())
    except ZipError as error:
        raise AuditError(str(error)) from None
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise AuditError(f"its data has another form, {type(error).__name__}") from None


def _check_schema(schema: Any, arrays: _Arrays, trusted: frozenset[str]) -> None:
    if type(schema["protocol"]) is not int:
        raise AuditError("it names no protocol")
    # A node and its depth. Not recursive, since whoever made the file chose the depth.
    todo: list[tuple[Any, int]] = [(schema, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > _MAX_DEPTH:
            raise AuditError("it is nested too deep")
        _check_node(node, arrays, trusted)
        todo += [(child, depth + 1) for child in _children(node)]


def _check_node(node: Any, arrays: _Arrays, trusted: frozenset[str]) -> None:
    loader, name = node["__loader__"], f"{node['__module__']}.{node['__class__']}"
    if "__id__" in node:
        # skops would take a node with the id of an earlier one for that, whatever else it says.
        raise AuditError("it has references")
    if "." in node["__class__"]:
        # The same full name in another module: nothing is found there, or something else.
        raise UntrustedTypeError(f"{loader} {name}")
    if loader == "ObjectNode" and name in trusted - {TREE}:
        if node["content"]["__loader__"] != "DictNode":
            raise AuditError("attributes have no names")
    elif loader == "TreeNode" and name == TREE and name in trusted:
        _check_tree(node, arrays)
    elif name not in _PLAIN_LOADERS.get(loader, ()):
        raise UntrustedTypeError(f"{loader} {name}")
    if loader == "NdArrayNode" and node["type"] != "json":
        arrays.build(node)


def _children(node: Any) -> Iterator[Any]:
    loader = node["__loader__"]
    if loader == "ObjectNode":
        yield node["content"]
    elif loader == "TreeNode":
        yield node["__reduce__"]["args"]
        yield node["content"]
    elif loader == "DictNode":
        yield node["key_types"]
        yield from node["content"].values()
    elif loader in ("ListNode", "TupleNode"):
        yield from node["content"]
    elif loader == "NdArrayNode" and node["type"] == "json":
        yield node["shape"]
        yield from node["content"]


class _Arrays:
    """The arrays of a zip's members, each checked once."""

    def __init__(self, members: ZipMembers) -> None:
        self._members = members
        self._built = 0
        self.known: dict[str, NDArray[Any]] = {}

    def of(self, node: Any) -> NDArray[Any]:
        """Return the array in a member, which must be as long as its header says and contain no objects."""
        if node["__loader__"] != "NdArrayNode" or node["type"] != "numpy":
            raise AuditError("an array is of no known kind")
        name = node["file"]
        if name not in self.known:
            self.known[name] = _array(self._members.read(name))
        return self.known[name]

    def build(self, node: Any) -> None:
        """Count an array that a node is built from: however many nodes name it, each gets a copy."""
        self._built += self.of(node).nbytes
        if self._built > self._members.unpacked_bytes:
            raise AuditError("it has arrays in several places")


def _array(member: bytes) -> NDArray[Any]:
    if not (found := _NPY.match(member)) or int.from_bytes(found["length"], "little") != len(found["header"]):
        raise ValueError("an array has another header")
    dtype, shape = _dtype(found["dtype"]), tuple(int(size) for size in found["shape"].split(b",") if size)
    if math.prod(shape) * dtype.itemsize != len(member) - found.end() or 0 in shape or found["by_columns"] == b"True":
        raise AuditError("an array is not as long as it says")
    array: NDArray[Any] = np.frombuffer(member, dtype, offset=found.end()).reshape(shape)
    return array


@functools.lru_cache
def _dtype(description: bytes) -> np.dtype[Any]:
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(description.decode("ascii")))
    fields = [dtype] if dtype.fields is None else [field[0] for field in dtype.fields.values()]
    if not all(field.kind in _ARRAY_KINDS and field.itemsize for field in fields):
        raise AuditError("an array holds something else than numbers or text")
    return dtype


def _check_tree(node: Any, arrays: _Arrays) -> None:
    """Check that every path through a tree ends in a leaf, tests features that exist, and returns probabilities."""
    arguments, content = node["__reduce__"]["args"], node["content"]
    if (arguments["__loader__"], content["__loader__"]) != ("TupleNode", "DictNode"):
        raise AuditError("a tree has other parts")
    n_features, n_classes, n_outputs = arguments["content"]
    features, outputs = _integer(n_features), _integer(n_outputs)
    state = content["content"]
    parts = state["nodes"], state["values"], n_classes
    if any(part["__class__"] != "ndarray" for part in parts):
        raise AuditError("a tree has other parts")
    nodes, values, classes = (arrays.of(part) for part in parts)
    if outputs != 1 or classes.shape != (1,) or classes.dtype.kind != "i" or classes[0] < 2:
        raise AuditError("a tree is no classifier of one output")
    if nodes.ndim != 1 or nodes.dtype.names is None or not set(nodes.dtype.names) >= _NODE_FIELDS:
        raise AuditError("a tree has no nodes")
    count = len(nodes)
    if _integer(state["node_count"]) != count or not 0 <= _integer(state["max_depth"]) < count:
        raise AuditError("a tree is not as large as it says")
    left, right, place = nodes["left_child"], nodes["right_child"], np.arange(count)
    leaf = (left == -1) & (right == -1)
    # Children come after their parent, so no path leads back.
    inner = (place < left) & (left < count) & (place < right) & (right < count)
    inner &= (nodes["feature"] >= 0) & (nodes["feature"] < features) & ~np.isnan(nodes["threshold"])
    if not (leaf | inner).all():
        raise AuditError("a tree leads out of its bounds")
    # Where ways meet again, there may be more of them than can be counted.
    if (np.bincount(np.concatenate([left[inner], right[inner]]), minlength=count)[1:] != 1).any():
        raise AuditError("a tree has a node with no parent or two")
    if values.dtype != np.float64 or values.shape != (count, 1, classes[0]):
        raise AuditError("a tree has other values than its nodes")
    if not ((values >= 0).all() and np.allclose(values.sum(axis=2), 1, rtol=0, atol=1e-6)):
        raise AuditError("a tree gives no probabilities")


def _integer(node: Any) -> int:
    """Return the integer in a JsonNode."""
    number = json.loads(node["content"])
    if node["__loader__"] != "JsonNode" or type(number) is not int:
        raise AuditError("a tree's sizes are no numbers")
    return number
