"""Reading an artifact's bytes: block by block, compared with what was recorded before the last block is let go.

A range can't be compared with the digest of the whole. That of a short content is cut out of the whole, which is
compared; of a longer one it is only known that the bytes are there. Who puts ranges together has the digest to compare
the whole with. What lies compressed is unpacked, from its beginning whatever range is wanted.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

from pinnace.compression import NotDecodable, Unpacking
from pinnace.records import Artifact, Location
from pinnace_api.refusals import BytesCorrupt
from pinnace_api.storage.backend import BLOCK_BYTES, ByteStore

#: Up to this size a content is compared before anything of it is let go.
SMALL_BYTES: Final = 4 * 2**20


class Reading:
    """`[start, stop)` of an artifact's bytes. `next` is called by one thread at a time."""

    def __init__(self, store: ByteStore, artifact: Artifact, start: int = 0, stop: int | None = None) -> None:
        self._read = _content(store, artifact)
        self._block_bytes = store.block_bytes
        self._artifact = artifact
        self._start = start
        self._stop = artifact.size if stop is None else stop
        self._is_small = artifact.size <= SMALL_BYTES
        self._is_whole = (self._start, self._stop) == (0, artifact.size)
        self._position = self._start
        self._sha256 = hashlib.sha256()
        self._is_done = False

    def next(self) -> bytes:
        """The next block, empty at the end. BytesCorrupt in place of the last one when the content is another."""
        if self._is_done:
            return b""
        if self._is_small:
            self._is_done = True
            return self._cut_out()
        size = min(self._block_bytes, self._stop - self._position)
        block = self._read(self._position, size)
        if len(block) < size:
            raise BytesCorrupt(self._artifact.location, f"{self._position + len(block)} bytes")
        self._position += size
        self._is_done = self._position == self._stop
        if self._is_whole:
            self._sha256.update(block)
            if self._is_done:
                self._compare()
        return block

    def _cut_out(self) -> bytes:
        artifact = self._artifact
        # One byte more would show that there is more than was recorded.
        content = self._read(0, artifact.size + 1)
        if len(content) != artifact.size:
            raise BytesCorrupt(artifact.location, "another size")
        self._sha256.update(content)
        self._compare()
        return content[self._start : self._stop]

    def _compare(self) -> None:
        if self._sha256.hexdigest() != self._artifact.sha256:
            raise BytesCorrupt(self._artifact.location, f"SHA-256 {self._sha256.hexdigest()}")


#: Gives so many bytes (the second) from a byte on (the first), fewer only where the content ends before. Each byte to
#: begin with is behind those that were read before.
_Read = Callable[[int, int], bytes]


def _content(store: ByteStore, artifact: Artifact) -> _Read:
    plain = partial(store.read, artifact.location)
    return plain if artifact.stored is None else _Unpacked(plain, artifact.location, store.block_bytes).read


class _Unpacked:
    """What was compressed to an object."""

    def __init__(self, packed: _Read, location: Location, block_bytes: int) -> None:
        self._location = location
        self._unpacking = Unpacking(_Forwards(packed), block_bytes)
        self._position = 0

    def read(self, start: int, size: int) -> bytes:
        try:
            while self._position < start and self._next(min(start - self._position, BLOCK_BYTES)):
                pass
            return self._next(size)
        except NotDecodable as error:
            raise BytesCorrupt(self._location, str(error)) from error

    def _next(self, size: int) -> bytes:
        found = self._unpacking.read(size)
        self._position += len(found)
        return found


class _Forwards:
    """An object from its beginning to its end."""

    def __init__(self, packed: _Read) -> None:
        self._packed = packed
        self._position = 0

    def read(self, size: int, /) -> bytes:
        found = self._packed(self._position, size)
        self._position += len(found)
        return found
