"""Arrow tables as the frames that pipelines are fitted on and predict for."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return the frame that ``pandas.read_csv`` makes of the same rows, as notebooks have it.

    Text is of pandas' default dtype for it, integers and booleans of which some are missing are float64 and objects,
    and dates and timestamps are datetime64. Numbers share the table's memory where possible.
    """
    return pd.DataFrame({name: _series(table[name]) for name in table.column_names}, copy=False)


def _series(column: pa.ChunkedArray) -> pd.Series:
    # Without threads: Arrow crashes if one of them can't be started.
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    elif pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_floating(column.type):
        # ``to_pandas`` holds the interpreter's lock all the time, so that threads wait for each other.
        return pd.Series((pc.fill_null(column, float("nan")) if column.null_count else column).to_numpy(), copy=False)
    if pa.types.is_integer(column.type) and not column.null_count:
        return pd.Series(column.to_numpy(), copy=False)
    series: pd.Series = column.to_pandas(use_threads=False, date_as_object=False)
    return series.where(series.notna(), float("nan")) if series.dtype == object else series
