"""Whether what is in a fitted pipeline fits together, where scikit-learn relies on it without looking.

An audit knows that each tree stays within its own bounds. Here is what only the objects around it tell: that a tree
tests no feature beyond those that it is given, that encoders fill no column beyond their last, and that nothing starts
processes of its own or prints. A pipeline that its file changed may still predict anything; it does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier, _SigmoidCalibration
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import MissingIndicator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

_TREES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier)
_TREE_OF = {RandomForestClassifier: DecisionTreeClassifier, ExtraTreesClassifier: ExtraTreeClassifier}
_NEVER_FREE = frozenset({"n_jobs", "random_state", "verbose"})
# What scikit-learn's own estimators make for themselves when they are fitted; a pipeline need not name them.
_MADE_IN_A_FIT = frozenset(
    {*_TREES, ColumnTransformer, DummyClassifier, FunctionTransformer, IsotonicRegression, LabelBinarizer, LabelEncoder,
     LogisticRegression, MissingIndicator, OneHotEncoder, OrdinalEncoder, _BinMapper, _SigmoidCalibration}
)  # fmt: skip


def has_structure_of(pipeline: Pipeline, unfitted: Pipeline) -> bool:
    """Return whether a fitted pipeline has the steps and parameters of an unfitted one.

    Those of the classifier may have other values, but for the seed and for what starts threads or prints.
    """
    if _parameters(pipeline, pipeline.steps[-1][0]) != _parameters(unfitted, unfitted.steps[-1][0]):
        return False
    known = {type(part) for part in parts_of(unfitted)} | _MADE_IN_A_FIT
    allowed = {name: {None, 0} | _values(unfitted, name) for name in ("n_jobs", "verbose")}
    return all(
        type(part) in known and all(_hashable(vars(part).get(name)) in values for name, values in allowed.items())
        for part in parts_of(pipeline)
        if isinstance(part, BaseEstimator)
    ) and all(_are_columns_as_given(part) for part in parts_of(pipeline) if isinstance(part, ColumnTransformer))


def is_sound(pipeline: Pipeline) -> bool:
    """Return whether all that scikit-learn relies on without looking fits together.

    Raises
    ------
    AttributeError, LookupError, TypeError, ValueError
        It does not.
    """
    return all(
        check(part)
        for part in parts_of(pipeline)
        for kind, (needed, check) in _CHECKS.items()
        if isinstance(part, kind) and needed in vars(part)
    )


def _is_calibrated(classifier: Any) -> bool:
    return all(type(each) is _CalibratedClassifier for each in classifier.calibrated_classifiers_)


def _is_tree(tree: Any) -> bool:
    inner = tree.tree_
    classes = 1 if isinstance(tree, DecisionTreeRegressor) else len(tree.classes_)
    return bool(
        tree.n_outputs_ == inner.n_outputs == 1
        and inner.n_features == tree.n_features_in_
        and inner.max_n_classes == classes
        and (classes == 1 or tree.n_classes_ == classes)
    )


def _is_forest(forest: Any) -> bool:
    """Return whether the trees, which are given the input as it is, are made for it."""
    trees, kind = forest.estimators_, _TREE_OF[type(forest)]
    sizes = (forest.n_classes_, len(forest.classes_), forest.n_features_in_)
    return (
        isinstance(trees, list)
        and len(trees) == forest.n_estimators
        and forest.n_outputs_ == 1
        and all(
            type(tree) is kind and (tree.n_classes_, len(tree.classes_), tree.n_features_in_) == sizes for tree in trees
        )
    )


def _is_gradient_boosting(boosting: Any) -> bool:
    trees, start = boosting.estimators_, boosting.init_
    if boosting.init is None:
        is_start = type(start) is DummyClassifier and start.n_outputs_ == 1
    else:
        is_start = boosting.init == start == "zero"
    return bool(
        is_start
        and isinstance(trees, np.ndarray)
        and trees.ndim == 2
        and trees.shape[1] == boosting.n_trees_per_iteration_ == 1
        and all(type(tree) is DecisionTreeRegressor for tree in trees.ravel())
        and all(tree.n_features_in_ == boosting.n_features_in_ for tree in trees.ravel())
    )


def _is_histogram_boosting(boosting: Any) -> bool:
    n_features, bins, rounds = boosting.n_features_in_, boosting._bin_mapper, boosting._predictors
    categorical = bins.is_categorical_
    return bool(
        not getattr(boosting, "_in_fit", False)
        and type(n_features) is int
        and type(bins) is _BinMapper
        and isinstance(categorical, np.ndarray)
        and (categorical.dtype.kind, categorical.shape) in (("u", (n_features,)), ("b", (n_features,)))
        and len(bins.bin_thresholds_) == n_features
        and boosting.n_trees_per_iteration_ == 1
        and isinstance(rounds, list)
        and all(len(trees) == 1 and type(trees[0]) is TreePredictor for trees in rounds)
        and all(_stays_within(trees[0].nodes, categorical != 0) for trees in rounds)
        and (boosting._preprocessor is None or _keeps_width(boosting._preprocessor, n_features))
    )


def _stays_within(nodes: Any, categorical: Any) -> bool:
    inner = nodes[nodes["is_leaf"] == 0]
    features, by_set = inner["feature_idx"], inner["is_categorical"] != 0
    return bool((features < len(categorical)).all() and categorical[features[by_set]].all())


def _keeps_width(encoder: Any, n_features: int) -> bool:
    """Return whether what prepares columns for a histogram's boosting returns as many as it is given."""
    steps = [step for step in encoder.transformers_ if step[0] != "remainder"]
    if type(encoder) is not ColumnTransformer or len(steps) != 2 or encoder.n_features_in_ != n_features:
        return False
    (_, coder, coded), (_, check, others) = steps
    masks = np.asarray(coded), np.asarray(others)
    places = encoder._transformer_to_input_indices
    return bool(
        type(coder) is OrdinalEncoder
        and type(check) is FunctionTransformer
        and all(mask.dtype == bool and mask.shape == (n_features,) for mask in masks)
        and (masks[0] ^ masks[1]).all()
        and all(
            list(places[name]) == np.flatnonzero(mask).tolist() for (name, *_), mask in zip(steps, masks, strict=True)
        )
    )


def _is_one_hot(encoder: Any) -> bool:
    """Return whether each category has a column of its own: one beyond the last would be written into other memory."""
    if not all(_are_categories(each) for each in encoder.categories_):
        return False
    if encoder._infrequent_enabled and not all(
        _is_grouping(len(each), rare, codes)
        for each, rare, codes in zip(
            encoder.categories_, encoder._infrequent_indices, encoder._default_to_infrequent_mappings, strict=True
        )
    ):
        return False
    again = OneHotEncoder(**encoder.get_params())
    vars(again).update({name: vars(encoder)[name] for name in vars(encoder) if name in _FITTED_OF_ONE_HOT})
    again._set_drop_idx()
    widths = again._compute_n_features_outs()
    dropped, expected = encoder._drop_idx_after_grouping, again._drop_idx_after_grouping
    return bool(
        [int(width) for width in encoder._n_features_outs] == widths
        and (dropped is None) == (expected is None)
        and (dropped is None or dropped.tolist() == expected.tolist())
    )


_FITTED_OF_ONE_HOT = frozenset(
    {"categories_", "_infrequent_enabled", "_infrequent_indices", "_default_to_infrequent_mappings"}
)


def _are_categories(categories: Any) -> bool:
    """Return whether categories are texts, or rise, a missing one being the last: they are searched by halves."""
    if not isinstance(categories, np.ndarray) or categories.ndim != 1:
        return False
    values = categories.tolist()
    while values and (values[-1] is None or values[-1] != values[-1]):
        values.pop()
    if all(isinstance(value, str) for value in values):
        return categories.dtype.kind in "OU"
    return all(one < other for one, other in pairwise(values))


def _is_grouping(count: int, rare: Any, codes: Any) -> bool:
    """Return whether codes number the frequent ones of some categories, and give all rare ones the next number."""
    if rare is None or codes is None:
        return rare is codes is None
    expected = np.full(count, count - len(rare))
    frequent = np.setdiff1d(np.arange(count), rare)
    expected[frequent] = np.arange(len(frequent))
    return np.array_equal(codes, expected) and bool((np.diff(rare) > 0).all())


# By kind, the attribute without which no input is followed through, and what must hold where it is there.
_CHECKS: Mapping[Any, tuple[str, Callable[[Any], bool]]] = {
    CalibratedClassifierCV: ("calibrated_classifiers_", _is_calibrated),
    _TREES: ("tree_", _is_tree),
    tuple(_TREE_OF): ("estimators_", _is_forest),
    GradientBoostingClassifier: ("estimators_", _is_gradient_boosting),
    HistGradientBoostingClassifier: ("_predictors", _is_histogram_boosting),
    OneHotEncoder: ("categories_", _is_one_hot),
}


def _are_columns_as_given(transformer: Any) -> bool:
    """Return whether the fitted transformers are of the kinds, and for the columns, of those that were given."""
    given: dict[str, tuple[Any, Any]] = {"remainder": (transformer.remainder, None)}
    given |= {name: (kind, columns) for name, kind, columns in transformer.transformers}
    for name, fitted, columns in getattr(transformer, "transformers_", ()):
        if name not in given:
            return False
        kind, expected = given.pop(name)
        if expected is not None and not callable(expected) and _described(columns) != _described(expected):
            return False
        if kind == "passthrough":
            if type(fitted) is not FunctionTransformer or (fitted.func, fitted.inverse_func) != (None, None):
                return False
        elif _parameters(fitted) != _parameters(kind):
            return False
    return given.keys() <= {"remainder"} or not hasattr(transformer, "transformers_")


def parts_of(root: Any) -> Iterator[Any]:
    """Yield the objects in a pipeline, at any depth, each once: its parameters and what it was fitted with."""
    todo, seen = [root], set()
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple | set):
            todo += part
        elif isinstance(part, dict):
            todo += part.values()
        elif isinstance(part, np.ndarray):
            todo += part.ravel().tolist() if part.dtype == object else ()
        elif hasattr(part, "__dict__") and not isinstance(part, type):
            yield part
            todo += vars(part).values()


def _values(unfitted: Pipeline, name: str) -> set[Any]:
    """Return the values that parameters of a name have, at any depth."""
    return {
        _hashable(value)
        for full, value in unfitted.get_params().items()
        if full.rpartition("__")[2] == name
    }  # fmt: skip


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else repr(value)


def _parameters(estimator: Any, free: str | None = None) -> Any:
    """Return the type of an estimator, and all parameters at any depth, in a form that can be compared.

    Of the step called ``free``, plain values are left out.
    """
    if not isinstance(estimator, BaseEstimator):
        return _described(estimator)
    return _described(type(estimator)), {
        name: _described(value)
        for name, value in estimator.get_params().items()
        if not (name.startswith(f"{free}__") and name.rpartition("__")[2] not in _NEVER_FREE and _is_plain(value))
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | dict | np.generic)


def _described(value: Any) -> Any:
    """Return a value in a form that can be compared: of an estimator its type, since its parameters have names too."""
    if isinstance(value, BaseEstimator):
        return _described(type(value))
    if isinstance(value, make_column_selector):
        return _described(type(value)), _described(vars(value))
    if isinstance(value, list | tuple):
        return type(value).__name__, [_described(each) for each in value]
    if isinstance(value, dict):
        return [(_described(key), _described(each)) for key, each in value.items()]
    if isinstance(value, np.ndarray):
        return value.dtype.str, _described(value.tolist())
    if isinstance(value, type) or callable(value):
        return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value))}"
    if value is None or isinstance(value, bool | int | float | str | slice | np.generic):
        return repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"
