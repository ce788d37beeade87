"""SeenKeys against a plain set, and how little memory it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from titanic_batch.checking.keys import SeenKeys

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

dense = st.tuples(st.integers(-100_000, 100_000), st.integers(0, 30_000)).map(
    lambda pair: list(range(pair[0], sum(pair)))
)
sparse = st.lists(st.integers(INT_MIN, INT_MAX) | st.integers(-20, 20), max_size=30)
edges = st.lists(
    st.sampled_from([INT_MIN, INT_MIN + 1, -65_537, -65_536, -1, 0, 1, 65_535, 65_536, INT_MAX - 1, INT_MAX])
)


def array(keys: list[int]) -> NDArray[np.int64]:
    return np.array(keys, dtype=np.int64)


def check(batches: list[list[int]]) -> None:
    """Add batches to `SeenKeys` and to a set, and compare all answers."""
    seen, plain = SeenKeys(), set[int]()
    for batch in batches:
        expected = []
        for key in batch:
            expected.append(key in plain)
            plain.add(key)
        keys = array(batch)
        before = keys.copy()
        found = seen.add(keys)
        assert found.dtype == np.bool_
        assert found.tolist() == expected
        np.testing.assert_array_equal(keys, before)


def bytes_of(seen: SeenKeys) -> int:
    """Return the bytes of all arrays that a set holds."""
    held: dict[int, int] = {}

    def find(value: object) -> None:
        if isinstance(value, np.ndarray):
            assert value.base is None, "a view holds on to its whole base"
            held[id(value)] = value.nbytes
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
            find(part)

    find(vars(seen))
    return sum(held.values())


@given(st.lists(sparse | edges, max_size=8))
@example([[INT_MAX - 1, INT_MAX], [INT_MIN, INT_MIN + 1], [INT_MAX - 2, INT_MAX - 1]])
@example([[INT_MAX, INT_MIN, INT_MAX], [INT_MIN, 0, -1, INT_MAX]])
@example([[], [1], [], [1]])
def test_sparse_keys_are_told_as_by_a_set(batches: list[list[int]]) -> None:
    check(batches)


@settings(max_examples=40)
@given(st.lists(dense | sparse, max_size=5), st.integers(0, 9))
def test_dense_keys_in_any_order_are_told_as_by_a_set(batches: list[list[int]], seed: int) -> None:
    shuffled = [np.random.default_rng(seed).permutation(array(batch)).tolist() for batch in batches[::2]]
    check([*batches[1::2], *shuffled])


def test_keys_that_fill_a_page_little_by_little() -> None:
    """The keys of one page come in many batches, among others, and each of them again."""
    numbers = np.random.default_rng(1)
    page = numbers.permutation(2**16)
    batches = [[*map(int, part), int(part[0]), INT_MAX - int(part[1])] for part in page.reshape(-1, 512)]
    check([*batches, *batches[::-1]])


def test_page_next_to_older_keys_of_the_same_page() -> None:
    first = list(range(0, 2**16, 8))[:8_000]
    far = [10**12 + 10**6 * key for key in range(30_000)]
    check([far, first, list(range(2**16)), first, far])


@pytest.mark.parametrize("batch", [1_000, 100_000])
def test_keys_without_gaps_take_no_room(batch: int) -> None:
    seen = SeenKeys()
    count = 2_000_000 if batch > 1_000 else 500_000
    for start in range(1, count, batch):
        assert not seen.add(np.arange(start, start + batch)).any()
        assert bytes_of(seen) <= 4 * 2**16
    assert seen.add(np.arange(1, count + 1)).all()
    assert not seen.add(array([0, count + 1])).any()
    assert bytes_of(seen) <= 4 * 2**16


def test_keys_with_few_gaps_take_a_byte_each() -> None:
    seen = SeenKeys()
    keys = np.arange(0, 1_000_000)
    keys = keys[keys % 1_000 != 7]
    for part in np.array_split(keys, 17):
        assert not seen.add(part).any()
    assert bytes_of(seen) <= 1.2 * len(keys)
    assert np.array_equal(seen.add(np.arange(0, 1_000_000)), np.arange(0, 1_000_000) % 1_000 != 7)
    assert bytes_of(seen) <= 2 * 2**16


@pytest.mark.parametrize("high", [INT_MAX, 2**32, 2**24], ids=["spread", "32 bits", "one in 16"])
def test_random_keys_take_at_most_eight_bytes_each(high: int) -> None:
    numbers = np.random.default_rng(1)
    seen = SeenKeys()
    distinct = set[int]()
    for _ in range(10):
        keys = numbers.integers(-high, high, 50_000)
        before = len(distinct)
        distinct.update(keys.tolist())
        assert seen.add(keys).sum() == len(keys) - (len(distinct) - before)
        assert bytes_of(seen) <= 8 * len(distinct)


def test_key_that_comes_again_takes_no_more_room() -> None:
    seen = SeenKeys()
    keys = np.random.default_rng(1).integers(INT_MIN, INT_MAX, 10_000)
    seen.add(keys)
    size = bytes_of(seen)
    for _ in range(5):
        assert seen.add(keys).all()
    assert bytes_of(seen) == size


def test_keys_may_be_changed_after_they_were_added() -> None:
    seen = SeenKeys()
    keys = np.arange(10)
    answer = seen.add(keys)
    keys += 100
    answer[:] = True
    assert seen.add(np.arange(10)).all()
    assert not seen.add(np.arange(100, 110)).any()


def test_answers_keep_the_order_of_the_keys() -> None:
    seen = SeenKeys()
    assert seen.add(array([5, 3, 5, 4, 3, 5])).tolist() == [False, False, True, False, True, True]
    assert seen.add(array([9, 4, 1, 9, 3])).tolist() == [False, True, False, True, True]
