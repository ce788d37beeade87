"""What connections hold: who has to give way when it is too much."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from titanic_batch.server.buffers import Unsent


@dataclass(eq=False)
class Client:
    """A client that got on some seconds ago."""

    seconds: float

    def __post_init__(self) -> None:
        self.progressed_at = time.monotonic() - self.seconds

    def give_up(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("stuck_seconds", "held", "gives_up"),
    [(20, 100, False), (20, 101, True), (0, 101, False), (0, 200, False), (0, 201, True)],
)
def test_the_client_that_is_stuck_for_longest_gives_way(stuck_seconds: float, held: int, gives_up: bool) -> None:
    unsent, stuck, other = Unsent(100), Client(stuck_seconds), Client(-1)
    unsent.hold(other, held - 10)
    unsent.hold(stuck, 10)
    assert unsent.to_give_up() is (stuck if gives_up else None)
