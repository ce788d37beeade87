"""The state of a folder: what was made from what, kept by several runs at once, and alike however it came about."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from titanic_batch.errors import OutputError
from titanic_batch.runs.folder_state import NAME, Entry, FolderState, recipe_of


def made(folder: Path, name: str, content: bytes = b"predictions") -> Entry:
    """Write an input and an output, and return how the one came from the other."""
    (folder / f"{name}.in").write_bytes(name.encode())
    (folder / name).write_bytes(content)
    digests = [hashlib.sha256(data).hexdigest() for data in (name.encode(), content)]
    return Entry(len(name), digests[0], "recipe", len(content), digests[1])


def test_what_was_noted_is_known_to_the_next_run(tmp_path: Path) -> None:
    state, entry = FolderState(str(tmp_path)), made(tmp_path, "a.csv")
    state.note("a.csv", entry)
    assert not (tmp_path / NAME).exists()
    state.save()
    source = str(tmp_path / "a.csv.in")
    assert FolderState(str(tmp_path)).made("a.csv", source, "recipe") == entry
    assert FolderState(str(tmp_path)).made("a.csv", source, "another recipe") is None
    assert FolderState(str(tmp_path)).made("b.csv", source, "recipe") is None


@pytest.mark.parametrize("changed", ["a.csv", "a.csv.in"])
@pytest.mark.parametrize("gone", [True, False])
def test_what_was_changed_or_is_gone_is_not_made(tmp_path: Path, changed: str, gone: bool) -> None:
    state = FolderState(str(tmp_path))
    state.note("a.csv", made(tmp_path, "a.csv"))
    state.save()
    path = tmp_path / changed
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[::-1])
    assert state.made("a.csv", str(tmp_path / "a.csv.in"), "recipe") is None


def test_runs_at_once_keep_what_each_other_noted_and_leave_the_same_file(tmp_path: Path) -> None:
    names = [f"{number}.csv" for number in range(40)]
    entries = {name: made(tmp_path, name) for name in names}

    def run(mine: list[str]) -> None:
        state = FolderState(str(tmp_path))
        for name in mine:
            state.note(name, entries[name])
            state.save()

    threads = [threading.Thread(target=run, args=(names[part::4],)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = (tmp_path / NAME).read_bytes()
    assert set(json.loads(together)["outputs"]) == set(names)
    os.unlink(tmp_path / NAME)
    run(names)
    assert (tmp_path / NAME).read_bytes() == together


@pytest.mark.parametrize(
    "damaged",
    [
        *("", "{", "[]", "null", '{"format": 1}', '{"format": "titanic-batch folder", "version": 1, "outputs": [1]}'),
        pytest.param("[" * 200_000, id="deep"),
    ],
)
def test_a_damaged_state_only_costs_time(tmp_path: Path, damaged: str) -> None:
    (tmp_path / NAME).write_text(damaged)
    state = FolderState(str(tmp_path))
    entry = made(tmp_path, "a.csv")
    assert state.made("a.csv", str(tmp_path / "a.csv.in"), "recipe") is None
    state.note("a.csv", entry)
    state.save()
    assert FolderState(str(tmp_path)).made("a.csv", str(tmp_path / "a.csv.in"), "recipe") == entry


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_state_that_is_no_file_is_told(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / NAME)
    with pytest.raises(OutputError, match=r"_state\.json is no file: .* remove what is there"):
        FolderState(str(tmp_path))


def test_a_recipe_is_all_its_parts_in_any_order() -> None:
    assert recipe_of({"a": 1, "b": [2]}) == recipe_of({"b": [2], "a": 1})
    assert recipe_of({"a": 1}) != recipe_of({"a": "1"})
