"""The hidden file is a new one of our own, whatever lies in its place, and who is writing it is left alone."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machine import need
from titanic_batch.errors import OutputBusyError, OutputError, TransferError
from titanic_batch.writing.hidden_file import remove_leftover
from titanic_batch.writing.publishing import PRIVATE, Output, Publication

OLD = b"what was there"
NEW = b"new"
SOMEBODY = 12345

PUBLISH = """
import sys
from titanic_batch.writing.publishing import Publication
with Publication() as publication:
    publication.add(sys.argv[1]).file.write(b"new")
    publication.publish()
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


@pytest.fixture
def hidden(target: Path) -> Path:
    return target.with_name(".out.csv.partial")


def publish(target: Path, mode: int = 0o666) -> None:
    with Publication() as publication:
        publication.add(str(target), mode).file.write(NEW)
        publication.publish()


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def without(capability: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python as a user without one of root's capabilities."""
    need("setpriv", root=True)
    command = ["setpriv", f"--bounding-set=-{capability}", sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "put", [os.mkfifo, lambda path: path.symlink_to("victim"), lambda path: path.symlink_to("nowhere")]
)
def test_what_is_no_file_is_replaced(target: Path, hidden: Path, put: Callable[[Path], None]) -> None:
    (target.parent / "victim").write_bytes(OLD)
    put(hidden)
    publish(target)
    assert target.read_bytes() == NEW
    assert target.is_file()
    assert not target.is_symlink()
    assert (target.parent / "victim").read_bytes() == OLD
    assert names_in(target.parent) == ["out.csv", "victim"]


def test_a_folder_is_refused_by_name(target: Path, hidden: Path) -> None:
    hidden.mkdir()
    with pytest.raises(
        OutputError, match=r"/\.out\.csv\.partial is in the way and can't be removed \(Is a directory\)"
    ):
        Output(str(target))
    assert names_in(target.parent) == [hidden.name]


def test_a_further_name_of_a_file_is_removed_and_the_file_keeps_its_content(target: Path, hidden: Path) -> None:
    victim = target.with_name("victim")
    victim.write_bytes(OLD)
    victim.chmod(0o644)
    os.link(victim, hidden)
    publish(target, PRIVATE)
    assert victim.read_bytes() == OLD
    assert victim.stat().st_mode & 0o777 == 0o644
    assert victim.stat().st_nlink == target.stat().st_nlink == 1
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("mode", [0o666, 0o600, 0o000])
def test_a_file_of_another_user_is_replaced_by_our_own(target: Path, hidden: Path, mode: int) -> None:
    need(root=True)
    hidden.write_bytes(OLD)
    hidden.chmod(mode)
    os.chown(hidden, SOMEBODY, SOMEBODY)
    publish(target)
    assert target.stat().st_uid == os.geteuid()
    assert target.read_bytes() == NEW
    assert names_in(target.parent) == ["out.csv"]


def theirs_in_a_sticky_folder(hidden: Path, mode: int) -> None:
    need("setpriv", root=True)
    hidden.write_bytes(OLD)
    hidden.chmod(mode)
    hidden.parent.chmod(0o1777)
    for path in (hidden, hidden.parent):
        os.chown(path, SOMEBODY, SOMEBODY)


def test_a_file_that_another_user_left_in_a_folder_with_the_sticky_bit_does_not_matter(
    target: Path, hidden: Path
) -> None:
    theirs_in_a_sticky_folder(hidden, 0o666)
    for _ in range(2):
        done = without("fowner", "-c", PUBLISH, target)
        assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes() == NEW
    assert target.stat().st_uid == os.geteuid()
    assert hidden.read_bytes() == OLD
    assert hidden.stat().st_uid == SOMEBODY
    assert names_in(target.parent) == [hidden.name, "out.csv"]


def test_it_still_keeps_two_runs_apart(target: Path, hidden: Path) -> None:
    theirs_in_a_sticky_folder(hidden, 0o666)
    with hidden.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = without("fowner", "-c", PUBLISH, target)
    assert done.stderr.endswith("is being written by another run: try again later.\n")
    assert names_in(target.parent) == [hidden.name]


def test_a_file_that_another_user_keeps_for_himself_is_told_by_name(target: Path, hidden: Path) -> None:
    theirs_in_a_sticky_folder(hidden, 0o600)
    done = without("fowner,-dac_override,-dac_read_search", "-c", PUBLISH, target)
    assert done.stderr.endswith(
        f"OutputError: {hidden} is in the way and can't be removed (Permission denied): "
        "remove it, or name another output.\n"
    )
    assert names_in(target.parent) == [hidden.name]


def test_a_leftover_is_removed_and_what_is_locked_or_no_file_is_not(tmp_path: Path) -> None:
    names = ["left", "locked", "pipe", "link"]
    left, locked, pipe, link = (tmp_path / name for name in names)
    left.touch()
    locked.touch()
    os.mkfifo(pipe)
    link.symlink_to(left)
    with locked.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for name in [*names, "gone"]:
            remove_leftover(str(tmp_path / name))
    assert names_in(tmp_path) == ["link", "locked", "pipe"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EIO, errno.ENOMEM])
def test_a_file_system_that_cannot_lock_is_refused_and_nothing_is_left(
    target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(TransferError if number in (errno.EIO, errno.ENOMEM) else OutputError) as caught:
        Output(str(target))
    assert f"({os.strerror(number)})" in str(caught.value)
    assert names_in(target.parent) == []


@pytest.mark.parametrize("call", ["dup", "fdopen", "fstat", "lstat"])
def test_a_call_that_fails_once_leaves_nothing(target: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    target.write_bytes(OLD)
    real, calls = getattr(os, call), []

    def fail_first(*arguments: object) -> object:
        if "partial" in str(arguments) or isinstance(arguments[0], int):
            calls.append(arguments)
            if len(calls) == 1:
                raise OSError(errno.EMFILE, None)
        return real(*arguments)

    monkeypatch.setattr(os, call, fail_first)
    with pytest.raises(TransferError) as caught:
        Output(str(target))
    assert str(caught.value) == f"writing {target} failed (Too many open files): allow more open files and try again."
    monkeypatch.undo()
    assert names_in(target.parent) == ["out.csv"]


@pytest.mark.parametrize("call", ["fstat", "lstat", "unlink"])
def test_a_call_that_fails_once_does_not_keep_the_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    output = Output(str(target))
    real, calls = getattr(os, call), []

    def fail_first(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_first)
        output.discard()
    assert names_in(target.parent) == []


def test_a_run_that_holds_the_file_is_waited_for(target: Path, hidden: Path) -> None:
    hidden.touch()
    with hidden.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputBusyError):
            Output(str(target))
    assert names_in(target.parent) == [hidden.name]
    publish(target)
    assert names_in(target.parent) == ["out.csv"]
