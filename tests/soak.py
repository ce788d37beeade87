"""Serves friends and foes at once: ``python tests/soak.py --minutes 5``.

One ``titanic serve`` on two cores is sent good requests of every media type, all hostile bodies and raw requests that
the tests know, connections that are slow or never read, fits, and model files that are replaced by good, damaged and
malicious ones; its access log is left unread at times. Meanwhile every answer is compared with what ``titanic score``
says, another process probes the server five times a second, and its memory is watched. In the end it is terminated
under load. Whatever is not as it must be is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder stands there

from tests import hostile_requests, known_predictions, probes
from tests.fuzz_bodies import DYING_SECONDS, problem_amiss
from tests.hostile_bodies import HOSTILE_BODIES, HostileBody, arrow_stream, packed, parquet_file
from tests.hostile_models import hostile_models
from tests.hostile_requests import HOSTILE_REQUESTS
from tests.known_predictions import Prediction
from tests.passengers import COLUMNS, csv_bytes, passengers, typed
from tests.serving import Answer
from tests.watched_server import MEMORY_MIB, WatchedServer
from titanic_batch.server.media import ARROW, CSV, JSON, JSON_LINES, PARQUET

TOKEN = "a token of some length"
PROBE_SECONDS = 1.0
STOP_SECONDS = 25.0
AT_ONCE = 8  # of the largest bodies
CLIENTS = 2  # with good requests
RELOAD_SECONDS = 60.0  # a busy server takes a model, or refuses it, later than the two seconds of an idle one
PATIENCE = 120.0
FIT_PATIENCE = 600.0  # a fit of ten seconds shares two cores with all the others
_ROWS = 20_000


class GoodRequest(NamedTuple):
    """A request whose answer is known: the predictions of its rows."""

    name: str
    path: str
    headers: dict[str, str]
    content: bytes
    rows: int


@dataclass
class Findings:
    """What was counted, and what was amiss; for several threads."""

    counted: Counter[str] = field(default_factory=Counter)
    amiss: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counted[what] += 1

    def report(self, what: str) -> None:
        with self._lock:
            self.amiss[what] += 1


def good_requests() -> list[GoodRequest]:
    """Return requests of every media type, of one row to 20,000."""
    requests = []
    for count in (1, 7, 300, _ROWS):
        rows = passengers(count)
        table = typed(rows)
        records = table.to_pylist()
        bodies = [
            ("CSV", "/predict", CSV, csv_bytes(rows)),
            ("CSV without a header", "/invocations", CSV, csv_bytes(rows).partition(b"\n")[2]),
            ("JSON", "/predict", JSON, json.dumps(records).encode()),
            ("dataframe_split", "/invocations", JSON, _split(records)),
            ("instances", "/invocations", JSON, json.dumps({"instances": records}).encode()),
            ("JSON Lines", "/invocations", JSON_LINES, "\n".join(map(json.dumps, records)).encode()),
            ("Parquet", "/predict", PARQUET, parquet_file(table)),
            ("Arrow", "/predict", ARROW, arrow_stream(table, 5_000)),
        ]
        for name, path, media_type, content in bodies:
            headers = {"Content-Type": media_type}
            requests.append(GoodRequest(f"{name}, {count} rows", path, headers, content, count))
            gzipped = packed(functools.partial(bytes, content))
            headers = headers | {"Content-Encoding": "gzip"}
            requests.append(GoodRequest(f"{name}, {count} rows, packed", path, headers, gzipped, count))
    return requests


def _split(records: Sequence[dict[str, object]]) -> bytes:
    data = [list(record.values()) for record in records]
    return json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": data}}).encode()


class Soak:
    """A server, all that is sent to it at once, and what is found.

    Parameters
    ----------
    folder
        Where its model is, and those that replace it.
    seed
        Of what is sent when.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.findings = Findings()
        self._folder = folder
        self._seed = seed
        self._ends = threading.Event()
        self._latest: deque[str] = deque(maxlen=2 * AT_ONCE)
        self._served = folder / "served.skops"
        self._good = good_requests()
        files = {
            "first": known_predictions.fit(folder / "first.skops", "n_estimators=3"),
            "second": known_predictions.fit(folder / "second.skops", "n_estimators=7"),
            "fitted": known_predictions.fit(folder / "fitted.skops"),
        }
        self._models = {name: path.read_bytes() for name, path in files.items()}
        rows = csv_bytes(passengers(_ROWS))
        self._known = [known_predictions.score(path, rows, folder) for path in files.values()]
        self._replace_model(self._models["first"])
        options = ("--accept-binary", "--allow-fit", "--fit-margin", "1", "--access-log")
        self.server = WatchedServer(
            folder, "--model", self._served, *options, variables={"TITANIC_FIT_TOKEN": TOKEN, "TMPDIR": str(folder)}
        )

    def run(self, seconds: float) -> None:
        """Send all at once for some time, and terminate the server under load."""
        parts = [
            *[functools.partial(self._send_good_requests, number) for number in range(CLIENTS)],
            self._send_hostile_bodies,
            self._send_the_largest_at_once,
            self._send_hostile_requests,
            self._hold_slow_connections,
            self._replace_models_and_fit,
            self._stall_the_log,
        ]
        with self._probed():
            threads = [threading.Thread(target=self._guarded, args=(part,)) for part in parts]
            for thread in threads:
                thread.start()
            self._wait(seconds)
            if not self.server.lives:
                self.findings.report(f"the server died; sent last: {', '.join(self._latest)}")
            self._ends.set()
            for thread in threads:
                thread.join()
        if self.server.lives:
            self._terminate_under_load()
        self._check_server()

    def close(self) -> None:
        self._ends.set()
        self.server.stop()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.server.lives:
            time.sleep(0.2)

    def _guarded(self, part: Callable[[], None]) -> None:
        """Run a part; once the server is dead, what it meets says no more."""
        try:
            part()
        except Exception:  # whatever it is, it is among the findings, with its traceback
            if self.server.lives:
                self.findings.report(f"the soak itself failed: {traceback.format_exc()}")

    # Friends

    def _send_good_requests(self, number: int) -> None:
        chance = random.Random(self._seed + number)
        connection = self.server.connect(PATIENCE)
        while not self._ends.is_set() and self.server.lives:
            request = chance.choice(self._good)
            answer = self._answer(connection, request.name, request.path, request.content, request.headers)
            if answer is not None and not self._is_right(request, answer):
                self.findings.report(f"{request.name}: a wrong answer with {answer.status}")
            self.findings.count("good requests")
        connection.close()

    def _answer(
        self, connection: http.client.HTTPConnection, name: str, path: str, content: bytes, headers: dict[str, str]
    ) -> Answer | None:
        try:
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if self.server.wait(DYING_SECONDS) is None:
                self.findings.report(f"{name}: no answer ({type(error).__name__})")
            return None

    def _is_right(self, request: GoodRequest, answer: Answer) -> bool:
        if answer.status != 200:
            return False
        media_type = answer.headers["content-type"].partition(";")[0]
        try:
            found = known_predictions.predictions_in(answer.body, media_type)
        except (ValueError, KeyError, TypeError):
            return False
        return any(_is_start(found, known, request.rows) for known in self._known)

    # Foes

    def _send_hostile_bodies(self) -> None:
        chance = random.Random(self._seed)
        for body in itertools.chain.from_iterable(_shuffled(HOSTILE_BODIES, chance)):
            if self._ends.is_set() or not self.server.lives:
                return
            self._send_hostile_body(body, body.build())

    def _send_the_largest_at_once(self) -> None:
        largest = [body for body in HOSTILE_BODIES if len(body.build()) > 10 * 2**20]
        for bodies in _shuffled(largest, random.Random(self._seed + 1)):
            threads = [
                threading.Thread(target=self._send_hostile_body, args=(each, each.build())) for each in bodies[:AT_ONCE]
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self._ends.wait(5) or not self.server.lives:
                return

    def _send_hostile_body(self, body: HostileBody, content: bytes) -> None:
        self._latest.append(body.name)
        connection = self.server.connect(PATIENCE)
        headers = {"Content-Type": body.media_type, **body.headers}
        start = time.monotonic()
        answer = self._answer(connection, body.name, body.path, content, headers)
        connection.close()
        self.findings.count("hostile bodies")
        if answer is None:
            return
        if answer.status not in body.statuses:
            self.findings.report(f"{body.name}: {answer.status}, not {' or '.join(map(str, sorted(body.statuses)))}")
        elif answer.status != 200 and (what := problem_amiss(answer)) is not None:
            self.findings.report(f"{body.name}: {what}")
        if time.monotonic() - start > 60:
            self.findings.report(f"{body.name}: answered after more than a minute")

    def _send_hostile_requests(self) -> None:
        for request in itertools.cycle(HOSTILE_REQUESTS):
            if self._ends.wait(0.1) or not self.server.lives:
                return
            seconds = 3.0 if None in request.statuses else 30.0
            try:
                reply = hostile_requests.exchange(self.server.port, request, seconds)
            except OSError as error:
                if self.server.lives:
                    self.findings.report(f"raw, {request.name}: no connection ({type(error).__name__})")
                continue
            self.findings.count("raw requests")
            if (what := hostile_requests.amiss(request, reply)) is not None:
                self.findings.report(f"raw, {request.name}: {what}")

    def _hold_slow_connections(self) -> None:
        """Hold connections that send a byte a second, or ask for more and more and never read."""
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n"
        greedy = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        large = next(each.content for each in self._good if each.name == f"CSV, {_ROWS} rows")
        starts = [
            b"",
            head[:20],
            head + b"\r\n",
            hostile_requests.GET * 1_000,
            greedy,
            hostile_requests.post(body=large),
        ]
        while not self._ends.is_set() and self.server.lives:
            with ExitStack() as stack, suppress(OSError):
                held = [(stack.enter_context(self.server.dial(10)), start) for start in starts * 10]
                for connection, start in held:
                    connection.setblocking(False)
                    with suppress(BlockingIOError):
                        connection.send(start)
                for _ in range(20):
                    for connection, start in held:
                        with suppress(OSError):  # it may be closed, since it is too slow or makes room
                            connection.send(b"X" if start in starts[1:3] else b"")
                    if self._ends.wait(1):
                        break
            self.findings.count("sixty slow connections")

    # The model and the log

    def _replace_models_and_fit(self) -> None:
        """Put good and bad files in the model's place, in turn, and see what is served; fit now and then."""
        bad = itertools.cycle(hostile_models(self._models["first"]).items())
        for good in itertools.cycle(("second", "first")):
            if self._ends.is_set() or not self.server.lives:
                return
            self._replace_model(self._models[good])
            self._expect_metric("titanic_model_file_refused", 0, f"a good file ({good}) is not taken")
            for name, content in itertools.islice(bad, 3):
                self._replace_model(content)
                self._expect_metric("titanic_model_file_refused", 1, f"a model file with {name} is not refused")
            self._replace_model(self._models[good])
            self._expect_metric("titanic_model_file_refused", 0, f"a good file ({good}) after bad ones is not taken")
            self._fit()

    def _fit(self) -> None:
        headers = {"Content-Type": CSV, "Authorization": f"Bearer {TOKEN}"}
        connection = self.server.connect(FIT_PATIENCE)
        answer = self._answer(connection, "/fit", "/fit", known_predictions.TRAIN.read_bytes(), headers)
        connection.close()
        self.findings.count("fits")
        if answer is not None and answer.status != 200:
            self.findings.report(f"/fit: answered with {answer.status}")

    def _replace_model(self, content: bytes) -> None:
        new = self._served.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, self._served)
        self.findings.count("model files")

    def _expect_metric(self, name: str, value: int, otherwise: str) -> None:
        """Wait until a metric has a value; what has been seen before may be of the file before."""
        time.sleep(2.5)
        end = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < end and self.server.lives and not self._ends.is_set():
            with suppress(OSError, http.client.HTTPException):
                if f"\n{name} {value:.1f}\n" in self.server.ask("/metrics").body.decode():
                    return
            time.sleep(0.5)
        if self.server.lives and not self._ends.is_set():
            self.findings.report(otherwise)

    def _stall_the_log(self) -> None:
        """Leave stderr unread for 20 of every 30 seconds."""
        while not self._ends.wait(10) and self.server.lives:
            self.server.stall_stderr()
            self._ends.wait(20)
            self.server.read_stderr()
            self.findings.count("stalls of the log")

    # Probes

    @contextmanager
    def _probed(self) -> Iterator[None]:
        """Probe the server from another process."""
        command = [sys.executable, probes.__file__, str(self.server.port)]
        prober = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            output, _ = prober.communicate("")
        result = json.loads(output)
        for failure in result["failures"] if self.server.lives else []:
            self.findings.report(f"probe {failure}")
        for path, figures in {**result["paths"], "(the prober's own delay)": result["own_delay"]}.items():
            print(f"{path}: {figures['count']} times, 99.9% in {figures['p999']:.3f} s, all in {figures['max']:.3f} s")
        for path, figures in result["paths"].items():
            if figures["max"] > PROBE_SECONDS:
                self.findings.report(f"probe {path}: answered after more than a second")

    # The end

    def _terminate_under_load(self) -> None:
        """Terminate the server while clients ask, a fit runs, a reader stalls and the log is not read."""
        load = _Load(self.server, [request for request in self._good if request.rows < _ROWS], self._is_right)
        self.server.stall_stderr()
        fit = threading.Thread(target=self._fit_in_vain)
        fit.start()
        with ExitStack() as stack, suppress(OSError):
            for start in (hostile_requests.post(length=b"1000"), b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50):
                stack.enter_context(self.server.dial(10)).sendall(start)
            load.start()
            time.sleep(1.5)
            load.terminated = time.monotonic()
            self.server.terminate()
            code = self.server.wait(STOP_SECONDS + 10)
            seconds = time.monotonic() - load.terminated
        load.join()
        fit.join()
        print(f"SIGTERM: gone after {seconds:.1f} s with exit code {code}; {load.summary()}")
        for what in load.lost:
            self.findings.report(f"SIGTERM: {what}")
        if seconds > STOP_SECONDS or code is None:
            self.findings.report(f"SIGTERM: not gone within {STOP_SECONDS:.0f} s")
        elif code != 0:
            self.findings.report(f"SIGTERM: exit code {code}")

    def _fit_in_vain(self) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with suppress(OSError, http.client.HTTPException):
            self.server.ask("/fit", known_predictions.TRAIN.read_bytes(), **headers)

    def _check_server(self) -> None:
        peak = self.server.peak_mib
        print(f"memory: {peak:.0f} MiB at most")
        if self.server.killed_for_memory:
            self.findings.report(f"the server was killed here, at {peak:.0f} MiB")
        elif peak > MEMORY_MIB:
            self.findings.report(f"{peak:.0f} MiB of memory, more than {MEMORY_MIB}")
        self.server.stop()
        for line in self.server.faults:
            self.findings.report(f"stderr: {line[:200]}")
        for line in self.server.said:
            if line.startswith("{"):
                self.findings.count("lines of the access log")
                if not _is_json(line):
                    self.findings.report("a line of the access log that is no JSON")


class _Load:
    """Clients that ask again and again until the server is gone, on connections that are kept or new."""

    def __init__(
        self, server: WatchedServer, requests: Sequence[GoodRequest], is_right: Callable[[GoodRequest, Answer], bool]
    ) -> None:
        self.terminated: float | None = None
        self.lost: list[str] = []
        self._answered = 0
        self._later: Counter[str] = Counter()
        self._server = server
        self._requests = requests
        self._is_right = is_right
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(8)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def summary(self) -> str:
        later = ", ".join(f"{what} {times}" for what, times in self._later.items())
        return f"{self._answered} requests answered, of those sent later: {later or 'none lost'}"

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        connection = self._server.connect(STOP_SECONDS + 10)
        while True:
            request = chance.choice(self._requests)
            sent = None
            try:
                connection.request("POST", request.path, request.content, request.headers)
                sent = time.monotonic()
                response = connection.getresponse()
                answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._count_lost(request, sent, error)
                return
            if number % 2:
                connection.close()
            with self._lock:
                self._answered += 1
                if not self._is_right(request, answer):
                    self.lost.append(f"a wrong answer with {answer.status}")

    def _count_lost(self, request: GoodRequest, sent: float | None, error: Exception) -> None:
        with self._lock:
            if sent is not None and (self.terminated is None or sent < self.terminated):
                self.lost.append(f"a request that had been sent is lost ({type(error).__name__})")
            else:
                self._later[type(error).__name__] += 1


def _is_start(found: Sequence[Prediction], known: Sequence[Prediction], count: int) -> bool:
    return len(found) == count and list(found) == list(known[:count])


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _shuffled(elements: Sequence[HostileBody], chance: random.Random) -> Iterator[list[HostileBody]]:
    """Yield the elements in one order after the other, without end."""
    while True:
        yield chance.sample(list(elements), len(elements))


def soak(folder: Path, seconds: float, seed: int) -> Findings:
    """Soak a server for some time, print what happened, and return what was amiss."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    soaked = Soak(folder, seed)
    try:
        soaked.run(seconds)
    finally:
        soaked.close()
    return soaked.findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        findings = soak(Path(folder), given.minutes * 60, given.seed)
    for what, times in findings.counted.items():
        print(f"{times:7} {what}")
    for what, times in findings.amiss.most_common():
        print(f"amiss, {times} times: {what}")
    sys.exit(1 if findings.amiss else 0)


if __name__ == "__main__":
    main()
