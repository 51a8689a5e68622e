"""Content for stores: an open file with its digests, and getting things back."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from pinnace.digests import ContentDigest, Digester, PartDigest
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


def get_bytes(store: Store, key: str, *, start: int = 0, size: int | None = None) -> bytes:
    sink = io.BytesIO()
    store.get(key, sink, start=start, size=size)
    return sink.getvalue()
