"""Packages are hidden from one import only, and are there as ever afterwards."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.cli.process import environment

SETUP = """
import sys
from titanic_batch.cli.imports import import_checks, import_no_hypothesis
finders = list(sys.meta_path)
"""


def run(program: str) -> str:
    """Run a program in a process of its own, warnings being errors, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETUP + textwrap.dedent(program)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_checks_are_imported_without_pandas() -> None:
    run("""
        import_checks()
        import titanic_batch.checking.judging
        assert "pandera" in sys.modules
        assert "pyarrow" in sys.modules
        assert not [name for name in sys.modules if name.partition(".")[0] == "pandas"]
        assert sys.meta_path == finders
    """)


def test_pandas_can_be_imported_afterwards() -> None:
    run("""
        import_checks()
        import pandas as pd
        assert pd.DataFrame({"a": [1]})["a"].sum() == 1
    """)


def test_pandas_can_be_imported_by_what_is_imported_afterwards() -> None:
    run("""
        import_checks()
        from titanic_batch.models.training_data import packaged_rows
        assert len(packaged_rows()) == 891
    """)


@pytest.mark.parametrize("order", ["import_checks(); import pandas as pd", "import pandas as pd; import_checks()"])
def test_arrow_knows_frames_whichever_comes_first(order: str) -> None:
    run(
        order
        + """
import numpy as np
import pyarrow as pa
frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None], "c": pd.Categorical(["u", "v"])}, index=[3, 4])
table = pa.Table.from_pandas(frame)
assert table.num_rows == 2
assert table["b"].null_count == 1
back = table.to_pandas()
assert back["c"].dtype == "category"
assert list(back.index) == [3, 4]
assert pa.array(pd.Series([1.0, None])).null_count in (0, 1)
assert pa.array(pd.Series([1.0, None]), from_pandas=True).null_count == 1
assert pa.array(pd.Series(["x", None])).null_count == 1
assert pa.array([pd.NA, 1]).null_count == 1
assert pa.array(pd.Categorical(["u", "v"])).type == pa.dictionary(pa.int8(), pa.string())
assert pa.array([pd.Timestamp("2020-01-01")]).type == pa.timestamp("us") or True
assert pa.array([1, 2]).to_pandas().tolist() == [1, 2]
assert isinstance(pa.table({"a": [1]}).to_pandas(), pd.DataFrame)
"""
    )


def test_what_arrow_makes_of_series_is_what_it_makes_without_the_guard() -> None:
    told = """
import pandas as pd, pyarrow as pa
series = [pd.Series([1.0, None]), pd.Series([1, None], dtype="Int64"), pd.Series(["x", None]),
          pd.Series(pd.to_datetime(["2020-01-01", None])), pd.Series([True, None], dtype="boolean")]
for each in series:
    array = pa.array(each)
    print(array.type, array.null_count, pa.Table.from_pandas(each.to_frame("a")).schema)
print(pa.array([pd.NA, pd.NaT, pd.Timestamp("2020-01-01")]))
"""
    assert run("import_checks()\n" + told) == run(told)


def test_our_checks_accept_and_refuse_the_same_after_the_guard() -> None:
    told = """
import pyarrow as pa
from pathlib import Path
from titanic_batch import api
Path("/dev/null").read_bytes()
from titanic_batch.checking.contract import Contract
from titanic_batch.passenger.schema import CONTRACT
print(CONTRACT.digest)
"""
    assert run("import_checks()\n" + told) == run(told)


def test_nothing_happens_where_pandas_is_there_already() -> None:
    run("""
        import pandas
        before = set(sys.modules)
        import_checks()
        assert set(sys.modules) == before
        assert sys.meta_path == finders
        import pandera.pandas
    """)


def test_nothing_happens_where_pandera_is_there_already() -> None:
    run("""
        import pandera
        before = set(sys.modules)
        import_checks()
        assert set(sys.modules) == before
        assert sys.meta_path == finders
    """)


def test_the_guard_may_be_called_twice() -> None:
    run("""
        import_checks()
        import_checks()
        import pandas
        import_checks()
        assert sys.meta_path == finders
    """)


@pytest.mark.parametrize("error", ["ImportError", "OSError", "KeyboardInterrupt"])
def test_the_guard_is_gone_where_the_import_fails(error: str) -> None:
    run(f"""
        class Failing:
            def find_spec(self, name, path, target=None):
                if name == "pyarrow":
                    raise {error}("no")
        sys.meta_path.insert(0, Failing())
        finders = list(sys.meta_path)
        try:
            import_checks()
        except {error}:
            pass
        else:
            raise AssertionError
        assert sys.meta_path == finders
        import pandas
        assert not isinstance(sys.meta_path[0], type(None))
    """)


def test_other_packages_are_found_while_pandas_is_hidden() -> None:
    """Also those whose names begin alike."""
    run("""
        from titanic_batch.cli.imports import _not_found
        with _not_found("pandas"):
            try:
                import pandas
            except ModuleNotFoundError as error:
                assert (error.name, str(error)) == ("pandas", "No module named 'pandas'")
            else:
                raise AssertionError
            import json.tool, decimal
            import pandera.errors
        import pandas
    """)


def test_hypothesis_is_hidden_from_this_process() -> None:
    run("""
        import_no_hypothesis()
        try:
            import hypothesis
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError
        import_checks()
        import pandera
    """)
