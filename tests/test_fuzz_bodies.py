"""Changed bodies against a real server, and the fuzzer against answers that are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests import arrow_messages
from tests.fuzz_bodies import CONNECTIONS, KINDS, Body, Fuzzer, Kind, Original, amiss, mutated
from tests.hostile_bodies import arrow_stream
from tests.serving import Answer

KNOWN = {1: (1, 0, 0.25), 2: (2, 1, 0.75)}
ROWS = json.dumps(
    [{"PassengerId": key, "Survived": label, "Probability": p} for key, label, p in KNOWN.values()]
).encode()
PROBLEM = {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "no CSV."}


def answer(status: int, content: object, media_type: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {"content-type": media_type}, body)


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    fuzzer = Fuzzer(tmp_path_factory.mktemp("fuzzer"))
    yield fuzzer
    fuzzer.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_server_outlives_changed_bodies_and_answers_them(fuzzer: Fuzzer, kind: Kind) -> None:
    outcomes, findings = fuzzer.run(kind, 1_000, 300)
    assert not findings
    assert outcomes.total() == 300
    assert {"200", "400"} <= set(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_bodies_in_which_nothing_is_changed_are_answered_as_they_must_be(fuzzer: Fuzzer, kind: Kind) -> None:
    originals = kind.originals()

    def make(kind: Kind, seed: int) -> Body:
        content = originals[seed].content
        return Body(kind.packed(content), originals[seed])

    assert not fuzzer.run(kind, 0, len(originals), make)[1]


@pytest.mark.slow
def test_fuzzer_finds_a_server_that_dies_and_goes_on(fuzzer: Fuzzer) -> None:
    kind = KINDS["csv"]

    def make(kind: Kind, seed: int) -> Body:
        if seed == 3:
            fuzzer.kill_server()
        return Body(kind.originals()[0].content, kind.originals()[0])

    outcomes, findings = fuzzer.run(kind, 1, 5 * CONNECTIONS, make)
    assert [(finding.seed, finding.what) for finding in findings] == [(3, "the server is dead")]
    assert outcomes["200"] >= 4 * CONNECTIONS


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_seed_makes_the_same_body_again(kind: Kind) -> None:
    assert mutated(kind, 7) == mutated(kind, 7)
    assert len({mutated(kind, seed).content for seed in range(40)}) > 20


def test_right_answers_pass() -> None:
    assert amiss(answer(200, ROWS, "application/json"), Original(b"", (1, 2)), KNOWN) is None
    assert amiss(answer(200, ROWS, "application/json"), None, {}) is None
    assert amiss(answer(400, PROBLEM, "application/problem+json"), None, KNOWN) is None


@pytest.mark.parametrize(
    ("wrong", "original", "what"),
    [
        (answer(500, PROBLEM, "application/problem+json"), None, "answered with 500"),
        (answer(400, PROBLEM, "application/problem+json"), Original(b"", (1,)), "400 though nothing was changed"),
        (answer(200, ROWS, "application/json"), Original(b"", (1,)), "not the predictions"),
        (answer(200, ROWS.replace(b"0.25", b"0.26"), "application/json"), Original(b"", (1, 2)), "not the predictions"),
        (answer(200, ROWS.replace(b"0.25", b"1.25"), "application/json"), None, "predictions that can't be"),
        (answer(200, b"{", "application/json"), None, "predictions that can't be read"),
        (answer(200, ROWS, "text/html"), None, "predictions that can't be read"),
        (answer(400, PROBLEM, "text/html"), None, "400 as text/html"),
        (answer(400, b"{", "application/problem+json"), None, "no JSON"),
        (answer(400, {**PROBLEM, "status": 422}, "application/problem+json"), None, "without its status"),
        (answer(400, {**PROBLEM, "detail": None}, "application/problem+json"), None, "without type, title or detail"),
        (answer(400, {**PROBLEM, "detail": "Traceback"}, "application/problem+json"), None, "shows Traceback"),
    ],
)
def test_wrong_answers_are_found(wrong: Answer, original: Original | None, what: str) -> None:
    found = amiss(wrong, original, KNOWN)
    assert found is not None
    assert what in found


def test_streams_are_put_together_as_they_were() -> None:
    stream = arrow_stream(pa.table({"PassengerId": range(5)}), 2)
    messages = arrow_messages.split(stream)
    assert arrow_messages.join(messages) == stream
    rows = [message.read(place) for message in messages for place in message.places if place.name == "rows"]
    assert rows == [2, 2, 1]
