"""Large bodies take turns, which end when their answers are made, and small ones don't wait for them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, many, passengers
from tests.server.exchange import GZIP, arrow_bytes, post
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, JSON, Limits
from titanic_batch.server.turns import LARGE_BYTES, Turn

SMALL = csv_bytes(passengers(300))
LARGE = csv_bytes(passengers(300)) + b"\n" * LARGE_BYTES


@pytest.fixture
def client(small_model: Model) -> Iterator[FlaskClient]:
    client = create_app(small_model, Limits(binary=True)).test_client()
    yield client
    with Turn() as turn:  # nobody has kept it
        turn.take()


def is_free() -> bool:
    free = threading.Event()

    def take() -> None:
        with Turn() as turn:
            turn.take()
            free.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return free.wait(1)


def test_a_turn_lasts_until_it_is_closed() -> None:
    with Turn() as turn:
        assert is_free()
        turn.take()
        turn.take()
        assert not is_free()
        turn.close()
        assert is_free()
    assert is_free()


def test_small_bodies_do_not_wait_and_large_ones_do(client: FlaskClient) -> None:
    answered = threading.Event()

    def send() -> None:
        for body, headers in ((LARGE, {}), (gzip.compress(LARGE), GZIP)):
            assert post(client, body, CSV, **headers).status_code == 200
        assert post(client, arrow_bytes(many(3)), ARROW).status_code == 200
        answered.set()

    thread = threading.Thread(target=send)
    with Turn() as turn:
        turn.take()
        thread.start()
        assert post(client, SMALL, CSV).status_code == 200
        assert post(client, gzip.compress(SMALL), CSV, **GZIP).status_code == 200
        assert not answered.wait(0.5)
    thread.join(60)
    assert answered.is_set()


@pytest.mark.parametrize("content", [b"\xff", b"[", b"{}", b"[" + b"0" * LARGE_BYTES + b"]"])
def test_the_turn_of_a_refused_body_ends(client: FlaskClient, content: bytes) -> None:
    body = content + b" " * LARGE_BYTES
    assert post(client, body, JSON).status_code == 400
    assert is_free()


def test_the_turn_of_a_large_answer_lasts_until_it_is_sent(client: FlaskClient) -> None:
    header, *_ = SMALL.partition(b"\n")
    body = header + b"\n" + b"a,b,c,d,e,f,g,h\n" * 80_000
    for is_read in (True, False):
        answer = post(client, body, CSV, path="/predict?rejects=allow")
        assert answer.status_code == 200
        assert not is_free()
        if is_read:
            assert len(json.loads(answer.data)["rejects"]) == 8 * 80_000
        else:
            answer.close()
        assert is_free()
