"""Outputs appear whole or not at all, one run at a time, and where they were asked for."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from titanic_batch.errors import OutputBusyError, OutputError, TransferError
from titanic_batch.writing.publishing import (
    PRIVATE,
    Output,
    Publication,
    PublishedFile,
    check_creatable,
    make_folder,
    remove_leftovers,
)

OLD = b"the whole old file\n"
NEW = b"the whole new file, which is longer\n"

HOLD = """
import sys
from titanic_batch.writing.publishing import Publication
output = Publication().add(sys.argv[1])
output.file.write(b"half of a f")
output.file.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@contextmanager
def held_by_another_process(target: Path) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Make writing behind ``size`` bytes of any file fail, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def publish(target: Path | str, content: bytes = NEW, mode: int = 0o666) -> None:
    with Publication() as publication:
        publication.add(str(target), mode).file.write(content)
        publication.publish()


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_old_file_stands_until_the_new_one_is_published(target: Path) -> None:
    target.write_bytes(OLD)
    with Publication() as publication:
        output = publication.add(str(target))
        output.file.write(NEW)
        output.file.flush()
        assert target.read_bytes() == OLD
        publication.publish()
        assert target.read_bytes() == NEW
    assert target.read_bytes() == NEW
    assert names_in(target.parent) == ["out.csv"]


def test_a_reader_of_the_old_file_keeps_it(target: Path) -> None:
    target.write_bytes(OLD)
    with target.open("rb") as reader:
        publish(target)
        assert reader.read() == OLD
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_failing_step_leaves_the_old_file_and_nothing_else(target: Path, fault: type[BaseException]) -> None:
    def fail() -> None:
        with Publication() as publication:
            publication.add(str(target)).file.write(NEW)
            publication.add(f"{target}.rejects").file.write(NEW)
            raise fault

    target.write_bytes(OLD)
    with pytest.raises(fault):
        fail()
    assert names_in(target.parent) == ["out.csv"]
    assert target.read_bytes() == OLD


def test_what_is_never_published_never_appears(target: Path) -> None:
    with Publication() as publication:
        publication.add(str(target)).file.write(NEW)
    assert names_in(target.parent) == []


def test_a_full_disk_leaves_the_old_file_and_nothing_else(target: Path) -> None:
    target.write_bytes(OLD)
    # So much stays in the buffer: only bringing it to the disk meets the limit.
    with files_of_at_most(1000), pytest.raises(TransferError) as caught:
        publish(target, b"x" * 2000)
    assert str(caught.value) == f"writing {target} failed (File too large): see to the disk and try again."
    assert names_in(target.parent) == ["out.csv"]
    assert target.read_bytes() == OLD


def test_nothing_appears_unless_all_outputs_are_complete(tmp_path: Path) -> None:
    with files_of_at_most(1000), Publication() as publication:
        publication.add(str(tmp_path / "first.csv")).file.write(NEW)
        publication.add(str(tmp_path / "second.csv")).file.write(b"x" * 2000)
        with pytest.raises(TransferError):
            publication.publish()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("order", "first", "published"),
    [
        (("stays", "goes"), "", True),
        (("goes", "stays"), "", False),
        (("stays", "goes"), "goes", False),
        (("goes", "stays"), "stays", True),
    ],
)
def test_outputs_are_published_in_the_order_in_which_they_were_added_but_for_those_that_come_first(
    tmp_path: Path, order: tuple[str, str], first: str, published: bool
) -> None:
    with Publication() as publication:
        for name in order:
            (tmp_path / name).mkdir()
            publication.add(str(tmp_path / name / "out.csv"), first=name == first).file.write(NEW)
        for file in (tmp_path / "goes").iterdir():
            file.unlink()
        (tmp_path / "goes").rmdir()
        with pytest.raises(TransferError):
            publication.publish()
    assert names_in(tmp_path) == ["stays"]
    assert names_in(tmp_path / "stays") == (["out.csv"] if published else [])


def test_a_dropped_output_does_not_appear_and_frees_its_place(target: Path) -> None:
    with Publication() as publication:
        publication.add(f"{target}.rejects").file.write(NEW)
        dropped = publication.add(str(target))
        dropped.file.write(OLD)
        publication.drop(dropped)
        publish(target, b"of another run")
        publication.publish()
    assert names_in(target.parent) == ["out.csv", "out.csv.rejects"]
    assert target.read_bytes() == b"of another run"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o000, 0o666)])
def test_the_umask_is_respected(target: Path, umask: Callable[[int], int], mask: int, mode: int) -> None:
    umask(mask)
    publish(target)
    assert mode_of(target) == mode


def test_a_private_file_is_its_owners_at_any_time(target: Path, umask: Callable[[int], int]) -> None:
    umask(0)
    with Publication() as publication:
        publication.add(str(target), PRIVATE).file.write(NEW)
        assert [mode_of(path) for path in target.parent.iterdir()] == [0o600]
        publication.publish()
    assert mode_of(target) == 0o600


def test_a_private_file_replaces_one_that_all_could_read(target: Path, umask: Callable[[int], int]) -> None:
    umask(0)
    publish(target, OLD)
    publish(target, NEW, PRIVATE)
    assert mode_of(target) == 0o600
    assert target.read_bytes() == NEW


def test_a_private_file_is_private_also_where_a_killed_run_left_its_part(
    target: Path, umask: Callable[[int], int]
) -> None:
    umask(0)
    with held_by_another_process(target):
        pass
    assert [mode_of(path) for path in target.parent.iterdir()] == [0o666]
    publish(target, NEW, PRIVATE)
    assert mode_of(target) == 0o600


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.csv", tmp_path / "out.csv"
    real.write_bytes(OLD)
    link.symlink_to(real)
    publish(link)
    assert link.is_symlink()
    assert real.read_bytes() == link.read_bytes() == NEW
    assert not real.is_symlink()
    assert names_in(tmp_path) == ["elsewhere", "out.csv"]
    assert names_in(tmp_path / "elsewhere") == ["real.csv"]


def test_a_symbolic_link_in_the_hidden_files_place_is_not_followed(target: Path) -> None:
    with Publication() as publication:
        publication.add(str(target))
        hidden = target.parent / names_in(target.parent)[0]
    victim = target.parent / "victim"
    victim.write_bytes(OLD)
    hidden.symlink_to(victim)
    publish(target)
    assert victim.read_bytes() == OLD
    assert target.read_bytes() == NEW
    assert not target.is_symlink()
    assert names_in(target.parent) == ["out.csv", "victim"]


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    publish(pipe)
    reader.join()
    assert got == [NEW]
    assert pipe.is_fifo()
    assert names_in(tmp_path) == ["pipe"]


def test_a_pipe_gets_nothing_of_what_is_not_published(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Publication() as publication:
        publication.add(str(pipe)).file.write(NEW)
    assert os.read(descriptor, 100) == b""
    os.close(descriptor)


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    publish("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(TransferError, match=r"^writing /dev/full failed \(No space left on device\): free some space"):
        publish("/dev/full")


def test_stdout_gets_all_at_the_end(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with Publication() as publication:
        output = publication.add("-")
        assert output.name == "stdout"
        output.file.write(NEW)
        output.file.flush()
        assert capfdbinary.readouterr().out == b""
        publication.publish()
    assert capfdbinary.readouterr().out == NEW


def test_two_outputs_to_one_target_exclude_each_other(target: Path) -> None:
    with Publication() as publication:
        publication.add(str(target))
        with pytest.raises(OutputBusyError) as caught:
            publication.add(str(target))
    assert str(caught.value) == f"{target} is being written by another run: try again later."


def test_a_link_to_a_target_that_is_held_is_held_too(target: Path) -> None:
    target.touch()
    link = target.parent / "link.csv"
    link.symlink_to(target)
    with Publication() as publication:
        publication.add(str(target))
        with pytest.raises(OutputBusyError):
            Output(str(link))


def test_a_run_elsewhere_holds_its_output_as_long_as_it_lives(target: Path) -> None:
    target.write_bytes(OLD)
    with held_by_another_process(target) as holder:
        with pytest.raises(OutputBusyError):
            publish(target)
        assert len(names_in(target.parent)) == 2, "the part of the other run is left alone"
        holder.kill()
        holder.wait()
        left = names_in(target.parent)
        assert len(left) == 2, "a killed run can't clean up"
        publish(target)
    assert target.read_bytes() == NEW
    assert names_in(target.parent) == ["out.csv"]


def test_an_output_can_be_written_again_and_again(target: Path) -> None:
    for turn in range(5):
        publish(target, NEW * turn)
        assert target.read_bytes() == NEW * turn


def test_of_many_at_once_each_publishes_or_is_told_that_it_is_busy(target: Path) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        for _ in range(20):
            try:
                publish(target, b"%d" % number * 1000)
                outcomes.append("published")
            except OutputBusyError:
                outcomes.append("busy")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 160
    assert "published" in outcomes
    content = target.read_bytes()
    assert len(content) == 1000
    assert len(set(content)) == 1, "a mixture of two runs"
    assert names_in(target.parent) == ["out.csv"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere/out.csv", "(No such file or directory)"),
        ("file/out.csv", "(Not a directory)"),
        ("n" * 254, "(File name too long)"),
        (".", "is a folder: name a file."),
    ],
)
def test_what_cannot_be_created_is_told_at_once(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        Output(str(tmp_path / name))
    assert why in str(caught.value)
    assert names_in(tmp_path) == ["file"]


def test_a_withdrawn_output_takes_the_old_file_with_it_when_the_others_are_published(target: Path) -> None:
    old = target.parent / "rejects.csv"
    old.write_bytes(OLD)
    with Publication() as publication:
        publication.add(str(target)).file.write(NEW)
        publication.add(str(old), first=True).withdraw()
        assert old.read_bytes() == OLD
        publication.publish()
        assert [file.name for file in publication.published] == [str(target)]
    assert names_in(target.parent) == ["out.csv"]


def test_a_withdrawn_output_stays_where_nothing_is_published(target: Path) -> None:
    target.write_bytes(OLD)
    with Publication() as publication:
        publication.add(str(target)).withdraw()
    assert target.read_bytes() == OLD
    assert names_in(target.parent) == ["out.csv"]


def test_who_waits_gets_the_output_when_it_is_free(target: Path) -> None:
    with held_by_another_process(target) as holder:
        threading.Timer(0.5, holder.kill).start()
        with Publication(wait=60) as publication:
            publication.add(str(target)).file.write(NEW)
            publication.publish()
    assert target.read_bytes() == NEW
    assert names_in(target.parent) == ["out.csv"]


def test_what_is_published_is_described(tmp_path: Path) -> None:
    with Publication(digests=True) as publication:
        publication.add(str(tmp_path / "a")).file.write(NEW)
        publication.add(str(tmp_path / "b")).file.write(b"x" * 10**6)
        assert publication.published == []
        publication.publish()
    expected = [(name, content) for name, content in (("a", NEW), ("b", b"x" * 10**6))]
    assert publication.published == [
        PublishedFile(str(tmp_path / name), len(content), hashlib.sha256(content).hexdigest())
        for name, content in expected
    ]
    assert [(tmp_path / name).read_bytes() for name, _ in expected] == [content for _, content in expected]


APPEND = """
import sys
from titanic_batch.writing.publishing import Publication
with Publication() as publication:
    publication.add(sys.argv[1]).file.write(b"new")
    publication.publish()
"""


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_by_any_name_is_appended_to_where_the_shell_says_so(target: Path, name: str) -> None:
    target.write_bytes(OLD)
    before = target.stat().st_ino
    with target.open("ab") as file:
        subprocess.run([sys.executable, "-c", APPEND, name], stdout=file, check=True)
    assert target.read_bytes() == OLD + b"new"
    assert target.stat().st_ino == before, "it was renamed over"
    piped = subprocess.run([sys.executable, "-c", APPEND, name], stdout=subprocess.PIPE, check=True)
    assert piped.stdout == b"new"


def test_a_closed_stdout_is_told() -> None:
    done = subprocess.run(
        [*("bash", "-c", 'exec "$0" "$@" >&-'), sys.executable, "-c", APPEND, "-"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("OutputError: stdout is not open for writing: lead it somewhere.\n")


def test_makes_a_folder_and_those_above(tmp_path: Path) -> None:
    make_folder(str(tmp_path / "a" / "b"))
    make_folder(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file(/b)? (can't be made|is no folder)"):
        make_folder(str(tmp_path / "file" / "b"))
    with pytest.raises(OutputError, match="is no folder"):
        make_folder(str(tmp_path / "file"))


def test_what_killed_runs_left_is_cleared_and_what_others_write_is_not(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path / "killed.csv"):
        pass
    (tmp_path / ".config").touch()
    with Publication() as other:
        other.add(str(tmp_path / "other.csv")).file.write(NEW)
        remove_leftovers(str(tmp_path))
        assert names_in(tmp_path) == [".config", ".other.csv.partial"]
        other.publish()
    assert names_in(tmp_path) == [".config", "other.csv"]


def test_whether_a_file_can_be_created_is_found_out_without_a_trace(target: Path) -> None:
    target.write_bytes(OLD)
    check_creatable(str(target))
    assert target.read_bytes() == OLD
    with Publication() as other:
        other.add(str(target))
        check_creatable(str(target))
    assert names_in(target.parent) == ["out.csv"]
    with pytest.raises(OutputError):
        check_creatable(str(target.parent / "nowhere" / "out.csv"))


def test_a_closed_pipe_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Publication() as publication:
        publication.add(str(pipe)).file.write(NEW * 2**16)
        threading.Timer(0.2, os.close, [reader]).start()
        with pytest.raises(BrokenPipeError):
            publication.publish()


def test_a_failure_to_write_names_the_output(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with Publication() as publication, pytest.raises(TransferError, match=r"^writing .*out\.csv failed \(File too"):
            publication.add(str(tmp_path / "out.csv")).file.write(b"x" * 2**20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
@pytest.mark.parametrize("call", ["open", "fsync", "close"])
def test_what_was_renamed_is_published_whatever_fails_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    real = getattr(os, call)
    renamed: list[str] = []

    def fail_after_renaming(*arguments: object) -> object:
        if renamed:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    def rename(old: str, new: str, real: Callable[[str, str], None] = os.rename) -> None:
        real(old, new)
        renamed.append(new)

    old = tmp_path / "rejects.csv"
    old.write_bytes(OLD)
    with Publication() as publication:
        publication.add(str(tmp_path / "out.csv")).file.write(NEW)
        publication.add(str(old)).withdraw()
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail_after_renaming)
            patch.setattr(os, "rename", rename)
            publication.publish()
    assert names_in(tmp_path) == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == NEW
    assert [file.name for file in publication.published] == [str(tmp_path / "out.csv")]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_gets_its_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        publish(target)
    assert target.read_bytes() == NEW


@pytest.mark.parametrize(
    ("number", "error", "hint"),
    [
        (errno.EBUSY, OutputError, "mount its folder, not the file"),
        (errno.EXDEV, OutputError, "mount its folder, not the file"),
        (errno.EPERM, OutputError, "see to its rights, or name another file"),
        (errno.EACCES, OutputError, "see to its rights, or name another file"),
        (errno.EROFS, OutputError, "see to its rights, or name another file"),
        (errno.EISDIR, OutputError, "name another file"),
        (errno.EIO, TransferError, "see to the disk and try again"),
        (errno.ENOSPC, TransferError, "free some space and try again"),
    ],
)
def test_an_error_of_renaming_is_lasting_or_may_pass(
    target: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], hint: str
) -> None:
    def fail(*_: str) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(error) as caught:
            publish(target)
    assert os.strerror(number) in str(caught.value)
    assert str(caught.value).endswith(f": {hint}.")
    assert names_in(target.parent) == []


def test_a_folder_that_cannot_be_listed_has_no_leftovers_to_remove(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("gone", "file"):
        remove_leftovers(str(tmp_path / name))
    assert names_in(tmp_path) == ["file"]


def test_a_stream_needs_a_folder_for_temporary_files_only_if_much_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stream, monkeypatch.context() as patch:
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
        patch.setattr(tempfile, "tempdir", None)
        publish(f"/dev/fd/{stream.fileno()}")
        with pytest.raises(OutputError, match=r" needs a folder for temporary files: set TMPDIR to one "):
            publish(f"/dev/fd/{stream.fileno()}", b"x" * 2**21)
    assert log.read_bytes() == NEW
