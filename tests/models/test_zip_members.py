"""A zip is read only if it is laid out as ours are, and none unpacks to more than it says."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from titanic_batch.models.zip_members import MAX_UNPACKED_BYTES, ZipError, ZipMembers

MEMBERS = {"a": b"text" * 100, "b": b"", "dir/c.npy": bytes(range(256))}
LOCAL, ENTRY, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def packed(
    members: dict[str, bytes] = MEMBERS, compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"0" * 64
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
        file.comment = comment
    return buffer.getvalue()


def patched(content: bytes, signature: bytes, offset: int, form: str, value: int, which: int = 0) -> bytes:
    """Return a zip with another number in one of its headers."""
    place = -1
    for _ in range(which + 1):
        place = content.index(signature, place + 1)
    changed = bytearray(content)
    struct.pack_into(f"<{form}", changed, place + offset, value)
    return bytes(changed)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"0" * 64])
def test_members_are_read_as_they_were_written(compression: int, comment: bytes) -> None:
    members = ZipMembers(packed(compression=compression, comment=comment))
    assert {name: members.read(name) for name in MEMBERS} == MEMBERS
    assert members.unpacked_bytes == sum(map(len, MEMBERS.values()))
    with pytest.raises(KeyError):
        members.read("z")


def test_what_fit_writes_is_read(model_file: Path) -> None:
    content = model_file.read_bytes()
    members = ZipMembers(content)
    with zipfile.ZipFile(model_file) as file:
        assert all(members.read(name) == file.read(name) for name in file.namelist())


@pytest.mark.slow
def test_more_members_than_a_plain_zip_counts_are_read() -> None:
    names = [str(number) for number in range(2**16 + 1)]
    members = ZipMembers(packed(dict.fromkeys(names, b""), zipfile.ZIP_STORED))
    assert members.read(names[-1]) == b""


@pytest.mark.parametrize("content", [b"", b"PK", LOCAL, END, b"no zip", bytes(100), packed()[:-90], packed()[30:]])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(ZipError):
        ZipMembers(content).read("a")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_refused(compression: int) -> None:
    with pytest.raises(ZipError, match="packed in another way"):
        ZipMembers(packed(compression=compression))


def longer_than_it_says(content: bytes) -> bytes:
    """Return a member that unpacks to 256 MiB and says in both places that it has some bytes, and their checksum."""
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packing.compress(content) + b"".join(packing.compress(bytes(2**20)) for _ in range(256)) + packing.flush()
    buffer = io.BytesIO(packed({"a": bomb}, zipfile.ZIP_STORED))
    changed = buffer.getvalue()
    for signature, method, crc, size in ((LOCAL, 8, 14, 22), (ENTRY, 10, 16, 24)):
        changed = patched(changed, signature, method, "H", zipfile.ZIP_DEFLATED)
        changed = patched(changed, signature, crc, "L", zlib.crc32(content))
        changed = patched(changed, signature, size, "L", len(content))
    return changed


def test_a_member_that_unpacks_to_more_than_it_says_costs_no_more() -> None:
    content = longer_than_it_says(b"x" * 1000)
    assert zipfile.ZipFile(io.BytesIO(content)).read("a") == b"x" * 1000, "which is as zipfile has it"
    members = ZipMembers(content)
    tracemalloc.start()
    try:
        with pytest.raises(ZipError, match="of another length than it says"):
            members.read("a")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_members_that_unpack_to_far_more_than_the_file_are_refused() -> None:
    half = bytes(MAX_UNPACKED_BYTES // 2)
    assert ZipMembers(packed({"a": half, "b": half})).read("b") == half
    with pytest.raises(ZipError, match="unpacks to far more than it holds"):
        ZipMembers(packed({"a": half, "b": half, "c": b"x"}))


def test_a_member_may_be_bounded_further() -> None:
    members = ZipMembers(packed())
    assert members.read("a", 400) == MEMBERS["a"]
    with pytest.raises(ZipError, match="too long"):
        members.read("a", 399)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a longer member in the directory": lambda c: patched(c, ENTRY, 24, "L", 2**20),
    "a longer member in its header": lambda c: patched(c, LOCAL, 22, "L", 2**20),
    "a longer member in both": lambda c: patched(patched(c, ENTRY, 24, "L", 401), LOCAL, 22, "L", 401),
    "a shorter member in both": lambda c: patched(patched(c, ENTRY, 24, "L", 399), LOCAL, 22, "L", 399),
    "an empty member in both": lambda c: patched(patched(c, ENTRY, 24, "L", 0), LOCAL, 22, "L", 0),
    "more packed bytes": lambda c: patched(patched(c, ENTRY, 20, "L", 2**20), LOCAL, 18, "L", 2**20),
    "fewer packed bytes": lambda c: patched(patched(c, ENTRY, 20, "L", 3), LOCAL, 18, "L", 3),
    "sizes of zip64": lambda c: patched(patched(c, ENTRY, 24, "L", 2**32 - 1), LOCAL, 22, "L", 2**32 - 1),
    "another checksum": lambda c: patched(patched(c, ENTRY, 16, "L", 1), LOCAL, 14, "L", 1),
    "another checksum in the directory": lambda c: patched(c, ENTRY, 16, "L", 1),
    "another way of packing in its header": lambda c: patched(c, LOCAL, 8, "H", zipfile.ZIP_LZMA),
    "another way of packing in the directory": lambda c: patched(c, ENTRY, 10, "H", zipfile.ZIP_STORED),
    "an unknown way of packing": lambda c: patched(c, ENTRY, 10, "H", 99),
    "encryption in the directory": lambda c: patched(c, ENTRY, 8, "H", 1),
    "encryption in its header": lambda c: patched(c, LOCAL, 6, "H", 1),
    "sizes behind the member": lambda c: patched(patched(c, ENTRY, 8, "H", 8), LOCAL, 6, "H", 8),
    "two members in the same bytes": lambda c: patched(c, ENTRY, 42, "L", 0, which=1),
    "a member beyond the end": lambda c: patched(c, ENTRY, 42, "L", 2**31),
    "a member in the directory": lambda c: patched(c, ENTRY, 42, "L", c.index(ENTRY)),
    "a longer name in its header": lambda c: patched(c, LOCAL, 26, "H", 60_000),
    "more in its header": lambda c: patched(c, LOCAL, 28, "H", 60_000),
    "no header": lambda c: patched(c, LOCAL, 0, "L", 0),
    "a directory elsewhere": lambda c: patched(c, END, 16, "L", 1),
    "a directory of another size": lambda c: patched(c, END, 12, "L", 2**31),
    "an entry that needs zip64": lambda c: patched(c, ENTRY, 42, "L", 2**32 - 1),
    "a version from the future": lambda c: patched(c, ENTRY, 6, "H", 999),
    "something before the first": lambda c: b"PK" + c,
    "something after the first": lambda c: c.replace(LOCAL, b"gap" + LOCAL, 2).removeprefix(b"gap"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_zip_that_is_laid_out_otherwise_is_refused(change: str) -> None:
    content = CHANGES[change](packed())
    with pytest.raises(ZipError), warnings.catch_warnings(action="error"):
        ZipMembers(content).read("a")


def test_zipfile_itself_writes_what_is_refused() -> None:
    """Members that a stream was told of after they were written, or that may grow beyond 4 GiB."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation

    stream, large = Stream(), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a", b"x")
    with zipfile.ZipFile(large, "w") as file, file.open("a", "w", force_zip64=True) as member:
        member.write(b"x")
    for buffer in (stream, large):
        with pytest.raises(ZipError):
            ZipMembers(buffer.getvalue())


def test_two_members_of_one_name_are_refused() -> None:
    buffer = io.BytesIO(packed())
    with zipfile.ZipFile(buffer, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("a", "{}")
    with pytest.raises(ZipError, match="members of the same name"):
        ZipMembers(buffer.getvalue())
