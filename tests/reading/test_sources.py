"""Sources: what the names of files, folders, globs and stdin stand for."""

from __future__ import annotations

import gzip
import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.reading.inputs import CSV, KEYS, PARQUET, keys_of
from titanic_batch.errors import InputError, TitanicError, UsageError
from titanic_batch.reading.formats import Format
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import PassedOver, describe, find_inputs


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
    return [(source.name, source.format) for source in find_inputs(names, **options).require_all()]


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
        (source,) = find_inputs(["-"], kind).sources
        assert (source.name, source.format) == ("stdin", kind or "csv")
        assert keys_of(open_table(source)) == KEYS
    with pytest.raises(UsageError, match=r"- \(stdin\) can be read only once"):
        find_inputs(["-", "-"])


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("gone.csv", InputError, "gone.csv does not exist: check the path."),
        ("gone/*.csv", InputError, "no file matches gone/*.csv."),
        (
            "empty",
            InputError,
            "empty holds no file to read (.csv, .csv.gz, .csv.zst, .parquet); "
            "1 file passed over: empty/notes.txt (unknown suffix).",
        ),
        ("nothing", InputError, "nothing holds no file to read (.csv, .csv.gz, .csv.zst, .parquet)."),
        ("dangling", InputError, "dangling is a link that leads nowhere: mend or remove it."),
        ("day/notes.txt", UsageError, "the format of day/notes.txt can't be told from its name: "),
    ],
)
def test_a_missing_input_is_reported(folder: Path, name: str, error: type[TitanicError], text: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    (folder / "nothing").mkdir()
    (folder / "dangling").symlink_to("gone")
    with pytest.raises(error) as caught:
        find_inputs(["day", name]).require_all()
    assert str(caught.value).startswith(text)


def relative_names(*names: str) -> list[str]:
    return [source.relative_name for source in find_inputs(names).require_all()]


def test_a_source_has_a_name_relative_to_what_was_named(folder: Path) -> None:
    assert relative_names("day/b.csv", "./day//b.csv", str(folder / "day" / "b.csv")) == ["b.csv"] * 3
    assert relative_names("day/deeper", "day/deeper//", "./day/../day/deeper") == ["d.csv"] * 3
    assert relative_names("day/**/d.csv", "./day//*/d.csv", "d*/deeper/*") == ["deeper/d.csv"] * 2 + [
        "day/deeper/d.csv"
    ]
    assert relative_names("day/dee*/../b.csv", "**/d.csv") == ["b.csv", "day/deeper/d.csv"]


# What can't be read


def test_a_link_that_leads_nowhere_is_a_source_that_cannot_be_opened(folder: Path) -> None:
    (folder / "day" / "z.csv").symlink_to("gone")
    for name in ("day", "day/z*", "day/z.csv"):
        source = find_inputs([name]).require_all()[-1]
        with pytest.raises(InputError, match=r"^day/z.csv is a link that leads nowhere: mend or remove it.$"):
            open_table(source)


def test_files_are_known_even_if_others_are_not(folder: Path) -> None:
    inputs = find_inputs(["gone.csv", "day/b.csv", "day/deeper", "none*"])
    assert inputs.files == ["day/b.csv", "day/deeper/d.csv"]
    with pytest.raises(InputError, match=r"^gone.csv does not exist"):
        inputs.require_all()


# What is passed over


def passed_over(*names: str, **options: Any) -> dict[str, str]:
    return {file.name: file.reason for file in find_inputs(names, **options).passed_over}


@pytest.fixture
def odd_folder(folder: Path) -> Path:
    """A folder with one file to read, what is passed over in silence, and what is named."""
    day = folder / "day"
    for name in (
        *("_SUCCESS", "_metadata", "_common_metadata", "_state.json", "x.crc", ".x.csv.partial", "b.csv.rejects.csv"),
        *("part-00000", "c.CSV.bz2", "d.parq"),
    ):
        (day / name).touch()
    (day / "_rejects").mkdir()
    os.mkfifo(day / "pipe.csv")
    (day / "device").symlink_to("/dev/null")
    (day / "away").symlink_to("gone")
    return folder


NAMED_ANYWAY = {"day/device": "not a file", "day/folder.csv": "folder", "day/pipe.csv": "not a file"}
NAMED = NAMED_ANYWAY | {
    "day/_tmp.csv": "leading underscore",
    **dict.fromkeys(
        ["day/away", "day/c.CSV.bz2", "day/d.parq", "day/notes.txt", "day/part-00000"],
        "unknown suffix",
    ),
}


def test_what_a_folder_holds_and_is_not_read_is_named(odd_folder: Path) -> None:
    assert passed_over("day") == NAMED
    assert list(passed_over("day")) == sorted(NAMED)
    assert passed_over("day", "day", "day/_tmp.csv") == {
        name: reason for name, reason in NAMED.items() if name != "day/_tmp.csv"
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("day/deeper/socket")
        assert passed_over("day/deeper") == {"day/deeper/socket": "not a file"}


def test_with_a_given_format_no_name_is_passed_over_but_in_silence(odd_folder: Path) -> None:
    read = sorted({*NAMED.keys() - NAMED_ANYWAY.keys(), "day/a.parquet", "day/b.csv", "day/c.CSV.gz"})
    assert found("day", input_format="csv") == [(name, "csv") for name in read]
    assert passed_over("day", input_format="csv") == NAMED_ANYWAY


def test_a_glob_passes_over_only_what_it_matches_and_is_no_file(odd_folder: Path) -> None:
    assert passed_over("day/*.csv") == {"day/folder.csv": "folder", "day/pipe.csv": "not a file"}
    assert passed_over("day/**/*.csv") == {"day/pipe.csv": "not a file"}, "a folder's own files would be found"
    assert passed_over("day/_*.csv", "day/[.]h*", "day/.h*", "day/b*") == {}
    with pytest.raises(InputError, match=r"^no file matches day/f\*; 1 file passed over: day/folder.csv \(folder\).$"):
        find_inputs(["day/f*"]).require_all()


def test_ten_files_are_named_and_the_others_counted() -> None:
    files = [PassedOver(f"{number}.txt", "unknown suffix") for number in range(12)]
    assert describe(files[:1]) == "1 file passed over: 0.txt (unknown suffix)"
    assert describe(files[:2]) == "2 files passed over: 0.txt (unknown suffix), 1.txt (unknown suffix)"
    assert describe(files).endswith("9.txt (unknown suffix) and 2 more")
