"""What a model's archive must be before anything in it is built.

skops builds only types that are trusted, but any values of them: a tree may lead to a node that is not there, which
scikit-learn follows without looking, and a zip of some kilobytes may unpack to gigabytes. So the archive is read here
as the plain data that it is, zip, JSON and NumPy's ``.npy``, and must hold what our pipelines are made of and no more.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import json
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.artifact import SCHEMA

TREE = "sklearn.tree._tree.Tree"
MAX_UNPACKED_BYTES = 2**26
MAX_UNPACKED_RATIO = 100
_MAX_DEPTH = 100

# How skops is to build a thing, and of which types; ObjectNode: of those that are trusted.
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
_NODE_FIELDS = frozenset({"left_child", "right_child", "feature", "threshold"})


class AuditError(Exception):
    """The archive is not to be built; the message says why, in a few words."""


class UntrustedTypeError(AuditError):
    """It would build a type that our pipelines don't hold."""


def audit(content: bytes, trusted: Collection[str]) -> None:
    """Check a skops archive as the data that it is; nothing is imported but ``trusted`` types, and nothing built.

    Parameters
    ----------
    content
        The zip.
    trusted
        Full names of the classes that may be built, with any attributes but those that would hide a method.

    Raises
    ------
    AuditError
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            _check_members(file, len(content))
            _check_schema(json.loads(file.read(SCHEMA)), _Arrays(file), frozenset(trusted))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise AuditError(f"its zip is broken, {type(error).__name__}") from None
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise AuditError(f"its data has another form, {type(error).__name__}") from None


def _check_members(file: zipfile.ZipFile, size: int) -> None:
    members = file.infolist()
    if len({member.filename for member in members}) < len(members):
        raise AuditError("its zip has members of the same name")
    if any(member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
           for member in members):  # fmt: skip
        raise AuditError("its zip is encrypted, or packed in another way")
    if sum(member.file_size for member in members) > max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * size):
        raise AuditError("its zip unpacks to far more than it holds")


def _check_schema(schema: Any, arrays: _Arrays, trusted: frozenset[str]) -> None:
    if type(schema["protocol"]) is not int:
        raise AuditError("it names no protocol")
    # A thing and its depth; not recursive, since the depth is not ours to choose.
    todo: list[tuple[Any, int]] = [(schema, 0)]
    while todo:
        thing, depth = todo.pop()
        if depth > _MAX_DEPTH:
            raise AuditError("it is nested too deep")
        _check_thing(thing, arrays, trusted)
        todo += [(child, depth + 1) for child in _children(thing)]


def _check_thing(thing: Any, arrays: _Arrays, trusted: frozenset[str]) -> None:
    loader, name = thing["__loader__"], f"{thing['__module__']}.{thing['__class__']}"
    if "__id__" in thing:
        # skops takes what has the id of something earlier for that, whatever stands here.
        raise AuditError("it has references")
    if loader == "ObjectNode" and name in trusted - {TREE}:
        _check_attributes(name, thing)
    elif loader == "TreeNode" and name == TREE and name in trusted:
        _check_tree(thing, arrays)
    elif name not in _PLAIN_LOADERS.get(loader, ()):
        raise UntrustedTypeError(f"{loader} {name}")
    if loader == "NdArrayNode" and thing["type"] != "json":
        arrays.of(thing)


def _children(thing: Any) -> Iterator[Any]:
    loader = thing["__loader__"]
    if loader == "ObjectNode":
        yield thing["content"]
    elif loader == "TreeNode":
        yield thing["__reduce__"]["args"]
        yield thing["content"]
    elif loader == "DictNode":
        yield thing["key_types"]
        yield from thing["content"].values()
    elif loader in ("ListNode", "TupleNode"):
        yield from thing["content"]
    elif loader == "NdArrayNode" and thing["type"] == "json":
        yield thing["shape"]
        yield from thing["content"]


def _check_attributes(name: str, thing: Any) -> None:
    """Check that the attributes are data, and none of them hides a method or a property of the class."""
    if thing["content"]["__loader__"] != "DictNode":
        raise AuditError("attributes have no names")
    for attribute in thing["content"]["content"]:
        if _is_method(name, attribute):
            raise AuditError(f"an attribute hides a method of {name}")


@functools.lru_cache
def _is_method(name: str, attribute: str) -> bool:
    module, _, class_name = name.rpartition(".")
    of_class = inspect.getattr_static(getattr(importlib.import_module(module), class_name), attribute, None)
    return callable(of_class) or inspect.isdatadescriptor(of_class)


class _Arrays:
    """The arrays of a zip's members, each looked at once."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._known: dict[str, NDArray[Any]] = {}

    def of(self, thing: Any) -> NDArray[Any]:
        """Return the array of a member in NumPy's format, as long as its header says and without objects in it."""
        if thing["__loader__"] != "NdArrayNode" or thing["type"] != "numpy":
            raise AuditError("an array is of no known kind")
        name = thing["file"]
        if name not in self._known:
            self._known[name] = _array(self._file.read(name))
        return self._known[name]


def _array(packed: bytes) -> NDArray[Any]:
    buffer = io.BytesIO(packed)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise AuditError("an array is of another version")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(buffer)
    fields = [dtype] if dtype.fields is None else [field[0] for field in dtype.fields.values()]
    if not all(field.kind in _ARRAY_KINDS and field.itemsize for field in fields):
        raise AuditError("an array holds something else than numbers or text")
    if math.prod(shape) * dtype.itemsize != len(packed) - buffer.tell() or 0 in shape or by_columns:
        raise AuditError("an array is not as long as it says")
    array: NDArray[Any] = np.frombuffer(packed, dtype, offset=buffer.tell()).reshape(shape)
    return array


def _check_tree(thing: Any, arrays: _Arrays) -> None:
    """Check that every way through a tree ends in a leaf, looks at features there are, and gives probabilities."""
    arguments, content = thing["__reduce__"]["args"], thing["content"]
    if (arguments["__loader__"], content["__loader__"]) != ("TupleNode", "DictNode"):
        raise AuditError("a tree has other parts")
    n_features, n_classes, n_outputs = arguments["content"]
    features, outputs = _whole(n_features), _whole(n_outputs)
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
    if _whole(state["node_count"]) != count or not 0 <= _whole(state["max_depth"]) < count:
        raise AuditError("a tree is not as large as it says")
    left, right, place = nodes["left_child"], nodes["right_child"], np.arange(count)
    leaf = (left == -1) & (right == -1)
    # Children stand behind their parent, so no way leads back.
    inner = (place < left) & (left < count) & (place < right) & (right < count)
    inner &= (nodes["feature"] >= 0) & (nodes["feature"] < features) & ~np.isnan(nodes["threshold"])
    if not (leaf | inner).all():
        raise AuditError("a tree leads out of its bounds")
    if values.dtype != np.float64 or values.shape != (count, 1, classes[0]):
        raise AuditError("a tree has other values than its nodes")
    if not ((values >= 0).all() and np.allclose(values.sum(axis=2), 1, rtol=0, atol=1e-6)):
        raise AuditError("a tree gives no probabilities")


def _whole(thing: Any) -> int:
    """Return the whole number that a JsonNode holds."""
    number = json.loads(thing["content"])
    if thing["__loader__"] != "JsonNode" or type(number) is not int:
        raise AuditError("a tree's sizes are no numbers")
    return number
