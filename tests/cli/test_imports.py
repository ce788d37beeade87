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


def test_checks_are_imported_and_made_without_pandas_and_polars() -> None:
    run("""
        import importlib.util
        assert importlib.util.find_spec("pandas"), "installed"
        import_checks()
        import pyarrow as pa
        from titanic_batch.passenger.schema import CONTRACT
        from titanic_batch.reading.blocks import Rows
        rows = pa.table({name: pa.array([-1], of) if pa.types.is_primitive(of) else pa.array(["x"]).dictionary_encode()
                         for name, of in CONTRACT.types.items()})
        assert len(CONTRACT.problems(Rows(rows, []))) == 7
        assert not {"ibis", "pandas", "polars"} & {name.partition(".")[0] for name in sys.modules}
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


FRAMES = """
frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None], "c": pd.Categorical(["u", "v"])}, index=[3, 4])
table = pa.Table.from_pandas(frame)
print(table.schema, table.column("a").null_count, table.column("b").null_count, table.to_pandas().dtypes)
"""
SERIES = """
for each in (pd.Series([1.0, None]), pd.Series([1, None], dtype="Int64"), pd.Series(["x", None]),
             pd.Series(pd.to_datetime(["2020-01-01", None])), pd.Series([True, None], dtype="boolean"),
             pd.Categorical(["u", "v"]), pd.Index([1, 2]), [pd.Timestamp("2020-01-01")]):
    print(pa.array(each))
"""
IMPORTED = "import pandas as pd, pyarrow as pa\n"


@pytest.mark.parametrize(
    "program",
    [
        IMPORTED + FRAMES + SERIES,
        IMPORTED + "pa.table({'a': [1]}).to_pandas()" + SERIES,
        "import pyarrow as pa; pa.array([1, None]).to_pandas(); import pandas as pd" + SERIES,
        IMPORTED + "import pandera.pyarrow as pap; print(pap.DataFrameSchema({'a': pap.Column(pa.int64())}).validate("
        "pa.table({'a': [1]})))",
        "from titanic_batch.passenger.schema import CONTRACT; print(CONTRACT.digest)",
        pytest.param(
            "from titanic_batch.models.model import Model\n"
            "from titanic_batch.models.training_data import packaged_rows\n"
            "print(Model(n_estimators=2).fit(packaged_rows()).predict_proba(packaged_rows()).tobytes())",
            marks=pytest.mark.slow,
        ),
    ],
    ids=[
        "frames",
        "a table's frame",
        "an array's series",
        "tables in pandera",
        "our contract",
        "a fit",
    ],
)
def test_frames_and_series_are_as_ever_afterwards(program: str) -> None:
    assert run("import_checks()\n" + program) == run(program) != ""


@pytest.mark.parametrize("package", ["pandas", "polars", "pandera"])
def test_nothing_happens_where_a_package_is_there_already(package: str) -> None:
    pytest.importorskip(package)
    run(f"""
        import {package}
        before = set(sys.modules)
        import_checks()
        assert set(sys.modules) == before
        assert sys.meta_path == finders
        import pandera.pandas
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
        del sys.meta_path[0]
        import pandas
    """)


def test_other_packages_are_found_while_pandas_is_hidden() -> None:
    """Also those whose names begin alike."""
    program = """
        import importlib
        from titanic_batch.cli.imports import _not_found
        with _not_found(["pandas"]):
            for name in ("pandas", "json.tool", "decimal", "pandera.errors"):
                try:
                    print(importlib.import_module(name).__name__)
                except ModuleNotFoundError as error:
                    print(error.name, error)
        import pandas
    """
    assert run(program).splitlines() == [
        "pandas No module named 'pandas'",
        "json.tool",
        "decimal",
        "pandera.errors",
    ]


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
