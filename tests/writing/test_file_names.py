"""No file is written that is read, or as two things, however it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from titanic_batch.errors import OutputError, UsageError
from titanic_batch.reading.sources import find_inputs
from titanic_batch.writing.file_names import is_folder, real_path, require_distinct_files


def refusal(read: Sequence[str], written: Sequence[str | None]) -> str | None:
    """Return why names are refused, or None."""
    try:
        require_distinct_files(read, written)
    except UsageError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").touch()
    (tmp_path / "link.csv").symlink_to("in/a.csv")


@pytest.mark.parametrize("given", ["in/a.csv", "in", "in/*.csv", "./in/../in/a.csv", "link.csv"])
@pytest.mark.parametrize("output", ["in/a.csv", "link.csv"])
def test_an_input_is_not_written(given: str, output: str) -> None:
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        require_distinct_files(find_inputs(["gone", given]).files, ["p.csv", output])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["p.csv", "./p.csv"], "p.csv is named for two outputs"),
        (["in/../in/b.csv", "in/b.csv"], "is named for two outputs"),
        (["-", "p.csv", "-"], "stdout.* is named for two outputs"),
    ],
)
def test_a_file_is_not_two_outputs(outputs: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require_distinct_files(["in/a.csv"], outputs)


def test_what_contradicts_nothing_passes() -> None:
    written = ["p.csv", None, "-", "/dev/null", "/dev/null", "/dev/fd/1", "in/b.csv"]
    assert refusal(["in/a.csv", "gone"], written) is None


def test_another_name_of_an_input_may_be_replaced(tmp_path: Path) -> None:
    """Renaming over it leaves the input as it is."""
    (tmp_path / "other.csv").hardlink_to("in/a.csv")
    assert refusal(["in/a.csv"], ["other.csv"]) is None


def test_a_relative_output_needs_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    output = tmp_path / "old.csv"
    output.touch()
    assert refusal(["a.csv"], [str(output)]) is None
    with pytest.raises(OutputError, match=r"^p.csv can't be created, because the working directory can't be told \(No"):
        require_distinct_files(["a.csv"], [str(output), "p.csv"])


@pytest.mark.parametrize(("output", "expected"), [("in", True), ("new/", True), ("new", False), ("in/a.csv", False)])
def test_a_folder_is_one_that_is_there_or_ends_as_one(output: str, expected: bool) -> None:
    assert is_folder(output) is expected


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert real_path(str(tmp_path / "link.csv")) == str(tmp_path / "in" / "a.csv")
    for call in (lambda: real_path("p.csv"), lambda: require_distinct_files([], ["p.csv"])):
        with pytest.raises(OutputError, match=r"^p\.csv can't be created, because the working directory can't be told"):
            call()
