"""Rows that moved are found, and rows that did not are not: chance alone raises no alarm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.pipeline import Pipeline
from typer.testing import Result

from tests.model_files import with_manifest
from tests.passengers import many
from tests.scoring.pipelines import CLOSE, EXACT, frame_of, labels_of
from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import read_artifact
from titanic_batch.models.model import Model
from titanic_batch.models.provenance import fit_record_of, manifest_of
from titanic_batch.models.training_data import features_of
from titanic_batch.runs.fit import FitOptions, fit
from titanic_batch.runs.options import RunOptions
from titanic_batch.scoring import distinct
from titanic_batch.scoring.drift import (
    MAX_FEATURES,
    PREDICTIONS,
    PROBABILITY_BINS,
    Drift,
    MissingShare,
    Reference,
    Shift,
    Tally,
    probability_counts,
)
from titanic_batch.scoring.pipelines import PipelinePredictor
from titanic_batch.scoring.scorer import Scorer

Titanic = Callable[..., Result]
NAMES = ["a", "b"]
PACKAGE = Path(__file__).resolve().parents[2] / "titanic_batch"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with all of its reference, that of held-out predictions too."""
    path = tmp_path_factory.mktemp("fitted") / "model.skops"
    fit(FitOptions(None, str(path), RunOptions()))
    return path


@pytest.fixture(scope="module")
def model(fitted: Path) -> Model:
    return Model.load(fitted)


def drift_of(model: Model, rows: pd.DataFrame) -> Drift:
    scores = model.scores()
    scores(pa.Table.from_pandas(rows, preserve_index=False))
    drift = scores.take_drift()
    assert drift is not None
    return drift


def reference(rows: int = 1000) -> Reference:
    """Half and half in one feature, a quarter each in the other."""
    X = np.column_stack([np.arange(rows) % 2, np.arange(rows) % 4])
    return Reference.of(NAMES, X, {"a": 0.0})


def test_the_training_rows_are_counted(model: Model, passengers: pd.DataFrame) -> None:
    reference = Reference.from_json(model.manifest["reference"])
    assert reference.rows == 891
    cells = reference.features["SibSp"]
    assert (cells.lowest, cells.missing) == (None, 0)
    expected = passengers["SibSp"].value_counts().sort_index()
    assert dict(zip(cells.points.tolist(), cells.counts.tolist(), strict=True)) == expected.to_dict()
    assert reference.missing["Age"] == passengers["Age"].isna().mean()
    assert reference.predictions is not None
    assert reference.predictions.sum() == 891
    assert json.loads(json.dumps(reference.to_json())) == model.manifest["reference"]


def test_a_feature_of_many_values_is_counted_in_ranges() -> None:
    X = np.column_stack([np.arange(1000), np.arange(1000) % 2])
    assert Reference.of(NAMES, X, {"a": 0.0}).to_json() == {
        "rows": 1000,
        "features": {
            "a": {"lowest": 0, "edges": list(range(99, 1000, 100)), "counts": [100] * 10},
            "b": {"values": [0, 1], "counts": [500, 500]},
        },
        "missing": {"a": 0.0},
        "predictions": None,
    }


def test_psi_is_the_sum_over_all_cells() -> None:
    tally = Tally(reference(), NAMES)
    tally.add(np.array([[0, 0]] * 300 + [[1, 0]] * 100), np.full(400, 0.5))
    drift = tally.take_drift()
    assert drift is not None
    p, q = np.array([300.5, 100.5, 0.5]) / 401.5, np.array([500.5, 500.5, 0.5]) / 1001.5
    assert drift.shifts[0].psi == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-12)
    assert drift.rows == 400
    assert [shift.name for shift in drift.shifts] == NAMES


def test_the_training_rows_themselves_have_not_moved(model: Model, passengers: pd.DataFrame) -> None:
    drift = drift_of(model, passengers)
    assert drift.rows == 891
    assert [shift.name for shift in drift.shifts] == [*model.manifest["features"], PREDICTIONS]
    assert all(shift.psi == 0 for shift in drift.shifts[:-1])
    assert drift.shifts[-1].psi < drift.shifts[-1].chance, "held out and fitted on, probabilities differ a little"
    assert all(part.share == part.trained for part in drift.missing)
    assert drift.passing(0) == []
    assert drift.describe() is None


def test_passengers_of_the_same_kind_raise_no_alarm(model: Model, test_csv: Path) -> None:
    assert drift_of(model, pd.read_csv(test_csv)).passing(0) == []


@pytest.mark.parametrize("rows", [1, 5, 20, 100, 418, 5000])
def test_samples_of_the_training_rows_hardly_ever_raise_an_alarm(
    model: Model, passengers: pd.DataFrame, rows: int
) -> None:
    reference = Reference.from_json(model.manifest["reference"])
    names = model.manifest["features"]
    X = model.pipeline[:-1].transform(features_of(passengers))
    # Each training row's held-out bin isn't kept, so probabilities are drawn by themselves.
    assert reference.predictions is not None
    bins = np.repeat(np.arange(PROBABILITY_BINS), reference.predictions) / PROBABILITY_BINS + 0.05
    draws = np.random.default_rng(rows)
    alarms = 0
    for _ in range(300):
        tally = Tally(reference, names)
        tally.add(X[draws.integers(0, 891, rows)], bins[draws.integers(0, 891, rows)])
        drift = tally.take_drift()
        assert drift is not None
        alarms += bool(drift.passing(0))
    assert alarms <= 3, "one in a thousand runs is meant: more than 3 of 300 happen once in 5,000 such tests"


KINDS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "continuous": lambda draws, rows: draws.normal(size=rows),
    "rounded": lambda draws, rows: np.round(17 * draws.normal(size=rows)),
    "mostly zero": lambda draws, rows: np.where(draws.random(rows) < 0.6, 0, draws.lognormal(size=rows)),
    "missing at times": lambda draws, rows: np.where(draws.random(rows) < 0.1, np.nan, draws.normal(size=rows)),
    "hardly ever missing": lambda draws, rows: np.where(draws.random(rows) < 0.01, np.nan, draws.normal(size=rows)),
}


def drift_from(trained: NDArray[np.float64], scored: NDArray[np.float64]) -> Drift:
    """Compare rows of one feature."""
    tally = Tally(Reference.of(["a"], trained[:, None], {}), ["a"])
    tally.add(scored[:, None], np.full(len(scored), 0.5))
    drift = tally.take_drift()
    assert drift is not None
    return drift


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("trained", "scored"), [(30, 1000), (100, 20), (100, 1000), (333, 333), (1000, 100)])
def test_rows_of_the_same_distribution_hardly_ever_raise_an_alarm(kind: str, trained: int, scored: int) -> None:
    draws, of_kind = np.random.default_rng(trained + scored), KINDS[kind]
    alarms = sum(bool(drift_from(of_kind(draws, trained), of_kind(draws, scored)).passing(0)) for _ in range(500))
    assert alarms <= 5, "with a chance of 2 in 1,000 for each, more than 5 of 500 happen once in 1,700 such tests"


@pytest.mark.parametrize("kind", ["continuous", "rounded"])
def test_a_shift_by_half_a_standard_deviation_is_beyond_chance(kind: str) -> None:
    draws, of_kind = np.random.default_rng(1), KINDS[kind]
    by = 0.5 if kind == "continuous" else 8.5
    found = sum(bool(drift_from(of_kind(draws, 1000), of_kind(draws, 500) + by).passing(0)) for _ in range(200))
    assert found >= 198


def test_half_a_kilogram_is_seen_in_some_hundred_animals() -> None:
    draws = np.random.default_rng(2)
    masses = [np.round(draws.normal(4200, 800, rows) / 25) * 25 for rows in (333, 333)]
    assert drift_from(masses[0], masses[1]).passing(0) == []
    shift = drift_from(masses[0], masses[1] + 500).worst
    assert shift.passes(0.25)
    assert 0.3 < shift.psi < 0.6


def test_values_outside_the_range_or_never_missing_in_training_are_unseen() -> None:
    trained = np.arange(1000.0)
    assert drift_from(trained, trained).worst.unseen == 0
    assert drift_from(trained, np.array([-1, 5, 1000, np.nan, 17.5])).worst.unseen == 0.6
    trained[:100] = np.nan
    assert drift_from(trained, np.array([-1, 500, 1000, np.nan, 617.5])).worst.unseen == 0.4


def test_missing_features_are_seen() -> None:
    trained, scored = np.arange(1000.0), np.where(np.arange(500) % 3, np.arange(500) * 2.0, np.nan)
    assert drift_from(trained, scored).worst.passes(0.25)
    trained[::3] = np.nan
    assert not drift_from(trained, scored).worst.passes(0)
    assert drift_from(trained, np.arange(0, 1000, 2.0)).worst.passes(0.25)


def test_features_are_compared_however_they_are_held() -> None:
    rows = np.column_stack([np.arange(900.0), np.arange(900) % 3])
    expected = None
    for X in (rows, rows.astype(object), sparse.csr_matrix(rows), sparse.csc_array(rows), pd.DataFrame(rows)):
        tally = Tally(Reference.of(NAMES, X, {}), NAMES)
        tally.add(X[:300] if not isinstance(X, pd.DataFrame) else X.head(300), np.full(300, 0.5))
        drift = tally.take_drift()
        expected = drift if expected is None else expected
        assert drift == expected
        assert drift is not None
        assert [(shift.name, shift.passes(0.25)) for shift in drift.shifts] == [("a", True), ("b", False)]


def test_text_among_the_features_is_left_out() -> None:
    frame = pd.DataFrame({"a": ["x", "y"] * 20, "b": [0, 1] * 20})
    for X in (frame, frame.to_numpy(object)):
        reference = Reference.of(NAMES, X, {})
        assert list(reference.features) == ["b"]
        tally = Tally(reference, NAMES)
        tally.add(X, np.full(40, 0.5))
        drift = tally.take_drift()
        assert drift is not None
        assert [shift.name for shift in drift.shifts] == ["b"]


def test_without_anything_to_compare_with_there_is_no_drift() -> None:
    frame = pd.DataFrame({"a": ["x", "y"] * 20})
    tally = Tally(Reference.from_json(Reference.of(["a"], frame, {}).to_json()), ["a"])
    tally.add(frame, np.full(40, 0.5))
    assert tally.take_drift() is None


def test_of_very_many_features_the_first_are_compared() -> None:
    X = sparse.random_array((100, 10_000), density=0.01, format="csr", rng=np.random.default_rng(0))
    names = [f"word{number}" for number in range(10_000)]
    assert list(Reference.of(names, X, {}).features) == names[:MAX_FEATURES]


@pytest.mark.parametrize("name", EXACT | CLOSE)
def test_drift_is_measured_for_any_pipeline(pipeline_named: Callable[[str], Pipeline], name: str) -> None:
    pipeline, trained = pipeline_named(name), many(600, seed=1)
    frame = frame_of(trained, name)
    record = fit_record_of(pipeline, frame, np.asarray(labels_of(trained)))
    reference = Reference.from_json(json.loads(json.dumps(record.reference, allow_nan=False)))
    assert set(reference.features) <= set(manifest_of(pipeline).features)

    same = many(500, seed=9).to_pandas()
    moved = same.assign(Pclass=3, Sex="male")
    scorer = Scorer(PipelinePredictor(pipeline), reference)
    scorer.score(pa.Table.from_pandas(same, preserve_index=False))
    drift = scorer.take_drift()
    assert drift is not None
    assert drift.rows == 500
    assert [shift.name for shift in drift.shifts] == list(reference.features)
    assert drift.passing(0) == []

    whole = counted(scorer, moved, 500)
    assert counted(scorer, moved, 77) == whole
    far = [name for name, shift in whole["psi"].items() if shift["psi"] > max(0.25, shift["chance"])]
    assert far, "the class moved, which all are given"


SHIFTS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "only third class": ("Pclass", lambda rows: rows[rows["Pclass"] == 3]),
    "fares in pence": ("Fare", lambda rows: rows.assign(Fare=(rows["Fare"] * 240).clip(upper=1000))),
    "ages missing": ("Age", lambda rows: rows.assign(Age=np.nan)),
    "only men": ("Sex", lambda rows: rows[rows["Sex"] == "male"]),
    "large families": ("SibSp", lambda rows: rows.assign(SibSp=rows["SibSp"] + 9)),
}


@pytest.mark.parametrize("change", SHIFTS)
def test_real_shifts_are_found(model: Model, test_csv: Path, change: str) -> None:
    feature, shift = SHIFTS[change]
    drift = drift_of(model, shift(pd.read_csv(test_csv)))
    assert feature in [shift.name for shift in drift.passing()]
    assert drift.worst.name == feature
    line = drift.describe()
    assert line is not None
    assert f"{feature} {drift.worst.psi:.2f}" in line


@pytest.mark.parametrize("rows", [20, 50])
def test_a_strong_shift_is_found_in_few_rows(model: Model, test_csv: Path, rows: int) -> None:
    third = pd.read_csv(test_csv).query("Pclass == 3").head(rows)
    assert "Pclass" in [shift.name for shift in drift_of(model, third).passing()]


def test_unseen_and_missing_values_are_shares_of_all_rows(model: Model, passengers: pd.DataFrame) -> None:
    rows = passengers.head(200).assign(Parch=[17] * 30 + [0] * 170, Age=[float("nan")] * 50 + [30.0] * 150)
    drift = drift_of(model, rows)
    assert {shift.name: shift.unseen for shift in drift.shifts}["Parch"] == 0.15
    assert {part.column: part.share for part in drift.missing}["Age"] == 0.25
    assert {shift.unseen for shift in drift.shifts if shift.name != "Parch"} == {0.0}


def test_without_rows_there_is_nothing_to_compare(model: Model, passengers: pd.DataFrame) -> None:
    scores = model.scores()
    assert scores.take_drift() is None
    scores(pa.Table.from_pandas(passengers.head(0)))
    assert scores.take_drift() is None


def counted(scorer: Scorer, rows: pd.DataFrame, size: int, threads: int = 1) -> dict[str, Any]:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(scorer.score, [table.slice(start, size) for start in range(0, len(rows), size)]))
    drift = scorer.take_drift()
    assert drift is not None
    return drift.to_json()


@pytest.mark.parametrize("size", [37, 100, 891])
@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_and_threads_change_nothing(model: Model, passengers: pd.DataFrame, size: int, threads: int) -> None:
    reference = Reference.from_json(model.manifest["reference"])
    whole = counted(Scorer(PipelinePredictor(model.pipeline), reference), passengers, 891)
    assert counted(Scorer(PipelinePredictor(model.pipeline), reference), passengers, size, threads) == whole


@pytest.mark.parametrize("probe", [0, 300], ids=["from the first row", "on the way"])
def test_rows_that_are_not_remembered_are_counted_too(
    model: Model, passengers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, probe: int
) -> None:
    reference = Reference.from_json(model.manifest["reference"])
    expected = counted(Scorer(PipelinePredictor(model.pipeline), reference), passengers, 100)
    monkeypatch.setattr(distinct, "PROBE_ROWS", probe)
    monkeypatch.setattr(distinct, "HARDLY_REPEAT", 0.01)
    scorer = Scorer(PipelinePredictor(model.pipeline), reference)
    assert counted(scorer, passengers, 100) == expected
    assert not scorer._distinct.on


def test_what_was_compared_is_not_compared_again(model: Model, passengers: pd.DataFrame) -> None:
    scores, third = model.scores(), passengers[passengers["Pclass"] == 3]
    table, rest = (pa.Table.from_pandas(rows, preserve_index=False) for rows in (passengers, third))
    scores(table)
    before = scores.take_drift()
    assert scores.take_drift() is None
    scores(rest)
    assert scores.take_drift() == drift_of(model, third)
    scores(table)
    assert scores.take_drift() == before


def test_counts_weigh_rows() -> None:
    rng = np.random.default_rng(0)
    X, probabilities = rng.integers(0, 5, (200, 2)), rng.random(200)
    counts = rng.integers(0, 9, 200)
    one, other = Tally(reference(), NAMES), Tally(reference(), NAMES)
    one.add(X, probabilities, counts)
    other.add(X.repeat(counts, axis=0), probabilities.repeat(counts))
    assert one.take_drift() == other.take_drift()


@pytest.mark.parametrize(("probabilities", "bins"), [([0.0, 0.0999], [0]), ([0.5], [5]), ([0.999, 1.0], [9]), ([], [])])
def test_probabilities_fall_into_ten_bins(probabilities: list[float], bins: list[int]) -> None:
    counts: NDArray[np.int64] = probability_counts(np.array(probabilities))
    assert counts.shape == (10,)
    assert np.flatnonzero(counts).tolist() == bins


def test_the_allowance_for_chance_falls_with_the_rows() -> None:
    few, many = Tally(reference(), NAMES), Tally(reference(), NAMES)
    few.add(np.array([[0, 0]]), np.array([0.5]))
    many.add(np.array([[0, 0]] * 10_000), np.full(10_000, 0.5))
    one, other = few.take_drift(), many.take_drift()
    assert one is not None
    assert other is not None
    assert one.passing(0) == []
    assert [shift.name for shift in other.passing()] == ["b", "a"]
    assert one.shifts[0].chance / other.shifts[0].chance == pytest.approx((1 + 1e-3) / (1e-4 + 1e-3))


def test_a_shift_within_the_limit_is_none() -> None:
    shift = Shift("a", psi=0.3, chance=0.1, unseen=0)
    assert shift.passes(0.25)
    assert not shift.passes(0.35)
    assert not Shift("a", psi=0.3, chance=0.4, unseen=0).passes(0.25)
    drift = Drift(7, [shift], [MissingShare("a", 0.5, 0.25)])
    assert drift.describe() == "the 7 scored rows are not like those of the fit (PSI above 0.25: a 0.30)"
    assert drift.to_json() == {
        "rows": 7,
        "psi": {"a": {"psi": 0.3, "chance": 0.1, "unseen": 0}},
        "missing": {"a": {"share": 0.5, "trained": 0.25}},
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("features"),
        lambda data: data.update(rows=0),
        lambda data: data.update(rows="9"),
        lambda data: data.update(predictions=[1, 2]),
        lambda data: data.update(predictions={}),
        lambda data: data.update(missing=[]),
        lambda data: data["features"].update(x={"values": [1, 1], "counts": [1, 1]}),
        lambda data: data["features"].update(x={"values": [1, 2], "counts": [1]}),
        lambda data: data["features"].update(x={"values": [], "counts": []}),
        lambda data: data["features"].update(x={"values": [1], "counts": [-1]}),
        lambda data: data["features"].update(x={"values": [1], "counts": [0.5]}),
        lambda data: data["features"].update(x={"values": ["a"], "counts": [1]}),
        lambda data: data["features"].update(x=3),
        lambda data: data["features"].update(Fare={"lowest": 0, "edges": [2, 1], "counts": [400, 491]}),
        lambda data: data["features"].update(Fare={"lowest": 0, "edges": [1, 2], "counts": [400, 490]}),
    ],
)
def test_a_reference_of_another_form_is_refused(tmp_path: Path, small_model: Model, spoil: Callable[..., Any]) -> None:
    manifest = json.loads(json.dumps(small_model.manifest))
    spoil(manifest["reference"])
    (tmp_path / "model.skops").write_bytes(with_manifest(small_model.to_bytes(), manifest))
    with pytest.raises(ModelError, match="damaged in its reference"):
        Model.load(tmp_path / "model.skops")


def test_a_run_says_what_moved_and_goes_on(titanic: Titanic, fitted: Path, test_csv: Path) -> None:
    pd.read_csv(test_csv).query("Pclass == 3").to_csv("third.csv", index=False)
    result = titanic("score", "third.csv", "-o", "p.csv", "-m", fitted)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "titanic: the 222 scored rows are not like those of the fit (PSI above 0.25: Pclass 2.35, predictions "
    )
    assert result.stderr.count("\n") == 1
    assert len(pd.read_csv("p.csv")) == 222


@pytest.mark.slow
def test_a_run_that_may_not_move_so_far_publishes_nothing(titanic: Titanic, fitted: Path, test_csv: Path) -> None:
    assert titanic("score", test_csv, "-o", "p.csv", "-m", fitted, "--max-psi", "0").exit_code == 0
    before = Path("p.csv").read_bytes()
    pd.read_csv(test_csv).query("Pclass == 3").to_csv("third.csv", index=False)
    result = titanic("score", "third.csv", "-o", "p.csv", "-m", fitted, "--max-psi", "0.25")
    assert result.exit_code == 65
    assert result.stderr.startswith(
        "titanic: the 222 scored rows are not like those of the fit (PSI above 0.25: Pclass"
    )
    assert result.stderr.endswith("): no predictions written.\n")
    assert Path("p.csv").read_bytes() == before
    assert titanic("score", "third.csv", "-o", "p.csv", "-m", fitted, "--max-psi", "9").exit_code == 0


def test_a_pickle_has_no_reference_to_compare_with(
    tmp_path: Path, small_model: Model, passengers: pd.DataFrame
) -> None:
    path = tmp_path / "model.joblib"
    small_model.save(path)
    scores = Model.load(path, read_artifact(str(path)).sha256).scores()
    scores(pa.Table.from_pandas(passengers))
    assert scores.take_drift() is None


def test_no_psi_is_endless(model: Model, passengers: pd.DataFrame) -> None:
    rows = passengers.head(50).assign(Pclass=3, Sex="male", Age=30.0, Fare=8.0, Cabin=None, SibSp=20, Parch=20)
    assert all(math.isfinite(shift.psi) for shift in drift_of(model, rows).shifts)


def test_the_record_and_the_metrics_of_a_run_tell_of_drift(titanic: Titanic, fitted: Path, test_csv: Path) -> None:
    pd.read_csv(test_csv).query("Pclass == 3").to_csv("third.csv", index=False)
    options = ["-m", fitted, "--report", "run.json", "--metrics", "run.prom"]
    assert titanic("score", "third.csv", "-o", "p.csv", *options).exit_code == 0
    record = json.loads(Path("run.json").read_text())
    jsonschema.validate(record, json.loads((PACKAGE / "runs" / "record.schema.json").read_text()))
    drift = record["drift"]
    assert drift["rows"] == 222
    assert drift["psi"]["Pclass"]["psi"] > 2 > 0.25 > drift["psi"]["Pclass"]["chance"]
    assert drift["missing"]["Age"]["trained"] == 176 / 891
    metrics = Path("run.prom").read_text()
    assert f'titanic_last_run_psi{{of="Pclass",output="p.csv"}} {drift["psi"]["Pclass"]["psi"]!r}\n' in metrics
    share = drift["missing"]["Age"]["share"]
    assert f'titanic_last_run_missing_share{{column="Age",output="p.csv"}} {share!r}\n' in metrics


def test_each_file_of_a_folder_is_compared_by_itself(titanic: Titanic, fitted: Path, test_csv: Path) -> None:
    rows = pd.read_csv(test_csv)
    Path("in").mkdir()
    rows.to_csv("in/all.csv", index=False)
    rows.query("Pclass == 3").to_csv("in/third.csv", index=False)
    result = titanic("score", "in", "-o", "out/", "-m", fitted, "--report", "run.json", "--max-psi", "0.25")
    assert result.exit_code == 65
    assert "in/third.csv: the 222 scored rows are not like those of the fit" in result.stderr
    assert sorted(path.name for path in Path("out").glob("*.csv")) == ["all.csv"]
    record = json.loads(Path("run.json").read_text())
    assert [part["drift"]["rows"] for part in record["inputs"]] == [418, 222]
    assert record["drift"] is None
