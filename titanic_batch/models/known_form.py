"""The form of the model files that are scored without scikit-learn: all is known in them but the trees.

An audited archive may still be a pipeline that scikit-learn refuses, or that means something else. So each attribute
must be what `Model.to_bytes` writes for a pipeline of `FEATURES` and a ``RandomForestClassifier``. The parameters of
the latter may be any that scikit-learn accepts; to predict takes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from titanic_batch.models.audit import Archive
from titanic_batch.models.described import DescribedArray, DescribedObject, DescribedTree, described
from titanic_batch.models.json_data import Check, JsonDataError, either, members, nullable, number, one_of, whole
from titanic_batch.models.manifest import Manifest
from titanic_batch.notebook.features import FEATURES
from titanic_batch.notebook.labels import CLASSES, EVENT_PLACE
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import LABELS
from titanic_batch.scoring.encoders import Bins, Categories, Encoder
from titanic_batch.scoring.plain import PlainPredictor
from titanic_batch.scoring.predictor import parts_of
from titanic_batch.scoring.trees import TreeEnsemble

_PIPELINE = "sklearn.pipeline.Pipeline"
_COLUMN_TRANSFORMER = "sklearn.compose._column_transformer.ColumnTransformer"
_FUNCTION_TRANSFORMER = "sklearn.preprocessing._function_transformer.FunctionTransformer"
_CLASSIFIER = "sklearn.ensemble._forest.RandomForestClassifier"
_TREE_CLASSIFIER = "sklearn.tree._classes.DecisionTreeClassifier"
_BIN_ENCODER = "titanic_batch.scoring.transformers.BinEncoder"
_CATEGORY_ENCODER = "titanic_batch.scoring.transformers.CategoryEncoder"

# Written by some of the versions of scikit-learn from 1.7 on, and of no effect.
_OF_SOME_VERSIONS = {"force_int_remainder_cols": "deprecated", "_sample_weight": None}
_NODE_TYPE = np.dtype(
    {
        "names": ["left_child", "right_child", "feature", "threshold", "impurity", "n_node_samples",
                  "weighted_n_node_samples", "missing_go_to_left"],
        "formats": ["<i8", "<i8", "<i8", "<f8", "<f8", "<i8", "<f8", "|u1"],
        "itemsize": 64,
    }
)  # fmt: skip


def _class_weights(value: Any, where: str) -> None:
    """Check that a value is weights by class. scikit-learn takes those of classes that there are not, too."""
    if not isinstance(value, dict) or not all(type(label) is type(LABELS[0]) for label in value):
        raise JsonDataError(where, "is no weights of classes")
    for weight in value.values():
        number(0)(weight, where)


def _share(high: float, value: Any, where: str) -> None:
    """Check that a value is a float above 0: scikit-learn takes whole numbers, also a 1, for counts."""
    if type(value) is not float or not 0 < value <= high or value == math.inf:
        raise JsonDataError(where, f"is no share up to {high}")


_MOST = 2**63 - 1  # what scikit-learn can count
_COUNT, _SHARE = whole(1, _MOST), partial(_share, 1)
_IN_A_TREE: dict[str, Check] = {
    "criterion": one_of("gini", "entropy", "log_loss"),
    "max_depth": nullable(_COUNT),
    "min_samples_split": either(whole(2, _MOST), _SHARE),
    "min_samples_leaf": either(_COUNT, partial(_share, math.nextafter(1, 0))),
    "min_weight_fraction_leaf": number(0, 0.5),
    "max_features": nullable(either(_COUNT, _SHARE, one_of("sqrt", "log2"))),
    "max_leaf_nodes": nullable(whole(2, _MOST)),
    "min_impurity_decrease": number(0),
    "ccp_alpha": number(0),
}
_OF_THE_ENSEMBLE: dict[str, Check] = {
    "bootstrap": one_of(True, False),
    "class_weight": nullable(either(one_of("balanced", "balanced_subsample"), _class_weights)),
    "max_samples": nullable(either(_COUNT, partial(_share, math.inf))),  # above 1 from scikit-learn 1.9 on
    "_n_samples": _COUNT,
    "_n_samples_bootstrap": nullable(_COUNT),
}
# What `RandomForestClassifier` gives to each of its trees, in its order.
_GIVEN_TO_TREES = ("criterion", "max_depth", "min_samples_split", "min_samples_leaf", "min_weight_fraction_leaf",
                   "max_features", "max_leaf_nodes", "min_impurity_decrease", "random_state", "ccp_alpha",
                   "monotonic_cst")  # fmt: skip
_UNFITTED_TREE = {
    "criterion": "gini", "splitter": "best", "max_depth": None, "min_samples_split": 2, "min_samples_leaf": 1,
    "min_weight_fraction_leaf": 0.0, "max_features": None, "max_leaf_nodes": None, "random_state": None,
    "min_impurity_decrease": 0.0, "class_weight": None, "ccp_alpha": 0.0, "monotonic_cst": None,
}  # fmt: skip


class OtherFormError(ValueError):
    """The archive is of another form than the known one."""


def plain_predictor(archive: Archive, manifest: Manifest) -> PlainPredictor:
    """Return what predicts as the pipeline in an archive does.

    Raises
    ------
    OtherFormError
        It is of another form.
    """
    try:
        trees = _trees(described(archive, but=_OF_SOME_VERSIONS), manifest)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise OtherFormError(str(error)) from None
    return PlainPredictor(CONTRACT.without_key, FEATURES, trees, EVENT_PLACE)


def _trees(pipeline: Any, manifest: Manifest) -> TreeEnsemble:
    """Check everything in the pipeline, and return its trees."""
    if not FEATURES:
        raise OtherFormError("the features are made in a way of their own")
    version = manifest.libraries["scikit-learn"]
    features = [name for name, _ in parts_of(FEATURES)]
    _require(manifest.features, features)
    classifier = pipeline.attributes["steps"][1][1].attributes
    classifiers = classifier.pop("estimators_")
    _require(type(classifiers), list)
    parameters = {name: classifier[name] for name in (*_IN_A_TREE, *_OF_THE_ENSEMBLE)}
    members(_IN_A_TREE | _OF_THE_ENSEMBLE)(parameters, "the classifier")
    if (weights := classifier.pop("_sample_weight", None)) is not None:  # those of the rows that it was fitted on
        _require(weights, DescribedArray("numpy.ndarray", "<f8", (parameters["_n_samples"],), weights.elements))
    fitted = {"n_features_in_": len(features), "n_outputs_": 1}
    tree = _object(_TREE_CLASSIFIER, _UNFITTED_TREE, version)
    ensemble = parameters | fitted | {
        "estimator": tree, "estimator_": tree, "estimator_params": _GIVEN_TO_TREES,
        "n_estimators": len(classifiers), "random_state": manifest.seed, "monotonic_cst": None,
        "n_jobs": None, "oob_score": False, "verbose": 0, "warm_start": False,
        "classes_": DescribedArray("numpy.ndarray", CLASSES.dtype.str, (2,), CLASSES.tolist()), "n_classes_": 2,
    }  # fmt: skip
    steps = [("features", _columns(version)), ("classifier", _object(_CLASSIFIER, ensemble, version))]
    others = {"transform_input": None, "memory": None, "verbose": False}
    _require(pipeline, _object(_PIPELINE, {"steps": steps, **others}, version))
    given = {name: parameters[name] for name in _IN_A_TREE}
    trees = [_tree(each, given | fitted, version) for each in classifiers]
    return TreeEnsemble([each.nodes for each in trees], [each.values for each in trees])


def _tree(classifier: Any, known: Mapping[str, Any], version: str) -> DescribedTree:
    tree: DescribedTree = classifier.attributes["tree_"]
    n_features = known["n_features_in_"]
    random_state, max_features = (classifier.attributes[name] for name in ("random_state", "max_features_"))
    whole(0, 2**31 - 1)(random_state, "a tree")
    whole(1, n_features)(max_features, "a tree")
    classes = {
        "classes_": DescribedArray("numpy.ndarray", "<f8", (2,), [0.0, 1.0]),
        "n_classes_": DescribedArray("numpy.int64", "<i8", (), [2]),
    }
    counts = DescribedArray("numpy.ndarray", "<i8", (1,), [2])
    fitted = {"random_state": random_state, "max_features_": max_features, **classes,
              "tree_": DescribedTree(n_features, counts, 1, tree.nodes, tree.values)}  # fmt: skip
    _require(classifier, _object(_TREE_CLASSIFIER, {**_UNFITTED_TREE, **known, **fitted}, version))
    if tree.nodes.dtype != _NODE_TYPE:
        raise OtherFormError("a tree has other nodes")
    return tree


def _columns(version: str) -> DescribedObject:
    """Return the fitted ``ColumnTransformer`` that `FEATURES` gives."""
    columns = CONTRACT.without_key
    places, first, unfitted, fitted = {}, 0, [], []
    outputs: dict[str, slice] = {}
    for name, encoder, names in FEATURES:
        unfitted.append((name, _unfitted(encoder), list(names)))
        fitted.append((name, _fitted(encoder, names, version), list(names)))
        places[name] = [columns.index(each) for each in names]
        outputs[name], first = slice(first, first + len(names)), first + len(names)
    left = [name for name in columns if not any(name in step.columns for step in FEATURES)]
    if left:
        raise OtherFormError("there are columns without a step")
    return _object(
        _COLUMN_TRANSFORMER,
        {
            "transformers": unfitted, "remainder": "drop", "sparse_threshold": 0.3, "n_jobs": None,
            "transformer_weights": None, "verbose": False, "verbose_feature_names_out": False,
            "_columns": [list(step.columns) for step in FEATURES], "_remainder": ("remainder", "drop", []),
            "_transformer_to_input_indices": places | {"remainder": []}, "sparse_output_": False,
            "transformers_": fitted, "output_indices_": outputs | {"remainder": slice(0, 0)}, **_seen(columns),
        },
        version,
    )  # fmt: skip


def _unfitted(encoder: Encoder) -> Any:
    match encoder:
        case Bins(edges, missing):
            return _object(_BIN_ENCODER, {"edges": edges, "missing": missing})
        case Categories(values, missing_value, first_letter):
            parameters = {"categories": values, "missing": missing_value, "first_letter": first_letter}
            return _object(_CATEGORY_ENCODER, parameters)
        case _:
            return "passthrough"


def _fitted(encoder: Encoder, names: Sequence[str], version: str) -> DescribedObject:
    unfitted = _unfitted(encoder)
    if isinstance(unfitted, DescribedObject):
        return _object(unfitted.name, unfitted.attributes | _seen(names))
    parameters = {"func": None, "inverse_func": None, "validate": False, "accept_sparse": True, "check_inverse": False,
                  "feature_names_out": "one-to-one", "kw_args": None, "inv_kw_args": None,
                  "_sklearn_output_config": {"transform": "default"}}  # fmt: skip
    return _object(_FUNCTION_TRANSFORMER, parameters | _seen(names), version)


def _seen(names: Sequence[str]) -> dict[str, Any]:
    return {"feature_names_in_": DescribedArray("numpy.ndarray", "object", (len(names),), list(names)),
            "n_features_in_": len(names)}  # fmt: skip


def _object(name: str, attributes: Mapping[str, Any], version: str | None = None) -> DescribedObject:
    of_scikit_learn = {} if version is None else {"_sklearn_version": version}
    return DescribedObject(name, dict(sorted({**attributes, **of_scikit_learn}.items())))


def _require(found: Any, expected: Any) -> None:
    if repr(found) != repr(expected):
        raise OtherFormError("an attribute has another value")
