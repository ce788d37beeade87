"""Whether a file can be replaced is found out, and changes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machine import need, run
from tests.writing.test_hidden_file import PUBLISH, SOMEBODY, without
from titanic_batch.errors import OutputError
from titanic_batch.writing.publishing import Publication
from titanic_batch.writing.replacing import require_replaceable

OLD = b"old"

ChangeAttributes = Callable[[str, Path], None]


@pytest.fixture
def chattr() -> Iterator[ChangeAttributes]:
    """Set an attribute of a file or folder, such as +i, until the test ends."""
    need("chattr", root=True)
    changed: list[tuple[str, Path]] = []

    def change(attribute: str, path: Path) -> None:
        done = run(["chattr", attribute, path])
        if done.returncode:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"chattr {attribute}: {done.stderr}")
        changed.append((attribute, path))

    yield change
    for attribute, path in changed:
        subprocess.run(["chattr", attribute.replace("+", "-"), str(path)], check=True)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "out.csv"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def test_what_can_be_replaced_stays_as_it_is(target: Path, tmp_path: Path) -> None:
    before = target.stat()
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (target, empty, tmp_path / "gone", tmp_path / "gone" / "out.csv"):
        require_replaceable(str(path), "it")
    assert target.stat() == before
    assert empty.is_dir()
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("attribute", ["+i", "+a"])
def test_an_immutable_or_append_only_file_is_refused(target: Path, chattr: ChangeAttributes, attribute: str) -> None:
    chattr(attribute, target)
    with pytest.raises(OutputError) as caught:
        Publication().add(str(target))
    assert str(caught.value) == (
        f"{target} can't be replaced, since it is immutable or append-only: see lsattr and chattr."
    )
    assert os.listdir(target.parent) == ["out.csv"]


@pytest.mark.parametrize("exists", [True, False])
def test_an_append_only_folder_is_refused_before_a_file_is_left_in_it(
    target: Path, chattr: ChangeAttributes, exists: bool
) -> None:
    if not exists:
        target.unlink()
    before = os.listdir(target.parent)
    chattr("+a", target.parent)
    with pytest.raises(OutputError, match="since its folder is append-only"):
        Publication().add(str(target))
    assert os.listdir(target.parent) == before


def test_a_file_of_another_user_in_a_folder_with_the_sticky_bit_is_refused(target: Path) -> None:
    need("setpriv", root=True)
    target.parent.chmod(0o1777)
    for path in (target, target.parent):
        os.chown(path, SOMEBODY, SOMEBODY)
    done = without("fowner", "-c", PUBLISH, target)
    assert done.stderr.endswith(
        f"OutputError: {target} can't be replaced, since it belongs to another user in a folder with the sticky bit: "
        "remove it as that user, or name another file.\n"
    )
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == ["out.csv"]
    assert without("fowner", "-c", PUBLISH, target.with_name("other.csv")).returncode == 0


def test_what_became_irreplaceable_meanwhile_stops_all_before_the_first_is_published(
    target: Path, chattr: ChangeAttributes
) -> None:
    with Publication() as publication:
        publication.add(str(target)).file.write(b"new")
        publication.add(str(target.with_name("rejects.csv")), first=True).file.write(b"new")
        chattr("+i", target)
        with pytest.raises(OutputError, match="it is immutable"):
            publication.publish()
    assert os.listdir(target.parent) == ["out.csv"]
    assert target.read_bytes() == OLD
