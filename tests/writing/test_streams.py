"""Pipes, devices and open descriptors are told from files, by their names or by what they are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import need
from titanic_batch.errors import OutputError
from titanic_batch.writing.streams import is_pipe_or_device, is_stream, open_descriptor, require_writable


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
    assert is_stream("/dev/stdin")
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


def test_a_number_that_no_descriptor_has_is_refused() -> None:
    with pytest.raises(OutputError, match=r"^it is not open for writing: "):
        open_descriptor(f"/dev/fd/{10**20}", "it")


@pytest.mark.parametrize("name", ["//dev/stdout", "/dev/./fd/1", "/dev/fd/../fd/1", "/proc/thread-self/fd/1"])
def test_stdout_is_found_however_its_name_is_spelt(name: str) -> None:
    assert is_stream(name)
    assert open_descriptor(name, "stdout") == 1


def test_a_link_to_a_descriptor_is_its_name_too(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/stdout")
    (tmp_path / "link").symlink_to("out")
    (tmp_path / "loop").symlink_to("loop")
    assert open_descriptor(str(tmp_path / "link"), "stdout") == 1
    assert open_descriptor(str(tmp_path / "loop"), "it") is None
    assert not is_stream(str(tmp_path / "loop"))


OWN_DESCRIPTOR = """
import os, sys
from titanic_batch.writing.streams import open_descriptor, trust_only_inherited_descriptors
trust_only_inherited_descriptors()
for descriptor in (1, os.open(os.devnull, os.O_WRONLY)):
    print(open_descriptor(f"/dev/fd/{descriptor}", "it"), flush=True)
"""


def test_a_command_refuses_a_descriptor_that_it_opened_itself() -> None:
    done = subprocess.run([sys.executable, "-c", OWN_DESCRIPTOR], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert done.stderr.endswith("OutputError: it is not open for writing: lead it somewhere.\n")


def test_a_path_that_cannot_be_looked_at_is_not_taken_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert not is_pipe_or_device(str(tmp_path / "gone"))
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        is_pipe_or_device(str(tmp_path / "loop"))


def test_a_pipe_that_may_not_be_written_to_and_a_socket_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    require_writable(str(pipe), "it")  # and does not wait for a reader
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OutputError, match="is a socket"):
            require_writable(str(tmp_path / "socket"), "it")
    need("setpriv", root=True)
    pipe.chmod(0o400)
    call = f"from titanic_batch.writing.publishing import Output; Output({str(pipe)!r})"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-dac_override", sys.executable, "-c", call],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("/pipe may not be written to: see to its rights, or name another file.\n")
