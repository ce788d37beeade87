"""Shards share out the files: each to one, all of them, in about equal parts, alike on every machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titanic_batch.errors import UsageError
from titanic_batch.runs.shards import Shard


@given(sizes=st.lists(st.integers(0, 10**12), max_size=60), count=st.integers(1, 9))
def test_parts_are_disjoint_complete_and_balanced(sizes: list[int], count: int) -> None:
    items = list(range(len(sizes)))
    parts = [Shard(index, count).of(items, sizes) for index in range(count)]
    assert sorted(item for part in parts for item in part) == items
    assert all(part == sorted(part) for part in parts), "in the order of the input"
    loads = [sum(sizes[item] for item in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes, default=0)
    assert parts == [Shard(index, count).of(items, sizes) for index in range(count)]


def test_the_largest_file_is_as_much_as_all_others() -> None:
    assert [Shard(index, 2).of("abcd", [10, 40, 20, 10]) for index in (0, 1)] == [["b"], ["a", "c", "d"]]


def test_empty_files_are_shared_out_too() -> None:
    assert [len(Shard(index, 3).of("abcdef", [0] * 6)) for index in range(3)] == [2, 2, 2]


def test_more_shards_than_files_leave_some_without() -> None:
    assert [Shard(index, 3).of("a", [1]) for index in range(3)] == [["a"], [], []]
    assert [Shard(index, 100_000).of("abc", [0, 7, 0]) for index in (0, 1, 2, 3, 99_999)] == [
        ["b"],
        ["a"],
        ["c"],
        [],
        [],
    ]
    assert Shard(0, 2).of("", []) == []


def test_a_shard_is_what_was_named_or_what_kubernetes_says() -> None:
    assert Shard.parse("0/1", {}) == Shard(0, 1)
    environment = {"JOB_COMPLETION_INDEX": "2", "TITANIC_SHARD_COUNT": "4"}
    assert Shard.parse("auto", environment) == Shard(2, 4)
    assert Shard.parse("1/3", environment) == Shard(1, 3)
    assert str(Shard(1, 3)) == "1/3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "3/3",
        "4/3",
        "-1/3",
        "1/-3",
        "0/0",
        "a/b",
        "1/3 ",
        "1.0/3",
        "٣/٤",
        "AUTO",
        "0/100001",
        "0/999999999",
        "0/9999999999",
    ],
)
def test_what_is_no_shard_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="it is I/N, I from 0 to N-1, N at most 100000"):
        Shard.parse(text, {})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "needs JOB_COMPLETION_INDEX and TITANIC_SHARD_COUNT in the environment"),
        ({"JOB_COMPLETION_INDEX": "1"}, "needs TITANIC_SHARD_COUNT in"),
        ({"JOB_COMPLETION_INDEX": "4", "TITANIC_SHARD_COUNT": "4"}, "4/4"),
        ({"JOB_COMPLETION_INDEX": "4", "TITANIC_SHARD_COUNT": "100001"}, "4/100001"),
    ],
)
def test_an_environment_that_names_no_shard_is_wrong_usage(environment: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Shard.parse("auto", environment)
