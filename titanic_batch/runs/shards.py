"""One of several machines' part of many files: disjoint, complete, and about as large as each other part."""

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
MAX_COUNT = 100_000  # as many as an Indexed Job has at most

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index`` of ``count``, from 0 on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """Return the shard that ``I/N`` stands for, or that the environment gives for ``auto``.

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

        One by one, the largest first, they go to whoever has least, so that two parts differ by no more than one item.
        The same items and sizes give the same parts on every machine.
        """
        loads = [(0, 0, index) for index in range(min(self.count, len(items)))]  # all others get none
        mine = []
        for place in sorted(range(len(items)), key=lambda place: (-sizes[place], place)):
            size, number, index = heapq.heappop(loads)
            # Items without a size count too, or one shard would get all of them.
            heapq.heappush(loads, (size + sizes[place], number + 1, index))
            if index == self.index:
                mine.append(place)
        return [items[place] for place in sorted(mine)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
