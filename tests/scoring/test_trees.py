"""Trees as arrays give the bits that ``RandomForestClassifier.predict_proba`` gives, whatever forest and rows."""

from __future__ import annotations

import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from titanic_batch.scoring import trees
from titanic_batch.scoring.trees import TreeEnsemble

N_FEATURES = 3
FLOAT32 = np.finfo(np.float32)
LARGEST, LEAST = float(FLOAT32.max), float(FLOAT32.smallest_subnormal)
WEIGHTS = [{0: 1, 1: 7.3}, {0: 0.3}, {0: 0.001, 1: 1000}]
ABSURD = [LARGEST, -LARGEST, LEAST, -LEAST, float(FLOAT32.tiny), 0.0, -0.0]


def ensemble_of(forest: RandomForestClassifier) -> TreeEnsemble:
    states = [tree.tree_.__getstate__() for tree in forest.estimators_]
    return TreeEnsemble([state["nodes"] for state in states], [state["values"] for state in states])


def expected(forest: RandomForestClassifier, X: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # scikit-learn adds all values up, to see whether one is not finite
        probabilities: NDArray[np.float64] = forest.predict_proba(X)
    return probabilities


def check_same(forest: RandomForestClassifier, X: NDArray[Any]) -> None:
    """Check that the bits are those of the forest, and that rows are left as they were."""
    before = X.copy()
    found = ensemble_of(forest)(X)
    assert (found.dtype.str, found.shape) == ("<f8", (len(X), len(forest.classes_)))
    assert found.tobytes() == expected(forest, X).tobytes()
    assert X.tobytes() == before.tobytes()


def rows_around(forest: RandomForestClassifier, chance: np.random.Generator) -> NDArray[np.float64]:
    """Return rows of thresholds: as they are, as the float32 next to them, and as numbers between both."""
    thresholds = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in forest.estimators_])
    thresholds = np.append(thresholds[np.isfinite(thresholds)], ABSURD)
    near = thresholds.astype(np.float32)
    limits = (-LARGEST, LARGEST)
    below, above = (np.clip(np.nextafter(near, limit), *limits) for limit in limits)
    numbers = np.concatenate([thresholds, near, below, above, (thresholds + below) / 2, (thresholds + above) / 2])
    numbers = np.concatenate([numbers, [np.nextafter(each, end) for each in thresholds for end in (-1e9, 1e9)]])
    return numbers[chance.integers(0, len(numbers), (400, N_FEATURES))]


def fitted(seed: int) -> tuple[RandomForestClassifier, NDArray[np.float64], bool]:
    """Return a forest of any parameters, the rows that it was fitted on, and whether some of their values miss."""
    choose, chance = random.Random(seed), np.random.default_rng(seed)
    bootstrap = choose.random() < 0.7
    forest = RandomForestClassifier(
        n_estimators=choose.choice([1, 2, 5, 20]),
        criterion=choose.choice(["gini", "entropy", "log_loss"]),
        max_depth=choose.choice([1, 2, 6, 30, None, None]),
        max_features=choose.choice(["sqrt", None, 1, 0.5]),
        min_samples_leaf=choose.choice([1] * 6 + [4, 0.2, 10_000]),
        max_leaf_nodes=choose.choice([None, None, None, 5]),
        min_impurity_decrease=choose.choice([0] * 8 + [0.01]),
        ccp_alpha=choose.choice([0] * 8 + [0.01]),
        class_weight=choose.choice([None, None, None, "balanced", "balanced_subsample", *WEIGHTS]),
        bootstrap=bootstrap,
        max_samples=choose.choice([None, None, None, 0.3, 5, 1]) if bootstrap else None,
        random_state=seed,
    )
    count = choose.choice([4, 30, 200, 200, 200])
    match choose.choice(["normal", "normal", "whole", "repeated", "absurd", "tiny"]):
        case "normal":
            X = chance.normal(size=(count, N_FEATURES))
        case "whole":
            X = chance.integers(-3, 9, (count, N_FEATURES)).astype(np.float64)
        case "repeated":
            X = chance.choice([0.1, 0.2, 0.30000000000000004, 1 / 3], (count, N_FEATURES))
        case "absurd":
            X = chance.choice([*ABSURD, 1.0, 1e30], (count, N_FEATURES))
        case _:
            X = chance.choice(LEAST * np.arange(9), (count, N_FEATURES))
    misses = choose.random() < 0.5
    if misses:
        X[chance.random(X.shape) < choose.choice([0.05, 0.5])] = np.nan
    y = chance.integers(0, 2, count)  # nothing to learn makes trees deep
    y[:2] = 0, 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows, and of weights that are nothing in the end
        return forest.fit(X, y), X, misses


def check_forest(seed: int) -> None:
    """Check a forest on the rows that it was fitted on, around its thresholds, one by one, and where all is missing."""
    forest, X, _ = fitted(seed)
    near = rows_around(forest, np.random.default_rng(seed))
    for rows in (X, near, X[:1], near[:1], near[:2]):
        check_same(forest, rows)
    holes = near.copy()
    holes[np.random.default_rng(seed).random(holes.shape) < 0.3] = np.nan
    if can_predict_missing(forest):
        check_same(forest, holes)
        check_same(forest, np.full((3, N_FEATURES), np.nan))


def can_predict_missing(forest: RandomForestClassifier) -> bool:
    """Tell whether scikit-learn takes missing values, also those that only come to be predicted."""
    try:
        expected(forest, np.full((1, N_FEATURES), np.nan))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(30))
def test_any_forest_has_the_same_bits(seed: int) -> None:
    check_forest(seed)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(6))
def test_hundreds_of_forests_have_the_same_bits(hundred: int) -> None:
    for seed in range(1_000 + 100 * hundred, 1_100 + 100 * hundred):
        check_forest(seed)


def test_the_forests_are_of_all_kinds() -> None:
    """There are leaves at the root, and rows that some trees lead to the right where a value is missing."""
    forests = [fitted(seed)[0] for seed in range(30)]
    every = [tree.tree_ for forest in forests for tree in forest.estimators_]
    assert any(tree.node_count == 1 for tree in every)
    assert max(tree.max_depth for tree in every) > 8
    assert {1, 0} <= {int(each) for tree in every for each in tree.missing_go_to_left}
    assert any(np.isinf(tree.threshold).any() for tree in every), "of values that are missing against all others"
    assert any(can_predict_missing(forest) for forest in forests)


# Single rows and values


@cache
def usual() -> RandomForestClassifier:
    chance = np.random.default_rng(7)
    X = chance.integers(-2, 9, (500, N_FEATURES)).astype(np.float64)
    X[chance.random(X.shape) < 0.1] = np.nan
    y = (np.nan_to_num(X).sum(axis=1) + chance.normal(size=500) > 6).astype(int)
    return RandomForestClassifier(10, random_state=1).fit(X, y)


@cache
def usual_ensemble() -> TreeEnsemble:
    return ensemble_of(usual())


NUMBERS = st.floats(width=32, allow_infinity=False) | st.integers(-8, 40).map(lambda n: n / 4) | st.sampled_from(ABSURD)


@settings(max_examples=200)
@given(st.lists(st.tuples(*[NUMBERS] * N_FEATURES), min_size=1, max_size=5))
def test_any_rows_have_the_same_bits(rows: list[tuple[float, ...]]) -> None:
    X = np.array(rows)
    assert usual_ensemble()(X).tobytes() == expected(usual(), X).tobytes()


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.int64, np.uint8, np.float32, np.float64, ">f8", "<f4", np.bool_]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_any_type_and_order_have_the_same_bits(dtype: Any, order: Any) -> None:
    X = np.random.default_rng(3).integers(0, 9, (200, N_FEATURES)).astype(dtype, order=order)
    check_same(usual(), X)
    check_same(usual(), X[::3])
    check_same(usual(), X[::-1])
    X.flags.writeable = False
    check_same(usual(), X)


def test_no_rows_have_no_probabilities() -> None:
    for dtype in (np.int8, np.float64):
        found = usual_ensemble()(np.empty((0, N_FEATURES), dtype))
        assert (found.dtype.str, found.shape) == ("<f8", (0, 2))


def test_probabilities_are_a_new_array() -> None:
    X = np.zeros((2, N_FEATURES))
    first = usual_ensemble()(X)
    before = first.copy()
    first[:] = 7
    assert usual_ensemble()(X).tobytes() == before.tobytes()


def test_values_that_only_come_to_be_predicted_are_missing_as_scikit_learn_has_it() -> None:
    X = np.array([[0.0] * 3] * 6 + [[1.0] * 3] * 3)
    for y in ([0] * 6 + [1] * 3, [0, 0, 0, 0, 0, 1, 1, 1, 1]):
        forest = RandomForestClassifier(5, random_state=1).fit(X, y)
        check_same(forest, np.array([[np.nan] * 3, [0.0, np.nan, 1.0], [np.nan, 1.0, 0.0], [1.0, 1.0, np.nan]]))


def test_missing_values_are_told_from_all_others_by_a_threshold_that_is_infinite() -> None:
    X = np.array([[np.nan] * 3, [1.0] * 3, [2.0] * 3, [LARGEST] * 3] * 5)
    forest = RandomForestClassifier(5, random_state=1).fit(X, [1, 0, 0, 0] * 5)
    assert any(np.isinf(tree.tree_.threshold).any() for tree in forest.estimators_)
    check_same(forest, np.array([[np.nan] * 3, [LARGEST] * 3, [-LARGEST] * 3, [0.0, np.nan, 0.0]]))


def test_trees_of_a_single_leaf_have_the_same_bits() -> None:
    X, y = np.arange(12.0).reshape(4, 3), [0, 1, 1, 1]
    for forest in (
        RandomForestClassifier(3, min_samples_leaf=1_000, random_state=1),
        RandomForestClassifier(3, max_samples=1, random_state=1),
        RandomForestClassifier(1, min_samples_leaf=1_000, bootstrap=False, class_weight={0: 1, 1: 1 / 3}),
    ):
        forest.fit(X, y)
        assert {tree.tree_.node_count for tree in forest.estimators_} == {1}
        check_same(forest, X)
        check_same(forest, np.full((2, 3), np.nan))


def test_more_classes_than_two_have_the_same_bits() -> None:
    X = np.random.default_rng(1).normal(size=(200, N_FEATURES))
    check_same(RandomForestClassifier(7, random_state=1).fit(X, np.arange(200) % 5), X)


# Many rows, and many trees


@pytest.mark.parametrize("cells", [1, 2, 9, 10, 11, 99, 100, 101, 1_000_000])
def test_rows_and_trees_that_are_led_together_have_the_same_bits(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(trees, "_CELLS", cells)
    check_same(usual(), np.random.default_rng(1).integers(-2, 9, (100, N_FEATURES)).astype(np.float64))


@pytest.mark.parametrize("rows", [trees._CELLS // 10, trees._CELLS - 1, trees._CELLS, trees._CELLS + 1])
def test_more_rows_than_are_led_at_a_time_have_the_same_bits(rows: int) -> None:
    X = np.random.default_rng(1).integers(-2, 40, (rows, N_FEATURES)) / 4
    X[::7, 1] = np.nan
    check_same(usual(), X)


@pytest.mark.slow
def test_very_many_rows_have_the_same_bits() -> None:
    X = np.random.default_rng(1).normal(size=(3 * 10**5, N_FEATURES)) * 5
    X[::7, 1] = np.nan
    check_same(usual(), X)


def test_threads_share_the_trees() -> None:
    X = np.random.default_rng(1).normal(size=(6_000, N_FEATURES)) * 5
    expected = usual().predict_proba(X)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda first: usual_ensemble()(X[first : first + 60]), range(0, 6_000, 60)))
        whole = list(pool.map(lambda _: usual_ensemble()(X).tobytes(), range(16)))
    assert np.concatenate(parts).tobytes() == expected.tobytes()
    assert set(whole) == {expected.tobytes()}


def test_the_arrays_of_the_trees_are_neither_kept_nor_changed() -> None:
    forest = usual()
    states = [tree.tree_.__getstate__() for tree in forest.estimators_]
    nodes = [state["nodes"].copy() for state in states]
    values = [state["values"].copy() for state in states]
    for array in (*nodes, *values):
        array.flags.writeable = False
    ensemble = TreeEnsemble(nodes, values)
    for array in nodes:
        array.flags.writeable = True
        array["threshold"] = 99
    X = np.random.default_rng(1).normal(size=(100, N_FEATURES)) * 5
    assert ensemble(X).tobytes() == forest.predict_proba(X).tobytes()
