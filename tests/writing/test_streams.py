"""Pipes, devices and open descriptors are told from files, by their names or by what they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from titanic_batch.errors import OutputError
from titanic_batch.writing.streams import is_stream, open_descriptor


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd/7", "/proc/self/fd/7"])
def test_devices_and_open_descriptors_are_streams(path: str) -> None:
    assert is_stream(path)


def test_a_pipe_is_a_stream(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert is_stream(str(tmp_path / "pipe"))


def test_files_folders_and_nothing_are_no_streams(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_stream(str(tmp_path / "file"))
    assert not is_stream(str(tmp_path))
    assert not is_stream(str(tmp_path / "nothing"))


def test_a_descriptor_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    assert open_descriptor("-", "stdout") == open_descriptor("/dev/stdout", "stdout") == 1
    assert open_descriptor("/dev/stderr", "errors") == 2
    with (tmp_path / "file").open("wb") as file:
        number = file.fileno()
        assert open_descriptor(f"/dev/fd/{number}", "it") == open_descriptor(f"/proc/self/fd/{number}", "it") == number
    assert open_descriptor(str(tmp_path / "file"), "it") is None


def test_a_descriptor_must_be_open_for_writing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        number = file.fileno()
        with pytest.raises(OutputError, match=r"^it is not open for writing: "):
            open_descriptor(f"/dev/fd/{number}", "it")
    with pytest.raises(OutputError, match=r"^it is not open for writing: "):
        open_descriptor(f"/dev/fd/{number}", "it")
