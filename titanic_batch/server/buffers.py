"""What connections hold in memory, and how much of it all of them may hold together.

Nothing is written to temporary files. Bodies share a budget until they are answered: beyond it, clients wait in their
kernels. Answers that clients are slow to read share another: beyond it, the client that has been stuck for longest is
given up, even if it has not been stuck for long once twice as much is held.
"""

from __future__ import annotations

import io
import threading
import time
import zlib
from collections import deque
from typing import Protocol

PIECE_BYTES = 2**16
_PLAIN_BYTES = 2**20
_SMALL_BODY_BYTES = 2**16
_PATIENCE_SECONDS = 1.0


class Body(io.BytesIO):
    """A request's body. Whoever reads it in one go takes it over, so that there is no second copy."""

    def append(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self.write(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, or all that are left."""
        if (size is not None and size >= 0) or self.tell() > 0:
            return super().read(size)
        content = self.getvalue()
        self.truncate(0)
        return content


class Arriving:
    """The bodies that are arriving, or not answered yet.

    When they reach the budget, no more is read of any but small ones until one is answered. If none has arrived that
    could be, the oldest is read on.

    Parameters
    ----------
    budget
        Bytes.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._sizes: dict[object, int] = {}
        self._total = 0
        self._large: dict[object, None] = {}  # those still arriving, the oldest first
        self._arrived: set[object] = set()  # those that are answered whatever clients do
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether the budget is used up."""
        return self._total >= self._budget

    def hold(self, holder: object, size: int) -> None:
        """Note how much of a body has arrived."""
        with self._lock:
            self._total += size - self._sizes.get(holder, 0)
            self._sizes[holder] = size
        if size >= _SMALL_BODY_BYTES:
            self._large[holder] = None

    def has_room_for(self, holder: object) -> bool:
        """Tell whether more of this body may be read."""
        if self._total < self._budget or holder not in self._large:
            return True
        return not self._arrived and next(iter(self._large)) is holder

    def complete(self, holder: object) -> None:
        """Note that a body has arrived, or that its client is gone."""
        with self._lock:
            self._large.pop(holder, None)
            if holder in self._sizes:
                self._arrived.add(holder)

    def release(self, holder: object) -> None:
        """Note that a body is no longer held here. This may be called from any thread."""
        with self._lock:
            self._total -= self._sizes.pop(holder, 0)
            self._arrived.discard(holder)


class Slow(Protocol):
    """A connection whose client has not read all yet."""

    progressed_at: float

    def give_up(self) -> None:
        """Close it, without what is unsent."""


class Unsent:
    """How many bytes the connections hold that their clients have not read yet. Safe to use from any thread.

    Parameters
    ----------
    budget
        Bytes.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._total = 0
        self._sizes: dict[Slow, int] = {}
        self._lock = threading.Lock()

    def hold(self, holder: Slow, size: int) -> None:
        """Note how much a connection holds now."""
        with self._lock:
            self._total += size - self._sizes.pop(holder, 0)
            if size:
                self._sizes[holder] = size

    def to_give_up(self) -> Slow | None:
        """Return the connection whose client has been stuck for longest, if more is held than the budget allows.

        None is given up that got on a moment ago, unless twice as much as the budget is held.
        """
        with self._lock:
            if self._total <= self._budget:
                return None
            stuck = min(self._sizes, key=lambda holder: holder.progressed_at)
            is_patient = self._total <= 2 * self._budget
            if is_patient and time.monotonic() - stuck.progressed_at < _PATIENCE_SECONDS:
                return None
            return stuck


class Outbox:
    """The bytes that wait to be sent on one connection. A lock of the connection guards it."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[bytes, int]] = deque()  # and how long it is unpacked, or 0 if it is not packed
        self._head = memoryview(b"")  # what is left of the piece that is being sent
        self._length = 0
        self.held = 0

    def __len__(self) -> int:
        return self._length

    @property
    def packs(self) -> bool:
        """Whether so much waits that what is added should be packed."""
        return self._length >= _PLAIN_BYTES

    def append(self, data: bytes) -> None:
        """Add bytes."""
        self._add(data, 0, len(data))

    def append_packed(self, packed: bytes, length: int) -> None:
        """Add bytes that `pack` has packed."""
        self._add(packed, length, length)

    def get(self, size: int) -> memoryview:
        """Return the next bytes, at most so many; none only if there are none."""
        if not self._head and self._pieces:
            content, unpacked = self._pieces.popleft()
            if unpacked:
                self.held += unpacked - len(content)
                content = zlib.decompress(content, bufsize=unpacked)
            self._head = memoryview(content)
        return self._head[:size]

    def skip(self, size: int) -> None:
        """Remove as many of the bytes that `get` returned."""
        self._head = self._head[size:]
        self._length -= size
        self.held -= size

    def close(self) -> None:
        """Remove all."""
        self._pieces.clear()
        self._head = memoryview(b"")
        self._length = self.held = 0

    def _add(self, content: bytes, unpacked: int, length: int) -> None:
        self._pieces.append((content, unpacked))
        self._length += length
        self.held += len(content)


def pack(data: bytes) -> bytes:
    """Return bytes in fewer bytes, if that is possible fast. A list of rejects shrinks to a twentieth."""
    return zlib.compress(data, 1)
