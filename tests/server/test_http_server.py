"""The server over real sockets: slow and broken clients disturb no others, and a stop loses no request."""

from __future__ import annotations

import contextlib
import gc
import http.client
import os
import re
import resource
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests.passengers import csv_bytes, many, parquet_bytes, passengers
from tests.serving import Address, command, connected, problem_in, received, running
from titanic_batch.errors import TransferError
from titanic_batch.models.model import Model
from titanic_batch.server import connections, http_server
from titanic_batch.server.app import create_app
from titanic_batch.server.http_server import Server
from titanic_batch.server.media import Limits

BODY = csv_bytes(passengers(1))
HEAD = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def address(small_model: Model) -> Iterator[Address]:
    with running(create_app(small_model)) as address:
        yield address


class Waiting:
    """An application whose answers take until a test lets them go."""

    def __init__(self) -> None:
        self.app = Flask(__name__)
        self.may_go_on = threading.Event()
        self._asked = threading.Semaphore(0)
        self.app.add_url_rule("/ping", "ping", lambda: "pong")
        self.app.add_url_rule("/wait", "wait", self._wait)

    def wait_until_asked(self, count: int) -> None:
        for _ in range(count):
            assert self._asked.acquire(timeout=30)

    def _wait(self) -> str:
        self._asked.release()
        self.may_go_on.wait(30)
        return "waited"


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


def test_idle_connections_are_closed_when_there_are_too_many(
    small_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CONNECTIONS", 20)
    with running(create_app(small_model)) as address, connected(address, 60, b"POST"):
        assert is_answered(address)


@pytest.mark.parametrize("place", ["_Listener.set_socket_options", "Connection.__init__", "Connection.add_channel"])
def test_a_fault_in_accepting_does_not_end_the_server(
    address: Address, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(f"titanic_batch.server.http_server.{place}", fail)
        with connected(address) as (connection,):
            assert received(connection) == b""
    assert is_answered(address)
    assert "a fault in accepting a connection: MemoryError" in caplog.text
    assert is_answered(address)


def test_too_few_threads_are_reported(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    server = Server(create_app(small_model), "127.0.0.1", 0, Limits().bytes)
    monkeypatch.setattr("_thread.start_new_thread", fail)
    with pytest.raises(TransferError, match="no thread can be started"):
        server.run()


def test_probes_alone_are_answered_when_there_are_too_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTIONS", 20)
    waits = Waiting()
    request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(waits.app) as address, connected(address, http_server.THREADS + 10) as waiting:
        for each in waiting[: http_server.THREADS]:
            each.sendall(request)
        waits.wait_until_asked(http_server.THREADS)
        for each in waiting[http_server.THREADS :]:  # as many as half of the connections
            each.sendall(request)
        for _ in range(50):
            assert address.ask("/ping").status == 200
        answer = address.ask("/wait")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        waits.may_go_on.set()
        assert all(each.recv(15) == b"HTTP/1.1 200 OK" for each in waiting)
        assert address.ask("/wait").status == 200


@pytest.mark.slow
def test_a_lack_of_descriptors_closes_idle_connections(tmp_path: Path, model_file: Path) -> None:
    with command(tmp_path, "-m", model_file) as address:
        assert address.process is not None
        pid = address.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        with connected(address, 100, b"POST"):
            assert is_answered(address)
        with connected(address, 9):
            before = processor_seconds(pid)
            time.sleep(2)
            assert processor_seconds(pid) - before < 1
        assert is_answered(address)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    with (
        running(create_app(small_model), transfer_seconds=0.5, idle_seconds=0.5) as address,
        connected(address, 3) as (part, idle, slow),
    ):
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


# The end


@pytest.fixture
def stopped(small_model: Model) -> Stopped:
    """A server that listens, and ends as soon as it runs."""
    return Stopped(Server(create_app(small_model), "127.0.0.1", 0, Limits().bytes))


class Stopped:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.run)
        self.address = Address(server.port)

    def run(self) -> None:
        self._server.stop()
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_stop_answers_all_that_has_arrived(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.5)
    with connected(stopped.address, 50, HEAD + BODY) as clients, connected(stopped.address) as (silent,):
        stopped.run()
        for each in clients:
            answer = received(each)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in answer
        silent.sendall(HEAD + BODY)  # its connection was made before
        assert received(silent).startswith(b"HTTP/1.1 200 OK\r\n")
        stopped.join()
        with pytest.raises(OSError, match="refused"):
            stopped.address.ask("/ping")


def test_a_stop_answers_who_sends_a_request_while_it_waits(stopped: Stopped) -> None:
    with connected(stopped.address, 2) as (sending, idle):
        stopped.run()
        time.sleep(0.5)
        sending.sendall(HEAD)
        time.sleep(0.3)
        sending.sendall(BODY)
        answer = received(sending)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert idle.recv(1) == b""  # the end, and no reset
    stopped.join()


def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STOP_SECONDS", 0.5)
    waits = Waiting()
    stopped = Stopped(Server(waits.app, "127.0.0.1", 0, Limits().bytes))
    request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(stopped.address, 1, request) as (waiting,), connected(stopped.address, 1, HEAD) as (part,):
        stopped.run()
        stopped.join()
        assert (received(waiting), received(part)) == (b"", b"")
        waits.may_go_on.set()


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(5))
@pytest.mark.parametrize("keeps", [True, False])
def test_a_signal_under_load_loses_no_request(tmp_path: Path, model_file: Path, keeps: bool, trial: int) -> None:
    lost: list[str] = []
    ends = threading.Event()

    def ask(address: Address) -> None:
        headers = {"Content-Type": "text/csv"} | ({} if keeps else {"Connection": "close"})
        while not ends.is_set():
            connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return  # refused: that is how a client learns that there is no server
            is_open = True
            while is_open:
                try:
                    connection.request("POST", "/predict", BODY, headers)
                    response = connection.getresponse()
                    response.read()
                    is_open = not response.will_close
                    assert response.status == 200
                except (OSError, http.client.HTTPException) as error:
                    lost.append(repr(error))
                    return

    with command(tmp_path, "-m", model_file) as address:
        assert address.process is not None
        threads = [threading.Thread(target=ask, args=(address,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5 + trial / 10)
        address.process.terminate()
        assert address.process.wait(30) == 0
        ends.set()
        for thread in threads:
            thread.join(60)
    assert lost == []


@pytest.mark.slow
def test_the_command_is_gone_in_time_whatever_clients_do(tmp_path: Path, model_file: Path) -> None:
    with command(tmp_path, "-m", model_file) as address, connected(address, 1, HEAD):
        assert address.process is not None
        address.process.terminate()
        started = time.monotonic()
        assert address.process.wait(30) == 0
        assert time.monotonic() - started < 25


@pytest.mark.slow
def test_a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end(tmp_path: Path, model_file: Path) -> None:
    with command(tmp_path, "-m", model_file, "--access-log") as address:
        assert address.process is not None
        with contextlib.closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as connection:
            for _ in range(7_000):
                connection.request("GET", "/ping")
                assert connection.getresponse().read() == b"pong"
        dropped = re.search(rb"^titanic_log_lines_dropped_total (\S+)$", address.ask("/metrics").body, re.MULTILINE)
        assert dropped is not None
        assert float(dropped[1]) > 0
        address.process.terminate()
        assert address.process.wait(25) == 0


@pytest.mark.slow
def test_a_stop_lets_requests_finish(tmp_path: Path, model_file: Path) -> None:
    body = parquet_bytes(many(200_000))
    media_type = "application/vnd.apache.parquet"
    with command(tmp_path, "-m", model_file, "--accept-binary") as address:
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
