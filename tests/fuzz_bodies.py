"""Sends changed bodies to a real server: ``python tests/fuzz_bodies.py --bodies 20000``.

Each kind of body is sent on several connections to one ``titanic serve``. Whatever the bodies are, the server lives,
answers each with predictions or a problem, needs no more memory than it may, writes no traceback, and its probes are
answered. A body that nothing was changed in gets the predictions of ``titanic score``. A body that is answered in
another way, or ends the server, is kept, and its kind and seed are named.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.client
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder stands there

from tests import arrow_messages, fuzz_footers, known_predictions
from tests.fuzz_footers import NUMBERS
from tests.hostile_bodies import FILES, LIMIT, arrow_stream, parquet_file
from tests.known_predictions import Prediction
from tests.passengers import COLUMNS, csv_bytes, passenger, passengers, typed
from tests.serving import Answer
from tests.watched_server import MEMORY_MIB, WatchedServer
from titanic_batch.server.media import ARROW, CSV, JSON, JSON_LINES, PARQUET, PROBLEM

CONNECTIONS = 4
ROWS = 200  # whose predictions are known
PATIENCE = 60.0
DYING_SECONDS = 1.0  # after its connections are gone, until a process that crashes is gone itself
_STATUSES = frozenset({200, 400, 409, 413, 415, 422})
_ODD = frozenset({200, 400, 415, 422})  # of columns of types that a server need not take
_INSIDE = ("Traceback", "titanic_batch", ".py")
_GZIP = {"Content-Encoding": "gzip"}

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_EXTREMES = (
    b"1e999", b"-1e999", b"1e-400", b"1e308", b"-0", b"-0.0", b"9" * 400, b"9" * 5_000, b"1" * 100_000, b"NaN",
    b"-Infinity", b"0x10", b"1_0", "\u0663".encode(), b"9223372036854775807", b"9223372036854775808", b"2.5", b"1e3",
    b"-9223372036854775809", b"9007199254740993.0", b"1.0", b"+1", b" 1 ", b"01", b"true", b"null", b'""', b"{}", b"[]",
    b"1." + b"0" * 400 + b"1",
)  # fmt: skip
_PIECES = (
    b'"', b'""', b"'", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u0000",
    b",", b";", b"\t", b":", b"{", b"}", b"[", b"]", b"\\", "\u2028".encode(), b"Survived", b"reject_row", b"NA",
    b"nan",     b',"Sex":"male"', b'"inputs":{},', b'"instances":[],', b"C85 ", b"x" * 40_000,
)  # fmt: skip


class Original(NamedTuple):
    """A body before anything is changed: which rows it has, and the statuses of which it is answered with one."""

    content: bytes
    keys: tuple[int, ...] = ()
    statuses: frozenset[int] = frozenset({200})


@dataclass(frozen=True)
class Kind:
    """A kind of body: how it is sent, what bodies of it there are, and how they are changed."""

    name: str
    media_type: str
    originals: Callable[[], list[Original]]
    change: Callable[[bytes, list[Original], random.Random], bytes]
    path: str = "/predict"
    is_packed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": self.media_type} | (_GZIP if self.is_packed else {})

    def packed(self, content: bytes) -> bytes:
        """Return a content as it is sent."""
        return _gzip(content) if self.is_packed else content


@dataclass(frozen=True)
class Body:
    """What is sent; ``original`` is what it is if nothing was changed."""

    content: bytes
    original: Original | None


class Finding(NamedTuple):
    """What was amiss with the body of a kind and a seed."""

    kind: str
    seed: int
    what: str


def mutated(kind: Kind, seed: int) -> Body:
    """Return the body of a seed; one in twenty is as it should be."""
    chance = random.Random(f"{kind.name} {seed}")
    originals = kind.originals()
    original = chance.choice(originals)
    content = original.content
    changes_packed = kind.is_packed and chance.random() < 0.3
    if not changes_packed and chance.random() < 0.95:
        content = kind.change(content, originals, chance)[:LIMIT]
    sent = _packed_oddly(content, chance) if kind.is_packed else content
    if changes_packed:
        sent = _changed_bytes(sent, [Original(_gzip(each.content)) for each in originals[:3]], chance)
    return Body(sent, original if content == original.content and not changes_packed else None)


# Changes


def _several(
    changes: tuple[Callable[[bytes, list[Original], random.Random], bytes], ...],
) -> Callable[[bytes, list[Original], random.Random], bytes]:
    """Return a change that consists of some of these."""

    def change(content: bytes, originals: list[Original], chance: random.Random) -> bytes:
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            content = chance.choice(changes)(content, originals, chance)
        return content

    return change


def _span(content: bytes, chance: random.Random, longest: int = 40) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.randrange(longest))


def _flip(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    bit = 1 << chance.randrange(8)
    return content[:start] + bytes(byte ^ bit for byte in content[start : start + 1]) + content[start + 1 :]


def _truncate(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _drop(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def _repeat(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    start, end = _span(content, chance, chance.choice((4, 40, 400)))
    return content[:end] + content[start:end] * chance.choice((1, 1, 1, 10, 2_000)) + content[end:]


def _splice(content: bytes, originals: list[Original], chance: random.Random) -> bytes:
    other = chance.choice(originals).content
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _replace_number(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return content
    number = chance.choice(numbers)
    return content[: number.start()] + chance.choice(_EXTREMES) + content[number.end() :]


def _insert(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    start, _end = _span(content, chance)
    return content[:start] + chance.choice(_PIECES) + content[start:]


def _nest(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    depth = chance.choice((1, 10, 500, 900, 1_000, 3_000, 100_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b'[{"a":', b"}]")))
    numbers = list(_NUMBER.finditer(content))
    place = chance.choice(numbers).span() if numbers and chance.random() < 0.7 else _span(content, chance)
    return content[: place[0]] + opening * depth + b"1" + closing * depth + content[place[1] :]


def _rename(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    old, new = chance.sample(COLUMNS, 2)
    return content.replace(old.encode(), new.encode(), chance.choice((1, -1)))


def _set_word(content: bytes, _: list[Original], chance: random.Random) -> bytes:
    size = chance.choice((4, 4, 8))
    start = chance.randrange(len(content) // 4 + 1) * 4
    old = int.from_bytes(content[start : start + size], "little")
    number = chance.choice((*NUMBERS, old + 1, old - 1, old * 2, old // 2, len(content)))
    word = (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return content[:start] + word + content[start + size :]


_changed_text = _several(
    (_flip, _truncate, _drop, _repeat, _splice, _replace_number, _replace_number, _insert, _nest, _rename)
)
_changed_bytes = _several((_flip, _flip, _truncate, _drop, _repeat, _splice, _set_word, _set_word))


def _changed_parquet(content: bytes, originals: list[Original], chance: random.Random) -> bytes:
    """Change the footer's Thrift, or any bytes."""
    if chance.random() < 0.5:
        changed: bytes = fuzz_footers.mutated(chance.randrange(10**9))
        return changed
    return _changed_bytes(content, originals, chance)


def _changed_arrow(content: bytes, originals: list[Original], chance: random.Random) -> bytes:
    """Change numbers in the metadata of messages, or messages as a whole, or any bytes."""
    if chance.random() < 0.3:
        return _changed_bytes(content, originals, chance)
    messages = arrow_messages.split(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        match chance.choice(("number", "number", "number", "number", "word", "order", "drop", "repeat")):
            case "number":
                _change_metadata(chance.choice(messages), chance)
            case "word":
                message = chance.choice(messages)
                message.body[:] = _set_word(bytes(message.body), originals, chance)
            case "order":
                chance.shuffle(messages)
            case "drop" if len(messages) > 1:
                del messages[chance.randrange(len(messages))]
            case _:
                messages.append(chance.choice(messages))
    return arrow_messages.join(messages)


def _change_metadata(message: arrow_messages.Message, chance: random.Random) -> None:
    place = chance.choice(message.places)
    old, other = message.read(place), message.read(chance.choice(message.places))
    numbers = (*NUMBERS, old + 1, old - 1, old * 2, old // 2, -old, old + 8, old - 8, other, chance.randrange(30))
    message.write(place, chance.choice(numbers))


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _packed_oddly(content: bytes, chance: random.Random) -> bytes:
    """Return a gzip stream of one member or several, with the content in all."""
    if chance.random() < 0.8:
        return _gzip(content)
    at = chance.randrange(len(content) + 1)
    members = [content[:at], b"", content[at:]]
    return b"".join(map(_gzip, members))


# Originals


def _keys(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


_RANGES = (_keys(1, 1), _keys(7, 3), _keys(20, 30), _keys(1, 150))


def _rows(keys: tuple[int, ...]) -> list[dict[str, str]]:
    return passengers(len(keys), keys[0])


@functools.cache
def _csvs() -> list[Original]:
    good = [Original(csv_bytes(_rows(keys)), keys) for keys in _RANGES]
    shuffled = (*reversed(COLUMNS), "Name")
    quoted = csv_bytes([{**row, "Name": 'x, "y"\n'} for row in _rows(_keys(3, 5))], shuffled, "\r\n")
    bad = csv_bytes([*_rows(_keys(1, 3)), passenger(4, Sex="x"), passenger(4, Age="-1"), passenger(4, Pclass="")])
    return [
        *good,
        Original(quoted, _keys(3, 5)),
        Original(bad, statuses=frozenset({422})),
        Original(csv_bytes(_rows(_keys(1, 2)) * 2), statuses=frozenset({409})),
        Original(csv_bytes([])),
    ]


@functools.cache
def _headerless_csvs() -> list[Original]:
    return [Original(csv_bytes(_rows(keys)).partition(b"\n")[2], keys) for keys in _RANGES]


def _records(keys: tuple[int, ...]) -> list[dict[str, object]]:
    records: list[dict[str, object]] = typed(_rows(keys)).to_pylist()
    return records


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@functools.cache
def _json_rows() -> list[Original]:
    return [Original(_encoded(_records((key,))[0]), (key,)) for key in range(1, 20)]


@functools.cache
def _json_lists() -> list[Original]:
    return [Original(b"[]"), *(Original(_encoded(_records(keys)), keys) for keys in _RANGES)]


@functools.cache
def _json_envelopes() -> list[Original]:
    originals = []
    for keys in _RANGES:
        records = _records(keys)
        lists = [list(record.values()) for record in records]
        columns = {name: [record[name] for record in records] for name in COLUMNS}
        envelopes: list[dict[str, object]] = [
            {"dataframe_split": {"columns": list(COLUMNS), "data": lists}},
            {"dataframe_records": records},
            {"instances": records},
            {"instances": lists},
            {"inputs": columns},
            {"inputs": records},
        ]
        originals += [Original(_encoded(envelope), keys) for envelope in envelopes]
    return originals


@functools.cache
def _json_lines() -> list[Original]:
    rows = [Original(b"\n".join(map(_encoded, _records(keys))), keys) for keys in _RANGES]
    envelopes = b"\r\n".join(_encoded({"instances": [record]}) for record in _records(_RANGES[1]))
    return [*rows, Original(envelopes, _RANGES[1])]


def _odd_columns(rows: int) -> dict[str, pa.Array]:
    """Return columns of types that have little to do with passengers."""
    numbers = pa.array(range(rows), pa.int64())
    texts = pa.array([None if row % 5 == 0 else f"C{row}" for row in range(rows)])
    lists = pa.array([[row] * (row % 3) for row in range(rows)], pa.list_(pa.int32()))
    eights = pa.array([0] * rows, pa.int8())
    offsets, sizes = pa.array([0] * rows, pa.int32()), pa.array([min(rows, 2)] * rows, pa.int32())
    ends = pa.array([rows] if rows else [], pa.int32())
    structs = pa.StructArray.from_arrays([numbers, texts, lists], ["a", "b", "c"])
    return {
        "sparse union": pa.UnionArray.from_sparse(eights, [numbers, texts]),
        "dense union": pa.UnionArray.from_dense(eights, pa.array(range(rows), pa.int32()), [numbers, texts]),
        "list view": pa.ListViewArray.from_arrays(offsets, sizes, texts),
        "large list view": pa.LargeListViewArray.from_arrays(offsets.cast("int64"), sizes.cast("int64"), numbers),
        "string view": texts.cast(pa.string_view()),
        "binary view": texts.cast(pa.binary()).cast(pa.binary_view()),
        "large string": texts.cast(pa.large_string()),
        "run ends": pa.RunEndEncodedArray.from_arrays(ends, texts[: len(ends)]),
        "dictionary": texts.dictionary_encode(),
        "list of dictionaries": pa.ListArray.from_arrays(
            pa.array(range(rows + 1), pa.int32()), texts.dictionary_encode()
        ),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * rows, pa.binary(16))),
        "decimal": pa.array([Decimal(row) for row in range(rows)], pa.decimal128(30, 2)),
        "large decimal": pa.array([Decimal(row) for row in range(rows)], pa.decimal256(60, 2)),
        "struct": structs,
        "list of structs": pa.FixedSizeListArray.from_arrays(structs, 1),
        "map": pa.array([[("k", row)] for row in range(rows)], pa.map_(pa.string(), pa.int64())),
        "fixed lists of nulls": pa.FixedSizeListArray.from_arrays(pa.nulls(rows * 3), 3),
        "fixed binary": pa.array([b"abc"] * rows, pa.binary(3)),
        "null": pa.nulls(rows),
        "list of nulls": pa.ListArray.from_arrays(pa.array([0] * (rows + 1), pa.int32()), pa.nulls(0)),
        "boolean": pa.array([bool(row % 2) for row in range(rows)]),
        "date": pa.array(range(rows), pa.date32()),
        "timestamp": pa.array(range(rows), pa.timestamp("ns", "Europe/Paris")),
        "duration": pa.array(range(rows), pa.duration("s")),
        "interval": pa.array([(1, 2, 3)] * rows, pa.month_day_nano_interval()),
        "list": lists,
    }


_OTHER_TYPES: Mapping[str, tuple[pa.DataType, ...]] = {
    "PassengerId": (pa.int32(), pa.uint64(), pa.float64(), pa.decimal128(20, 2), pa.dictionary(pa.int8(), pa.int64())),
    "Pclass": (pa.int8(), pa.uint8(), pa.float32(), pa.large_string(), pa.run_end_encoded(pa.int32(), pa.int64())),
    "Sex": (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()),
    "Age": (pa.float32(), pa.decimal128(10, 4), pa.string()),
    "Cabin": (pa.large_string(), pa.string_view(), pa.dictionary(pa.uint16(), pa.large_string())),
}


def _tables() -> Iterable[tuple[pa.Table, frozenset[int]]]:
    """Yield passengers, also with odd columns, and with columns of other types."""
    for keys in _RANGES:
        yield typed(_rows(keys)), frozenset({200})
    for keys in ((), _keys(5, 6)):
        table = typed(_rows(_keys(5, 6))).slice(0, len(keys))
        for name, column in _odd_columns(len(keys)).items():
            yield table.append_column(name, column), _ODD
        for name, types in _OTHER_TYPES.items():
            for arrow_type in types:
                with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # of types that the values don't have
                    column = table[name].combine_chunks().cast(arrow_type)
                    yield table.set_column(table.column_names.index(name), name, column), _ODD


def _keys_of(table: pa.Table) -> tuple[int, ...]:
    return tuple(int(key) for key in table["PassengerId"].to_pylist())


@functools.cache
def _parquets() -> list[Original]:
    originals = []
    for table, statuses in _tables():
        for compression in ("zstd", "none"):
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # of types that Parquet has not
                originals.append(Original(parquet_file(table, compression), _keys_of(table), statuses))
    return originals


@functools.cache
def _arrows() -> list[Original]:
    tables = [(table, _keys_of(table), statuses) for table, statuses in _tables()]
    streams = [
        Original(arrow_stream(table, size), keys, statuses) for table, keys, statuses in tables for size in (4, 99)
    ]
    cases = (FILES / f"{name}.arrows" for name in ("bad-offsets", "empty-union", "width-0"))
    return [*streams, *(Original(path.read_bytes(), statuses=_STATUSES) for path in cases)]


def _kinds() -> dict[str, Kind]:
    plain = [
        Kind("csv", CSV, _csvs, _changed_text),
        Kind("headerless-csv", CSV, _headerless_csvs, _changed_text, "/invocations"),
        Kind("json-row", JSON, _json_rows, _changed_text),
        Kind("json-list", JSON, _json_lists, _changed_text),
        Kind("json-envelope", JSON, _json_envelopes, _changed_text, "/invocations"),
        Kind("json-lines", JSON_LINES, _json_lines, _changed_text, "/invocations"),
        Kind("parquet", PARQUET, _parquets, _changed_parquet),
        Kind("arrow", ARROW, _arrows, _changed_arrow),
    ]
    gzipped = [
        Kind(f"{kind.name}-gzip", kind.media_type, kind.originals, kind.change, kind.path, is_packed=True)
        for kind in plain
    ]
    return {kind.name: kind for kind in (*plain, *gzipped)}


KINDS = _kinds()


# Answers


def amiss(answer: Answer, original: Original | None, known: Mapping[int, Prediction]) -> str | None:
    """Return what is wrong with an answer to a body, or None."""
    if answer.status not in (original.statuses if original else _STATUSES):
        return f"answered with {answer.status}{' though nothing was changed' if original else ''}"
    if answer.status != 200:
        return problem_amiss(answer)
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    try:
        found = known_predictions.predictions_in(answer.body, media_type)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        return f"predictions that can't be read: {type(error).__name__}: {error}"
    if original is not None and original.statuses != _STATUSES:
        return None if found == [known[key] for key in original.keys] else "not the predictions of titanic score"
    impossible = [row for row in found if row[1] not in (0, 1) or not 0 <= row[2] <= 1]
    return f"predictions that can't be: {impossible[:3]}" if impossible else None


def problem_amiss(answer: Answer) -> str | None:
    """Return what is wrong with an answer that is to be a problem, or None."""
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if media_type != PROBLEM:
        return f"{answer.status} as {media_type or 'nothing'}"
    try:
        problem = json.loads(answer.body)
    except ValueError:
        return "a problem that is no JSON"
    if not isinstance(problem, dict) or problem.get("status") != answer.status:
        return "a problem without its status"
    if not all(isinstance(problem.get(name), str) for name in ("type", "title", "detail")):
        return "a problem without type, title or detail"
    shown = [inside for inside in _INSIDE if inside in answer.body.decode("utf-8", "replace")]
    return f"a problem that shows {shown[0]}" if shown else None


class Fuzzer:
    """Sends bodies to a server, and starts another one where that ends or needs too much memory.

    Parameters
    ----------
    folder
        Where the model and the predictions are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = known_predictions.fit(folder / "model.skops", "n_estimators=3")
        rows = csv_bytes(passengers(ROWS))
        self._known = {row[0]: row for row in known_predictions.score(self._model, rows, folder)}
        self._server = self._start()

    def close(self) -> None:
        self._server.stop()

    def kill_server(self) -> None:
        """End the server, as a body might."""
        os.kill(self._server.pid, signal.SIGKILL)

    def run(
        self, kind: Kind, first: int, count: int, make: Callable[[Kind, int], Body] = mutated
    ) -> tuple[Counter[str], list[Finding]]:
        """Send the bodies of some seeds, and return how often each status occurred, and what was amiss."""
        outcomes: Counter[str] = Counter()
        findings: list[Finding] = []
        seeds = iter(range(first, first + count))
        while suspects := self._send(kind, seeds, make, outcomes, findings):
            findings += self._culprits(kind, suspects, make)
        quiet = not findings
        findings += [Finding(kind.name, first, f"stderr: {line}") for line in self._server.faults if quiet]
        findings += [Finding(kind.name, first, f"no answer to {probe}") for probe in self._server.unanswered_probes()]
        if self._server.faults:
            self._restart()
        return outcomes, findings

    def _start(self) -> WatchedServer:
        return WatchedServer(self._folder, "--model", self._model, "--accept-binary")

    def _restart(self) -> None:
        self._server.stop()
        self._server = self._start()

    def _ailment(self) -> str | None:
        """Return why the server can't be used any further."""
        if self._server.peak() > MEMORY_MIB:
            return f"{self._server.peak_mib:.0f} MiB of memory"
        return None if self._server.lives else "the server is dead"

    def _send(
        self,
        kind: Kind,
        seeds: Iterable[int],
        make: Callable[[Kind, int], Body],
        outcomes: Counter[str],
        findings: list[Finding],
    ) -> list[int]:
        """Send until the seeds are used up, or the server is ill; return the seeds that may have made it so."""
        lock = threading.Lock()
        latest: deque[int] = deque(maxlen=3 * CONNECTIONS)
        ill = threading.Event()

        def work() -> None:
            with _Client(self._server) as client:
                while not ill.is_set():
                    with lock:
                        seed = next(iter(seeds), None)
                        if seed is None:
                            return
                        latest.append(seed)
                    outcome, what = self._try(client, kind, make(kind, seed))
                    if self._ailment() is not None:
                        ill.set()
                    with lock:
                        outcomes[outcome] += 1
                        if what is not None and self._server.lives:
                            findings.append(Finding(kind.name, seed, what))

        threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return list(latest) if ill.is_set() else []

    def _try(self, client: _Client, kind: Kind, body: Body) -> tuple[str, str | None]:
        """Send a body, and return how that ended and what was amiss."""
        try:
            answer = client.post(kind, body.content)
        except (OSError, http.client.HTTPException) as error:
            self._server.wait(DYING_SECONDS)
            return "no answer", f"no answer: {type(error).__name__}"
        return str(answer.status), amiss(answer, body.original, self._known)

    def _culprits(self, kind: Kind, suspects: list[int], make: Callable[[Kind, int], Body]) -> list[Finding]:
        """Send each suspect to a server of its own until all are known that make one ill."""
        findings = []
        together = self._ailment()
        self._restart()
        for seed in suspects:
            with _Client(self._server) as client:
                self._try(client, kind, make(kind, seed))
            if (what := self._ailment()) is not None:
                findings.append(Finding(kind.name, seed, what))
                self._restart()
        return findings or [Finding(kind.name, suspects[-1], f"{together}, after the seeds {suspects} together")]


class _Client:
    """A connection that is kept alive."""

    def __init__(self, server: WatchedServer) -> None:
        self._connection = server.connect(PATIENCE)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, kind: Kind, content: bytes) -> Answer:
        try:
            self._connection.request("POST", kind.path, content, kind.headers)
            response = self._connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


def keep(folder: Path, findings: Iterable[Finding]) -> None:
    """Save the bodies that something was amiss with."""
    for finding in findings:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{finding.kind}-{finding.seed}").write_bytes(mutated(KINDS[finding.kind], finding.seed).content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=1_000, help="of each kind")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**9), help="of the first; each next has one more"
    )
    parser.add_argument("--only", choices=KINDS, help="the only kind")
    parser.add_argument(
        "--kept", type=Path, default=Path("bodies"), help="folder for bodies that something is amiss with"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    every = []
    with ExitStack() as stack:
        fuzzer = Fuzzer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(fuzzer.close)
        for kind in [KINDS[given.only]] if given.only else KINDS.values():
            outcomes, findings = fuzzer.run(kind, given.seed, given.bodies)
            print(
                f"{kind.name}: {', '.join(f'{outcome} {times}' for outcome, times in sorted(outcomes.items()))}",
                flush=True,
            )
            for finding in findings:
                print(f"--only {finding.kind} --seed {finding.seed} --bodies 1: {finding.what}", flush=True)
            keep(given.kept, findings)
            every += findings
    sys.exit(f"{len(every)} findings, kept in {given.kept}" if every else None)


if __name__ == "__main__":
    main()
