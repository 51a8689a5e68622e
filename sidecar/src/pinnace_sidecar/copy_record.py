"""What a copy in the buffer says of itself: a record behind its bytes, so that the copy is enough to ship it.

stored bytes | record as JSON | magic, length and CRC32 of the record. It is written and made durable together with the
content; nothing but a start that finds a copy which the journal doesn't know reads it.
"""

import os
import struct
import zlib
from typing import BinaryIO, Final
from uuid import UUID

import msgspec

from pinnace.digests import ContentDigest, Digests, EncodedDigest
from pinnace.ids import artifact_id, object_name
from pinnace_sidecar.files import Fingerprint, wire_path

_FOOTER: Final = struct.Struct(">8sII")
_MAGIC: Final = b"pinnace\x01"


class CopyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The file that was copied. `path` as the volume has it, in bytes; `settled_at` in seconds since the epoch."""

    path: bytes
    #: inode, size, mtime_ns, ctime_ns
    fingerprint: tuple[int, int, int, int]
    suspect: bool
    settled_at: float
    digest: ContentDigest
    #: The bytes before the record, where they are not the content itself.
    stored: EncodedDigest | None = None

    @classmethod
    def of(
        cls, path: str, fingerprint: Fingerprint, digests: Digests, *, suspect: bool, settled_at: float
    ) -> "CopyRecord":
        numbers = (fingerprint.inode, fingerprint.size, fingerprint.mtime_ns, fingerprint.ctime_ns)
        return cls(
            path=os.fsencode(path),
            fingerprint=numbers,
            suspect=suspect,
            settled_at=settled_at,
            digest=digests.content,
            stored=digests.stored,
        )

    @property
    def digests(self) -> Digests:
        return Digests(content=self.digest, stored=self.stored)

    def artifact(self, iteration: UUID) -> UUID:
        """The artifact that this copy is, when it is of that iteration."""
        return artifact_id(iteration, wire_path(os.fsdecode(self.path)), self.digest.sha256)

    def name(self, iteration: UUID) -> str:
        """What this copy is called, when it is of that iteration."""
        return object_name(self.artifact(iteration), self.digests.stored_sha256)

    def encoded(self) -> bytes:
        """What goes behind the content."""
        body = msgspec.json.encode(self)
        return body + _FOOTER.pack(_MAGIC, len(body), zlib.crc32(body))


def read(copy: BinaryIO) -> CopyRecord | None:
    """The record behind a copy's content; None when there is none, or a damaged one. Raises OSError."""
    end = copy.seek(0, os.SEEK_END)
    if end < _FOOTER.size:
        return None
    copy.seek(end - _FOOTER.size)
    magic, length, checksum = _FOOTER.unpack(copy.read(_FOOTER.size))
    if magic != _MAGIC or length > end - _FOOTER.size:
        return None
    copy.seek(end - _FOOTER.size - length)
    body = copy.read(length)
    if zlib.crc32(body) != checksum:
        return None
    try:
        record = msgspec.json.decode(body, type=CopyRecord)
    except msgspec.DecodeError:
        return None
    return record if record.digests.kept.size + length + _FOOTER.size == end else None
