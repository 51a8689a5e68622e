"""The contract of what holds artifacts' bytes. Implementations: inline, filesystem, s3; all go through one suite.

Bytes are written once, under a key that was never used before, and never change: so nobody ever sees half of them,
reading needs nothing to be kept open, and writing the same thing twice makes two things of which one is thrown away.
Memory never depends on sizes. All methods may be called from several threads; a Writer belongs to one at a time.

They raise refusals: BytesMissing, StorageFull, Unavailable.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from pinnace.digests import ContentDigest
from pinnace.records import Backend, Location

#: What goes to a writer, and comes from a reader, at a time.
BLOCK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Bytes that are durable: where, and what they are. `etag` as the store gave it, empty without one."""

    location: Location
    digest: ContentDigest
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that takes up room: bytes, or with a `handle` what an unfinished writer left of them.

    `size` in bytes; of something unfinished it may be 0. `written_at` is when it was last written to.
    """

    location: Location
    size: int
    written_at: datetime
    handle: str = ""


class Writer(Protocol):
    """New bytes on their way. Until `finish` returns, nothing can be read of them."""

    def write(self, data: bytes) -> None:
        """Append."""
        ...

    def finish(self) -> Written:
        """Make everything that was written durable and readable, whole."""
        ...

    def abort(self) -> None:
        """Throw away what is not finished; after `finish` there is nothing. Never raises; safe to call twice."""
        ...


class ByteStore(Protocol):
    """One place for bytes."""

    @property
    def name(self) -> Backend: ...

    @property
    def block_bytes(self) -> int:
        """How much is best read at a time."""
        ...

    def writer(self, size: int | None = None) -> Writer:
        """Begin to write new bytes; `size` is how many there will be, where that is known."""
        ...

    def read(self, location: Location, start: int, size: int) -> bytes:
        """`size` bytes from byte `start` on, fewer only where the content ends before."""
        ...

    def size(self, location: Location) -> int | None:
        """How many bytes there are; None: nothing is there."""
        ...

    def delete(self, location: Location) -> None:
        """Remove the bytes; nothing there is fine."""
        ...

    def presigned(self, location: Location, seconds: int, headers: Mapping[str, str]) -> str | None:
        """An address from which anybody may GET the bytes for so long, answered with these headers (`content-type`,
        `content-disposition`); None where there is none.
        """
        ...

    def list(self) -> Iterator[Held]:
        """Everything of ours that takes up room, unfinished things too, in any order."""
        ...

    def discard(self, held: Held) -> None:
        """Remove what `list` told of; gone already is fine."""
        ...

    def check(self) -> None:
        """Raise Unavailable unless it can be used."""
        ...

    def close(self) -> None:
        """Give up connections."""
        ...


def write(store: ByteStore, blocks: Iterable[bytes], size: int | None = None) -> Written:
    """New bytes, all of `blocks`; whatever fails, nothing is left of them. `size` as for `writer`."""
    writer = store.writer(size)
    try:
        for block in blocks:
            writer.write(block)
        return writer.finish()
    finally:
        writer.abort()
