"""A model file is scored from its arrays only where it is of the form that fit writes, and then to the same bits."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline

from tests.fuzz_models import saved
from tests.model_files import manifest_of, members_of, sealed, with_forged_proof, with_manifest
from tests.some_pipelines import substitute
from titanic_batch.errors import ModelError, UsageError
from titanic_batch.models.artifact import PROOF, SCHEMA
from titanic_batch.models.audit import audit
from titanic_batch.models.known_form import OtherFormError, plain_predictor
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.features import TRUSTED_TYPES
from titanic_batch.passenger.fitting import PARAMETERS
from titanic_batch.passenger.pipeline import build_pipeline

# The attributes whose other values are harmless: they tell how trees were fitted, not how they predict.
HARMLESS = {
    *("bootstrap", "class_weight", "max_samples", "_n_samples", "_n_samples_bootstrap", "_sample_weight"),
    *("random_state", "max_features_", "max_depth of the tree's state"),
}
VALUES: dict[str, list[Any]] = {
    "n_estimators": [1, 2, np.int64(2)],
    "criterion": ["gini", "entropy", "log_loss"],
    "max_depth": [None, 1, 30, 2**31 - 1],
    "min_samples_split": [2, 10, 0.1, 1.0],
    "min_samples_leaf": [1, 10, 0.1, 400],
    "min_weight_fraction_leaf": [0, 0.0, 0.1, 0.5],
    "max_features": ["sqrt", "log2", None, 1, 7, 0.5, 1.0],
    "max_leaf_nodes": [None, 2, 10],
    "min_impurity_decrease": [0, 0.01, 1e300],
    "bootstrap": [True],
    "class_weight": ["balanced", "balanced_subsample", {0: 1, 1: 2}, {0: 0.5}, {1: 3}, {0: 1, 1: 1, 2: 9}],
    "ccp_alpha": [0, 0.01, 10],
    "max_samples": [None, 0.3, 50, 1, 1.0, 2000, np.float64(0.3)],
}


def scored(model: Model) -> bytes:
    """Return the bits of the probabilities that a model gives to the labelled rows."""
    _, probabilities = model.scores()(pa.Table.from_pandas(packaged_rows()))
    bits: bytes = probabilities.to_numpy().tobytes()
    return bits


def of_pipeline(pipeline: Pipeline) -> bytes:
    """Return the bits that a pipeline gives to them."""
    return np.ascontiguousarray(pipeline.predict_proba(packaged_rows())[:, 1]).tobytes()


# What fit writes


def test_each_parameter_that_may_be_set_has_values_here() -> None:
    assert VALUES.keys() == set(PARAMETERS)


@pytest.mark.parametrize(
    "parameters",
    [
        *({name: value} for name, values in VALUES.items() for value in values),
        {"bootstrap": False, "max_samples": None},
        {"bootstrap": False, "max_samples": None, "class_weight": "balanced", "criterion": "log_loss"},
    ],
    ids=repr,
)
def test_a_fresh_model_is_scored_without_scikit_learn(tmp_path: Path, parameters: dict[str, Any]) -> None:
    model = Model(**{"n_estimators": 2, **parameters}).fit(packaged_rows())
    model.save(tmp_path / "model.skops")
    loaded = Model.load(tmp_path / "model.skops")
    assert (model.engine, loaded.engine) == ("scikit-learn", "plain")
    assert scored(loaded) == of_pipeline(model.pipeline) == of_pipeline(loaded.pipeline) == scored(model)


def test_a_share_of_more_than_all_rows_is_of_the_known_form(tmp_path: Path) -> None:
    """Only some versions of scikit-learn take it."""
    model = Model(n_estimators=2, max_samples=1.5)
    try:
        model.fit(packaged_rows())
    except UsageError:
        pytest.skip("this scikit-learn draws no more rows than there are")
    model.save(tmp_path / "model.skops")
    assert Model.load(tmp_path / "model.skops").engine == "plain"


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_a_fresh_model_of_any_seed_is_scored_without_scikit_learn(tmp_path: Path, seed: int) -> None:
    Model(seed, n_estimators=2).fit(packaged_rows()).save(tmp_path / "model.skops")
    assert Model.load(tmp_path / "model.skops").engine == "plain"


def test_a_model_that_was_loaded_is_written_and_loaded_again(tmp_path: Path, model_file: Path) -> None:
    loaded = Model.load(model_file)
    loaded.save(tmp_path / "again.skops")
    again = Model.load(tmp_path / "again.skops")
    assert again.engine == "plain"
    assert (tmp_path / "again.skops").read_bytes() == model_file.read_bytes()


def test_a_model_that_was_loaded_can_be_copied_and_pickled(model_file: Path) -> None:
    loaded = Model.load(model_file)
    for other in (pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert other.engine == "plain"
        assert scored(other) == scored(loaded) == of_pipeline(other.pipeline)


def test_a_model_that_is_fitted_again_forgets_the_file(model_file: Path) -> None:
    rows = packaged_rows().head(200)
    refitted = Model.load(model_file, hashlib.sha256(model_file.read_bytes()).hexdigest()).fit(rows)
    assert (refitted.engine, refitted.identity, refitted.caution) == ("scikit-learn", "fitted", None)
    assert scored(refitted) == of_pipeline(refitted.pipeline) == scored(Model(n_estimators=5).fit(rows))


# Files that scikit-learn scores


@cache
def original() -> bytes:
    """Return a small file of the known form."""
    return Model(n_estimators=2, max_depth=1).fit(packaged_rows()).to_bytes()


def schema_of(content: bytes) -> Any:
    return json.loads(members_of(content)[SCHEMA])


def changed(change: Callable[[Any], object]) -> bytes:
    """Return the small file with another schema."""
    schema = schema_of(original())
    change(schema)
    return sealed(members_of(original()) | {SCHEMA: json.dumps(schema).encode()}, manifest_of(original()))


def loaded_from(path: Path, content: bytes) -> Model:
    path.write_bytes(content)
    return Model.load(path)


def without_steps(schema: Any) -> None:
    schema["content"]["content"]["steps"] = json_node(None)


def test_a_pipeline_without_steps_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"can't be built with scikit-learn .* \(TypeError\): fit it again"):
        loaded_from(tmp_path / "model.skops", changed(without_steps))


def with_proof(change: Callable[[dict[str, Any]], object]) -> bytes:
    members = members_of(original())
    proof = json.loads(members[PROOF])
    change(proof)
    return sealed(members | {PROOF: json.dumps(proof).encode()}, manifest_of(original()))


def without_proof() -> bytes:
    members = members_of(original())
    del members[PROOF]
    return sealed(members, manifest_of(original()))


def one_ulp_off(proof: dict[str, Any]) -> None:
    proof["probabilities"][-1] = np.nextafter(proof["probabilities"][-1], 2)


@pytest.mark.parametrize(
    "content",
    [
        without_proof,
        partial(with_proof, lambda proof: proof.update(version=2)),
        partial(with_proof, lambda proof: proof.update(structure="0" * 64)),
        partial(with_proof, lambda proof: proof.update(probabilities=[])),
        partial(with_proof, one_ulp_off),
    ],
    ids=["no proof", "unknown version", "other structure", "no answers", "one answer moved by one ulp"],
)
def test_a_file_that_is_not_proven_is_scored_by_scikit_learn(tmp_path: Path, content: Callable[[], bytes]) -> None:
    model = loaded_from(tmp_path / "model.skops", content())
    assert model.engine == "scikit-learn"
    assert model.caution is None
    assert scored(model) == scored(loaded_from(tmp_path / "plain.skops", original()))


def test_a_pickle_is_scored_by_scikit_learn(tmp_path: Path, small_model: Model, model_file: Path) -> None:
    path = tmp_path / "model.joblib"
    small_model.save(path)
    model = Model.load(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert model.engine == "scikit-learn"
    assert scored(model) == scored(Model.load(model_file))


def test_another_classifier_is_given_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(seed: int = 1) -> Pipeline:
        return Pipeline([*build_pipeline().steps[:-1], ("classifier", ExtraTreesClassifier(2, random_state=seed))])

    substitute(monkeypatch, build)
    assert PROOF not in members_of(Model().fit(packaged_rows()).to_bytes())


def test_a_pipeline_of_other_features_is_scored_by_scikit_learn_or_refused(tmp_path: Path) -> None:
    model = Model(n_estimators=2)
    model.pipeline[0].transformers = model.pipeline[0].transformers[::-1]
    model.fit(packaged_rows())
    with pytest.raises(ModelError, match="what is loaded from the file is not as build_pipeline makes it"):
        model.to_bytes()
    members = members_of(with_manifest(skops.io.dumps(model.pipeline), model.manifest))
    content = with_forged_proof(sealed(members | {PROOF: members_of(original())[PROOF]}, model.manifest))
    with pytest.raises(ModelError, match="is not one that titanic fit makes"):
        loaded_from(tmp_path / "model.skops", content)


# Other versions of scikit-learn


def of_version(version: str, nodes: str) -> bytes:
    """Return the file with another version in its manifest and in its nodes."""
    members, manifest = members_of(original()), manifest_of(original())
    manifest["libraries"]["scikit-learn"] = version
    schema = json.loads(members[SCHEMA])
    for attributes in attributes_in(schema):
        if "_sklearn_version" in attributes["content"]:
            attributes["content"]["_sklearn_version"]["content"] = json.dumps(nodes)
    return with_forged_proof(sealed(members | {SCHEMA: json.dumps(schema).encode()}, manifest))


@pytest.mark.parametrize("version", ["1.7.2", "99.0"])
def test_a_proof_that_holds_spares_the_caution_about_another_version(tmp_path: Path, version: str) -> None:
    model = loaded_from(tmp_path / "model.skops", of_version(version, nodes=version))
    assert (model.engine, model.caution) == ("plain", None)
    assert scored(model) == scored(loaded_from(tmp_path / "model.skops", original()))
    other = loaded_from(tmp_path / "model.skops", of_version(version, nodes="1.7.0"))
    assert other.engine == "scikit-learn"
    assert str(other.caution).startswith(f"the model {tmp_path / 'model.skops'} was fitted by scikit-learn {version},")
    assert scored(other) == scored(model)


# Changes to an archive, with the proof that it would have


def attributes_in(schema: Any) -> Iterator[Any]:
    """Yield the nodes of the attributes of all objects, and of the states of all trees."""
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if part.get("__loader__") in ("ObjectNode", "TreeNode"):
                yield part["content"]
            todo += part.values()
        elif isinstance(part, list):
            todo += part


def json_node(value: Any) -> Any:
    content = json.dumps(value)
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": content, "is_json": True}


def list_node(items: list[Any]) -> Any:
    return {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": items}


def key_type(name: str = "str") -> Any:
    return {"__class__": name, "__module__": "builtins", "__loader__": "TypeNode"}


OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    2,
    7,
    -1,
    0.0,
    0.5,
    1.0,
    2.0,
    "x",
    "gini",
    [],
    {},
    [0, 1],
    float("nan"),
)
SWAPPED = {"ListNode": ("TupleNode", "tuple"), "TupleNode": ("ListNode", "list")}


def changes_of(attributes: Any, name: str) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Yield changes of one attribute, each with its name; they change the node that is given to them."""

    def dropped(node: Any) -> None:
        place = list(node["content"]).index(name)
        del node["content"][name], node["key_types"]["content"][place]

    def renamed(node: Any) -> None:
        node["content"] = {name + "_" * (key == name): value for key, value in node["content"].items()}

    def added(node: Any) -> None:
        node["content"][f"{name}_"] = copy.deepcopy(node["content"][name])
        node["key_types"]["content"].append(key_type())

    def replaced(value: Any, node: Any) -> None:
        node["content"][name] = json_node(value)

    def swapped(node: Any) -> None:
        inner = node["content"][name]
        inner["__loader__"], inner["__class__"] = SWAPPED[inner["__loader__"]]

    def listed(node: Any) -> None:
        node["content"][name] = list_node([node["content"][name]])

    def keyed(node: Any) -> None:
        node["key_types"]["content"][list(node["content"]).index(name)] = key_type("int")

    yield from (("dropped", dropped), ("renamed", renamed), ("added", added), ("in a list", listed), ("keyed", keyed))
    inner = attributes["content"][name]
    if inner["__loader__"] in SWAPPED:
        yield "list for tuple", swapped
    for value in OTHER_VALUES:
        if inner["__loader__"] != "JsonNode" or inner["content"] != json.dumps(value):
            yield f"= {value!r}", partial(replaced, value)


def changes() -> Iterator[tuple[str, str, int, Callable[[Any], None]]]:
    """Yield each change of each attribute: the names of both, the position of the object, and the change."""
    for position, attributes in enumerate(attributes_in(schema_of(original()))):
        for name in attributes["content"]:
            full_name = name + " of the tree's state" * ("node_count" in attributes["content"])
            for what, change in changes_of(attributes, name):
                yield full_name, what, position, change


def check_changed(
    path: Path, name: str, what: str, position: int, change: Callable[[Any], None], expected: bytes
) -> str | None:
    """Load a changed file and return what scores it, which gives the bits of scikit-learn; None if it is refused."""
    content = changed(lambda schema: change(list(attributes_in(schema))[position]))
    try:
        model = loaded_from(path, with_forged_proof(content))
    except ModelError:
        return None
    if model.engine == "plain":
        assert name in HARMLESS, (name, what)
        assert of_pipeline(model.pipeline) == scored(model) == expected, (name, what)  # the pipeline can be built
    return model.engine


@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.slow)])
def test_no_changed_attribute_is_scored_without_scikit_learn_but_a_harmless_one(tmp_path: Path, every: int) -> None:
    path = tmp_path / "model.skops"
    expected = scored(loaded_from(path, original()))
    ends = [check_changed(path, *each, expected) for each in islice(changes(), None, None, every)]
    assert len(ends) > 3_000 // every
    assert {"scikit-learn", None} <= set(ends)
    assert every > 1 or "plain" in ends


# Files that say the same in another way, or only nearly the same: the full loader refuses them


def as_key_types_that_are_text(schema: Any) -> None:
    next(attributes_in(schema))["key_types"]["content"][0] = json_node("x")


def as_key_types_that_are_missing(schema: Any) -> None:
    tree_state(schema)["key_types"]["content"] = []


def as_key_types_of_a_tree_that_are_numbers(schema: Any) -> None:
    tree_state(schema)["key_types"]["content"][0] = key_type("int")


def tree_state(schema: Any) -> Any:
    return next(node for node in attributes_in(schema) if "node_count" in node["content"])


def as_a_class_whose_module_lies_in_its_name(schema: Any) -> None:
    schema["__module__"], schema["__class__"] = "sklearn", "pipeline.Pipeline"


def as_a_split_of_one_row(schema: Any) -> None:
    for node in attributes_in(schema):
        if node["content"].get("min_samples_split", {}).get("content") == "2" and not is_unfitted(node):
            node["content"]["min_samples_split"] = json_node(1)


def as_a_leaf_of_all_rows(schema: Any) -> None:
    for node in attributes_in(schema):
        if "min_samples_leaf" in node["content"] and not is_unfitted(node):
            node["content"]["min_samples_leaf"] = json_node(1.0)


def is_unfitted(node: Any) -> bool:
    return "n_features_in_" not in node["content"]


@pytest.mark.parametrize(
    "change",
    [
        as_key_types_that_are_text,
        as_key_types_that_are_missing,
        as_key_types_of_a_tree_that_are_numbers,
        as_a_class_whose_module_lies_in_its_name,
        as_a_split_of_one_row,
        as_a_leaf_of_all_rows,
    ],
)
def test_what_cannot_be_built_is_not_scored_without_building_it(tmp_path: Path, change: Callable[[Any], None]) -> None:
    with pytest.raises(ModelError):
        loaded_from(tmp_path / "model.skops", with_forged_proof(changed(change)))


def of_manifest(change: Callable[[Any], object]) -> bytes:
    manifest = manifest_of(original())
    change(manifest)
    return sealed(members_of(original()), manifest)


def of_arrays(change: Callable[[Any, dict[str, bytes]], object]) -> bytes:
    """Return the small file with another schema and other members."""
    members, schema = members_of(original()), schema_of(original())
    change(schema, members)
    return sealed(members | {SCHEMA: json.dumps(schema).encode()}, manifest_of(original()))


def as_other_nodes(schema: Any, members: dict[str, bytes]) -> None:
    """Have the nodes of a tree in another order of fields, which means the same."""
    state = next(node for node in attributes_in(schema) if "nodes" in node["content"])["content"]
    nodes = np.load(io.BytesIO(members[state["nodes"]["file"]]))
    fields = list(nodes.dtype.names)[::-1]
    other = np.empty(len(nodes), [(name, nodes.dtype[name]) for name in fields])
    for name in fields:
        other[name] = nodes[name]
    members[state["nodes"]["file"]] = saved(other)


def as_odd_weights(schema: Any, members: dict[str, bytes]) -> None:
    """Have weights of other rows than there were."""
    attributes = next(node for node in attributes_in(schema) if "_n_samples" in node["content"])["content"]
    members["weights.npy"] = saved(np.ones(3))
    attributes["_sample_weight"] = attributes["classes_"] | {"file": "weights.npy"}


def with_tree_attribute(name: str, value: Any) -> bytes:
    def change(schema: Any) -> None:
        for node in attributes_in(schema):
            if "tree_" in node["content"]:
                node["content"][name] = json_node(value)

    return changed(change)


@pytest.mark.parametrize(
    "content",
    [
        partial(of_manifest, lambda manifest: manifest["features"].reverse()),
        partial(of_arrays, as_other_nodes),
        partial(of_arrays, as_odd_weights),
        partial(with_tree_attribute, "random_state", -1),
        partial(with_tree_attribute, "random_state", 2**31),
        partial(with_tree_attribute, "max_features_", 0),
        partial(with_tree_attribute, "max_features_", 8),
    ],
)
def test_what_fit_does_not_write_is_not_scored_from_its_arrays(tmp_path: Path, content: Callable[[], bytes]) -> None:
    forged = with_forged_proof(content())
    with pytest.raises(OtherFormError):
        plain_predictor(audit(forged, TRUSTED_TYPES), Manifest.from_json(manifest_of(forged)))
    with suppress(ModelError):  # the full loader refuses some of them
        assert loaded_from(tmp_path / "model.skops", forged).engine == "scikit-learn"


def test_the_pipeline_of_a_file_that_another_version_fitted_comes_with_a_caution(tmp_path: Path) -> None:
    model = loaded_from(tmp_path / "model.skops", of_version("1.7.2", nodes="1.7.2"))
    assert (model.engine, model.caution) == ("plain", None)
    _ = model.pipeline
    assert "was fitted by scikit-learn 1.7.2" in str(model.caution)


def test_threads_that_ask_for_the_pipeline_at_once_get_that_of_the_file(model_file: Path) -> None:
    expected = of_pipeline(Model.load(model_file).pipeline)
    for _ in range(5):
        model = Model.load(model_file)
        start = threading.Barrier(4)

        def ask(_: int, model: Model = model, start: threading.Barrier = start) -> bytes:
            start.wait()
            return of_pipeline(model.pipeline)

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(ask, range(4))) == {expected}


def test_a_fit_that_fails_leaves_nothing_of_the_file(model_file: Path) -> None:
    model = Model.load(model_file)
    model.pipeline.set_params(classifier__min_samples_leaf="no number")
    with pytest.raises(UsageError):
        model.fit(packaged_rows())
    assert (model.engine, model.source, model.sha256) == ("scikit-learn", "fitted", None)


def test_the_forged_proof_of_an_unchanged_file_is_its_own() -> None:
    assert members_of(with_forged_proof(original())) == members_of(original())


def test_a_large_array_in_place_of_a_small_one_takes_no_memory_for_objects(tmp_path: Path) -> None:
    """As a list, numbers take four times the memory that they take in an array, and again as text."""
    members, schema = members_of(original()), schema_of(original())
    classes = next(node for node in attributes_in(schema) if "classes_" in node["content"])["content"]["classes_"]
    members[classes["file"]] = saved(np.arange(2**20))
    content = sealed(members, manifest_of(original()))
    archive, manifest = audit(content, TRUSTED_TYPES), Manifest.from_json(manifest_of(content))
    tracemalloc.start()
    try:
        with pytest.raises(OtherFormError):
            plain_predictor(archive, manifest)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    with pytest.raises(ModelError, match="is not one that titanic fit makes"):
        loaded_from(tmp_path / "model.skops", with_forged_proof(content))
