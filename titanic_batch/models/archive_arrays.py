"""The arrays in the members of a model's archive, read as plain data: NumPy's own reader evaluates their headers."""

from __future__ import annotations

import ast
import functools
import math
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from titanic_batch.models.audit_errors import AuditError
from titanic_batch.models.zip_members import ZipMembers

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
_MOST_ROWS_OF_NOTHING = 2**16  # of an array without elements, which takes no bytes however large it is


class Arrays:
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
    if math.prod(shape) * dtype.itemsize != len(member) - found.end():
        raise AuditError("an array is not as long as it says")
    if 0 in shape and max(shape) > _MOST_ROWS_OF_NOTHING:
        raise AuditError("an array is not as long as it says")
    by_columns = found["by_columns"] == b"True"
    if by_columns and len(shape) < 2:
        raise AuditError("an array has no columns to be ordered by")
    order: Literal["C", "F"] = "F" if by_columns else "C"
    # Read-only, as those from a buffer are, of which there is none without elements.
    flat = np.empty(0, dtype) if 0 in shape else np.frombuffer(member, dtype, offset=found.end())
    flat.flags.writeable = False
    return flat.reshape(shape, order=order)


@functools.lru_cache
def _dtype(description: bytes) -> np.dtype[Any]:
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(description.decode("ascii")))
    fields = [dtype] if dtype.fields is None else [field[0] for field in dtype.fields.values()]
    if not all(field.kind in _ARRAY_KINDS and field.itemsize for field in fields):
        raise AuditError("an array holds something else than numbers or text")
    return dtype
