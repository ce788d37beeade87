"""The server over real sockets: slow and broken clients disturb no others, and a stop loses no request."""

from __future__ import annotations

import contextlib
import gc
import http.client
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests.passengers import csv_bytes, many, parquet_bytes, passengers
from tests.serving import Address, command, connected, problem_in, received, running
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import Limits

BODY = csv_bytes(passengers(1))
HEAD = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def address(small_model: Model) -> Iterator[Address]:
    with running(create_app(small_model)) as address:
        yield address


def is_answered(address: Address) -> bool:
    return address.ask("/predict", BODY).status == 200


def test_concurrent_requests_get_their_own_answers(address: Address, small_model: Model) -> None:
    client = create_app(small_model).test_client()
    bodies = [csv_bytes(passengers(count, first_key=count)) for count in range(1, 9)]
    answers: list[bytes] = [b""] * len(bodies)

    def ask(place: int) -> None:
        with contextlib.closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as connection:
            for _ in range(3):
                connection.request("POST", "/predict", bodies[place], {"Content-Type": "text/csv"})
                answers[place] += connection.getresponse().read()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [client.post("/predict", data=body, content_type="text/csv").data * 3 for body in bodies]


def test_a_body_may_arrive_in_chunks(address: Address, test_csv: Path, expected_csv: bytes) -> None:
    content = test_csv.read_bytes()
    with contextlib.closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as connection:
        chunks = (content[start : start + 1000] for start in range(0, len(content), 1000))
        connection.request("POST", "/predict", chunks, {"Content-Type": "text/csv"}, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, expected_csv)


def test_headers_do_not_reveal_the_software(address: Address) -> None:
    answer = address.ask("/ping")
    assert answer.body == b"pong"
    assert "python" not in str(answer.headers).lower()


def test_an_address_in_use_is_reported_in_one_line(titanic: Callable[..., Result], address: Address) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        result = titanic("serve", "--port", address.port)
        code, said = result.exit_code, result.stderr
        del result
        gc.collect()  # closes the sockets of the server that could not start
    assert code == 73
    assert said == (
        f"titanic: 127.0.0.1:{address.port} can't be listened on (Address already in use): "
        "choose another --host or --port.\n"
    )


@pytest.mark.parametrize("sent", [b"", b"POST /pre", HEAD, HEAD + BODY[:20]], ids=["idle", "line", "head", "part"])
def test_slow_clients_do_not_starve_others(address: Address, sent: bytes) -> None:
    with connected(address, 100, sent) as slow:
        assert all(is_answered(address) for _ in range(5))
        if sent == HEAD:
            slow[0].sendall(BODY)
            assert slow[0].recv(12) == b"HTTP/1.1 200"


@pytest.mark.slow
def test_a_client_that_reads_no_answer_occupies_no_thread(address: Address) -> None:
    body = parquet_bytes(many(100_000))
    head = (
        "POST /predict HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n"
        f"Content-Type: application/vnd.apache.parquet\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connected(address, 6, head.encode() + body):
        assert all(is_answered(address) for _ in range(5))


@pytest.mark.slow
def test_a_request_must_arrive_in_time(small_model: Model) -> None:
    with running(create_app(small_model), transfer_seconds=0.5) as address, connected(address, 3) as (part, idle, slow):
        part.sendall(HEAD)
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in HEAD:
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - started < 10
        assert [received(each) for each in (part, idle, slow)] == [b"", b"", b""]


def test_a_client_that_is_still_sending_sees_the_error(address: Address) -> None:
    size = 3 * Limits().bytes
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {size}\r\n\r\n"
    with connected(address, 1, head.encode()) as (connection,):
        for _ in range(size // 2**20):
            connection.sendall(bytes(2**20))
        assert problem_in(received(connection)) == (413, "the body is larger than is allowed.")


TOKENS = st.sampled_from(
    b"GET,POST, ,/predict,/,HTTP/1.1,\r\n,\n,:,\x00,\xff,Content-Length,Transfer-Encoding,chunked,5,Content-Type,"
    b"text/csv,Accept,Content-Encoding,gzip,Expect,100-continue,Authorization,;q=".split(b",")
)


@given(st.lists(TOKENS | st.binary(max_size=5), max_size=30), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_requests_disturb_no_others(address: Address, parts: list[bytes], headed: bool) -> None:
    start = b"POST /predict HTTP/1.1\r\n" if headed else b""
    with connected(address, 1, start + b"".join(parts) + b"\r\n\r\n") as (connection,):
        connection.shutdown(socket.SHUT_WR)
        answer = received(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.")
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert is_answered(address)


NAMES = st.sampled_from(["Accept", "Content-Type", "Content-Encoding", "Authorization", "Range", "Cookie"])
ODD = st.sampled_from(["*/*;q=x", "text/csv;q=0", ",", ";", "text/csv; charset=", "gzip", "application/json", "Bearer"])
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.dictionaries(NAMES, ODD | PRINTABLE, max_size=4)


@pytest.mark.slow
@given(HEADERS, st.binary(max_size=50) | st.just(BODY))
@settings(max_examples=150)
def test_odd_requests_are_no_fault_of_the_server(small_model: Model, headers: dict[str, str], body: bytes) -> None:
    client = create_app(small_model).test_client()
    for path in ("/predict", "/predict?rejects=allow", "/invocations"):
        answer = client.post(path, data=body, headers=headers)
        assert answer.status_code in {200, 400, 406, 409, 413, 415, 422}, answer.data
    assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.slow
def test_a_stop_lets_requests_finish(tmp_path: Path, model_file: Path) -> None:
    body = parquet_bytes(many(200_000))
    media_type = "application/vnd.apache.parquet"
    with command(tmp_path, "-m", model_file) as address:
        assert address.process is not None
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(address.ask("/predict", body, media_type, Accept="application/json").status)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        with connected(address, 1, HEAD + BODY[:20]) as (late,):
            time.sleep(0.5)
            address.process.terminate()
            time.sleep(0.2)
            late.sendall(BODY[20:])
            answer = received(late)
        for thread in threads:
            thread.join(60)
        assert statuses == [200] * 6
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" in answer
        assert address.process.wait(30) == 0
        assert address.process.stderr is not None
        assert address.process.stderr.read() == f"titanic: serving {model_file} on {address.url}\n"
        with pytest.raises(OSError, match="refused"):
            address.ask("/ping")
