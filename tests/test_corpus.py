"""The contract of the data as a whole: what becomes of bad and odd rows and files, whichever way they come."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests import corpus
from tests.corpus import COLUMNS, KEY, ODD_FILES, ODD_ROWS, SECRET, OddFile, OddRow, Reason, csv_of, line, lines
from tests.named_inputs import Inputs, score, validate
from titanic_batch.checking.contract import Contract
from titanic_batch.errors import DataError, TitanicError
from titanic_batch.models.model import Model
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.reading.opening import open_table
from titanic_batch.runs.options import RejectLimit
from titanic_batch.runs.report import RunReport
from titanic_batch.writing.predictions import PredictedColumns

ALL = RejectLimit(rows=2**40)
WHOLE = "one block"
SMALL = "blocks of a few rows"
CUTS = (WHOLE, pytest.param(SMALL, marks=pytest.mark.slow))

Titanic = Callable[..., Result]


@dataclass(frozen=True)
class Judged:
    """What a run said of its rows: the report, and for each rejected row (input from 0, row from 1) all reasons."""

    report: RunReport
    reasons: Mapping[tuple[int, int], frozenset[Reason]]
    rejects: pa.Table

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.report.rows, self.report.accepted, self.report.rejected


@pytest.fixture(scope="module")
def predicted(small_model: Model) -> PredictedColumns:
    return PredictedColumns(CONTRACT, LABEL, small_model.scores())


@contextmanager
def cut_into(cut: str, csv_bytes: int = 200, rows: int = 2) -> Iterator[None]:
    """Let inputs be read in one block, or in blocks of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        if cut != WHOLE:
            patch.setattr("titanic_batch.runs.batch.open_table", functools.partial(open_table, block_bytes=csv_bytes))
            patch.setattr("titanic_batch.reading.parquet_blocks.BLOCK_ROWS", rows)
            patch.setattr("titanic_batch.reading.parquet_blocks.MAX_GROUP_ROWS", rows)
        yield


def write(folder: Path, files: Mapping[str, bytes | None]) -> list[str]:
    """Write files and return their names."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def judged(report: RunReport, rejects: str) -> Judged:
    table = pq.read_table(rejects)
    found: dict[tuple[int, int], frozenset[Reason]] = {}
    places = {name: place for place, name in enumerate(report.sources)}
    for row in table.select(["reject_source", "reject_row", "reject_reasons"]).to_pylist():
        place = places[row["reject_source"]], row["reject_row"]
        assert place not in found, "each rejected row stands there once"
        reasons = json.loads(row["reject_reasons"])
        found[place] = frozenset((reason["rule"], reason["column"]) for reason in reasons)
        assert len(found[place]) == len(reasons) > 0
    assert report.rows == report.accepted + report.rejected
    assert report.rejected == len(found)
    counted = {(rule.rule, rule.column): rule.rows for rule in report.rules}
    told = [reason for reasons in found.values() for reason in reasons]
    assert counted == {reason: told.count(reason) for reason in told}
    return Judged(report, found, table)


def validated(names: Sequence[str], folder: Path, contract: Contract = CONTRACT) -> Judged:
    rejects = str(folder / "validate.parquet")
    return judged(validate(Inputs(names, max_rejects=ALL, rejects=rejects), contract), rejects)


def scored(names: Sequence[str], folder: Path, predicted: PredictedColumns) -> tuple[Judged, pa.Table]:
    rejects, output = str(folder / "score.parquet"), str(folder / "predictions.parquet")
    report = score(Inputs(names, max_rejects=ALL, rejects=rejects), predicted, output)
    return judged(report, rejects), pq.read_table(output)


def both(names: Sequence[str], folder: Path, predicted: PredictedColumns) -> tuple[Judged, pa.Table]:
    """Run both commands, which must agree, and return what they found and the predictions."""
    one, (other, predictions) = validated(names, folder), scored(names, folder, predicted)
    assert one.counts == other.counts
    assert one.report.rules == other.report.rules
    assert one.rejects.equals(other.rejects)
    assert predictions.num_rows == other.report.accepted
    return other, predictions


def scores_of(plain: bytes, folder: Path, predicted: PredictedColumns) -> pa.Table:
    """Return the predictions for a CSV without a bad row."""
    found, predictions = scored(write(folder, {"plain.csv": plain}), folder, predicted)
    assert not found.reasons
    return predictions


def ids(odd: OddRow | OddFile) -> str:
    return re.sub(r"[^\w.+-]+", "_", odd.name, flags=re.ASCII)


# Files


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("odd", ODD_FILES, ids=ids)
def test_file_is_judged_as_expected(odd: OddFile, cut: str, tmp_path: Path, predicted: PredictedColumns) -> None:
    names = write(tmp_path / "in", odd.files)
    size = max(len(content or b"") for content in odd.files.values())
    with cut_into(cut, csv_bytes=max(200, size // 100)):
        if odd.error is not None:
            for run in (validated, functools.partial(scored, predicted=predicted)):
                with pytest.raises(odd.error) as caught:
                    run(names, tmp_path)
                assert type(caught.value) is odd.error
                assert all(part in str(caught.value) for part in odd.says), str(caught.value)
                assert "\n" not in str(caught.value)
                assert SECRET not in "".join(traceback.format_exception(caught.value))
            assert [path.name for path in tmp_path.iterdir()] == ["in"], "a run that fails leaves nothing behind"
            return
        found, predictions = both(names, tmp_path, predicted)
    assert found.counts == (len(odd.keys) + len(odd.reasons), len(odd.keys), len(odd.reasons))
    assert found.reasons == odd.reasons
    assert found.report.left_out == list(odd.unreadable)
    assert not found.report.incomplete
    assert not set(odd.unreadable) & set(found.rejects.column_names)
    assert predictions["PassengerId"].to_pylist() == list(odd.keys)
    if odd.plain is not None:
        assert predictions.equals(scores_of(odd.plain, tmp_path / "plain", predicted))


# One for each way a run can end, and each message that is put together from parts; the others are slow only together.
QUICK = {
    "a header and no row",
    "a quote that is never closed",
    "a required column missing",
    "a suffix that tells nothing",
    "gzip cut short",
    "no header, and a value twice in the first row",
    "no such file",
    "one input damaged among others",
    "Parquet with rows of every fate",
    "a column encrypted",
    "two columns encrypted",
    "a needed column encrypted",
    "a row group that states a trillion rows",
}


@pytest.mark.parametrize(
    "odd",
    [pytest.param(odd, marks=[] if odd.name in QUICK else [pytest.mark.slow]) for odd in ODD_FILES],
    ids=ids,
)
def test_command_ends_with_the_right_code_and_one_line(odd: OddFile, tmp_path: Path, titanic: Titanic) -> None:
    write(tmp_path, odd.files)
    before = sorted(path.name for path in tmp_path.iterdir())
    validating = titanic("validate", *odd.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    scoring = titanic("score", *odd.files, "-o", "out.csv")
    for done in (validating, scoring):
        assert done.exit_code == odd.exit_code, done.output
        assert SECRET not in done.output
        assert "Traceback" not in done.output
    assert (tmp_path / "out.csv").exists() == (odd.exit_code == 0)
    assert (tmp_path / "out.csv.rejects.csv").exists() == bool(odd.reasons)
    assert scoring.stdout == ""
    columns, are = ("columns", "are") if len(odd.unreadable) > 1 else ("column", "is")
    names = ", ".join(name or "(nameless)" for name in odd.unreadable)
    left_out = f"titanic: {columns} {names} can't be read and {are} left out of the rejects.\n"
    remark = re.escape(left_out) if odd.unreadable else ""
    if odd.exit_code == 0:
        assert validating.stderr == scoring.stderr == ""
        assert f"{len(odd.keys)} rows, 0 rejected" in validating.stdout
    elif odd.error is not None:
        assert validating.stdout == ""
        assert validating.stderr == scoring.stderr
        assert re.fullmatch(r"titanic: .+[.?]\n", scoring.stderr)
        assert all(part in scoring.stderr for part in odd.says)
    else:
        assert validating.stderr == ""
        total = len(odd.keys) + len(odd.reasons)
        assert f"failed: {len(odd.reasons)} of {total} rows rejected, 0 allowed" in validating.stdout
        assert re.fullmatch(
            rf"{remark}titanic: {len(odd.reasons)} of {total} rows rejected, 0 allowed \(.+\): "
            r"no predictions written; the rejected rows are in out\.csv\.rejects\.csv\.\n",
            scoring.stderr,
        )


# Rows


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD_ROWS, ids=ids)
def test_odd_row_is_judged_as_expected(odd: OddRow, tmp_path: Path) -> None:
    expected = {(0, 1): odd.reasons} if odd.reasons else {}
    accepted: list[pa.Table] = []
    with cut_into(WHOLE):
        for content, name in ((odd.csv(), "in.csv"), (odd.parquet() if odd.values else None, "in.parquet")):
            if content is not None:
                rejects = str(tmp_path / "rejects.parquet")
                inputs = Inputs(write(tmp_path, {name: content}), rejects=rejects)
                found = judged(validate(inputs, CONTRACT, accepted.append), rejects)
                assert found.counts == (1, 1 - len(expected), len(expected))
                assert found.reasons == expected
    if not odd.reasons:
        plain: list[pa.Table] = []
        validate(Inputs(write(tmp_path, {"plain.csv": csv_of(odd.plain)})), CONTRACT, plain.append)
        assert [table.to_pylist() for table in accepted] == [plain[0].to_pylist()] * len(accepted)


# Rows beside it that lead a reader off its quickest way: each one another way.
FALSE_FRIENDS = (
    b"x,y\n",
    line(KEY + 1, Name='5" gun').replace(b"\n", b"\r\n"),
    line(KEY + 2, Name=b"\xff"),
)


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD_ROWS, ids=ids)
def test_odd_row_is_judged_the_same_among_ten_thousand(
    odd: OddRow, tmp_path: Path, predicted: PredictedColumns
) -> None:
    expected = {(0, 5_001): odd.reasons} if odd.reasons else {}
    good = corpus.good_lines(1, 5_000), corpus.good_lines(5_001, 10_000)
    plain = scores_of(csv_of(good[0], b"" if odd.reasons else odd.plain, good[1]), tmp_path / "plain", predicted)
    friends = b"".join(FALSE_FRIENDS)
    files = {"alone.csv": odd.csv(*good), "with friends.csv": odd.csv(good[0], friends + good[1])}
    if odd.values:
        files["in.parquet"] = odd.parquet(corpus.good_table(1, 5_000), corpus.good_table(5_001, 10_000))
    for name, content in files.items():
        cut = WHOLE if name == "alone.csv" else SMALL
        with cut_into(cut, csv_bytes=100_000, rows=1_000):
            found, predictions = both(write(tmp_path / "in", {name: content}), tmp_path, predicted)
        befriended = name == "with friends.csv"
        assert found.reasons == expected | ({(0, 5_002): {("wrong_field_count", None)}} if befriended else {})
        assert predictions.num_rows == plain.num_rows + 2 * befriended
        # In a Parquet file the others have the odd row's types too, which may not hold what they were.
        others_too = name != "in.parquet"
        assert kept(predictions, others_too).equals(kept(plain, others_too))


def kept(predictions: pa.Table, others_too: bool) -> pa.Table:
    """Return the predictions for the odd row, and for the good ones where they are wanted."""
    keys = predictions["PassengerId"].to_pylist()
    return predictions.filter(pa.array([key == KEY or (others_too and key < KEY) for key in keys], pa.bool_()))


def distinct_lines() -> list[tuple[OddRow, bytes]]:
    """Return the odd rows with a line each that has a key of its own, where it has a key that others have."""
    found = []
    for number, odd in enumerate(ODD_ROWS):
        given = f"{KEY},".encode()
        if odd.line.startswith(given):
            found.append((odd, odd.line.replace(given, f"{KEY + number},".encode(), 1)))
        elif odd.reasons:
            found.append((odd, odd.line))
    return found


@pytest.mark.parametrize("cut", CUTS)
def test_all_odd_rows_in_one_file_are_judged_as_each_alone(
    cut: str, tmp_path: Path, predicted: PredictedColumns
) -> None:
    odd_rows = distinct_lines()
    good = iter(range(1, 10_001))
    share = 10_000 // len(odd_rows)
    parts: list[bytes] = []
    expected: dict[tuple[int, int], frozenset[Reason]] = {}
    for number, (odd, text) in enumerate(odd_rows):
        parts += [lines(next(good)) for _ in range(share)]
        parts.append(text)
        if odd.reasons:
            expected[0, number * (share + 1) + share + 1] = odd.reasons
    with cut_into(cut, csv_bytes=20_000):
        found, _ = both(write(tmp_path, {"in.csv": csv_of(*parts)}), tmp_path, predicted)
    assert found.reasons == expected
    assert found.report.rows == len(odd_rows) * (share + 1)


@pytest.mark.parametrize(("label", "reasons"), corpus.LABELS)
def test_label_is_checked_where_rows_are_to_be_labelled(label: str, reasons: frozenset[Reason], tmp_path: Path) -> None:
    content = corpus.HEADER[:-1] + b",Survived\n" + line(1, label="1") + line(2, label=label)
    names = write(tmp_path, {"in.csv": content})
    assert validated(names, tmp_path, LABELLED_CONTRACT).reasons == ({(0, 2): reasons} if reasons else {})
    assert not validated(names, tmp_path).reasons


def test_label_that_is_missing_is_missed_only_where_rows_are_to_be_labelled(tmp_path: Path) -> None:
    names = write(tmp_path, {"in.csv": csv_of(lines(1))})
    with pytest.raises(DataError, match="column missing: Survived"):
        validated(names, tmp_path, LABELLED_CONTRACT)
    assert not validated(names, tmp_path).reasons


def test_row_that_is_too_long_to_be_one_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("titanic_batch.reading.csv_splitter.MAX_ROW_BYTES", 2**20)
    names = write(tmp_path, {"in.csv": csv_of(lines(1), b'"', corpus.unquoted(*range(2, 30_000)))})
    with cut_into(SMALL, csv_bytes=2**18), pytest.raises(DataError, match="is a quote opened that is never closed"):
        validated(names, tmp_path)


# Any table of valid and spoiled rows

_INTEGERS = [
    ("3.5", "type"),
    ("x", "type"),
    ("", "missing"),
    ("nan", "missing"),
    ("inf", "not_finite"),
    (str(2**63), "out_of_range"),
]
_FLOATS = [("x", "type"), ("-inf", "not_finite"), ("-0.5", "out_of_range"), ("5000", "out_of_range")]
SPOILS: dict[str, list[tuple[str, str]]] = {
    "PassengerId": [("3.5", "type"), ("x", "type"), ("", "missing"), (str(2**63), "out_of_range")],
    "Pclass": [*_INTEGERS, ("4", "not_allowed")],
    "Sex": [("Male", "not_allowed"), ("NA", "missing"), ("\n", "not_allowed"), ('a "b"', "not_allowed")],
    "Age": _FLOATS,
    "SibSp": [*_INTEGERS, ("21", "out_of_range")],
    "Parch": [*_INTEGERS, ("-1", "out_of_range")],
    "Fare": _FLOATS,
    "Cabin": [(text, "not_allowed") for text in ("x", " C", "\r\n", "False", 'B"2"', "C\n3", "C3\n")],
}
ODDITIES: dict[str, list[str]] = {
    "Pclass": ["1.0", "+2", " 3"],
    "Age": ["+1", "1e1", "NaN", "0.1", ""],
    "SibSp": ["2.0", "020", "+2."],
    "Fare": ["", "1000", "5e-1"],
    "Cabin": ["", "A1", "F G73", "B57 B59", "null"],
    "Name": ["", "\n", 'a"b', "ünïcödé", ",", "\r"],
}


@dataclass(frozen=True)
class DrawnRow:
    fields: dict[str, str]
    reasons: frozenset[Reason]


@st.composite
def drawn_rows(draw: st.DrawFn, splittable: bool = False) -> list[DrawnRow]:
    """Draw rows of which each is valid, or spoiled in one or several fields, or has a key that came before."""
    rows: list[DrawnRow] = []
    seen: set[str] = set()
    for number in range(draw(st.integers(0, 30))):
        fields = corpus.passenger(number + 1)
        for column in draw(st.sets(st.sampled_from(sorted(ODDITIES)), max_size=2)):
            fields[column] = draw(st.sampled_from(ODDITIES[column]))
        reasons: set[Reason] = set()
        if draw(st.booleans()):
            for column in draw(st.sets(st.sampled_from(sorted(SPOILS)), max_size=3)):
                fields[column], rule = draw(st.sampled_from(SPOILS[column]))
                reasons.add((rule, column))
        if rows and not draw(st.integers(0, 5)):
            fields["PassengerId"] = draw(st.sampled_from(rows)).fields["PassengerId"]
            reasons = {reason for reason in reasons if reason[1] != "PassengerId"}
            reasons |= {(rule, "PassengerId") for text, rule in SPOILS["PassengerId"] if text == fields["PassengerId"]}
        if fields["PassengerId"] in seen:
            reasons.add(("duplicate_key", "PassengerId"))
        if fields["PassengerId"] not in [text for text, _ in SPOILS["PassengerId"]]:
            seen.add(fields["PassengerId"])
        rows.append(DrawnRow(fields, frozenset(reasons)))
    return rows


def as_csv(rows: Sequence[DrawnRow], line_end: str) -> bytes:
    def quoted(field: str) -> str:
        return '"' + field.replace('"', '""') + '"' if re.search('[,"\r\n]', field) else field

    table = [COLUMNS, *(row.fields.values() for row in rows)]
    return "".join(",".join(map(quoted, fields)) + line_end for fields in table).encode()


def as_parquet(rows: Sequence[DrawnRow], group_rows: int) -> bytes:
    """Return the rows as Parquet: numbers as floats, that can hold what no integer can; rows with text there go."""

    def number(text: str) -> float | None:
        return None if text.strip() in ("", "NA", "null") else float(text)

    columns = {
        name: pa.array([number(row.fields[name]) for row in rows], pa.float64(), from_pandas=False)
        if CONTRACT.types.get(name) in (pa.int64(), pa.float64())
        else pa.array([row.fields[name] for row in rows], pa.string())
        for name in COLUMNS
    }
    return corpus.parquet_of(pa.table(columns), group_rows)


def assert_judged_row_by_row(
    rows: Sequence[DrawnRow],
    line_end: str,
    block_bytes: int,
    block_rows: int,
    predicted: PredictedColumns,
    folder: Path,
) -> None:
    in_parquet = [row for row in rows if all(row.fields[name] != "x" for name in SPOILS if name != "Cabin")]
    for name, given_rows, content in (
        ("in.csv", rows, as_csv(rows, line_end)),
        ("in.parquet", in_parquet, as_parquet(in_parquet, block_rows)),
    ):
        given_rows = with_duplicates_again(given_rows)
        expected = {(0, number): row.reasons for number, row in enumerate(given_rows, 1) if row.reasons}
        valid = [row for row in given_rows if not row.reasons]
        names = write(folder, {name: content})
        whole, predictions = both(names, folder, predicted)
        with cut_into(SMALL, block_bytes, block_rows):
            in_blocks, predictions_in_blocks = both(names, folder, predicted)
        assert whole.reasons == expected
        assert whole.counts == in_blocks.counts == (len(given_rows), len(valid), len(expected))
        assert whole.rejects.equals(in_blocks.rejects)
        assert whole.report.rules == in_blocks.report.rules
        assert predictions.equals(predictions_in_blocks)
        assert predictions.equals(scores_of(as_csv(valid, "\n"), folder, predicted))


TABLES = given(
    rows=drawn_rows(),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    block_bytes=st.integers(1, 2_000),
    block_rows=st.integers(1, 40),
)


@settings(deadline=None, max_examples=4)
@TABLES
def test_some_tables_are_judged_row_by_row(
    predicted: PredictedColumns, tmp_path_factory: pytest.TempPathFactory, **drawn: Any
) -> None:
    assert_judged_row_by_row(**drawn, predicted=predicted, folder=tmp_path_factory.mktemp("some"))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@TABLES
def test_any_table_is_judged_row_by_row(
    predicted: PredictedColumns, tmp_path_factory: pytest.TempPathFactory, **drawn: Any
) -> None:
    assert_judged_row_by_row(**drawn, predicted=predicted, folder=tmp_path_factory.mktemp("any"))


def with_duplicates_again(rows: Sequence[DrawnRow]) -> list[DrawnRow]:
    """Return rows out of which some were taken, the first of a key perhaps among them."""
    bad_keys = {text for text, _ in SPOILS["PassengerId"]}
    duplicate: Reason = ("duplicate_key", "PassengerId")
    seen: set[str] = set()
    found = []
    for row in rows:
        key = row.fields["PassengerId"]
        again = {duplicate} if key in seen else set()
        found.append(DrawnRow(row.fields, row.reasons - {duplicate} | again))
        if key not in bad_keys:
            seen.add(key)
    return found


# The rejects file


def raw_rows(content: bytes) -> list[list[str]]:
    """Return the rows of a CSV as Python's own reader sees them, a foreign byte as a lone surrogate."""
    return list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))


def short_rejected() -> list[tuple[OddRow, bytes]]:
    """Return the odd rows that are rejected, each with its own line, but for those that Python's reader can't read."""
    return [(odd, text) for odd, text in distinct_lines() if odd.reasons and len(text) < 100_000]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("command", ["validate", "score"])
def test_rejects_hold_each_rejected_row_once_as_it_stood(
    command: str, cut: str, tmp_path: Path, predicted: PredictedColumns
) -> None:
    odd_rows = short_rejected()
    parts = [part for number, (_, text) in enumerate(odd_rows, 1) for part in (lines(number), text)]
    names = write(tmp_path, {"in.csv": csv_of(*parts)})
    inputs = Inputs(names, max_rejects=ALL, rejects=str(tmp_path / "rejects.csv"))
    with cut_into(cut):
        if command == "validate":
            validate(inputs, CONTRACT)
        else:
            score(inputs, predicted, str(tmp_path / "out.csv"))
    header, *found = raw_rows((tmp_path / "rejects.csv").read_bytes())
    assert header == ["reject_source", "reject_row", "reject_reasons", "reject_line", *COLUMNS]
    assert len(found) == len(odd_rows)
    for number, ((odd, text), row) in enumerate(zip(odd_rows, found, strict=True), 1):
        source, row_number, reasons, whole_line, *fields = row
        assert (source, row_number) == (names[0], str(2 * number))
        told = json.loads(reasons)
        assert {(reason["rule"], reason["column"]) for reason in told} == odd.reasons
        stood = raw_rows(text)[0]
        if ("wrong_field_count", None) in odd.reasons:
            assert whole_line == text.decode("utf-8", "surrogateescape").removesuffix("\n")
            assert [reason["value"] for reason in told] == [None]
            assert fields == [*stood, *[""] * len(COLUMNS)][: len(COLUMNS)]
        else:
            assert whole_line == ""
            assert fields == stood
            for reason in told:
                given_bytes = stood[COLUMNS.index(reason["column"])].encode("utf-8", "surrogateescape")
                assert reason["value"] == given_bytes.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("cut", CUTS)
def test_rows_whose_fields_are_mended_in_the_rejects_are_scored(
    cut: str, tmp_path: Path, predicted: PredictedColumns
) -> None:
    odd_rows = short_rejected()
    good = csv_of(*(line(number) for number in range(1, len(odd_rows) + 1)))
    names = write(tmp_path, {"in.csv": csv_of(*(text for _, text in odd_rows))})
    with cut_into(cut):
        scored(names, tmp_path, predicted)
        validate(Inputs(names, rejects=str(tmp_path / "rejects.csv"), max_rejects=ALL), CONTRACT)
        header, *rows = raw_rows((tmp_path / "rejects.csv").read_bytes())
        mended = io.StringIO(newline="")
        writer = csv.writer(mended)
        writer.writerow(header)
        writer.writerows([*row[:4], *fields] for row, fields in zip(rows, raw_rows(good)[1:], strict=True))
        (tmp_path / "rejects.csv").write_bytes(mended.getvalue().encode("utf-8", "surrogateescape"))
        again, predictions = both([str(tmp_path / "rejects.csv")], tmp_path, predicted)
    assert not again.reasons
    assert predictions.equals(scores_of(good, tmp_path / "plain", predicted))


@pytest.mark.parametrize("cut", CUTS)
def test_rejects_that_nobody_mended_are_rejected_again_for_the_same_reasons(cut: str, tmp_path: Path) -> None:
    odd_rows = [(odd, text) for odd, text in short_rejected() if ("wrong_field_count", None) not in odd.reasons]
    names = write(tmp_path, {"in.csv": csv_of(*(text for _, text in odd_rows))})
    with cut_into(cut):
        validate(Inputs(names, rejects=str(tmp_path / "rejects.csv")), CONTRACT)
        again = validated([str(tmp_path / "rejects.csv")], tmp_path)
    assert list(again.reasons.values()) == [odd.reasons for odd, _ in odd_rows]


@pytest.mark.parametrize("odd", [odd for odd in ODD_ROWS if odd.values and odd.reasons], ids=ids)
def test_rejects_of_parquet_hold_the_fields_as_text(odd: OddRow, tmp_path: Path) -> None:
    names = write(tmp_path, {"in.parquet": odd.parquet(corpus.good_table(1, 1))})
    validate(Inputs(names, rejects=str(tmp_path / "rejects.csv")), CONTRACT)
    if len(odd.line) > 100_000:
        return
    _, (source, number, reasons, whole_line, *fields) = raw_rows((tmp_path / "rejects.csv").read_bytes())
    assert (source, number, whole_line) == (names[0], "2", "")
    assert {(reason["rule"], reason["column"]) for reason in json.loads(reasons)} == odd.reasons
    stood = raw_rows(line(KEY))[0]
    for name, found, given_text in zip(COLUMNS, fields, stood, strict=True):
        if name not in odd.values:
            expected = "" if given_text in ("NA", "nan", "NaN") else given_text
            assert found in (expected, f"{expected}.0")


# Limits


@pytest.mark.parametrize(
    ("limit", "rejected", "rows", "passes"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("1", 1, 10, True),
        ("1", 2, 10, False),
        ("10", 10, 10, True),
        ("0%", 0, 10, True),
        ("0%", 1, 1_000, False),
        ("10%", 1, 10, True),
        ("10%", 1, 9, False),
        ("2.5%", 1, 40, True),
        ("2.5%", 1, 39, False),
        ("0.1%", 1, 1_000, True),
        ("0.1%", 1, 999, False),
        ("33.333%", 1, 3, False),
        ("33.334%", 1, 3, True),
        ("100%", 3, 3, True),
        ("0%", 0, 0, True),
        ("100%", 0, 0, True),
        ("0", 0, 0, True),
    ],
)
def test_limit_of_rejects_is_met_exactly(
    limit: str, rejected: int, rows: int, passes: bool, tmp_path: Path, predicted: PredictedColumns
) -> None:
    bad = b"".join(line(KEY + number, Sex="x") for number in range(rejected))
    names = write(tmp_path, {"in.csv": csv_of(corpus.good_lines(1, rows - rejected), bad)})
    inputs = Inputs(names, max_rejects=RejectLimit.parse(limit))
    for report in (
        validate(inputs, CONTRACT),
        score(inputs, predicted, str(tmp_path / "out.csv")),
    ):
        assert (report.rows, report.rejected) == (rows, rejected)
        assert (report.failure is None) == passes
        assert report.failure is None or report.failure.startswith(f"{rejected} of {rows} rows rejected, {limit} ")
    assert (tmp_path / "out.csv").exists() == passes
    assert (tmp_path / "out.csv.rejects.csv").exists() == bool(rejected)
    if passes:
        assert len(raw_rows((tmp_path / "out.csv").read_bytes())) == 1 + rows - rejected


@pytest.mark.parametrize("limit", ["-1", "x", "1.5", "101%", "-1%", "%", "nan%", "inf%", "", "1e3"])
def test_limit_that_is_none_is_wrong_usage(limit: str, tmp_path: Path, titanic: Titanic) -> None:
    write(tmp_path, {"in.csv": csv_of(lines(1))})
    for arguments in (("validate", "in.csv"), ("score", "in.csv", "-o", "out.csv")):
        done = titanic(*arguments, f"--max-rejects={limit}")
        assert done.exit_code == 2
        assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("least", "rows", "rejected", "passes"),
    [(0, 0, 0, True), (1, 0, 0, False), (3, 3, 0, True), (4, 3, 0, False), (4, 3, 1, True), (5, 3, 1, False)],
)
def test_fewer_rows_than_expected_fail_the_run(
    least: int, rows: int, rejected: int, passes: bool, tmp_path: Path, titanic: Titanic
) -> None:
    bad = b"".join(line(KEY + number, Sex="x") for number in range(rejected))
    write(tmp_path, {"in.csv": csv_of(corpus.good_lines(1, rows), bad)})
    options = ("--min-rows", str(least), "--max-rejects", "9")
    validating = titanic("validate", "in.csv", *options)
    scoring = titanic("score", "in.csv", "-o", "out.csv", *options)
    assert validating.exit_code == scoring.exit_code == (0 if passes else 65)
    assert (tmp_path / "out.csv").exists() == passes
    if not passes:
        assert f"{rows + rejected} rows, at least {least} expected" in validating.stdout
        assert f"{rows + rejected} rows, at least {least} expected" in scoring.stderr


# Secrets


def secret_files() -> dict[str, bytes]:
    """Return files with ``SECRET`` in bad cells of every kind."""
    bad = [text for odd, text in distinct_lines() if odd.reasons and SECRET.encode() in text]
    secret = f"x{SECRET}".encode()
    typed = corpus.good_table(1, 2)
    return {
        "rows.csv": csv_of(*bad, lines(int(SECRET), int(SECRET)), b'"', secret),
        "unclosed.csv": csv_of(b'"', secret),
        "no_header.csv": line(int(SECRET), Name=SECRET, Ticket=SECRET) + lines(1),
        "one_field.csv": secret + b"\n" + secret + b"\n",
        "foreign_header.csv": b"\xff" + secret + b"," + corpus.HEADER + lines(1),
        "semicolons.csv": (corpus.HEADER + line(1, Name=secret)).replace(b",", b";"),
        "utf16.csv": (corpus.HEADER + line(1, Name=secret)).decode().encode("utf-16"),
        "text.parquet": corpus.parquet_of(
            corpus.with_columns(typed, Sex=corpus.raw_strings([secret, secret + b"\xff"]), Cabin=pa.array([SECRET] * 2))
        ),
        "unchecked.parquet": corpus.parquet_of(
            corpus.with_columns(typed, Name=corpus.raw_strings([secret + b"\xff"] * 2), Sex=pa.array([SECRET] * 2))
        ),
        "numbers.parquet": corpus.parquet_of(
            corpus.with_columns(
                typed,
                PassengerId=pa.array([2**63 + int(SECRET), int(SECRET)], pa.uint64()),
                Pclass=pa.array([float(SECRET), float(SECRET) + 0.5]),
                Age=pa.array([float(SECRET), float("inf")]),
            )
        ),
        "types.parquet": corpus.parquet_of(corpus.with_columns(typed, Age=pa.array([SECRET] * 2))),
        "dictionary.parquet": corpus.parquet_of(
            corpus.with_columns(typed, Pclass=pa.array([SECRET] * 2).dictionary_encode())
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", secret_files())
@pytest.mark.parametrize(
    "report", ["text", *(pytest.param(name, marks=pytest.mark.slow) for name in ("json", "junit", "github"))]
)
def test_no_value_is_ever_shown(name: str, report: str, tmp_path: Path, titanic: Titanic) -> None:
    write(tmp_path, {name: secret_files()[name]})
    for arguments in (
        ("validate", name, "--format", report),
        ("validate", name, "--format", report, "--rejects", "rejects.csv"),
        ("validate", name, "--format", report, "--labelled"),
        ("score", name, "-o", "out.parquet"),
        ("score", name, "-o", "out.csv", "--max-rejects", "100%"),
        ("score", name, "-o", "kept.csv", "--max-rejects", "100%", "--keep", "Name"),
    ):
        done = titanic(*arguments)
        assert done.exit_code in ((0, 65) if arguments[0] == "score" else (65,)), done.output
        assert SECRET not in done.output
        if done.exception is not None:
            assert isinstance(done.exception, SystemExit)
            assert SECRET not in "".join(traceback.format_exception(done.exception))


@pytest.mark.parametrize("name", secret_files())
def test_errors_hold_no_value_wherever_they_are_shown(name: str, tmp_path: Path, predicted: PredictedColumns) -> None:
    names = write(tmp_path, {name: secret_files()[name]})
    with cut_into(SMALL):
        for run in (validated, functools.partial(scored, predicted=predicted)):
            error: BaseException | None = error_of(functools.partial(run, names, tmp_path))
            assert SECRET not in "".join(traceback.format_exception(error))
            while error is not None:  # a logger may follow the chain further than Python's own traceback does
                assert SECRET not in (str(error) if isinstance(error, TitanicError) else "")
                error = error.__context__


def error_of(run: Callable[[], object]) -> TitanicError | None:
    try:
        run()
    except TitanicError as error:
        return error
    return None
