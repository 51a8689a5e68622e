"""Reading an artifact's bytes: block by block, compared with what was recorded before the last block is let go.

A range can't be compared with the digest of the whole. That of a short content is cut out of the whole, which is
compared; of a longer one it is only known that the bytes are there. Who puts ranges together has the digest to compare
the whole with.
"""

import hashlib
from typing import Final

from pinnace.records import Artifact
from pinnace_api.refusals import BytesCorrupt
from pinnace_api.storage.backend import ByteStore

#: Up to this size a content is compared before anything of it is let go.
SMALL_BYTES: Final = 4 * 2**20


class Reading:
    """`[start, stop)` of an artifact's bytes. `next` is called by one thread at a time."""

    def __init__(self, store: ByteStore, artifact: Artifact, start: int = 0, stop: int | None = None) -> None:
        self._store = store
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
        size = min(self._store.block_bytes, self._stop - self._position)
        block = self._store.read(self._artifact.location, self._position, size)
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
        content = self._store.read(artifact.location, 0, artifact.size + 1)
        if len(content) != artifact.size:
            raise BytesCorrupt(artifact.location, "another size")
        self._sha256.update(content)
        self._compare()
        return content[self._start : self._stop]

    def _compare(self) -> None:
        if self._sha256.hexdigest() != self._artifact.sha256:
            raise BytesCorrupt(self._artifact.location, f"SHA-256 {self._sha256.hexdigest()}")
