"""Split many files between several machines, into disjoint and complete parts of about the same size."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from titanic_batch.errors import UsageError

AUTO = "auto"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in the pods of an Indexed Job
COUNT_VARIABLE = "TITANIC_SHARD_COUNT"
MAX_COUNT = 100_000  # the limit of an Indexed Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index`` of ``count``, counted from 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """Parse ``I/N``, or take the shard from the environment if the text is ``auto``.

        Raises
        ------
        UsageError
        """
        given, name = text, f"--shard {text}"
        if text == AUTO:
            if missing := [name for name in (INDEX_VARIABLE, COUNT_VARIABLE) if name not in environment]:
                raise UsageError(f"--shard auto needs {' and '.join(missing)} in the environment: set it, or give I/N.")
            given = f"{environment[INDEX_VARIABLE]}/{environment[COUNT_VARIABLE]}"
            name = f"--shard auto ({INDEX_VARIABLE}/{COUNT_VARIABLE} {given})"
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given, re.ASCII)
        if match is None or not int(match[1]) < int(match[2]) <= MAX_COUNT:
            raise UsageError(f"{name} is no shard: it is I/N, I from 0 to N-1, N at most {MAX_COUNT}.")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[T], sizes: Sequence[int]) -> list[T]:
        """Return this shard's part of ``items``, in their order.

        Items are assigned in order of decreasing size, each to the shard with the smallest total so far, so that two
        shards differ by at most one item. The same items and sizes result in the same parts on every machine.
        """
        loads = [(0, 0, index) for index in range(min(self.count, len(items)))]  # the other shards get no items
        mine = []
        for place in sorted(range(len(items)), key=lambda place: (-sizes[place], place)):
            size, number, index = heapq.heappop(loads)
            # Count items as well, or one shard would get all items of size 0.
            heapq.heappush(loads, (size + sizes[place], number + 1, index))
            if index == self.index:
                mine.append(place)
        return [items[place] for place in sorted(mine)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
