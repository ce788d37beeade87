"""Pipelines of other notebooks: what is fitted is saved, loaded as skops would load it, and predicts the same bits."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import SVC

from tests.model_files import members_of
from tests.models.test_audit import Archive, leaf, refused, with_attribute
from tests.models.test_building import parts, saved
from tests.models.test_loading import digest_of
from tests.some_pipelines import PIPELINES, ending_with, one_hot, ordinal, substitute
from titanic_batch.errors import ModelError
from titanic_batch.models.audit import audit
from titanic_batch.models.building import build
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of
from titanic_batch.models.trusted_types import TREE, TREE_PREDICTOR
from titanic_batch.notebook.schema import CONTRACT

# What skops leaves to whoever loads a file, and the audit trusts since it checks the values.
CHECKED = [
    TREE,
    TREE_PREDICTOR,
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
]


@pytest.fixture(params=PIPELINES)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame) -> Model:
    substitute(monkeypatch, PIPELINES[request.param])
    return Model(7).fit(passengers)


def test_a_model_of_any_pipeline_is_saved_and_loaded(model: Model, tmp_path: Path, passengers: pd.DataFrame) -> None:
    path = tmp_path / "model.skops"
    model.save(path)
    loaded = Model.load(path)
    expected = model.predict_proba(passengers)
    assert loaded.predict_proba(passengers).tobytes() == expected.tobytes()
    assert (loaded.engine, loaded.seed, loaded.manifest) == ("scikit-learn", 7, model.manifest)
    scores = loaded.scores()
    rows = pa.Table.from_pandas(passengers)
    parts = [scores(rows.slice(start, 300)) for start in range(0, len(passengers), 300)]
    assert pa.concat_arrays([labels for labels, _ in parts]).to_pylist() == model.predict(passengers).tolist()
    # A matrix product depends on how many rows there are.
    assert np.allclose(np.concatenate([found for _, found in parts]), expected[:, 1], rtol=0, atol=1e-12)
    assert model.to_bytes() == path.read_bytes()


def test_what_is_built_is_what_skops_builds(model: Model) -> None:
    content = model.to_bytes()
    ours, theirs = build(audit(content, ())), skops.io.loads(content, trusted=CHECKED)
    assert type(ours) is type(theirs) is Pipeline
    assert members_of(saved(ours)).keys() == members_of(saved(theirs)).keys()
    for name, member in parts(theirs).items():  # as arrays: skops leaves the padding of nodes unset
        assert_same(parts(ours)[name], member)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(other, np.ndarray):
        assert (one.dtype, one.shape, one.flags.c_contiguous) == (other.dtype, other.shape, other.flags.c_contiguous)
        for field in other.dtype.names or [...]:
            assert one[field].tobytes() == other[field].tobytes()
    else:
        assert one == other


def test_a_pickle_of_any_pipeline_is_loaded(model: Model, tmp_path: Path, passengers: pd.DataFrame) -> None:
    path = tmp_path / "model.joblib"
    model.save(path)
    loaded = Model.load(path, digest_of(path))
    assert loaded.predict_proba(passengers).tobytes() == model.predict_proba(passengers).tobytes()
    assert loaded.info.features == model.info.features
    assert loaded.seed in (7, 23), "a classifier without a random_state does not tell it"


def same(X: Any) -> Any:
    return X


OF_A_FUNCTION = "could run any code when it is loaded: do without it, or save the model as .joblib."
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a function": (FunctionTransformer(same), LogisticRegression, f".same, which {OF_A_FUNCTION}"),
    "a function of NumPy": (FunctionTransformer(np.abs), LogisticRegression, f"absolute, which {OF_A_FUNCTION}"),
    "an inverse": (FunctionTransformer(None, same), LogisticRegression, f".same, which {OF_A_FUNCTION}"),
    "a partial function": (FunctionTransformer(partial(same)), LogisticRegression, f".same, which {OF_A_FUNCTION}"),
    "neighbors": (
        "passthrough",
        KNeighborsClassifier,
        "sklearn.neighbors._classification.KNeighborsClassifier, which is not trusted: name that in TRUSTED_TYPES of "
        "the notebook's features.py if any values in it are safe to compute with, or save the model as .joblib.",
    ),
    "support vectors": ("passthrough", SVC, "sklearn.svm._classes.SVC, which is not trusted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_be_loaded_is_not_saved_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame, what: str
) -> None:
    step, classifier, told = REFUSED[what]
    fixed = {"algorithm": "brute"} if classifier is KNeighborsClassifier else {"max_iter": 2000}
    steps = make_pipeline(one_hot(sparse_output=False), step)
    substitute(monkeypatch, ending_with(classifier, lambda: steps, **fixed))
    model = Model().fit(passengers)
    with pytest.raises(ModelError) as caught:
        model.save(tmp_path / "model.skops")
    assert str(caught.value).startswith("this pipeline can't be saved as .skops: it holds ")
    assert told in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_type_that_the_folder_trusts_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    name = "sklearn.neighbors._classification.KNeighborsClassifier"
    for module in ("loading", "reading_back"):
        monkeypatch.setattr(f"titanic_batch.models.{module}.TRUSTED_TYPES", [name])
    substitute(
        monkeypatch,
        ending_with(KNeighborsClassifier, lambda: make_pipeline(ordinal(), SimpleImputer()), algorithm="brute"),
    )
    model = Model().fit(passengers)
    model.save(tmp_path / "model.skops")
    loaded = Model.load(tmp_path / "model.skops")
    assert loaded.predict_proba(passengers).tobytes() == model.predict_proba(passengers).tobytes()


class Relatives(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """What a folder may hold where a notebook has a function."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.most_ = float(X.to_numpy().sum(axis=1).max())
        return self

    def transform(self, X: pd.DataFrame) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = X.to_numpy().sum(axis=1, keepdims=True) / self.most_
        return shares


class Numbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Passes numbers on, and keeps nothing."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.select_dtypes("number")

    def __sklearn_is_fitted__(self) -> bool:
        return True


def test_a_transformer_of_the_folder_is_saved_if_the_folder_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    steps = ColumnTransformer([("relatives", Relatives(), ["SibSp", "Parch"])])
    substitute(monkeypatch, ending_with(LogisticRegression, lambda: steps))
    model, path = Model().fit(passengers), tmp_path / "model.skops"
    assert model.info.features == ["x0"], "it does not tell their names"
    name = f"{__name__}.Relatives"
    with pytest.raises(ModelError, match=f"holds {name}, which is not trusted: name that in TRUSTED_TYPES"):
        model.save(path)
    for module in ("loading", "reading_back"):
        monkeypatch.setattr(f"titanic_batch.models.{module}.TRUSTED_TYPES", [name])
    model.save(path)
    assert Model.load(path).predict_proba(passengers).tobytes() == model.predict_proba(passengers).tobytes()


def test_a_first_step_need_not_tell_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    for module in ("loading", "reading_back"):
        monkeypatch.setattr(f"titanic_batch.models.{module}.TRUSTED_TYPES", [f"{__name__}.Numbers"])
    substitute(monkeypatch, ending_with(HistGradientBoostingClassifier, Numbers, max_iter=2))
    model, path = Model().fit(passengers), tmp_path / "model.skops"
    model.save(path)
    loaded = Model.load(path)
    _, probabilities = loaded.scores()(pa.Table.from_pandas(passengers))
    expected = np.ascontiguousarray(model.predict_proba(features_of(passengers))[:, 1])
    assert probabilities.to_numpy().tobytes() == expected.tobytes()
    assert loaded.info.features == [f"x{place}" for place in range(5)]


@pytest.mark.parametrize("nested", ["histogram gradient boosting", "logistic regression"])
def test_a_pipeline_of_one_step_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame, nested: str
) -> None:
    substitute(monkeypatch, lambda seed=23: Pipeline([("all", PIPELINES[nested](seed))]))
    model, path = Model().fit(passengers), tmp_path / "model.skops"
    model.save(path)
    assert model.info.features == CONTRACT.without_key
    assert Model.load(path).predict_proba(passengers).tobytes() == model.predict_proba(passengers).tobytes()


@pytest.mark.parametrize("name", ["logistic regression on sparse features", "logistic regression on frames"])
def test_drift_is_measured_whatever_form_features_have(
    monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame, name: str
) -> None:
    substitute(monkeypatch, PIPELINES[name])
    scores = Model().fit(passengers).scores()
    for rows in (passengers, passengers.assign(Sex="male")):
        scores(pa.Table.from_pandas(rows))
        drift = scores.take_drift()
        assert drift is not None
        assert drift.rows == len(passengers)
        moved = {shift.name: shift.psi > 0.5 for shift in drift.shifts}
        (sex,) = [each for each in moved if each.endswith("Sex_male")]
        assert moved[sex] == (rows is not passengers)


def test_a_pipeline_that_was_changed_after_it_was_built_is_not_saved(passengers: pd.DataFrame) -> None:
    model = Model(n_estimators=1)
    model.pipeline[-1].n_jobs = 2
    with pytest.raises(ModelError, match="what is loaded from the file is not as build_pipeline makes it"):
        model.fit(passengers).to_bytes()


def test_parameters_that_are_no_json_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    monkeypatch.setattr("titanic_batch.models.provenance.PARAMETERS", ["estimator", "cv", "method"])
    substitute(monkeypatch, PIPELINES["calibrated logistic regression"])
    parameters = Model().fit(passengers).info.parameters
    assert parameters == {"estimator": "LogisticRegression(max_iter=500)", "cv": 2, "method": "sigmoid"}


# What compiled code would follow


def of_nodes(field: str, value: Any, which: int = 0) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        node = archive.holder("TreePredictor")["content"]["content"]["nodes"]
        nodes = archive.array(node)
        nodes[field][which] = value
        archive.put(node, nodes)

    return changed


def a_wide_leaf(archive: Archive) -> None:
    """Make the first node a leaf as long as its mark has more than eight bits."""
    node = archive.holder("TreePredictor")["content"]["content"]["nodes"]
    nodes = archive.array(node)
    wide = nodes.astype([(name, "<u8" if name == "is_leaf" else of) for name, of in nodes.dtype.descr])
    wide["is_leaf"][0], wide["left"][0] = 256, 2**31
    archive.put(node, wide)


def of_sets(shape: tuple[int, ...], kind: str = "u4") -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        for node in archive.things("ObjectNode"):
            if node["__class__"] == "TreePredictor":
                archive.put(node["content"]["content"]["raw_left_cat_bitsets"], np.zeros(shape, kind))

    return changed


def of_array(class_name: str, name: str, change: Callable[[Any], Any]) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        node = archive.attributes(class_name)[name]
        archive.put(node, change(archive.array(node)))

    return changed


def of_fitted_one_hot(name: str, change: Callable[[Any], Any]) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        for node in archive.things("ObjectNode"):
            if node["__class__"] == "OneHotEncoder" and name in node["content"]["content"]:
                change(node["content"]["content"][name])

    return changed


def fewer_columns(widths: Any) -> None:
    widths["content"][1] = leaf(1)


def of_tree_features(archive: Archive) -> None:
    for node in archive.things("TreeNode"):
        node["__reduce__"]["args"]["content"][0] = leaf(10_000)


def second_column_of_trees(archive: Archive) -> None:
    node = archive.attributes("GradientBoostingClassifier")["estimators_"]
    for row in node["content"]:
        row["content"] *= 2


def of_twister(name: str, value: Any) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        state = next(archive.things("RandomStateNode"))["content"]["content"]
        (state if name in state else state["state"]["content"])[name] = leaf(value)

    return changed


def of_generator(part: str, name: str, value: Any) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        next(archive.things("RandomGeneratorNode"))["content"][part]["content"][name] = leaf(value)

    return changed


def of_check(name: str, value: Any) -> Callable[[Archive], None]:
    def changed(archive: Archive) -> None:
        content = next(archive.things("PartialNode"))["content"]
        content["kwds"]["content"][name] = value

    return changed


def another_function(archive: Archive) -> None:
    next(archive.things("PartialNode"))["content"]["func"] |= {"__module__": "os", "__class__": "system"}


def an_object_in_an_array(archive: Archive) -> None:
    node = archive.attributes("GradientBoostingClassifier")["estimators_"]
    node["content"][0]["content"][0] = archive.holder("LogitLink")


def fewer_places(archive: Archive) -> None:
    for node in archive.things("ObjectNode"):
        attributes = node["content"]["content"]
        if node["__class__"] == "ColumnTransformer" and "_transformer_to_input_indices" in attributes:
            places = attributes["_transformer_to_input_indices"]["content"]
            if "numerical" in places:
                places["numerical"] = leaf([2])


HISTOGRAM, OF_CATEGORIES = "histogram gradient boosting", "histogram gradient boosting of categories"
BOOSTING, SPARSE = "gradient boosting", "logistic regression on sparse features"
HARMS: dict[str, tuple[str, Callable[[Archive], None], str]] = {
    "a node beyond the end": (HISTOGRAM, of_nodes("left", 2**31), "leads out of its bounds"),
    "a way back": (HISTOGRAM, of_nodes("right", 0), "leads out of its bounds"),
    "ways that meet": (HISTOGRAM, of_nodes("right", 1), "a node with no parent or two"),
    "a feature beyond the last": (HISTOGRAM, of_nodes("feature_idx", 7), "is not one that titanic fit makes"),
    "a feature before the first": (HISTOGRAM, of_nodes("feature_idx", -1), "leads out of its bounds"),
    "no threshold": (HISTOGRAM, of_nodes("num_threshold", math.nan), "leads out of its bounds"),
    "a set that is not there": (HISTOGRAM, of_nodes("is_categorical", 1), "leads out of its bounds"),
    "a leaf that is cut to be none": (HISTOGRAM, a_wide_leaf, "a tree has no nodes"),
    "a value that is none": (HISTOGRAM, of_nodes("value", math.inf), "gives no numbers"),
    "a set beyond the last": (OF_CATEGORIES, of_nodes("bitset_idx", 2**31), "leads out of its bounds"),
    "sets of fewer words": (OF_CATEGORIES, of_sets((9, 7)), "no sets of categories"),
    "sets of other words": (OF_CATEGORIES, of_sets((9, 8), "u2"), "no sets of categories"),
    "no category": (OF_CATEGORIES, of_array("_BinMapper", "is_categorical_", lambda a: a * 0), "is not one that"),
    "fewer features": (HISTOGRAM, of_array("_BinMapper", "is_categorical_", lambda a: a[:1]), "is not one that"),
    "while it is fitted": (HISTOGRAM, with_attribute("HistGradientBoostingClassifier", "_in_fit", True), "is not one"),
    "fewer columns than it is given": (OF_CATEGORIES, fewer_places, "is not one that titanic fit makes"),
    "trees of other features": (BOOSTING, of_tree_features, "is not one that titanic fit makes"),
    "two trees a round": (BOOSTING, second_column_of_trees, "is not one that titanic fit makes"),
    "no trees a round": (BOOSTING, with_attribute("GradientBoostingClassifier", "n_trees_per_iteration_", 0), "is not"),
    "another start": (BOOSTING, with_attribute("GradientBoostingClassifier", "init_", "zero"), "is not one that"),
    "an object in an array": (BOOSTING, an_object_in_an_array, "an array holds objects"),
    "a position beyond the end": (BOOSTING, of_twister("pos", 625), "source of random numbers has another state"),
    "a position before the start": (BOOSTING, of_twister("pos", -1), "source of random numbers has another state"),
    "another source": (BOOSTING, of_twister("bit_generator", "PCG64"), "source of random numbers has another state"),
    "a large pool": (HISTOGRAM, of_generator("seed_seq", "pool_size", 2**40), "source of random numbers has another"),
    "no generator": (HISTOGRAM, of_generator("bit_generator", "bit_generator", "seed"), "source of random numbers"),
    "another function": (OF_CATEGORIES, another_function, "types that are not ours to trust"),
    "another option": (OF_CATEGORIES, of_check("ensure_all_finite", leaf(True)), "in a way that scikit-learn does not"),
    "fewer columns than categories": (SPARSE, of_fitted_one_hot("_n_features_outs", fewer_columns), "is not one that"),
    "threads": ("votes", with_attribute("LogisticRegression", "n_jobs", 10**6), "is not one that titanic fit makes"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_compiled_code_would_follow_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame, harm: str
) -> None:
    name, change, told = HARMS[harm]
    substitute(monkeypatch, PIPELINES[name])
    archive = Archive(Model().fit(passengers))
    change(archive)
    assert told in refused(tmp_path, archive)


def test_categories_that_do_not_rise_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    """Numbers are searched by halves, which may end beyond the last."""
    numbers = ColumnTransformer([("class", OneHotEncoder(handle_unknown="ignore"), ["Pclass"])])
    substitute(monkeypatch, ending_with(LogisticRegression, lambda: numbers))
    archive = Archive(Model().fit(passengers))
    node = next(
        each["content"]["content"]["categories_"]["content"][0]
        for each in archive.things("ObjectNode")
        if each["__class__"] == "OneHotEncoder" and "categories_" in each["content"]["content"]
    )
    archive.put(node, archive.array(node)[::-1].copy())
    assert "is not one that titanic fit makes" in refused(tmp_path, archive)


@pytest.mark.parametrize(("name", "asked"), [("random forest", False), ("naive Bayes", True)])
def test_skops_is_asked_for_types_only_that_are_not_well_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame, name: str, asked: bool
) -> None:
    substitute(monkeypatch, PIPELINES[name])
    path = tmp_path / "model.skops"
    Model().fit(passengers).save(path)
    code = (
        "import sys; from titanic_batch.models.artifact import read_artifact; "
        "from titanic_batch.models.audit import audit; audit(read_artifact(sys.argv[1]).content, ()); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ("skops.io" in done.stdout.split(), "sklearn" in done.stdout.split()) == (asked, asked)
