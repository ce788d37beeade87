"""The committed data: rebuilt byte for byte, consistent with each other and with the source."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.schema import LABELLED_CONTRACT

ROOT = Path(__file__).resolve().parents[2]
FILES = ["data/train.csv", "data/test.csv", "data/holdout.csv", "titanic_batch/passenger/train.csv"]
COLUMNS = [
    *("PassengerId", "Survived", "Pclass", "Name", "Sex", "Age"),
    *("SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked"),
]


def read_rows(name: str) -> list[dict[str, str]]:
    with (ROOT / "data" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def survival_rate(rows: list[dict[str, str]]) -> float:
    return sum(int(row["Survived"]) for row in rows) / len(rows)


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("rebuilt")
    subprocess.run([sys.executable, str(ROOT / "data" / "rebuild.py"), str(output)], check=True)
    return output


@pytest.mark.parametrize("name", FILES)
def test_rebuild_is_byte_identical(rebuilt: Path, name: str) -> None:
    assert (rebuilt / name).read_bytes() == (ROOT / name).read_bytes()


def test_rebuild_writes_nothing_else(rebuilt: Path) -> None:
    written = {path.relative_to(rebuilt).as_posix() for path in rebuilt.rglob("*") if path.is_file()}
    assert written == set(FILES)


def test_package_copy_is_train() -> None:
    assert (ROOT / "titanic_batch/passenger/train.csv").read_bytes() == (ROOT / "data/train.csv").read_bytes()


def test_the_package_carries_the_committed_passengers() -> None:
    carried = packaged_rows()
    with (ROOT / "data" / "train.csv").open() as file:
        committed = list(csv.DictReader(file))
    assert [*carried.columns] == [*LABELLED_CONTRACT.types]
    for name, column in carried.items():
        kind = {"i": int, "f": float}.get(column.dtype.kind, str)
        found = [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]
        assert found == [kind(row[str(name)]) if row[str(name)] else None for row in committed]


@pytest.mark.parametrize(("name", "count"), [("train.csv", 891), ("test.csv", 418), ("holdout.csv", 418)])
def test_row_counts_and_columns(name: str, count: int) -> None:
    rows = read_rows(name)
    assert len(rows) == count
    expected = [column for column in COLUMNS if column != "Survived" or name != "test.csv"]
    assert all(list(row) == expected for row in rows)
    assert not any("?" in row.values() for row in rows)


def test_ids_run_from_train_into_test() -> None:
    assert [int(row["PassengerId"]) for row in read_rows("train.csv")] == list(range(1, 892))
    assert [int(row["PassengerId"]) for row in read_rows("test.csv")] == list(range(892, 1310))


def test_no_passenger_is_in_both_parts() -> None:
    passengers = {tuple(row.values())[1:] for name in ("train.csv", "holdout.csv") for row in read_rows(name)}
    assert len(passengers) == 1309


def test_holdout_is_test_with_survived(tmp_path: Path) -> None:
    """Dropping one column from the holdout gives the very bytes of test.csv."""
    stripped = tmp_path / "test.csv"
    with stripped.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column for column in COLUMNS if column != "Survived")
        for row in read_rows("holdout.csv"):
            assert row.pop("Survived") in {"0", "1"}
            writer.writerow(row.values())
    assert stripped.read_bytes() == (ROOT / "data/test.csv").read_bytes()


def test_split_is_stratified() -> None:
    train, holdout = read_rows("train.csv"), read_rows("holdout.csv")
    assert survival_rate(train) == pytest.approx(survival_rate(holdout), abs=0.01)
    assert survival_rate(train + holdout) == pytest.approx(500 / 1309)


def test_missing_values_match_the_source() -> None:
    rows = read_rows("train.csv") + read_rows("holdout.csv")
    missing = {column: sum(row[column] == "" for row in rows) for column in COLUMNS}
    expected = {"Age": 263, "Fare": 1, "Cabin": 1014, "Embarked": 2}  # as in OpenML's metadata
    assert {column: count for column, count in missing.items() if count} == expected


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Allison, Master. Hudson Trevor", "1 1 male 0.9167 1 2 113781 151.55 C22_C26 S"),
        ("Barber, Miss. Ellen 'Nellie'", "1 1 female 26 0 0 19877 78.85 - S"),
        ("O'Brien, Mrs. Thomas (Johanna 'Hannah' Godfrey)", "1 3 female - 1 0 370365 15.5 - Q"),
        ("Stone, Mrs. George Nelson (Martha Evelyn)", "1 1 female 62 0 0 113572 80 B28 -"),
        ("Storey, Mr. Thomas", "0 3 male 60.5 0 0 3701 - - S"),
    ],
)
def test_known_passengers(name: str, values: str) -> None:
    """``-`` stands for a missing value and ``_`` for a space."""
    (row,) = (r for r in read_rows("train.csv") + read_rows("holdout.csv") if r["Name"] == name)
    expected = ["" if value == "-" else value.replace("_", " ") for value in values.split()]
    assert [row[column] for column in COLUMNS if column not in {"PassengerId", "Name"}] == expected


def test_names_are_quoted_for_their_comma() -> None:
    lines = (ROOT / "data/holdout.csv").read_text(encoding="utf-8").splitlines()
    assert "927,1,1,\"Barber, Miss. Ellen 'Nellie'\",female,26,0,0,19877,78.85,,S" in lines
