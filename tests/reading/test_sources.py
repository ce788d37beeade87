"""Sources: what the names of files, folders, globs and stdin stand for."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from tests.reading.inputs import CSV, KEYS, PARQUET, keys_of
from titanic_batch.errors import InputError, TitanicError, UsageError
from titanic_batch.reading.formats import Format
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import find_sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    day = tmp_path / "day"
    for name in (
        "b.csv", "a.parquet", "c.CSV.gz", "notes.txt", ".hidden.csv", "_tmp.csv", "b.rejects.csv", "deeper/d.csv",
    ):  # fmt: skip
        path = day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (day / "folder.csv").mkdir()
    return tmp_path


def found(*names: str, **options: Any) -> list[tuple[str, str]]:
    return [(source.name, source.format) for source in find_sources(names, **options)]


def test_a_folder_stands_for_its_files_in_the_order_of_their_names(folder: Path) -> None:
    expected = [("day/a.parquet", "parquet"), ("day/b.csv", "csv"), ("day/c.CSV.gz", "csv.gz")]
    assert found("day") == expected
    assert found(str(folder / "day")) == [(str(folder / name), kind) for name, kind in expected]


def test_a_glob_stands_for_its_matches_in_the_order_of_their_names(folder: Path) -> None:
    assert found("day/*.csv") == [("day/_tmp.csv", "csv"), ("day/b.csv", "csv"), ("day/b.rejects.csv", "csv")]
    assert found("day/**/d.csv") == [("day/deeper/d.csv", "csv")]


def test_names_stay_in_the_order_given(folder: Path) -> None:
    assert found("day/c.CSV.gz", "day/deeper", "day/b.csv", "day/[a]*") == [
        ("day/c.CSV.gz", "csv.gz"),
        ("day/deeper/d.csv", "csv"),
        ("day/b.csv", "csv"),
        ("day/a.parquet", "parquet"),
    ]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "x[1].csv").touch()
    (folder / "x1.csv").touch()
    assert found("x[1].csv") == [("x[1].csv", "csv")]


def test_given_format_overrules_the_suffix(folder: Path) -> None:
    assert found("day/notes.txt", "day/b.csv", input_format="csv.zst") == [
        ("day/notes.txt", "csv.zst"),
        ("day/b.csv", "csv.zst"),
    ]
    assert ("day/notes.txt", "parquet") in found("day", input_format="parquet")


def test_stdin_is_csv_unless_another_format_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: list[tuple[bytes, Format | None]] = [(CSV, None), (PARQUET, "parquet"), (gzip.compress(CSV), "csv.gz")]
    for data, kind in inputs:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        (source,) = find_sources(["-"], kind)
        assert (source.name, source.format) == ("stdin", kind or "csv")
        assert keys_of(open_table(source)) == KEYS
    with pytest.raises(UsageError, match=r"- \(stdin\) can be read only once"):
        find_sources(["-", "-"])


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("gone.csv", InputError, "gone.csv does not exist: check the path."),
        ("gone/*.csv", InputError, "no file matches gone/*.csv."),
        ("empty", InputError, "empty holds no file to read (.csv, .csv.gz, .csv.zst, .parquet)."),
        ("day/notes.txt", UsageError, "the format of day/notes.txt can't be told from its name: "),
    ],
)
def test_a_missing_input_is_reported(folder: Path, name: str, error: type[TitanicError], text: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    with pytest.raises(error) as caught:
        find_sources(["day", name])
    assert str(caught.value).startswith(text)
