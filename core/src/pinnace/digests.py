"""SHA-256 and CRC32C of a stream of bytes, computed together in one pass.

The whole-content SHA-256 is an artifact's identity; the CRC32C is what S3-compatible stores can answer with. SHA-256
costs more than all else that is done to a byte, so it is taken once; of the parts of a multipart upload there is the
CRC32C.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from enum import StrEnum
from uuid import UUID

import google_crc32c
import msgspec

#: SHA-256 of no bytes at all.
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Encoding(StrEnum):
    """How an object's bytes come from the content."""

    #: One frame of RFC 8878.
    ZSTD = "zstd"


class PartDigest(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of one slice of the content, `[offset, offset + size)` in bytes; `crc32c` in base64, as S3 has it.

    `sha256` is empty where it was not taken: of a part that is not the whole.
    """

    offset: int
    size: int
    crc32c: str
    sha256: str = ""


class ContentDigest(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of a whole content of `size` bytes. `parts` is never empty: an empty file has one empty part."""

    size: int
    sha256: str
    crc32c: str
    parts: tuple[PartDigest, ...]

    @property
    def whole(self) -> PartDigest:
        """All of it as one part."""
        if len(self.parts) == 1 and self.parts[0].sha256:
            return self.parts[0]
        return PartDigest(offset=0, size=self.size, sha256=self.sha256, crc32c=self.crc32c)


class EncodedDigest(ContentDigest, frozen=True, kw_only=True):
    """Digests of the bytes that a content was encoded to."""

    encoding: Encoding


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """Of a content, and of the bytes that are kept in its place; without any, the content itself is kept."""

    content: ContentDigest
    stored: EncodedDigest | None = None

    @property
    def kept(self) -> ContentDigest:
        return self.stored or self.content

    @property
    def stored_sha256(self) -> str:
        """Empty when the content itself is kept: as `ids.object_name` wants it."""
        return self.stored.sha256 if self.stored else ""


class Digester:
    """Feed it the content in order with `update`, then take `finish()`.

    `part_size` in bytes is where one part ends and the next begins. Memory does not depend on the content's size.
    """

    def __init__(self, part_size: int) -> None:
        if part_size < 1:
            raise ValueError(f"part_size must be at least 1 byte, not {part_size}")
        self._part_size = part_size
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._crc32c = 0
        # The first part's CRC32C is the whole's so far.
        self._part_crc32c: int | None = None
        self._parts: list[PartDigest] = []

    def update(self, data: bytes) -> None:
        """`data` is bytes because the CRC library takes nothing else without a copy."""
        while data:
            room = (len(self._parts) + 1) * self._part_size - self._size
            if room == 0:
                self._parts.append(self._finish_part())
                self._part_crc32c = 0
                continue
            chunk, data = data[:room], data[room:]
            self._size += len(chunk)
            self._sha256.update(chunk)
            self._crc32c = google_crc32c.extend(self._crc32c, chunk)
            if self._part_crc32c is not None:
                self._part_crc32c = google_crc32c.extend(self._part_crc32c, chunk)

    def open_part(self) -> PartDigest:
        """The part that the content ends in so far, as it would be if no more came."""
        return self._finish_part()

    def finish(self) -> ContentDigest:
        sha256 = self._sha256.hexdigest()
        last = self._finish_part(sha256="" if self._parts else sha256)
        return ContentDigest(size=self._size, sha256=sha256, crc32c=_base64(self._crc32c), parts=(*self._parts, last))

    def _finish_part(self, sha256: str = "") -> PartDigest:
        offset = len(self._parts) * self._part_size
        crc32c = self._crc32c if self._part_crc32c is None else self._part_crc32c
        return PartDigest(offset=offset, size=self._size - offset, sha256=sha256, crc32c=_base64(crc32c))


def digest_of(data: bytes, part_size: int) -> ContentDigest:
    """Of a whole content in memory, in parts as the Digester makes them."""
    if len(data) > part_size:
        digester = Digester(part_size)
        digester.update(data)
        return digester.finish()
    size, sha256, crc32c = len(data), hashlib.sha256(data).hexdigest(), _base64(google_crc32c.value(data))
    whole = PartDigest(offset=0, size=size, sha256=sha256, crc32c=crc32c)
    return ContentDigest(size=size, sha256=sha256, crc32c=crc32c, parts=(whole,))


class Checksum:
    """Takes a content in order, for its size and CRC32C alone."""

    def __init__(self) -> None:
        self.size = 0
        self._crc32c = 0

    def write(self, data: memoryview, /) -> None:
        self.size += len(data)
        self._crc32c = google_crc32c.extend(self._crc32c, bytes(data))

    @property
    def crc32c(self) -> str:
        return _base64(self._crc32c)


def composite_crc32c(parts: Sequence[PartDigest]) -> str:
    """What S3 calls a COMPOSITE checksum: the CRC32C over the parts' own, in base64, and how many there are."""
    joined = b"".join(b64decode(part.crc32c) for part in parts)
    return f"{_base64(google_crc32c.value(joined))}-{len(parts)}"


def manifest_sha256(artifacts: Iterable[UUID]) -> str:
    """One digest for a set of artifacts, in hex: SHA-256 over the sorted ids, a line each.

    An artifact's id binds its iteration, path and content, so equal manifests mean equal files.
    """
    return manifest_of_sorted(sorted(map(str, artifacts)))[1]


def manifest_of_sorted(artifacts: Iterable[str]) -> tuple[int, str]:
    """How many artifacts there are, and their manifest_sha256, of ids that come sorted; none is held in memory."""
    digest, count = hashlib.sha256(), 0
    for count, artifact in enumerate(artifacts, 1):  # noqa: B007 - the last one is how many there were
        digest.update(f"{artifact}\n".encode())
    return count, digest.hexdigest()


def _base64(crc32c: int) -> str:
    return b64encode(crc32c.to_bytes(4, "big")).decode()
