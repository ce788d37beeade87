"""What the soak holds against a server. It takes minutes, and the machine for itself: ``.ci/run`` has it run."""

from __future__ import annotations

import pytest

from tests import hostile_requests, probes
from tests.hostile_requests import HostileRequest, Reply

MALFORMED = HostileRequest("malformed", b"", (400,), closes=True)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply([400], "end"), None),
        (Reply([400], "reset"), None),
        (Reply([400], "open"), "the connection is left open"),
        (Reply([200], "end"), "answered with 200, not 400"),
        (Reply([], "end"), "answered with None, not 400"),
        (Reply([400, 200], "end"), "answered 2 times, not 1"),
        (Reply([400, 500], "end"), "answered with [400, 500]"),
    ],
)
def test_replies_to_malformed_requests_are_judged(reply: Reply, what: str | None) -> None:
    assert hostile_requests.amiss(MALFORMED, reply) == what


def test_figures_of_probes() -> None:
    assert probes.figures([2.0] + [0.5] * 1997 + [1.0] * 2) == {"count": 2000, "p999": 1.0, "max": 2.0}
