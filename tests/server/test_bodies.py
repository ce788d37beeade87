"""Request bodies: too large, compressed or not; malformed; and what the values in JSON mean."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from tests import odd_parquet, thrift
from tests.passengers import COLUMNS, csv_bytes, many, parquet_bytes, passenger, passengers, typed
from tests.server.exchange import GZIP, arrow_bytes, post, problem, status
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.json_reader import MAX_CHARACTERS, MAX_PARTS
from titanic_batch.server.media import ARROW, CSV, JSON, JSON_LINES, PARQUET, Limits

LIMITS = Limits(bytes=100_000, rows=1_000, binary=True)
(ROW,) = typed(passengers(1)).to_pylist()


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model, LIMITS).test_client()


def test_a_body_may_be_compressed(client: FlaskClient) -> None:
    body = csv_bytes(passengers(50))
    plain = post(client, body)
    half = len(body) // 2
    for packed in (gzip.compress(body), gzip.compress(body[:half]) + gzip.compress(body[half:])):
        assert post(client, packed, **GZIP).data == plain.data


@pytest.mark.parametrize("level", [1, 9])
def test_a_body_over_the_limit_once_decompressed_is_refused(client: FlaskClient, level: int) -> None:
    header = csv_bytes([])
    fits = header + b"\n" * (LIMITS.bytes - len(header))
    assert status(client, gzip.compress(fits, level), CSV, **GZIP) == 200
    assert status(client, gzip.compress(fits + b"\n", level), CSV, **GZIP) == 413
    assert status(client, gzip.compress(bytes(10**8), level)[: LIMITS.bytes], CSV, **GZIP) == 413
    assert status(client, gzip.compress(fits) * 2, CSV, **GZIP) == 413


def test_parquet_over_the_limit_once_decompressed_is_refused(client: FlaskClient) -> None:
    filler = pa.array(["C" + "1" * 10_000] * 100)
    table = many(100).drop_columns("Cabin").append_column("Cabin", filler)
    not_needed = many(100).append_column("Name", filler)
    for each, expected in ((table, 413), (not_needed, 200)):
        body = io.BytesIO()
        pq.write_table(each, body, compression="zstd", use_dictionary=False)
        assert len(body.getvalue()) < LIMITS.bytes
        assert status(client, body.getvalue(), PARQUET) == expected


def test_parquet_that_ends_a_careless_process_is_answered(client: FlaskClient) -> None:
    table = typed(passengers(3)).append_column("Name", pa.array(["a", "b", "c"]))
    assert status(client, odd_parquet.encrypted(table, "Name"), PARQUET) == 200
    assert status(client, odd_parquet.with_damaged_description(parquet_bytes(table), "Name"), PARQUET) == 200
    assert status(client, odd_parquet.INT128.read_bytes(), PARQUET) == 200
    answer = post(client, odd_parquet.encrypted(table, "Sex"), PARQUET)
    assert "column Sex is encrypted" in problem(answer, 400)["detail"]
    answer = post(client, odd_parquet.encrypted(table, "Name", footer=True), PARQUET)
    assert "is encrypted" in problem(answer, 400)["detail"]


def test_limits_hold_for_parquet_with_a_type_that_cannot_be_read(client: FlaskClient) -> None:
    body = thrift.edited(odd_parquet.INT128.read_bytes(), lambda footer: footer.set_rows(LIMITS.rows + 1))
    assert status(client, body, PARQUET) == 413


@pytest.mark.parametrize(("rows", "expected"), [(1_000, 200), (1_001, 413)])
def test_rows_are_limited_in_every_format(client: FlaskClient, rows: int, expected: int) -> None:
    table = many(rows)
    assert status(client, parquet_bytes(table), PARQUET) == expected
    assert status(client, arrow_bytes(table.combine_chunks()), ARROW) == expected
    assert status(client, csv_bytes(passengers(rows)), CSV) == expected
    lists = {"instances": [list(row.values()) for row in table.to_pylist()]}
    assert client.post("/invocations", json=lists).status_code == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"\x00\x01\x02",
        b"PAR1 and more",
        b"\x1f\x8b and more",
        b"\xff\xfeP\x00a\x00",
        b"\xe9,b\n1,2\n",
        b"SECRET,VALUES\n1,2\n",
        csv_bytes([passenger(1)], [*COLUMNS, "Age"]),
        csv_bytes([passenger(1)]).replace(b"Age", b"Agee"),
        csv_bytes([passenger(1)]).replace(b",", b";"),
    ],
)
def test_a_csv_without_the_contracts_columns_is_refused(client: FlaskClient, body: bytes) -> None:
    assert problem(post(client, body), 400)["detail"].startswith("the body")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", ARROW),
        (b"ARROW1", ARROW),
        (arrow_bytes(typed(passengers(3)))[:-40], ARROW),
        (b"", PARQUET),
        (parquet_bytes(typed(passengers(3)))[:-8], PARQUET),
        (b"", JSON),
        (b"{", JSON),
        (b"\xff", JSON),
        (b"[" * 100_000, JSON),
        (b"1" * 5_000, JSON),
        (b"1", JSON),
        (b"null", JSON),
        (b'"x"', JSON),
        (b"[1]", JSON),
        (b"[[1]]", JSON),
        (json.dumps({"Age": 3}).encode(), JSON),
        (json.dumps(ROW | {"Sexx": 1}).replace('"Sex"', '"Old"').encode(), JSON),
    ],
)
def test_malformed_bodies_are_refused(client: FlaskClient, body: bytes, media_type: str) -> None:
    assert status(client, body, media_type) == 400


def test_a_missing_column_is_reported(client: FlaskClient) -> None:
    found = problem(post(client, csv_bytes([passenger(1)]).replace(b"Cabin", b"Cabins")), 400)
    assert found["detail"] == "the body: column missing: Cabin (nearest: Cabins)."


@pytest.mark.parametrize("column", ["Cabin", "Age"])
def test_deep_nesting_is_no_fault_of_the_server(client: FlaskClient, column: str) -> None:
    statuses = set()
    for depth in [*range(1, 900, 50), *range(900, 1_000, 2), 10_000]:
        text = json.dumps(ROW | {column: "here"}).replace('"here"', "[" * depth + "]" * depth)
        statuses |= {status(client, text.encode(), JSON), status(client, f"[{text}]".encode(), JSON)}
        answer = client.post("/invocations", data=f'{{"instances": [{text}]}}', content_type=JSON)
        statuses.add(answer.status_code)
    assert statuses == {422, 400}


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b", gzip.compress(csv_bytes(passengers(9)), mtime=0)[:-4], b"plain"])
def test_damaged_gzip_is_refused(client: FlaskClient, body: bytes) -> None:
    assert status(client, body, CSV, **GZIP) == 400


def test_a_body_may_be_very_many_gzip_streams(small_model: Model) -> None:
    client = create_app(small_model).test_client()
    content, nothing = csv_bytes(passengers(300)), gzip.compress(b"", mtime=0)
    many_streams = nothing * (3 * 2**20 // len(nothing))
    whole = client.post("/predict", data=content, content_type=CSV)
    assert (whole.status_code, len(whole.data.splitlines())) == (200, 301)
    parts = [gzip.compress(content[at : at + 7], mtime=0) for at in range(0, len(content), 7)]
    for packed in (gzip.compress(content[:999]) + many_streams + gzip.compress(content[999:]), b"".join(parts)):
        answer = client.post("/predict", data=packed, content_type=CSV, headers=GZIP)
        assert (answer.status_code, answer.data) == (200, whole.data)
        assert status(client, packed[:-1], CSV, **GZIP) == 400
        assert status(client, packed + b"more", CSV, **GZIP) == 400


def test_decompression_copies_no_more_than_the_body(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream's rest, which zlib copies, is short, however long the body."""
    longest: list[int] = []
    made = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._stream = made(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            longest.append(len(data))
            return self._stream.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    packed = gzip.compress(b"", mtime=0) * 4_000
    assert status(client, packed + gzip.compress(csv_bytes(passengers(3))), CSV, **GZIP) == 200
    assert len(longest) < 4_100
    assert max(longest) <= len(packed) // 10


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_other_content_encodings_are_refused(client: FlaskClient, encoding: str) -> None:
    assert status(client, csv_bytes(passengers(1)), CSV, **{"Content-Encoding": encoding}) == 415


def test_rows_with_distinct_columns_take_no_quadratic_space(small_model: Model) -> None:
    rows = [without(ROW, "Sex") | {f"n{key}": 1} for key in range(10_000)]
    answer = create_app(small_model).test_client().post("/predict", json=rows)
    assert (answer.status_code, answer.get_json()["detail"]) == (400, "the body: column missing: Sex.")


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("Age", "22", "type"),
        ("Age", True, "type"),
        ("Age", [22], "type"),
        ("Age", 121, "out_of_range"),
        ("Age", float("inf"), "not_finite"),
        ("Pclass", 2.5, "type"),
        ("Pclass", "3", "type"),
        ("Pclass", None, "missing"),
        ("Pclass", 4, "not_allowed"),
        ("PassengerId", 2**63, "out_of_range"),
        ("PassengerId", 1e300, "out_of_range"),
        ("PassengerId", 2.0**63, "out_of_range"),
        ("PassengerId", 10**400, "out_of_range"),
        ("PassengerId", float("inf"), "not_finite"),
        ("PassengerId", 1e-5, "type"),
        ("PassengerId", "0x10", "type"),
        ("PassengerId", False, "type"),
        ("Fare", 10**400, "not_finite"),
        ("Fare", "nan", "type"),
        ("Cabin", False, "not_allowed"),
        ("Cabin", "False", "not_allowed"),
        ("Cabin", "C85\n", "not_allowed"),
        ("Cabin", "NULL", "not_allowed"),
        ("Sex", 1, "not_allowed"),
        ("Sex", {"a": "male"}, "not_allowed"),
        ("Cabin", "\ud800", "encoding"),
    ],
)
def test_json_values_that_break_a_rule(client: FlaskClient, column: str, value: Any, rule: str) -> None:
    answer = client.post("/predict", data=json.dumps(ROW | {column: value}), content_type=JSON)
    assert answer.status_code == 422
    assert answer.get_json()["rejects"] == [{"row": 1, "column": column, "rule": rule}]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1e3", 1_000),
        ("1.0", 1),
        ("-0.0", 0),
        ("12.50E+1", 125),
        ("1e17", 10**17),
        ("9007199254740993.0", 2**53 + 1),
        ("123456789012345678.0", 123456789012345678),
        ("1.23456789012345678e17", 123456789012345678),
        ("9223372036854775807", 2**63 - 1),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_the_value_of_a_json_number_counts_and_not_its_spelling(client: FlaskClient, text: str, key: int) -> None:
    body = json.dumps(ROW | {"PassengerId": "here", "Age": "there"}).replace('"here"', text).replace('"there"', "2.2e1")
    assert post(client, body.encode(), JSON).get_json()["PassengerId"] == key
    many = f"[{body}, {json.dumps(ROW | {'PassengerId': 7, 'Age': 121})}]"  # too odd for the fast path
    answer = post(client, many.encode(), JSON, path="/predict?rejects=allow").get_json()
    assert [row["PassengerId"] for row in answer["predictions"]] == [key]


@pytest.mark.parametrize(
    ("column", "value", "same"),
    [
        ("Age", float("nan"), None),
        ("Pclass", 2.0, 2),
        ("Cabin", "", None),
        ("Cabin", "NA", None),
        ("Age", 22, 22.0),
        ("Cabin", "null", None),
    ],
)
def test_json_values_that_mean_the_same(client: FlaskClient, column: str, value: Any, same: Any) -> None:
    answers = [
        client.post("/predict", data=json.dumps(ROW | {column: each}), content_type=JSON).get_json()
        for each in (value, same)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["PassengerId"] == 1


def test_a_required_column_that_no_row_contains_is_reported_missing(client: FlaskClient) -> None:
    for names, detail in ((["Sex"], "Sex"), (["Sex", "Pclass", "Cabin"], "Pclass, Sex")):
        answer = client.post("/predict", json=[without(ROW, *names)])
        columns = "columns" if "," in detail else "column"
        assert (answer.status_code, answer.get_json()["detail"]) == (400, f"the body: {columns} missing: {detail}.")
    answer = client.post("/predict", json=without(ROW, "Sex") | {"sex": "male"})
    assert answer.get_json()["detail"] == "the body: column missing: Sex (nearest: sex)."


@pytest.mark.parametrize("names", [["Age"], ["Fare", "Cabin"], ["Age", "Fare", "Cabin"]])
def test_what_may_be_null_may_be_left_out(client: FlaskClient, names: list[str]) -> None:
    full = ROW | dict.fromkeys(names)
    alone = client.post("/predict", json=without(full, *names))
    assert (alone.status_code, alone.data) == (200, client.post("/predict", json=full).data)
    others = [full | {"PassengerId": key, "Age": 3.5} for key in range(2, 100)]
    among = client.post("/predict", json=[without(full, *names), *others])
    assert (among.status_code, among.data) == (200, client.post("/predict", json=[full, *others]).data)
    rejected = client.post("/predict", json=[without(ROW, "Sex"), *others])
    assert rejected.get_json()["rejects"] == [{"row": 1, "column": "Sex", "rule": "missing"}]


@pytest.mark.parametrize(
    "body",
    [
        '{"PassengerId": 1, "PassengerId": 2}',
        '[{"PassengerId": 1, "x": {"a": 1, "b": 2, "a": 1}}]',
        '{"instances": [], "instances": []}',
        '{"instances": [], "x": 1, "x": 1}',
        '{"inputs": {"Age": [1], "Age": [1]}}',
        '{"dataframe_split": {"columns": [], "columns": [], "data": []}}',
    ],
)
def test_a_name_twice_in_an_object_is_refused(client: FlaskClient, body: str) -> None:
    assert problem(post(client, body.encode(), JSON), 400)["detail"].endswith("has the same name twice.")


def test_a_byte_order_mark_is_dropped(client: FlaskClient) -> None:
    plain = json.dumps([ROW]).encode()
    assert post(client, b"\xef\xbb\xbf" + plain, JSON).data == post(client, plain, JSON).data
    assert status(client, 2 * b"\xef\xbb\xbf" + plain, JSON) == 400
    body = csv_bytes(passengers(2))
    headless = body.split(b"\n", 1)[1]
    for content in (body, headless):
        marked, unmarked = (post(client, mark + content, path="/invocations") for mark in (b"\xef\xbb\xbf", b""))
        assert (marked.status_code, marked.data) == (200, unmarked.data)


@pytest.mark.parametrize("media_type", [CSV, JSON, PARQUET, ARROW])
def test_a_compressed_body_without_a_header_is_told_which(client: FlaskClient, media_type: str) -> None:
    packed = gzip.compress(csv_bytes(passengers(2)))
    assert problem(post(client, packed, media_type), 400)["detail"] == (
        "the body is compressed by gzip, and no header says so: send Content-Encoding: gzip."
    )
    packed = pa.compress(b"1", "zstd", asbytes=True)
    assert "send it as it is, or by gzip" in problem(post(client, packed, media_type), 400)["detail"]


@pytest.mark.parametrize(
    ("path", "media_type", "part"),
    [
        ("/predict", JSON, ("[", "{}", ",", "]")),
        ("/invocations", JSON, ('{"inputs": {"a": [', "1", ",", "]}}")),
        ("/invocations", JSON, ('{"inputs": {"Age": [', "1", ",", "]}}")),
        ("/invocations", JSON, ('{"instances": [', "[]", ",", "]}")),
        ("/invocations", JSON, ('{"dataframe_split": {"data": [', "[]", ",", '], "columns": []}}')),
        ("/invocations", JSON, ('{"instances": [], "x": [', "1", ",", "]}")),
        ("/invocations", JSON_LINES, ("", "{}", "\n", "")),
        ("/invocations", JSON_LINES, ("", '{"instances": []}', "\n", "")),
    ],
)
def test_rows_of_json_are_counted_before_they_are_kept(
    small_model: Model, path: str, media_type: str, part: tuple[str, str, str, str]
) -> None:
    client = create_app(small_model, Limits(rows=1_000)).test_client()
    start, element, separator, end = part
    many = 500_000
    body = (start + (element + separator) * many + element + end).encode()
    tracemalloc.start()
    answer = client.post(path, data=gzip.compress(body, 1), content_type=media_type, headers=GZIP)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if "[]" in element and media_type == JSON and "split" not in start:
        assert "lists of 8 values" in problem(answer, 400)["detail"]
    else:
        assert "rows" in problem(answer, 413)["detail"]
    assert peak < 4 * len(body)  # the body itself, unpacked and as text


def test_whole_numbers_with_very_many_digits_take_no_more_than_the_body(small_model: Model) -> None:
    client = create_app(small_model, Limits(rows=30_000)).test_client()
    row = json.dumps(ROW | dict.fromkeys(["PassengerId", "Pclass", "SibSp", "Parch"], "n")).replace('"n"', "1e300")
    body = f"[{','.join([row] * 20_000)}]".encode()
    tracemalloc.start()
    assert status(client, body, JSON) == 422
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(body)


@pytest.mark.parametrize(
    ("media_type", "body", "copies"),  # of which the client has two
    [
        (JSON, json.dumps({"Cabin": "C" * 2**22}).encode(), 8),
        (JSON, json.dumps([{"C" * 2**22: 1}]).encode(), 8),
        (CSV, b",".join([b"x" * 2**16] * 64) + b"\n", 6),
        (CSV, b'"' * 2**22, 6),
    ],
)
def test_long_texts_are_copied_a_few_times_at_most(
    small_model: Model, media_type: str, body: bytes, copies: int
) -> None:
    client = create_app(small_model).test_client()
    tracemalloc.start()
    assert status(client, body, media_type) == 400
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < copies * len(body)


def test_an_overlong_row_is_refused(small_model: Model) -> None:
    client = create_app(small_model).test_client()
    nested = f"[{'[1],' * 2**20}1]"
    numbers = ",".join(["1", *(f'"n{key}": 1' for key in range(2**18))])
    long, wide = f"more than {MAX_CHARACTERS} characters", f"more than {MAX_PARTS} values"
    for value, detail in ((nested, long), (numbers, wide)):
        row = json.dumps(ROW | {"Other": "here"}).replace('"here"', value)
        for body in (row, f"[{row}]", f"[{json.dumps(ROW)},{row}]", f'{{"instances": [{row}]}}'):
            assert detail in problem(post(client, body.encode(), JSON), 400)["detail"]
    answer = post(client, f"[[{'1,' * 2**21}1]]".encode(), JSON, "/invocations")
    assert wide in problem(answer, 400)["detail"]


def test_blanks_in_lines_of_json_take_no_time(client: FlaskClient) -> None:
    blanks = b" \t" * 20_000
    row = json.dumps(ROW).encode()
    body = b"\n".join([blanks, row, blanks, b"\r"])
    assert post(client, body, JSON_LINES, "/invocations").data == post(client, row, JSON_LINES, "/invocations").data
    assert post(client, blanks, JSON_LINES, "/invocations").data == b""


def test_a_text_may_be_as_long_as_the_body(small_model: Model) -> None:
    client = create_app(small_model).test_client()
    text = "C" + "8" * (3 * MAX_CHARACTERS)
    good, long = json.dumps(ROW), json.dumps(ROW | {"Name": "x" * 3 * MAX_CHARACTERS})
    assert post(client, long.encode(), JSON).data == post(client, good.encode(), JSON).data
    assert post(client, f"[{long}]".encode(), JSON).data == post(client, f"[{good}]".encode(), JSON).data
    values = [list((ROW | {"Cabin": text}).values())]
    answer = post(client, json.dumps({"inputs": values}).encode(), JSON, "/invocations")
    assert answer.status_code == 200
    assert answer.data == post(client, json.dumps({"inputs": [ROW | {"Cabin": text}]}).encode(), JSON).data


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
