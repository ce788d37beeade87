"""What the names of inputs refer to, as a user sees it: nothing that was found is passed over in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.command import Titanic, assert_fails, is_silent, names_in
from tests.cli.process import run_process, unprivileged
from tests.conftest import DATA
from tests.passengers import csv_bytes, passengers

TO_READ_ONE = "to read one, name it as an input, with --input-format where its suffix is unknown"
NOWHERE = "is a link that leads nowhere: mend or remove it."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two inputs, and one below it."""
    monkeypatch.chdir(tmp_path)
    for key, name in enumerate(["a.csv", "b.csv", "sub/c.csv"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(csv_bytes(passengers(5, 10 * key)))
    return tmp_path / "in"


def published(folder: str) -> set[str]:
    return {name for name in names_in(Path(folder)) if not name.startswith("_")}


# Passed over


def test_files_of_other_names_are_passed_over_with_a_line(titanic: Titanic, folder: Path) -> None:
    (folder / "c.txt").touch()
    (folder / "_f.csv").touch()
    said = f"titanic: 2 files passed over: in/_f.csv (leading underscore), in/c.txt (unknown suffix): {TO_READ_ONE}.\n"
    for arguments in (["score", "in", "-o", "p.csv"], ["score", "in", "-o", "out/"], ["validate", "in"]):
        result = titanic(*arguments)
        assert (result.exit_code, result.stderr.count(said)) == (0, 1), result.output
    assert is_silent(titanic("score", "in/[ab].csv", "-o", "p.csv")), "a glob chose its names"
    assert titanic("score", "in", "-o", "p.csv", "--max-rejects", "0", "--input-format", "csv").exit_code == 65


def test_fit_names_what_is_passed_over_in_both_of_its_inputs(titanic: Titanic, tmp_path: Path) -> None:
    for name in ("train", "holdout"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").symlink_to(DATA / f"{name}.csv")
        (tmp_path / name / "README").touch()
    result = titanic("fit", "train", "--holdout", "holdout", "-o", "m.skops", "--param", "n_estimators=2")
    assert result.exit_code == 0
    assert result.stderr == "".join(
        f"titanic: 1 file passed over: {name}/README (unknown suffix): {TO_READ_ONE}.\n"
        for name in ("train", "holdout")
    )


def test_predictions_of_a_folder_are_an_input_without_a_word(titanic: Titanic) -> None:
    Path("in/b.csv").write_bytes(csv_bytes(passengers(5)).replace(b"male", b"Male", 1))
    columns = ["Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin"]
    keep = [word for name in columns for word in ("--keep", name)]
    assert titanic("score", "in", "-o", "out/", "--max-rejects", "1", *keep).exit_code == 0
    assert names_in(Path("out")) == ["_rejects", "_state.json", "a.csv", "b.csv"]
    result = titanic("validate", "out", "--max-rejects", "100%")
    assert result.stderr == ""
    assert result.stdout.startswith("out/a.csv, out/b.csv: 9 rows, ")


def test_a_folder_without_a_file_to_read_names_what_it_holds(titanic: Titanic, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        os.rename(f"in/{name}", f"in/{name}.bz2")
    held = "in/a.csv.bz2 (unknown suffix), in/b.csv.bz2 (unknown suffix)"
    for arguments in (["score", "in", "-o", "out/", "--report", "r.json"], ["validate", "in"], ["fit", "in"]):
        assert_fails(
            titanic(*arguments),
            66,
            f"in holds no file to read (.csv, .csv.gz, .csv.zst, .parquet); 2 files passed over: {held}.",
        )
    assert names_in(tmp_path) == ["in", "out", "r.json"]
    assert names_in(Path("out")) == []
    assert [file["name"] for file in json.loads(Path("r.json").read_text())["passed_over"]] == [
        "in/a.csv.bz2",
        "in/b.csv.bz2",
    ]


# Found, and not to be read


@pytest.mark.parametrize("name", ["in", "in/*.csv", "in/z.csv"])
def test_a_link_that_leads_nowhere_fails_a_run(titanic: Titanic, tmp_path: Path, name: str) -> None:
    Path("in/z.csv").symlink_to("gone")
    assert_fails(titanic("validate", name), 66, f"in/z.csv {NOWHERE}")
    assert_fails(titanic("score", name, "-o", "p.csv"), 66, f"in/z.csv {NOWHERE}")
    assert names_in(tmp_path) == ["in"]


def test_a_link_that_leads_nowhere_leaves_the_other_inputs_of_a_folder(titanic: Titanic) -> None:
    Path("in/aa.csv").symlink_to("gone")
    for names in (["in"], ["in/*.csv"], ["in/a.csv", "in/aa.csv", "in/b.csv"]):
        result = titanic("score", *names, "-o", f"{len(names)}/")
        assert (result.exit_code, result.stderr) == (
            66,
            f"titanic: in/aa.csv {NOWHERE}\ntitanic: 1 of 3 inputs failed: see above.\n",
        )
        assert published(f"{len(names)}") == {"a.csv", "b.csv"}


@pytest.mark.parametrize("output", ["p.csv", "out/"])
def test_a_link_that_may_have_led_to_a_folder_fails_a_run(titanic: Titanic, tmp_path: Path, output: str) -> None:
    Path("in/today").symlink_to("gone")
    assert_fails(titanic("score", "in/**/*.csv", "-o", output), 66, f"in/today {NOWHERE}")
    assert not list(tmp_path.glob("*.csv"))
    assert not list(tmp_path.glob("out/*"))
    assert is_silent(titanic("score", "in/*.csv", "-o", output)), "it does not match"


def test_a_loop_of_links_fails_a_run(titanic: Titanic) -> None:
    Path("in/z.csv").symlink_to("z.csv")
    assert_fails(titanic("validate", "in"), 66, "in/z.csv can't be opened (Too many levels of symbolic links).")


@pytest.mark.parametrize("name", ["in", "in/*.csv", "in/b.csv", "in/**/*.csv"])
def test_a_file_that_may_not_be_read_fails_a_run(name: str) -> None:
    os.chmod("in/b.csv", 0)
    process = unprivileged("-m", "titanic_batch", "validate", name)
    assert (process.returncode, process.stdout) == (66, "")
    assert process.stderr == "titanic: in/b.csv can't be opened (Permission denied).\n"


@pytest.mark.parametrize(
    ("mode", "name", "words"),
    [
        (0, "in/sub", "in/sub can't be listed (Permission denied)."),
        (0, "in/**/*.csv", "in/sub can't be listed (Permission denied)."),
        (0, "in/*/*.csv", "in/sub can't be listed (Permission denied)."),
        (0, "in/*/c.csv", "in/sub/c.csv can't be opened (Permission denied)."),
        (0, "in/sub/*.csv", "in/sub can't be listed (Permission denied)."),
        (0, "in/sub/c.csv", "in/sub/c.csv can't be opened (Permission denied)."),
        (0o400, "in/sub", "in/sub/c.csv can't be opened (Permission denied)."),
        (0o400, "in/**/*.csv", "in/sub/c.csv can't be opened (Permission denied)."),
    ],
)
def test_a_folder_that_may_not_be_read_fails_a_run(folder: Path, mode: int, name: str, words: str) -> None:
    (folder / "sub").chmod(mode)
    process = unprivileged("-m", "titanic_batch", "validate", name)
    (folder / "sub").chmod(0o700)
    assert (process.returncode, process.stdout, process.stderr) == (66, "", f"titanic: {words}\n")


def test_a_glob_in_a_folder_that_may_only_be_searched_is_read(folder: Path) -> None:
    folder.chmod(0o100)
    process = unprivileged("-m", "titanic_batch", "validate", "in/sub/*.csv")
    folder.chmod(0o700)
    assert (process.returncode, process.stderr) == (0, "")


# A working directory that is gone


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["validate", "{}/in/a.csv"], 0, ""),
        (["validate", "{}/in/*.csv", "--rejects", "{}/r.csv"], 0, ""),
        (["validate", "a.csv"], 66, "a.csv does not exist: check the path."),
        (["validate", "*.csv"], 66, "no file matches *.csv."),
        (["validate", "."], 66, ". holds no file to read"),
        (["score", "{}/in/a.csv", "-o", "p.csv"], 73, "p.csv can't be created"),
        (["score", "{}/in/a.csv", "-o", "out/"], 73, "the folder out can't be made"),
        (["score", "{}/in/a.csv", "-o", "{}/p.csv", "--report", "r.json"], 73, "r.json can't be created"),
        (["fit", "-o", "m.skops"], 73, "m.skops can't be created"),
    ],
)
def test_names_need_a_working_directory_only_if_they_are_relative(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = "import os; os.rmdir(os.getcwd()); from titanic_batch.cli.command import main; main()"
    process = run_process("-c", program, *(argument.format(tmp_path) for argument in arguments), cwd=gone)
    assert (process.returncode, process.stderr.count("\n")) == (code, int(bool(words))), process.stderr
    assert words in process.stderr
    assert not gone.exists()


# URLs

WITH_URLS = [
    ["score", "{}", "-o", "p.csv"],
    ["score", "in/a.csv", "{}", "-o", "out/"],
    ["score", "in/a.csv", "-o", "{}"],
    *(
        ["score", "in/a.csv", "-o", "out/", option, "{}"]
        for option in ("--model", "--report", "--metrics", "--rejects")
    ),
    ["validate", "{}"],
    ["validate", "in", "{}"],
    *(["validate", "in", option, "{}"] for option in ("--output", "--rejects")),
    ["fit", "{}"],
    *(["fit", option, "{}"] for option in ("--output", "--holdout", "--compare", "--report", "--rejects")),
    ["serve", "--model", "{}"],
    ["serve", "--allow-fit", "--fit-token-file", "{}"],
    ["inspect", "{}"],
    ["inspect", "m.skops", "--diff", "{}"],
]


@pytest.mark.parametrize("arguments", WITH_URLS, ids=" ".join)
def test_a_url_is_refused_wherever_a_file_is_named(titanic: Titanic, tmp_path: Path, arguments: list[str]) -> None:
    for url in ("s3://bucket/SECRET.csv", "file:///x.parquet"):
        result = titanic(*(argument.format(url) for argument in arguments))
        assert_fails(result, 2, f"{url.partition('/')[0]}//... is a URL, which is neither read nor written here: ")
        assert "SECRET" not in result.stderr
    assert names_in(tmp_path) == ["in"]


def test_a_url_is_refused_as_the_model_of_the_environment(titanic: Titanic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITANIC_MODEL", "gs://bucket/m.skops")
    assert_fails(titanic("score", "in", "-o", "p.csv"), 2, "gs://... is a URL")


def test_a_url_is_refused_before_a_library_is_imported() -> None:
    program = (
        "import sys, atexit\nfrom titanic_batch.cli.command import main\n"
        "atexit.register(lambda: print(sorted({'numpy', 'pandas', 'pyarrow'} & set(sys.modules))))\nmain()"
    )
    process = run_process("-c", program, "score", "s3://b/k.csv", "-o", "out/")
    assert (process.returncode, process.stdout) == (2, "[]\n")
    assert process.stderr.count("\n") == 1
