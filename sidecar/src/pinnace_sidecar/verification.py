"""Is what the store holds the copy that was sent? By the best evidence there is, and saying which that was.

A CRC32C that the store computed needs nothing of us. Without one the ETag of most stores is an MD5, which nobody
computed on the way: the copy in the buffer is read a second time for it. Whether a store's ETags are MD5s is found out
once per process, by the first that equals ours; one that does not is resolved by downloading the object, for the copy
may have rotted since it was sent, or can't be read any more. Where encryption or the store's own ways leave nothing to
recognise the content by, only its size can be compared.
"""

import hashlib
import logging
import re
from typing import Final

import msgspec

from pinnace.compression import NotDecodable, unpacked
from pinnace.digests import Encoding
from pinnace.records import RecordedContent
from pinnace.stores.store import Evidence, NoSuchObject, ObjectInfo, Store
from pinnace_sidecar.buffer import Buffer, OpenCopy
from pinnace_sidecar.journal import JournaledFile
from pinnace_sidecar.originals import CHUNK_BYTES

_log = logging.getLogger(__name__)

_MD5_ETAG: Final = re.compile("[0-9a-f]{32}(?:-([0-9]{1,5}))?")


class Compared(msgspec.Struct, frozen=True):
    """How the store's object differs from ours, empty when it doesn't, and what says so."""

    difference: str
    evidence: Evidence


class Verification:
    """Compares objects with copies. Safe to use from several threads. `read_back`: download each one."""

    def __init__(self, store: Store, buffer: Buffer, *, read_back: bool) -> None:
        self._store = store
        self._buffer = buffer
        self._read_back = read_back
        #: None: not known yet.
        self._etags_are_md5: bool | None = None
        self._said_size_only = False

    def enough(self, evidence: Evidence) -> bool:
        """Whether an acknowledgement with this evidence needs no further look."""
        return evidence is Evidence.CRC32C and not self._read_back

    def compare(self, file: JournaledFile, info: ObjectInfo, etag: str = "") -> Compared:
        """`etag` is the one that the upload was acknowledged with. Raises StoreError."""
        evidence = info.evidence(file.kept)
        if difference := info.difference(file.kept, etag):
            return Compared(difference, evidence)
        if self._read_back:
            return self._read_back_of(file, info)
        return Compared("", evidence) if evidence is Evidence.CRC32C else self._compare_md5(file, info)

    def compare_recorded(self, recorded: RecordedContent, info: ObjectInfo) -> Compared:
        """Whether an object still is what another sidecar verified and recorded. Its size alone is not enough.

        Raises StoreError.
        """
        evidence = Evidence.SIZE if info.crc32c is None else Evidence.CRC32C
        kept = recorded.stored or recorded
        if info.size != kept.size:
            return Compared(f"the store holds {info.size} bytes, not {kept.size}", evidence)
        if info.crc32c not in (None, kept.crc32c):
            return Compared(f"the store holds content of CRC32C {info.crc32c}, not {kept.crc32c}", evidence)
        if recorded.etag and info.etag != recorded.etag:
            return Compared(f"the store holds ETag {info.etag}, and {recorded.etag} was recorded", evidence)
        if self._read_back:
            encoding = recorded.stored.encoding if recorded.stored else None
            return self._download(info, recorded.sha256, recorded.size, encoding)
        known = recorded.etag or info.crc32c is not None
        return Compared("" if known else "nothing tells more of it than its size", evidence)

    def _compare_md5(self, file: JournaledFile, info: ObjectInfo) -> Compared:
        if self._etags_are_md5 is False or not _may_be_md5(file, info):
            if not self._said_size_only:
                self._said_size_only = True
                _log.warning("of what the store holds only the size can be compared", extra={"key": info.key})
            return Compared("", Evidence.SIZE)
        try:
            ours = self._md5_etag(file, in_parts="-" in info.etag)
        except OSError:
            return self._read_back_of(file, info)
        if ours == info.etag:
            self._etags_are_md5 = True
            return Compared("", Evidence.MD5)
        compared = self._read_back_of(file, info)
        if not (compared.difference or self._etags_are_md5):
            self._etags_are_md5 = False
        return compared

    def _read_back_of(self, file: JournaledFile, info: ObjectInfo) -> Compared:
        return self._download(info, file.digest.sha256, file.digest.size, file.stored.encoding if file.stored else None)

    def _download(self, info: ObjectInfo, sha256: str, size: int, encoding: Encoding | None) -> Compared:
        sink = _Hashing()
        try:
            self._store.get(info.key, unpacked(sink, encoding, size))
        except NoSuchObject:
            return Compared("the store holds nothing under this key", Evidence.READ_BACK)
        except NotDecodable as error:
            return Compared(f"the store holds {error}", Evidence.READ_BACK)
        found = sink.sha256.hexdigest()
        difference = f"the store holds content of SHA-256 {found}, not {sha256}" if found != sha256 else ""
        return Compared(difference, Evidence.READ_BACK)

    def _md5_etag(self, file: JournaledFile, *, in_parts: bool) -> str:
        """The ETag that S3 gives this content, sent whole or in these parts."""
        with self._buffer.open(file.name) as copy:
            if not in_parts:
                return _md5(copy, file.kept.size).hex()
            sums = [_md5(copy, part.size) for part in file.kept.parts]
        return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"


class _Hashing:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: memoryview) -> None:
        self.sha256.update(data)


def _may_be_md5(file: JournaledFile, info: ObjectInfo) -> bool:
    """Whether the ETag has the form of an MD5, of the whole or over as many parts as ours. By KMS it is none."""
    match = _MD5_ETAG.fullmatch(info.etag)
    if not match or info.encryption.startswith("aws:kms"):
        return False
    count = len(file.kept.parts)
    return match[1] is None or (count > 1 and match[1] == str(count))


def _md5(copy: OpenCopy, size: int) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    while size and (data := copy.read(min(size, CHUNK_BYTES))):
        digest.update(data)
        size -= len(data)
    return digest.digest()
