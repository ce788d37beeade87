"""Frames are those that pandas reads from the same rows as CSV."""

from __future__ import annotations

import io
from datetime import date, datetime

import pandas as pd
import pyarrow as pa
import pytest

from titanic_batch.reading.columns import STRING
from titanic_batch.scoring.frames import frame_of

TABLE = pa.table(
    {
        "text": pa.array(["a", None, "c"]).cast(STRING),
        "plain": pa.array(["a", None, "c"]),
        "whole": pa.array([1, 2, 3]),
        "holes": pa.array([1, None, 3]),
        "number": pa.array([0.5, None, 2.5]),
        "yes": pa.array([True, False, True]),
        "perhaps": pa.array([True, None, False]),
        "day": pa.array([date(2026, 1, 2), None, date(1912, 4, 15)]),
        "time": pa.array([datetime(2026, 1, 2, 3, 4, 5), None, datetime(1912, 4, 15)], pa.timestamp("us")),
    }
)
CSV = """text,plain,whole,holes,number,yes,perhaps,day,time
a,a,1,1,0.5,True,True,2026-01-02,2026-01-02T03:04:05
,,2,,,False,,,
c,c,3,3,2.5,True,False,1912-04-15,1912-04-15T00:00:00
"""


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_table_becomes_the_frame_that_pandas_reads(chunks: int) -> None:
    table = pa.concat_tables([TABLE.slice(start, 3 // chunks) for start in range(0, 3, 3 // chunks)])
    expected = pd.read_csv(io.StringIO(CSV), parse_dates=["day", "time"])
    found = frame_of(table)
    assert [*found] == [*expected]
    for name in ("text", "plain", "whole", "holes", "number", "yes", "perhaps"):
        pd.testing.assert_series_equal(found[name], expected[name])
    for name in ("day", "time"):
        pd.testing.assert_series_equal(found[name], expected[name], check_dtype=False)
        assert found[name].dtype.kind == "M"
