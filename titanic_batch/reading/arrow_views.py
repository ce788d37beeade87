"""Conversion of string and binary views, which Arrow can read but not select rows of, to plain strings and binary."""

from __future__ import annotations

import pyarrow as pa


def table_without_views(table: pa.Table) -> pa.Table:
    """Return a table with string and binary views converted, also within nested types."""
    return table.cast(pa.schema([field.with_type(without_views(field.type)) for field in table.schema]))


def without_views(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type that a column of type ``arrow_type`` is read as: string and binary views become plain types."""
    if pa.types.is_string_view(arrow_type):
        return pa.string()
    if pa.types.is_binary_view(arrow_type):
        return pa.binary()
    inner = [arrow_type.field(i) for i in range(arrow_type.num_fields)] if pa.types.is_nested(arrow_type) else []
    free = [field.with_type(without_views(field.type)) for field in inner]
    if free == inner:
        return arrow_type
    match arrow_type:
        case pa.StructType():
            return pa.struct(free)
        case pa.MapType():
            return pa.map_(*(field.type for field in free[0].type))
        case pa.FixedSizeListType(list_size=size):
            return pa.list_(free[0], size)
        case pa.LargeListType():
            return pa.large_list(free[0])
        case _:
            return pa.list_(free[0])
