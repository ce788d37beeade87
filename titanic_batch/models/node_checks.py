"""Checks on values in a model's archive that would be followed without a look once they are built."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.archive_arrays import Arrays
from titanic_batch.models.audit_errors import AuditError, UntrustedTypeError

_NODE_FIELDS = frozenset({"left_child", "right_child", "feature", "threshold"})
# Of a node of a histogram's tree. Wider fields would be cut when it is built: a leaf could become none.
_PREDICTOR_FIELDS = {
    "value": "f8", "count": "u4", "feature_idx": "i8", "num_threshold": "f8", "missing_go_to_left": "u1", "left": "u4",
    "right": "u4", "gain": "f8", "depth": "u4", "is_leaf": "u1", "bin_threshold": "u1", "is_categorical": "u1",
    "bitset_idx": "u4",
}  # fmt: skip
_WORDS_OF_A_BITSET = 8  # of 32 bits each
_WORDS_OF_TWISTER = 624


def check_tree(node: Any, arrays: Arrays) -> None:
    """Check that every path through a tree ends in a leaf, tests features that exist, and returns probabilities.

    Those of a regressor, which has one class, return any number.
    """
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
    if outputs != 1 or classes.shape != (1,) or classes.dtype.kind != "i" or classes[0] < 1:
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
    _check_parents(left[inner], right[inner], count)
    if not values.flags.c_contiguous or values.dtype != np.float64 or values.shape != (count, 1, classes[0]):
        raise AuditError("a tree has other values than its nodes")
    if classes[0] == 1:
        if not np.isfinite(values).all():
            raise AuditError("a tree gives no numbers")
    elif not ((values >= 0).all() and np.allclose(values.sum(axis=2), 1, rtol=0, atol=1e-6)):
        raise AuditError("a tree gives no probabilities")


def _check_parents(left: NDArray[Any], right: NDArray[Any], count: int) -> None:
    # Where ways meet again, there may be more of them than can be counted.
    if (np.bincount(np.concatenate([left, right]), minlength=count)[1:] != 1).any():
        raise AuditError("a tree has a node with no parent or two")


def check_tree_predictor(node: Any, arrays: Arrays) -> None:
    """Check that every path through a tree of a histogram's boosting ends in a leaf and tests sets that exist.

    Whether the features exist is known by what holds the tree.
    """
    state = _entries(node["content"], ("nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets"))
    nodes, binned, raw = (_array(part, arrays) for part in state.values())
    kinds = {name: field[0].str[1:] for name, field in (nodes.dtype.fields or {}).items()}
    if nodes.ndim != 1 or not len(nodes) or kinds != _PREDICTOR_FIELDS:
        raise AuditError("a tree has no nodes")
    for sets in (binned, raw):
        if sets.dtype != np.uint32 or sets.ndim != 2 or sets.shape[1] != _WORDS_OF_A_BITSET:
            raise AuditError("a tree has no sets of categories")
        if not sets.flags.c_contiguous:
            raise AuditError("a tree has no sets of categories")
    count, place = len(nodes), np.arange(len(nodes))
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    leaf, by_set = nodes["is_leaf"] != 0, nodes["is_categorical"] != 0
    inner = (place < left) & (left < count) & (place < right) & (right < count) & (nodes["feature_idx"] >= 0)
    inner &= np.where(by_set, nodes["bitset_idx"] < min(len(binned), len(raw)), ~np.isnan(nodes["num_threshold"]))
    if not (leaf | inner).all():
        raise AuditError("a tree leads out of its bounds")
    _check_parents(left[~leaf], right[~leaf], count)
    if not np.isfinite(nodes["value"]).all():
        raise AuditError("a tree gives no numbers")


def check_legacy_random_state(node: Any, arrays: Arrays) -> None:
    """Check the state of a Mersenne Twister, whose position NumPy does not look at."""
    state = _entries(node["content"], ("bit_generator", "state", "has_gauss", "gauss"))
    inner = _entries(state["state"], ("key", "pos"))
    key = _array(inner["key"], arrays)
    if (
        _json(state["bit_generator"]) != "MT19937"
        or key.dtype != np.uint32
        or key.shape != (_WORDS_OF_TWISTER,)
        or not 0 <= _integer(inner["pos"]) <= _WORDS_OF_TWISTER
        or _integer(state["has_gauss"]) not in (0, 1)
        or not math.isfinite(_json(state["gauss"]))
    ):
        raise AuditError("a source of random numbers has another state")


def check_generator(node: Any, arrays: Arrays) -> None:
    """Check the state of NumPy's default generator, and of the seed that it was made from."""
    state = _entries(node["content"]["bit_generator"], ("bit_generator", "state", "has_uint32", "uinteger"))
    inner = _entries(state["state"], ("state", "inc"))
    seed = _entries(node["content"]["seed_seq"], ("entropy", "spawn_key", "pool_size", "n_children_spawned"))
    entropy = seed["entropy"]
    if entropy["__loader__"] == "NdArrayNode":
        is_seed = (entropy["__class__"], arrays.of(entropy).shape) == ("uint64", ())
    else:
        is_seed = 0 <= _integer(entropy) < 2**128
    if (
        not is_seed
        or _json(state["bit_generator"]) != "PCG64"
        or not all(0 <= _integer(part) < 2**128 for part in inner.values())
        or _integer(state["has_uint32"]) not in (0, 1)
        or not 0 <= _integer(state["uinteger"]) < 2**32
        or (seed["spawn_key"]["__loader__"], seed["spawn_key"]["content"]) != ("TupleNode", [])
        or _integer(seed["pool_size"]) != 4
        or not 0 <= _integer(seed["n_children_spawned"]) < 2**32
    ):
        raise AuditError("a source of random numbers has another state")


def check_loss(node: Any) -> None:
    """Check that a loss is made without arguments and gets no state."""
    arguments, state = node["__reduce__"]["args"], node["content"]
    if (arguments["__loader__"], arguments["content"]) != ("TupleNode", []) or _entries(state, ()):
        raise AuditError("a loss has parameters")


def check_check(node: Any) -> None:
    """Check that a partial function is the one that scikit-learn itself makes: a check of arrays, without arguments."""
    content = node["content"]
    of_function = tuple(content["func"][name] for name in ("__loader__", "__module__", "__class__"))
    if of_function != ("FunctionNode", "sklearn.utils.validation", "check_array"):
        raise UntrustedTypeError(of_function[0], ".".join(of_function[1:]))
    arguments = content["args"]
    options = _entries(content["kwds"], ("dtype", "ensure_all_finite"))
    types = options["dtype"]
    if (
        (arguments["__loader__"], arguments["content"]) != ("TupleNode", [])
        or types["__loader__"] != "ListNode"
        or [(each["__loader__"], each["__module__"], each["__class__"]) for each in types["content"]]
        != [("TypeNode", "numpy", "float64")]
        or _json(options["ensure_all_finite"]) is not False
        or _json(content["namespace"]) is not None
    ):
        raise AuditError("a function is called in a way that scikit-learn does not")


def _entries(node: Any, names: Collection[str]) -> dict[str, Any]:
    """Return the entries of a dictionary of these keys, in this order."""
    content = node["content"]
    if node["__loader__"] != "DictNode" or node["__class__"] != "dict" or content.keys() != set(names):
        raise AuditError("it has other entries")
    if any((each["__loader__"], each["__class__"]) != ("TypeNode", "str") for each in node["key_types"]["content"]):
        raise AuditError("it has other entries")
    return {name: content[name] for name in names}


def _array(node: Any, arrays: Arrays) -> NDArray[Any]:
    if node["__class__"] != "ndarray":
        raise AuditError("an array is of no known kind")
    return arrays.of(node)


def _integer(node: Any) -> int:
    """Return the integer in a JsonNode."""
    number = _json(node)
    if type(number) is not int:
        raise AuditError("a tree's sizes are no numbers")
    return number


def _json(node: Any) -> Any:
    if node["__loader__"] != "JsonNode":
        raise AuditError("a value is no plain one")
    return json.loads(node["content"])
