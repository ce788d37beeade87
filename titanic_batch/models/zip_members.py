"""The members of a zip that somebody may have made to do harm: no zip is read but one laid out as ours are.

`zipfile` believes what a zip says of itself: its members may overlap, be packed in a way that unpacks to gigabytes at
once, or be longer than they say. So `zipfile` only lists the members here. Each must follow the one before it, say
the same of itself in both places where a zip describes it, and unpack to as many bytes as it says.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import NamedTuple

from titanic_batch.errors import is_out_of_memory

MAX_UNPACKED_BYTES = 2**24
MAX_UNPACKED_RATIO = 16  # more than twice that of the files that fit writes, whatever their trees

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_UTF_8_NAME = 0x800  # the only flag that changes nothing of how a member is packed


class ZipError(ValueError):
    """The zip must not be read; the message says why, in a few words."""


class _Member(NamedTuple):
    listed: zipfile.ZipInfo
    start: int  # of its packed bytes


class ZipMembers:
    """The members of a zip, each of which is unpacked when it is read.

    Parameters
    ----------
    content
        The zip.

    Attributes
    ----------
    unpacked_bytes : int
        How long its members are, all together.

    Raises
    ------
    ZipError
        It is damaged, or laid out otherwise than ours.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                listed, end = file.infolist(), file.start_dir
        except (zipfile.BadZipFile, NotImplementedError, OSError, OverflowError, ValueError, struct.error) as error:
            raise ZipError(f"its zip is broken, {type(error).__name__}") from None
        if any(each.flag_bits & ~_UTF_8_NAME or each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
               for each in listed):  # fmt: skip
            raise ZipError("its zip is encrypted, or packed in another way")
        if len({each.filename for each in listed}) < len(listed):
            raise ZipError("its zip has members of the same name")
        self.unpacked_bytes = sum(each.file_size for each in listed)
        if self.unpacked_bytes > max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * len(content)):
            raise ZipError("its zip unpacks to far more than it holds")
        self._members: dict[str, _Member] = {}
        place = 0
        for each in listed:
            start = self._start_of(each, place, end)
            self._members[each.filename] = _Member(each, start)
            place = start + each.compress_size
        if place != end:
            raise ZipError("its zip has something between its members")

    def _start_of(self, listed: zipfile.ZipInfo, place: int, end: int) -> int:
        """Return where the packed bytes of a member start, whose own header must be at ``place``."""
        if listed.header_offset != place or place + _LOCAL_HEADER.size > end:
            raise ZipError("its zip has something between its members")
        signature, _, flags, method, _, _, crc, packed, unpacked, name, extra = _LOCAL_HEADER.unpack_from(
            self._content, place
        )
        start: int = place + _LOCAL_HEADER.size + name + extra
        if (
            (signature, flags, method) != (b"PK\3\4", listed.flag_bits, listed.compress_type)
            or (crc, packed, unpacked) != (listed.CRC, listed.compress_size, listed.file_size)
            or start + packed > end
        ):
            raise ZipError("its zip describes a member in two ways")
        return start

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the content of a member.

        Parameters
        ----------
        name
            Its name.
        most
            How many bytes it may have. None: as many as all members together.

        Raises
        ------
        KeyError
            There is no such member.
        MemoryError
            There is not enough memory to unpack it.
        ZipError
            It is damaged or too long.
        """
        listed, start = self._members[name]
        if most is not None and listed.file_size > most:
            raise ZipError("its zip has a member that is too long")
        packed = self._content[start : start + listed.compress_size]
        content = bytes(packed) if listed.compress_type == zipfile.ZIP_STORED else _inflated(packed, listed.file_size)
        if len(content) != listed.file_size or zlib.crc32(content) != listed.CRC:
            raise ZipError("its zip has a damaged member")
        return content


def _inflated(packed: memoryview, size: int) -> bytes:
    """Return what was packed, or what it begins with if that is longer than ``size``."""
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(packed, size + 1)
    except zlib.error as error:
        if is_out_of_memory(error):
            raise MemoryError from None
        raise ZipError("its zip has a damaged member") from None
    if not unpacking.eof or unpacking.unused_data:
        raise ZipError("its zip has a member of another length than it says")
    return content
