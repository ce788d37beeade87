"""Objects built from an audited archive.

`skops.io.load` would build the same, but importing ``skops.io`` imports all of scikit-learn, to list the estimators
that it trusts by default; that takes a quarter of the time of a small run. It would also read the file a second time,
by rules of its own. Here exactly what `audit` has checked is built.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.audit import Archive
from titanic_batch.models.audit_errors import AuditError


def build(archive: Archive) -> Any:
    """Return the object that an archive describes, the same that `skops.io.load` returns.

    Raises
    ------
    AuditError
        An attribute would hide a method or a property of its class.
    Exception
        What Python or the classes raise where values don't go together, which an audit does not check.
    """
    return _build(archive.schema, archive.arrays)


def _build(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    match node["__loader__"]:
        case "JsonNode":
            return json.loads(node["content"])
        case "TypeNode":
            return getattr(builtins if node["__module__"] == "builtins" else np, node["__class__"])
        case "SliceNode":
            return slice(*(node["content"][name] for name in ("start", "stop", "step")))
        case "ListNode":
            return [_build(item, arrays) for item in node["content"]]
        case "TupleNode":
            return tuple(_build(item, arrays) for item in node["content"])
        case "DictNode":
            key_types = _build(node["key_types"], arrays)
            items = node["content"].items()
            built = {} if node["__class__"] == "dict" else _class_of(node)()
            for key_type, (key, value) in zip(key_types, items, strict=True):
                built[key_type(key)] = _build(value, arrays)
            return built
        case "NdArrayNode":
            return _array(node, arrays)
        case "ObjectNode":
            return _object(node, arrays)
        case "TreeNode" | "LossNode":
            arguments = _build(node["__reduce__"]["args"], arrays)
            made, state = _class_of(node)(*arguments), _build(node["content"], arrays)
            return _restored(made, state) if state else made
        case "DTypeNode":
            return _build(node["content"], arrays).dtype
        case "PartialNode":
            # The one function that an audit lets pass.
            return functools.partial(_class_of(node["content"]["func"]), **_build(node["content"]["kwds"], arrays))
        case "RandomStateNode":
            twister = np.random.RandomState()
            twister.set_state(_build(node["content"], arrays))
            return twister
        case "RandomGeneratorNode":
            return _generator(*(_build(node["content"][name], arrays) for name in ("bit_generator", "seed_seq")))
        case loader:
            raise ValueError(f"there is no loader {loader}")


def _object(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    cls, state = _class_of(node), node["content"]
    if state["__loader__"] == "JsonNode":  # without attributes
        return cls.__new__(cls)
    for attribute in state["content"]:
        if _is_method(cls, attribute):
            raise AuditError(f"an attribute hides a method of {cls.__module__}.{cls.__name__}")
    return _restored(cls.__new__(cls), _build(state, arrays))


def _generator(state: Any, seed: Mapping[str, Any]) -> np.random.Generator:
    bits = np.random.PCG64(np.random.SeedSequence(**seed))
    bits.state = state
    return np.random.Generator(bits)


def _class_of(node: Any) -> Any:
    return getattr(importlib.import_module(node["__module__"]), node["__class__"])


@functools.lru_cache
def _is_method(cls: type, attribute: str) -> bool:
    of_class = inspect.getattr_static(cls, attribute, None)
    return callable(of_class) or inspect.isdatadescriptor(of_class)


def _restored(instance: Any, state: Any) -> Any:
    """Give an instance the state that it was saved with, and return it."""
    if hasattr(instance, "__setstate__"):
        instance.__setstate__(state)
    else:
        vars(instance).update(state)
    return instance


def _array(node: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return a new array, or a scalar of NumPy's, which is saved as an array without dimensions."""
    if node["type"] == "numpy":
        array = _copy(arrays[node["file"]])
        return array if node["__class__"] == "ndarray" else getattr(np, node["__class__"])(array)
    items = [_build(item, arrays) for item in node["content"]]
    if len(_build(node["shape"], arrays)) != 1:
        return np.array(items, dtype=object)
    objects = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):  # all at once would make further dimensions of lists
        objects[position] = item
    return objects


def _copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that may be written to, down to the padding between fields, which ``array.copy()`` leaves unset."""
    if not array.size:
        return array.copy()
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    copy = np.frombuffer(bytearray(array.tobytes(order)), array.dtype)
    return copy.reshape(array.shape, order=order)
