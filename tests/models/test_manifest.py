"""A manifest is the same after it was written and read, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from titanic_batch.models.manifest import FORMAT, FORMAT_VERSION, Manifest, version_of
from titanic_batch.models.model import Model

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
    with pytest.raises(KeyError):
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
    with pytest.raises((TypeError, ValueError)):
        Manifest.from_json(data)


@pytest.mark.parametrize("path", ["libraries.scikit-learn", "schema.version", "schema.digest", "training.rows"])
def test_no_inner_member_may_be_missing(data: dict[str, Any], path: str) -> None:
    outer, _, inner = path.partition(".")
    del data[outer][inner]
    with pytest.raises(KeyError):
        Manifest.from_json(data)


@pytest.mark.parametrize("data", [None, 3, "x", [], [1], {}, {"format": FORMAT}, {"format_version": 1}])
def test_what_is_no_manifest_has_no_version(data: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
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
