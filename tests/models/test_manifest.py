"""A manifest is the same after it was written and read, and nothing else is taken for one."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from titanic_batch.cli.inspect import artifact_json, artifact_text, difference_text
from titanic_batch.models.artifact import Artifact
from titanic_batch.models.json_data import JsonDataError
from titanic_batch.models.manifest import FORMAT, FORMAT_VERSION, Manifest, version_of
from titanic_batch.models.model import Model
from titanic_batch.scoring.drift import Reference, Tally

# The members that README promises, in their order.
MEMBERS = [
    "format",
    "format_version",
    "description",
    "package_version",
    "python_version",
    "libraries",
    "schema",
    "features",
    "categories",
    "classifier",
    "parameters",
    "seed",
    "fitted_at",
    "training",
    "metrics",
    "reference",
]
OF_PICKLES = MEMBERS[:-4]


@pytest.fixture
def data(small_model: Model) -> dict[str, Any]:
    """A manifest as JSON data, to be changed."""
    found: dict[str, Any] = json.loads(json.dumps(small_model.manifest))
    return found


def test_a_manifest_is_the_same_after_writing_and_reading(data: dict[str, Any], small_model: Model) -> None:
    manifest = Manifest.from_json(data)
    assert manifest == small_model.info
    assert json.dumps(manifest.to_json()) == json.dumps(data)
    assert list(data) == MEMBERS


def test_members_that_are_not_known_are_kept(data: dict[str, Any]) -> None:
    data |= {"more": [1], "fit": 3}
    data["schema"]["name"] = "x"
    data["training"]["more"] = {"a": None}
    assert Manifest.from_json(data).to_json() == data


@pytest.mark.parametrize("member", MEMBERS)
def test_no_member_may_be_missing(data: dict[str, Any], member: str) -> None:
    del data[member]
    with pytest.raises(ValueError, match=f"^{member} is missing$|this is no manifest"):
        Manifest.from_json(data)


@pytest.mark.parametrize(
    "spoil",
    [
        *(lambda data, name=name: data.update({name: None}) for name in MEMBERS),
        *(
            lambda data, name=name: data["training"].update({name: 1.5})
            for name in ("rows", "columns", "labels", "digest")
        ),
        *(lambda data, name=name: data["schema"].update({name: []}) for name in ("version", "digest")),
        lambda data: data["libraries"].update({"scikit-learn": 1}),
        lambda data: data.update(seed="23"),
        lambda data: data.update(format_version=FORMAT_VERSION + 1),
    ],
)
def test_members_of_another_type_are_refused(data: dict[str, Any], spoil: Callable[[dict[str, Any]], None]) -> None:
    spoil(data)
    with pytest.raises(ValueError):  # noqa: PT011  # its message depends on the member
        Manifest.from_json(data)


ESTIMATE = {"value": 0.8, "low": 0.7, "high": 0.9}
EVALUATION = {"rows": 9, "accuracy": ESTIMATE, "log_loss": {"value": 0.1, "low": -0.1, "high": 0.3}}


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that puts a value at a dotted path."""
    *outer, last = path.split(".")

    def spoil(data: dict[str, Any]) -> None:
        for name in outer:
            data = data[name]
        data[last] = value

    return spoil


def ranges(**changes: Any) -> dict[str, Any]:
    """Return how a feature of the 891 rows may be counted in ranges."""
    return {"lowest": 0.5, "edges": [1, 2.5], "counts": [400, 480], "missing": 11} | changes


def test_features_may_be_counted_in_ranges(data: dict[str, Any]) -> None:
    data["reference"]["features"]["Age"] = ranges()
    assert Manifest.from_json(data).to_json() == data
    del data["reference"]["features"]["Age"]["missing"]
    data["reference"]["features"]["Age"]["counts"] = [400, 491]
    assert Manifest.from_json(data).to_json() == data


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (at("description", 3), "description"),
        (at("libraries.numpy", 2), "libraries"),
        (at("libraries.scikit-learn", "9.9\n"), "libraries"),
        (at("python_version", "\x1b[31m3"), "python_version"),
        (at("schema.digest", "0\nINJECTED"), "schema.digest"),
        (at("schema.version", True), "schema.version"),
        (at("schema.version", -1), "schema.version"),
        (at("features", [1, 2, 3]), "features"),
        (at("features", []), "features"),
        (at("categories.Sex", "male"), "categories"),
        (at("categories.Sex", [1]), "categories"),
        (at("classifier", ["x"]), "classifier"),
        (at("seed", True), "seed"),
        (at("seed", -1), "seed"),
        (at("seed", 2**32), "seed"),
        (at("fitted_at", "<script>"), "fitted_at"),
        (at("training.rows", 0), "training.rows"),
        (at("training.rows", -5), "training.rows"),
        (at("training.rows", True), "training.rows"),
        (at("training.rows", 10**400), "training.rows"),
        (at("training.columns", [None]), "training.columns"),
        (at("training.labels", {"0": "<b>"}), "training.labels"),
        (at("training.labels", {"0": -1}), "training.labels"),
        (at("training.digest", "0" * 63), "training.digest"),
        (at("training.digest", "G" * 64), "training.digest"),
        (at("metrics", {"cross_validation": None}), "metrics"),
        (at("metrics", {"a<script>": 1.5}), "metrics"),
        (at("metrics", {"cross_validation": {"x": 1}}), "metrics.rows"),
        (at("metrics", {"cross_validation": {"rows": 9}}), "metrics.accuracy"),
        (at("metrics", {"holdout": EVALUATION | {"rows": 0}}), "metrics.rows"),
        (at("metrics", {"holdout": EVALUATION | {"accuracy": 0.8}}), "metrics.accuracy"),
        (at("metrics", {"holdout": EVALUATION | {"accuracy": ESTIMATE | {"value": 7}}}), "metrics.accuracy.value"),
        (at("metrics", {"holdout": EVALUATION | {"accuracy": ESTIMATE | {"value": "x"}}}), "metrics.accuracy.value"),
        (at("metrics", {"holdout": EVALUATION | {"roc_auc": {"value": 0.5}}}), "metrics.roc_auc.low"),
        (at("metrics", {"holdout": EVALUATION | {"log_loss": ESTIMATE | {"low": 10**400}}}), "metrics.log_loss.low"),
        (at("reference.rows", 0), "reference.rows"),
        (at("reference.features", []), "reference.features"),
        (at("reference.features.Age.counts", [0] * 8), "reference.features"),
        (at("reference.features.Age.counts", [2**62] * 8), "reference.features.counts"),
        (at("reference.features.Age.counts", [True] * 8), "reference.features.counts"),
        (at("reference.features.Age.counts", [891]), "reference.features"),
        (at("reference.features.Age.values", [7, 6, 5, 4, 3, 2, 1, 0]), "reference.features"),
        (at("reference.features.Age.values", [0] * 8), "reference.features"),
        (at("reference.features.Age.values", list("01234567")), "reference.features.values"),
        (at("reference.features.Other", {"values": [1], "counts": [891]}), "reference.features"),
        (at("reference.features.Age", {"edges": [1, 2], "counts": [400, 491]}), "reference.features.lowest"),
        (at("reference.features.Age", ranges(lowest="0")), "reference.features.lowest"),
        (at("reference.features.Age", ranges(lowest=1.5)), "reference.features"),
        (at("reference.features.Age", ranges(edges=[])), "reference.features.edges"),
        (at("reference.features.Age", ranges(edges=[2, 1])), "reference.features"),
        (at("reference.features.Age", ranges(edges=[1, 1])), "reference.features"),
        (at("reference.features.Age", ranges(edges=[1, 2, 3])), "reference.features"),
        (at("reference.features.Age", ranges(edges=[1, math.nan])), "manifest"),
        (at("reference.features.Age", ranges(counts=[400, 400, 91])), "reference.features"),
        (at("reference.features.Age", ranges(counts=[400, 490])), "reference.features"),
        (at("reference.features.Age", ranges(counts=[400, -1])), "reference.features.counts"),
        (at("reference.features.Age", ranges(missing=1)), "reference.features"),
        (at("reference.features.Age", ranges(missing=None)), "reference.features.missing"),
        (at("reference.features.Age.missing", 1), "reference.features"),
        (at("reference.missing", {"Age": -1}), "reference.missing"),
        (at("reference.missing", {"Age": 2}), "reference.missing"),
        (at("reference.missing", {"Age": False}), "reference.missing"),
        (at("reference.predictions", [0] * 10), "reference.predictions"),
        (at("reference.predictions", [1] * 9), "reference.predictions"),
        (at("reference.predictions", [1] * 11), "reference.predictions"),
    ],
)  # fmt: skip
def test_what_is_known_of_a_model_has_the_form_that_its_readers_rely_on(
    data: dict[str, Any], spoil: Callable[[dict[str, Any]], None], where: str
) -> None:
    spoil(data)
    with pytest.raises(JsonDataError) as caught:
        Manifest.from_json(data)
    assert caught.value.where == where


@pytest.mark.parametrize("path", ["more", "schema.more", "training.more", "parameters.more", "reference.more"])
@pytest.mark.parametrize("value", [math.nan, [math.inf], "\ud800", {"\ud800": 1}, json.loads("[" * 400 + "]" * 400)])
def test_what_is_not_known_can_be_written_as_json_again(data: dict[str, Any], path: str, value: Any) -> None:
    at(path, value)(data)
    with pytest.raises(JsonDataError):
        Manifest.from_json(data)
    at(path, {"a": [None, True, 1.5, "\x1b"]})(data)
    assert Manifest.from_json(data).to_json() == data


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    math.nan,
    math.inf,
    10**400,
    1e308,
    2**63,
    "",
    "\x1b[31m",
    "<b>",
    "\ud800",
    "a" * 1000,
]
ODD += [[], {}, [[]], {"a": {}}, ["x"], [1], [None], json.loads("[" * 400 + "]" * 400), ...]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, part in inner:
        yield from places(part, (*path, name))


def test_odd_values_at_any_place_are_refused_or_do_no_harm(data: dict[str, Any], small_model: Model) -> None:
    """They are put at each place of a manifest in turn; ``...`` stands for nothing at all."""
    data["metrics"] = {"cross_validation": EVALUATION}
    data["reference"]["predictions"] = [1] * 10
    data["reference"]["features"]["Age"] = ranges()
    taken = 0
    for *outer, last in (path for path in places(data) if path):
        for value in ODD:
            changed = copy.deepcopy(data)
            part = changed
            for name in outer:
                part = part[name]
            if value is ...:
                del part[last]
            else:
                part[last] = value
            try:
                manifest = Manifest.from_json(changed)
            except ValueError:
                continue
            taken += 1
            read_by_all(manifest)
    assert taken > 100


def read_by_all(manifest: Manifest) -> None:
    """Do with a manifest what its readers do."""
    artifact = Artifact("model.skops", "skops", b"", "0" * 64, manifest, None)
    artifact_text(artifact).encode()
    difference_text(artifact, artifact)
    json.loads(artifact_json(artifact), parse_constant=pytest.fail)
    fit = manifest.fit_record
    assert 0 <= fit.metrics.get("cross_validation", EVALUATION)["accuracy"]["value"] <= 1
    assert ", ".join([fit.fitted_at, manifest.classifier, *manifest.features, manifest.libraries["scikit-learn"]])
    tally = Tally(Reference.from_json(fit.reference), manifest.features)
    tally.add(np.zeros((3, len(manifest.features))), np.array([0.1, 0.2, 1.0]))
    drift = tally.take_drift()
    assert drift is not None
    assert drift.worst.name
    json.dumps(drift.to_json(), allow_nan=False)


@pytest.mark.parametrize("path", ["libraries.scikit-learn", "schema.version", "schema.digest", "training.rows"])
def test_no_inner_member_may_be_missing(data: dict[str, Any], path: str) -> None:
    outer, _, inner = path.partition(".")
    del data[outer][inner]
    with pytest.raises(JsonDataError, match=f"^{path} is missing$"):
        Manifest.from_json(data)


@pytest.mark.parametrize("data", [None, 3, "x", [], [1], {}, {"format": FORMAT}, {"format_version": 1}])
def test_what_is_no_manifest_has_no_version(data: Any) -> None:
    with pytest.raises(ValueError, match="no manifest of a model"):
        version_of(data)


def test_other_versions_are_told(data: dict[str, Any]) -> None:
    assert version_of(data) == FORMAT_VERSION
    assert version_of({"format": FORMAT, "format_version": 99}) == 99


def test_an_evaluation_is_added_to_a_new_manifest(small_model: Model) -> None:
    before = small_model.info
    after = before.with_evaluation("holdout", {"rows": 3}).with_predictions([1, 2])
    assert after.fit_record.metrics == {"holdout": {"rows": 3}}
    assert after.fit_record.reference == {**before.fit_record.reference, "predictions": [1, 2]}
    assert before.fit_record.metrics == {}
    assert before.fit_record.reference["predictions"] is None


def test_the_manifest_of_a_pickle_has_no_fit(small_model: Model) -> None:
    data = {name: value for name, value in small_model.manifest.items() if name in OF_PICKLES}
    manifest = small_model.info
    of_pickle = Manifest(**{name: getattr(manifest, name) for name in Manifest.__slots__ if name != "fit"})
    assert of_pickle.to_json() == data
    with pytest.raises(ValueError, match="a pickle does not tell how it was fitted"):
        of_pickle.with_evaluation("holdout", {})
