"""Changes model files and seals them again: ``python tests/fuzz_models.py --files 3000``.

Each file is inspected, loaded and scored with by a child process that may take 3 GiB. Whatever is in it, that ends in a
`ModelError`, or with what the unchanged model predicts, bit by bit; where the file describes another pipeline, which
only its digest would tell, with probabilities. What is scored without scikit-learn can be built as well, and gives the
same bits then, also where the proof was forged. A file that does otherwise is kept, and its seed is named.

With ``--pipeline`` the notebook has another pipeline, one of `some_pipelines`, which no file describes in a known form.
"""

from __future__ import annotations

import argparse
import copy
import functools
import io
import json
import math
import random
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder stands there

from tests.fuzz_footers import fuzz
from tests.model_files import SEAL_BYTES, members_of, resealed, sealed, with_forged_proof
from tests.some_pipelines import PIPELINES, substitute
from titanic_batch.cli.inspect import artifact_json, artifact_text, difference_text
from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import MANIFEST, PROOF, SCHEMA, read_artifact
from titanic_batch.models.model import Model
from titanic_batch.models.soundness import parts_of
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.models.zip_members import ZipMembers
from titanic_batch.notebook import pipeline as notebook
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.server import page
from titanic_batch.server.app import create_app

ADDRESS_SPACE = 3 * 2**30
NUMBERS = (0, 1, 2, 8, 9, 12, 14, 20, 63, 64, 99, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, math.nan, math.inf, 1e308, 2**31, 2**63, 10**400, 10**9),
    *("", "x", "\x1b[31m", "<script>", "\ud800", "a" * 3000, "[" * 3000, "[]", "1" * 5000, "0.npy", "builtins"),
    *([], {}, [[]], {"a": {}}, [None], ["x"], [1] * 100, [[]] * 50_000, {str(n): n for n in range(1000)}),
    json.loads("[" * 400 + "]" * 400),
    json.loads('{"a":' * 400 + "1" + "}" * 400),
)
HEADERS = (
    "(",
    ")",
    "[",
    "]",
    "{",
    "'",
    ",",
    "-",
    "0",
    "9" * 30,
    "True",
    "None",
    "\xe9",
    "'|O'",
    "'<M8'",
    "'<U99999999'",
)
ENTRY, LOCAL = b"PK\1\2", b"PK\3\4"
# The loaders of nodes, and a class that each may build.
NODES = {"JsonNode": "str", "ListNode": "list", "TupleNode": "tuple", "DictNode": "dict", "SliceNode": "slice",
         "TypeNode": "int", "NdArrayNode": "ndarray", "ObjectNode": "Pipeline", "TreeNode": "Tree",
         "DTypeNode": "dtype", "LossNode": "CyHalfBinomialLoss", "PartialNode": "partial",
         "RandomGeneratorNode": "Generator", "RandomStateNode": "RandomState"}  # fmt: skip
# Where a member's headers tell its flags, packing, checksum and sizes: place in its own, place in the directory, form.
FIELDS = ((6, 8, "H"), (8, 10, "H"), (14, 16, "L"), (18, 20, "L"), (22, 24, "L"), (26, 28, "H"), (28, 30, "H"))


def fitted() -> Model:
    """Return the model whose file is changed."""
    is_ours = notebook.build_pipeline is build_pipeline
    return Model(**{"n_estimators": 3, "max_depth": 3} if is_ours else {}).fit(packaged_rows())


@contextmanager
def notebook_of(name: str) -> Iterator[None]:
    """Change files of another pipeline."""
    # A child that was forked waits for ever for the threads that OpenMP has started in its parent.
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        substitute(patch, PIPELINES[name])
        for cached in (original, expected, kinds):
            cached.cache_clear()
        try:
            yield
        finally:
            for cached in (original, expected, kinds):
                cached.cache_clear()


@functools.cache
def original() -> bytes:
    """Return the file that is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1000000000")
        model = fitted()
    model.record("cross_validation", model.evaluate(packaged_rows()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    return model.to_bytes()


@functools.cache
def expected() -> bytes:
    """Return what the unchanged model predicts."""
    return probabilities_of(fitted()).tobytes()


@functools.cache
def kinds() -> frozenset[str]:
    """Return the classes of all that is in the unchanged pipeline."""
    return kinds_in(fitted().pipeline)


def kinds_in(pipeline: Any) -> frozenset[str]:
    return frozenset(f"{type(part).__module__}.{type(part).__qualname__}" for part in parts_of(pipeline))


def probabilities_of(model: Model) -> NDArray[np.float64]:
    return model.predict_proba(packaged_rows().head(60))


def mutated(seed: int) -> bytes:
    """Return a changed file with the right seal."""
    chance = random.Random(seed)
    kinds = (
        *(zip_bytes, zip_fields, zip_fields, other_members, other_json, other_json, other_json, arrays, arrays),
        *(forged, forged, forged),
    )
    change: Callable[[random.Random], bytes] = chance.choice(kinds)
    return change(chance)


def zip_bytes(chance: random.Random) -> bytes:
    """Change some bytes of the zip, often those of its headers, or cut some out."""
    content = bytearray(original()[:-SEAL_BYTES])
    directory = content.index(ENTRY)
    for _ in range(chance.choice((1, 1, 2, 4))):
        start, end = chance.choice(
            ((0, 60), (directory, len(content)), (len(content) - 90, len(content)), (0, directory))
        )
        place = chance.randrange(start, end)
        match chance.choice(("set", "set", "flip", "cut", "add")):
            case "set":
                content[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case "flip":
                content[place] ^= 1 << chance.randrange(8)
            case "cut":
                del content[place : place + chance.choice((1, 10, 100))]
            case "add":
                content[place:place] = chance.randbytes(chance.choice((1, 10, 100)))
        content += bytes(max(0, 2 * SEAL_BYTES + 30 - len(content)))
    return resealed(bytes(content) + bytes(SEAL_BYTES))


def zip_fields(chance: random.Random) -> bytes:
    """Change what a zip says of a member: in one of the places where it does, or in both."""
    content = bytearray(original())
    locals_, entries = (list(found(content, signature)) for signature in (LOCAL, ENTRY))
    for _ in range(chance.choice((1, 1, 2))):
        member = chance.choice((0, len(entries) - 1, chance.randrange(len(entries))))
        own, listed, form = chance.choice(FIELDS)
        (old,) = struct.unpack_from(f"<{form}", content, entries[member] + listed)
        new = chance.choice((*NUMBERS, old + 1, old - 1, old * 2, old // 2)) % 2 ** (16 if form == "H" else 32)
        which = chance.choice(("both", "both", "own", "listed", "place"))
        if which in ("both", "own"):
            struct.pack_into(f"<{form}", content, locals_[member] + own, new)
        if which in ("both", "listed"):
            struct.pack_into(f"<{form}", content, entries[member] + listed, new)
        if which == "place":
            struct.pack_into("<L", content, entries[member] + 42, chance.choice((*NUMBERS, *locals_)))
    return resealed(bytes(content))


def found(content: bytes | bytearray, signature: bytes) -> Iterator[int]:
    place = content.find(signature)
    while place >= 0:
        yield place
        place = content.find(signature, place + 1)


def other_members(chance: random.Random) -> bytes:
    """Leave members out, exchange them, add some, or pack them in another way."""
    members = all_members()
    names = list(members)
    name = chance.choice((MANIFEST, SCHEMA, chance.choice(names)))
    match chance.choice(("drop", "empty", "swap", "add", "many", "bomb", "order", "pack")):
        case "drop":
            del members[name]
        case "empty":
            members[name] = b""
        case "swap":
            members[name] = members[chance.choice(names)]
        case "add":
            members[chance.choice(("x", "../x", "/x", "", "\x1b", "a" * 5000, "x/"))] = b"x"
        case "many":
            members |= {f"{number}.x": b"" for number in range(3000)}
        case "bomb":
            size = chance.choice((2**20, 2**24, 2**24 + 1, 2**26))
            piece = chance.choice((b" ", b"\0", b"[],", b"[", b'""', b"1,"))
            members[name] = piece * (size // len(piece))
        case "order":
            members = dict(chance.sample(sorted(members.items()), len(members)))
        case "pack":
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", chance.choice((0, 8, 12, 14))) as file:
                for each, content in members.items():
                    info = zipfile.ZipInfo(each)
                    with file.open(info, "w", force_zip64=chance.random() < 0.3) as member:
                        member.write(content)
                file.comment = bytes(SEAL_BYTES)
            return resealed(buffer.getvalue())
    return sealed(members, None)


def all_members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(original())) as file:
        return {**members_of(original()), MANIFEST: file.read(MANIFEST)}


def other_json(chance: random.Random) -> bytes:
    """Change the manifest or the schema: values in it, or its text."""
    members = all_members()
    name = chance.choice([name for name in (MANIFEST, SCHEMA, PROOF) if name in members])
    if chance.random() < 0.85:
        data = json.loads(members[name])
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            _change_value(data, chance)
        members[name] = json.dumps(data).encode()
    else:
        members[name] = _change_text(members[name], chance)
    return sealed(members, None)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, name
        if isinstance(part, dict | list):
            yield from _places(part)


def _change_value(data: Any, chance: random.Random) -> None:
    every = list(_places(data))
    if chance.random() < 0.5:  # otherwise the trees, which are the most, are hit nearly always
        every = every[: chance.choice((20, 200, 1000))]
    part, name = chance.choice(every)
    match chance.choice(("odd", "odd", "odd", "drop", "other", "more", "near")):
        case "odd":
            part[name] = copy.deepcopy(chance.choice(ODD))
        case "drop":
            del part[name]
        case "other":
            other, its_name = chance.choice(every)
            part[name] = copy.deepcopy(other[its_name])
        case "more" if isinstance(part, dict):
            part[chance.choice(("more", "__id__", "\x1b", "a" * 100, "__class__", "n_jobs"))] = chance.choice(ODD)
        case "near" if isinstance(part[name], int | float):
            part[name] = part[name] + chance.choice((1, -1, 0.5, 2**31))
        case "near" if isinstance(part[name], list):
            part[name] = chance.choice((part[name] * 2, part[name][:-1], part[name][::-1]))


def _change_text(text: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.randrange(40))
    new = (
        b"",
        b"\xff",
        b"\xef\xbb\xbf",
        b"NaN",
        b"1e999",
        b"[" * 3000,
        b'{"a":' * 1000,
        b"9" * 6000,
        b"\0",
        b'"',
        b",",
    )
    return text[:start] + chance.choice(new) + text[end:]


def forged(chance: random.Random) -> bytes:
    """Change the schema, one node or two, or an array, and prove that the arrays give what they give then."""
    members = all_members()
    if chance.random() < 0.2:
        content = arrays(chance)
    else:
        data = json.loads(members[SCHEMA])
        for _ in range(chance.choice((1, 1, 2))):
            (_change_value if chance.random() < 0.2 else _change_node)(data, chance)
        content = sealed(members | {SCHEMA: json.dumps(data).encode()}, None)
    try:
        return with_forged_proof(content)
    except Exception:  # `examine` finds what this ends with
        return content


def _change_node(schema: Any, chance: random.Random) -> None:
    """Change a node to one that is known as well: of another value, loader or class, or from another place."""
    holders = [(part, name) for part, name in _places(schema) if _is_node(part[name])]
    if not holders:
        return
    kind = chance.choice(["JsonNode", "JsonNode", *NODES])
    holders = [each for each in holders if each[0][each[1]]["__loader__"] == kind] or holders
    part, name = chance.choice(holders)
    node = part[name]
    match chance.choice(("value", "value", "value", "drop", "class", "loader", "part", "other", "key", "size")):
        case "value" if node["__loader__"] == "JsonNode":
            node["content"] = json.dumps(chance.choice(_near(node["content"])))
        case "drop":
            del part[name]
        case "class":
            node["__module__"], node["__class__"] = chance.choice(
                [(each["__module__"], each["__class__"]) for each in map(_at, holders)]
                + [
                    (
                        f"{node['__module__']}.{node['__class__']}".rpartition(".")[0].partition(".")[0],
                        node["__class__"],
                    )
                ]
                + [tuple(f"{node['__module__']}.{node['__class__']}".split(".", 1))]
            )
        case "loader":
            node["__loader__"], node["__class__"] = chance.choice(list(NODES.items()))
        case "part":
            its = chance.choice([each for each in node if not each.startswith("__")] or list(node))
            node[its] = copy.deepcopy(chance.choice((*ODD[:20], [], {}, _at(chance.choice(holders)).get(its))))
        case "key" if _is_node(node.get("key_types")):
            types = node["key_types"]["content"]
            place = chance.randrange(len(types) + 1)
            types[place : place + chance.choice((0, 1))] = [
                {"__class__": chance.choice(("int", "str")), "__module__": "builtins",
                 "__loader__": chance.choice(("TypeNode", "JsonNode")), "content": '"x"'}
            ]  # fmt: skip
        case "size" if isinstance(node.get("content"), dict | list) and node["content"]:
            if isinstance(node["content"], list):
                node["content"].insert(chance.randrange(len(node["content"])), copy.deepcopy(node["content"][0]))
            else:
                node["content"]["more"] = copy.deepcopy(chance.choice(list(node["content"].values())))
        case _:
            part[name] = copy.deepcopy(_at(chance.choice(holders)))


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "__loader__" in value


def _at(holder: tuple[Any, Any]) -> Any:
    return holder[0][holder[1]]


def _near(content: str) -> list[Any]:
    """Return values that lie near to that of a JsonNode, or look like it."""
    value = json.loads(content)
    near: list[Any] = [
        None,
        True,
        False,
        0,
        1,
        2,
        1.0,
        0.5,
        2.0,
        "x",
        "",
        [],
        {},
        math.nan,
        math.inf,
        -1,
        2**31,
        2**53,
        2**63,
    ]
    if isinstance(value, int | float):
        near += [float(value), value + 1, value - 1, -value, str(value), [value], bool(value), value * 2, value / 2]
        near += [int(value)] if math.isfinite(value) else []
    if isinstance(value, str):
        near += [value.upper(), value + " ", value[:-1], [value], "entropy", "sqrt", "balanced", "passthrough", "drop"]
    return near


def arrays(chance: random.Random) -> bytes:
    """Change an array: its header, its values, or how many there are."""
    members = all_members()
    name = chance.choice([name for name in members if name.endswith(".npy")])
    content = members[name]
    size = 10 + int.from_bytes(content[8:10], "little")
    match chance.choice(("header", "header", "length", "values", "values", "value", "tree", "type", "swap", "cut")):
        case "header":
            header = content[10:size].decode("latin-1").rstrip()
            start = chance.randrange(len(header))
            changed = (
                header[:start]
                + chance.choice(HEADERS) * chance.choice((1, 1, 300))
                + header[start + chance.randrange(4) :]
            )
            changed_bytes = changed.encode("latin-1") + b"\n"
            content = content[:8] + len(changed_bytes).to_bytes(2, "little") + changed_bytes + content[size:]
        case "length":
            length = chance.choice((0, 1, 2**16 - 1, size))
            content = content[:8] + length.to_bytes(2, "little") + content[10:]
        case "values" if len(content) > size:
            values = bytearray(content[size:])
            values[chance.randrange(len(values))] = chance.choice((0, 1, 0x7F, 0xFF))
            content = content[:size] + bytes(values)
        case "value" if len(content) >= size + 8:
            place = size + 8 * chance.randrange((len(content) - size) // 8)
            new = struct.pack("<q", chance.choice((0, -1, 1, 2**31, 2**62, -(2**63))))
            content = content[:place] + chance.choice((new, struct.pack("<d", math.nan))) + content[place + 8 :]
        case "tree":  # one that others could have fitted
            array = np.load(io.BytesIO(content))
            if array.dtype.names and "threshold" in array.dtype.names:
                array["threshold"] += chance.choice((0.5, 1, -1))
            elif array.ndim == 3:
                array = array[..., ::-1]
            content = saved(np.ascontiguousarray(array))
        case "type":
            shape = chance.choice(((1,), (2,), (0,), (), (3, 1, 2), (100_000,)))
            kind = chance.choice(("<f8", "<i8", "<f4", ">f8", "<U4", "?", "<c16", "<i4", "V8", "<M8[s]"))
            content = saved(np.zeros(shape, kind))
        case "swap":
            content = members[chance.choice(list(members))]
        case "cut":
            content = content[: chance.randrange(len(content))]
    return sealed(members | {name: content}, None)


def saved(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def examine(content: bytes, folder: Path, _: int) -> str:
    """Inspect a file, load it and score with it, and return how that ended; raise if it is not as it must be."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()  # by what imported this
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    path = folder / "model.skops"
    path.write_bytes(content)
    try:
        artifact = read_artifact(str(path))
    except ModelError as error:
        return _refused(error, path)
    artifact_text(artifact).encode()
    difference_text(artifact, artifact).encode()
    json.loads(artifact_json(artifact), parse_constant=_no_json)
    try:
        model = Model.load(path)
    except ModelError as error:
        return f"inspected, {_refused(error, path)}"
    engine, probabilities = model.engine, probabilities_of(model)  # of the pipeline, which is built now if it wasn't
    scores = model.scores()
    labels, scored = scores(pa.Table.from_pandas(packaged_rows().head(60)))
    if notebook.build_pipeline is build_pipeline:
        assert scored.to_numpy().tobytes() == np.ascontiguousarray(probabilities[:, 1]).tobytes()
    else:  # a matrix product depends on how many rows there are
        assert np.allclose(scored.to_numpy(), probabilities[:, 1], rtol=0, atol=1e-12)
    assert kinds_in(model.pipeline) <= kinds()
    assert labels.to_pylist() == model.predict(packaged_rows().head(60)).tolist()
    drift = scores.take_drift()
    if drift is not None:  # there may be nothing to compare with
        json.dumps([drift.to_json(), drift.worst.psi], allow_nan=False)
    client = create_app(model).test_client()
    assert client.get("/").status_code == client.get("/model").status_code == 200
    json.loads(json.dumps(page.card(model)), parse_constant=_no_json)
    assert (
        0 <= model.info.fit_record.metrics.get("cross_validation", {"accuracy": {"value": 0}})["accuracy"]["value"] <= 1
    )
    if probabilities.tobytes() == expected():
        return f"the same bits, {engine}"
    assert pipeline_of(content) != pipeline_of(original()), "the same pipeline predicts otherwise"
    assert set(labels.to_pylist()) <= {0, 1}
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    return f"another pipeline, {engine}"


def _refused(error: ModelError, path: Path) -> str:
    message = str(error)
    assert "\n" not in message
    assert len(message) < 1000
    return message.replace(str(path), "X").partition(":")[0]


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def pipeline_of(content: bytes) -> dict[str, Any]:
    """Return what describes the pipeline in a file that was read."""
    members = ZipMembers(content)
    return {name: members.read(name) for name in members_of(content) if name != PROOF}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3_000)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**9), help="of the first file; each next has one more"
    )
    parser.add_argument("--kept", type=Path, default=Path("models"), help="folder for files that fail")
    parser.add_argument("--pipeline", choices=PIPELINES, help="of another notebook")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with nullcontext() if given.pipeline is None else notebook_of(given.pipeline):
        original(), expected(), kinds()
        outcomes, failures = fuzz(given.seed, given.files, mutated, examine)
        for outcome, times in outcomes.most_common():
            print(f"{times:6} {outcome}")
        for number, failure in failures.items():
            given.kept.mkdir(exist_ok=True)
            (given.kept / f"{number}.skops").write_bytes(mutated(number))
            print(f"--seed {number} --files 1: {failure}")
    sys.exit(f"{len(failures)} failures, kept in {given.kept}" if failures else None)


if __name__ == "__main__":
    main()
