"""Content for stores: an open file with its digests, and getting things back."""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from pinnace.compression import Compressor, NotDecodable, unpacked
from pinnace.digests import ContentDigest, Digester, Encoding, PartDigest
from pinnace.records import Artifact
from pinnace.records import Stored as StoredRecord
from pinnace.stores.store import Store, Stored


@dataclass(frozen=True, slots=True)
class Content:
    """An open file and what it holds."""

    file: IO[bytes]
    digest: ContentDigest

    @property
    def whole(self) -> PartDigest:
        """For a `put` of everything."""
        digest = self.digest
        return PartDigest(offset=0, size=digest.size, sha256=digest.sha256, crc32c=digest.crc32c)


@contextmanager
def content(data: bytes, *, part_size: int = 5 * 2**20) -> Iterator[Content]:
    """`data` in a file that is gone afterwards."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield Content(file, digest_of(data, part_size=part_size))


def digest_of(data: bytes, *, part_size: int = 5 * 2**20) -> ContentDigest:
    digester = Digester(part_size)
    digester.update(data)
    return digester.finish()


def put_bytes(store: Store, key: str, data: bytes) -> Stored:
    with content(data) as given:
        return store.put(key, given.file, given.whole)


def compressed(data: bytes, level: int = 3) -> bytes:
    compressor = Compressor(level, len(data))
    return compressor.update(data) + compressor.finish()


def stored_as(data: bytes) -> StoredRecord:
    """What a row says of an object that holds this frame."""
    digest = digest_of(data)
    return StoredRecord(encoding=Encoding.ZSTD, size=digest.size, sha256=digest.sha256, crc32c=digest.crc32c)


def content_of(row: Artifact, held: bytes) -> bytes | None:
    """The content that the row's object holds; None when the object is not what the row says."""
    stored = row.stored
    if stored and (len(held), hashlib.sha256(held).hexdigest()) != (stored.size, stored.sha256):
        return None
    sink = io.BytesIO()
    try:
        unpacked(sink, stored.encoding if stored else None, row.size).write(memoryview(held))
    except NotDecodable:
        return None
    content = sink.getvalue()
    return content if (hashlib.sha256(content).hexdigest(), len(content)) == (row.sha256, row.size) else None


def get_bytes(store: Store, key: str, *, start: int = 0, size: int | None = None) -> bytes:
    sink = io.BytesIO()
    store.get(key, sink, start=start, size=size)
    return sink.getvalue()
