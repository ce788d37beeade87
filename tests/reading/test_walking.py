"""Folders and globs: what is found is what `glob.glob` finds, and what can't be looked up is no secret."""

from __future__ import annotations

import glob
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from titanic_batch.errors import InputError, TransferError
from titanic_batch.reading.walking import Walk

ODD = os.fsdecode(b"\xff.csv")
NAMES = ["a", "b", "a.csv", "b.csv", "A.CSV", "[a]", "[", "a\nb.csv", ODD, ".a", ".a.csv", "a*", "ü.csv"]
PARTS = [
    "*",
    "?",
    "**",
    "*.csv",
    "[ab]*",
    "[!a]*",
    ".*",
    "[[]*",
    "*[*]",
    "?.[cC]*",
    "a*b*",
    "*\n*",
    "[]]",
    "[a",
    ".",
    "..",
]


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Draw a tree: paths, each a file, a folder, or a link to a file or a folder outside of the tree."""
    kinds = st.sampled_from(["file", "file", "folder", "folder", "../outside/a.csv", "../outside"])
    folders, made = [""], dict[str, str]()
    for _ in range(draw(st.integers(1, 14))):
        path = os.path.join(draw(st.sampled_from(folders)), draw(st.sampled_from(NAMES)))
        if path not in made:
            made[path] = draw(kinds)
            if made[path] == "folder":
                folders.append(path)
    return list(made.items())


def make(tree: list[tuple[str, str]], folder: Path) -> None:
    (folder / "outside" / "deep").mkdir(parents=True)
    for name in ("a.csv", "deep/b.csv", ".a.csv"):
        (folder / "outside" / name).touch()
    root = folder / "tree"
    root.mkdir()
    for name, kind in tree:
        if kind == "file":
            (root / name).touch()
        elif kind == "folder":
            (root / name).mkdir()
        else:
            (root / name).symlink_to(folder / kind.removeprefix("../"))


# None leads out of the folder that a test makes.
PATTERNS = (
    st.lists(st.sampled_from(PARTS + NAMES), min_size=1, max_size=4)
    .filter(lambda parts: parts.count("..") < 2)
    .map("/".join)
    .filter(glob.has_magic)
)


@given(trees(), PATTERNS, st.sampled_from(["", "/", "//"]))
@example([("a", "folder"), ("a/b.csv", "file")], "**/**", "")
@example([("a", "../outside")], "**/*.csv", "")
@example([("[a]", "folder"), ("[a]/a.csv", "file"), ("a", "folder"), ("a/b.csv", "file")], "[a]/*", "/")
def test_a_glob_matches_the_files_that_pythons_glob_matches(
    tree: list[tuple[str, str]], pattern: str, slashes: str
) -> None:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        make(tree, Path(name))
        os.chdir(os.path.join(name, "tree"))
        try:
            for base in (f"{slashes and '.'}{slashes}", f"{os.getcwd()}/"):
                walk = Walk()
                found = [path for path, kind in walk.glob(base + pattern).items() if kind == "file"]
                matches = glob.glob(base + pattern, recursive=True)
                assert found == sorted({path for path in matches if os.path.isfile(path)})
                assert walk.errors == []
        finally:
            os.chdir(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/a.csv", "in/sub/b.csv"):
        (tmp_path / name).touch()
    return tmp_path / "in"


def test_links_in_a_circle_are_followed_once(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "here").symlink_to(".")
    (folder / "above").symlink_to("..")
    walk = Walk()
    assert list(walk.glob("in/**/*.csv")) == ["in/a.csv", "in/sub/b.csv"]
    assert walk.errors == []


def test_a_folder_of_two_names_is_found_under_both(folder: Path) -> None:
    (folder / "other").symlink_to("sub")
    assert list(Walk().glob("in/**/*.csv")) == ["in/a.csv", "in/other/b.csv", "in/sub/b.csv"]


def test_folders_deeper_than_a_recursion_goes_are_walked(folder: Path) -> None:
    before = os.getcwd()
    try:
        for name in ["in", *["d"] * 1_500]:
            os.makedirs(name, exist_ok=True)
            os.chdir(name)
        Path("z.csv").touch()
    finally:
        os.chdir(before)
    path = "/".join(["in", *["d"] * 1_500, "z.csv"])
    assert Walk().glob("in/d/**/*.csv") == {path: "file"}
    assert Walk().glob("/".join(["in", *["*"] * 1_500, "z.csv"])) == {path: "file"}
    subprocess.run(["rm", "-r", "in/d"], check=True)  # which is too deep for pytest to remove it


@pytest.mark.parametrize("pattern", ["in/**/*.csv", "in/*/*.csv", "in/*/x.csv", "in/*/x/*.csv"])
def test_what_may_be_a_folder_of_files_is_an_error_if_it_leads_nowhere(folder: Path, pattern: str) -> None:
    (folder / "gone").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    walk = Walk()
    walk.glob(pattern)
    assert [(type(error), str(error)) for error in sorted(walk.errors, key=str)] == [
        (InputError, "in/gone is a link that leads nowhere: mend or remove it."),
        (InputError, "in/loop can't be opened (Too many levels of symbolic links)."),
    ]


def test_a_part_without_wildcards_that_leads_nowhere_is_an_error(folder: Path) -> None:
    (folder / "sub" / "day").symlink_to("nowhere")
    (folder / "other").mkdir()
    walk = Walk()
    assert walk.glob("in/*/day/*.csv") == {}
    assert [str(error) for error in walk.errors] == ["in/sub/day is a link that leads nowhere: mend or remove it."]


def test_a_match_that_leads_nowhere_is_found(folder: Path) -> None:
    (folder / "gone.csv").symlink_to("nowhere")
    walk = Walk()
    assert walk.glob("in/*.csv") == {"in/a.csv": "file", "in/gone.csv": "file"}
    assert walk.glob("i*/gone.csv") == {"in/gone.csv": "file"}
    assert walk.glob("i*/none.csv") == {}
    assert walk.files_in("in") == {"a.csv": "file", "gone.csv": "file", "sub": "folder"}
    assert walk.errors == []


def test_what_is_neither_file_nor_folder_is_told_from_them(folder: Path) -> None:
    os.mkfifo(folder / "pipe.csv")
    (folder / "null.csv").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket.csv")
        kinds = {"a.csv": "file", "null.csv": "other", "pipe.csv": "other", "socket.csv": "other", "sub": "folder"}
        assert Walk().files_in("in") == kinds
        assert Walk().glob("in/*") == {f"in/{name}": kind for name, kind in kinds.items()}


def test_a_folder_that_is_gone_or_no_folder_when_it_is_listed_may_come_back(folder: Path) -> None:
    walk = Walk()
    assert walk.files_in("in/gone") == {}
    assert walk.files_in("in/a.csv") == {}
    assert [(type(error), str(error)) for error in walk.errors] == [
        (TransferError, f"in/{name} vanished while it was listed: try again.") for name in ("gone", "a.csv")
    ]
    walk = Walk()
    assert walk.glob("in/gone/*.csv") == walk.glob("in/a.csv/*") == {}
    assert walk.errors == [], "nothing has found these"
