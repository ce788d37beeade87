"""Safety checks on a model's archive, made before anything in it is built.

That only trusted types are built is not enough, since their values may be anything: a tree may lead to a node that is
not there, which scikit-learn follows without looking, and a zip of some kilobytes may unpack to gigabytes. So the
archive is read here as the plain data that it is, zip, JSON and NumPy's ``.npy``, and may contain what scikit-learn's
pipelines are made of and nothing else: no functions, and no references from one part to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from titanic_batch.models import node_checks
from titanic_batch.models.archive_arrays import Arrays
from titanic_batch.models.artifact import SCHEMA
from titanic_batch.models.audit_errors import AuditError, UntrustedTypeError
from titanic_batch.models.trusted_types import BUNCH, TREE, TREE_PREDICTOR, is_trusted
from titanic_batch.models.zip_members import ZipError, ZipMembers

_MAX_DEPTH = 100
# Parsed JSON takes ten times and more the memory of its text where it is little but brackets, in two dozen bytes each.
_BYTES_OF_A_NODE = 16
_FEW_NODES = 10_000

_NUMBERS = frozenset(
    f"numpy.{name}"
    for name in ("bool", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)
# The loaders of skops, and the types that each may build. ObjectNode builds those that are trusted.
_LOADERS: Mapping[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict", BUNCH}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset({"sklearn._loss._loss.CyExponentialLoss", "sklearn._loss._loss.CyHalfBinomialLoss"}),
    "NdArrayNode": frozenset({"numpy.ndarray", "numpy.str_", *_NUMBERS}),
    "PartialNode": frozenset({"functools.partial"}),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TreeNode": frozenset({TREE}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({"builtins.bool", "builtins.float", "builtins.int", "builtins.str", *_NUMBERS}),
}
# Objects without attributes, of classes that have none.
_WITHOUT_ATTRIBUTES = "sklearn._loss.link."
_IN_ARRAYS = frozenset({"JsonNode", "ListNode", "NdArrayNode"})
# What an array of objects may hold besides plain data: the trees of gradient boosting.
_OBJECTS_IN_ARRAYS = "sklearn.tree._classes.DecisionTreeRegressor"


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
        schema, arrays = json.loads(packed), Arrays(members)
        _check_schema(schema, arrays, frozenset(trusted))
        return Archive(schema, arrays.known, hashlib.sha256(packed).hexdigest())
    except ZipError as error:
        raise AuditError(str(error)) from None
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise AuditError(f"its data has another form, {type(error).__name__}") from None


def _check_schema(schema: Any, arrays: Arrays, trusted: frozenset[str]) -> None:
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


def _check_node(node: Any, arrays: Arrays, trusted: frozenset[str]) -> None:
    loader, name = node["__loader__"], f"{node['__module__']}.{node['__class__']}"
    if "__id__" in node:
        # skops would take a node with the id of an earlier one for that, whatever else it says.
        raise AuditError("it has references")
    if "." in node["__class__"]:
        # The same full name in another module: nothing is found there, or something else.
        raise UntrustedTypeError(loader, name)
    if loader == "ObjectNode":
        if name == TREE or not (name in trusted or is_trusted(name)):
            raise UntrustedTypeError(loader, name)
        _check_attributes(node, name)
        if name == TREE_PREDICTOR:
            node_checks.check_tree_predictor(node, arrays)
    elif name not in _LOADERS.get(loader, ()):
        raise UntrustedTypeError(loader, name)
    elif check := _CHECKS.get(loader):
        check(node, arrays)


def _check_attributes(node: Any, name: str) -> None:
    content = node["content"]
    if content["__loader__"] == "JsonNode" and name.startswith(_WITHOUT_ATTRIBUTES):
        has_names = json.loads(content["content"]) is None
    else:
        has_names = (content["__loader__"], content["__class__"]) == ("DictNode", "dict")
    if not has_names:
        raise AuditError("attributes have no names")


def _check_array(node: Any, arrays: Arrays) -> None:
    if node["type"] == "json":
        _check_objects(node["content"])
        if node["__class__"] != "ndarray":
            raise AuditError("a number is no number")
        return
    arrays.build(node)
    array = arrays.of(node)
    if node["__class__"] != "ndarray" and (array.shape or array.dtype.type.__name__ != node["__class__"]):
        raise AuditError("a number is no number")


def _check_objects(items: Any) -> None:
    """Check what is in an array of objects: plain data, in lists where it has more dimensions, or trees."""
    todo = list(items)
    while todo:
        item = todo.pop()
        if item["__loader__"] == "ListNode":
            todo += item["content"]
        elif item["__loader__"] == "ObjectNode":
            if f"{item['__module__']}.{item['__class__']}" != _OBJECTS_IN_ARRAYS:
                raise AuditError("an array holds objects")
        elif item["__loader__"] not in _IN_ARRAYS:
            raise AuditError("an array holds objects")


def _check_type(node: Any, arrays: Arrays) -> None:
    content = node["content"]
    if content["__loader__"] != "NdArrayNode" or content["__class__"] != "ndarray":
        raise AuditError("a type of numbers is none")
    if content["type"] == "json" and content["content"]:
        raise AuditError("a type of numbers is none")


def _check_slice(node: Any, arrays: Arrays) -> None:
    if not all(part is None or type(part) is int for part in node["content"].values()):
        raise AuditError("a slice has other ends")


_CHECKS: Mapping[str, Callable[[Any, Arrays], None]] = {
    "DTypeNode": _check_type,
    "LossNode": lambda node, arrays: node_checks.check_loss(node),
    "NdArrayNode": _check_array,
    "PartialNode": lambda node, arrays: node_checks.check_check(node),
    "RandomGeneratorNode": node_checks.check_generator,
    "RandomStateNode": node_checks.check_legacy_random_state,
    "SliceNode": _check_slice,
    "TreeNode": node_checks.check_tree,
}


def _children(node: Any) -> Iterator[Any]:
    """Yield the nodes in a node but for those that its own check has looked at in full."""
    match node["__loader__"]:
        case "ObjectNode" | "DTypeNode" | "RandomStateNode":
            yield node["content"]
        case "TreeNode" | "LossNode":
            yield node["__reduce__"]["args"]
            yield node["content"]
        case "DictNode":
            yield node["key_types"]
            yield from node["content"].values()
        case "ListNode" | "TupleNode":
            yield from node["content"]
        case "NdArrayNode" if node["type"] == "json":
            yield node["shape"]
            yield from node["content"]
        case "RandomGeneratorNode":
            yield node["content"]["bit_generator"]
            yield node["content"]["seed_seq"]
        case "PartialNode":
            yield node["content"]["args"]
            yield node["content"]["kwds"]
            yield node["content"]["namespace"]
