"""The contract of an object store, and why a call of it can fail.

Objects are bytes under a key; a key is any text of 1 to 1024 bytes of UTF-8, never normalised. A store has no policy:
no retries, no back-off, no rate limit: those wrap it or call it. Implementations: s3.S3Store, memory.MemoryStore; both
go through tests/contract/test_stores.py. All methods may be called from several threads at once.

StoreError                    what all of them have in common
├── TransientStoreError       the same call may work in a moment
│   └── StoreUnreachable      … and so it is for every object: no answer, or not all of it
├── TerminalStoreError        never works for this object as it is; others aren't concerned
│   ├── NoSuchObject
│   ├── NoSuchMultipart       completed, aborted or expired
│   ├── CorruptContent        the bytes are not those of the digest
│   └── ObjectExists          something lies under the key, and it was not to be replaced
└── StoreRefused              fails for every object until a person mends something; no file is at fault
    └── CredentialsMissing

`error.try_again` answers "will the same call work later, with nobody doing anything?", `error.whole_store` "is it every
object or only this one?". After any error a write may or may not have happened: every method but `create_multipart`
and `complete_multipart` may simply be repeated, and those two say how to look.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final, Protocol

import msgspec

from pinnace.digests import ContentDigest, PartDigest, composite_crc32c
from pinnace.errors import PinnaceError

#: S3's limits, which every implementation keeps.
MAX_KEY_BYTES: Final = 1024
MAX_PARTS: Final = 10_000
#: All parts but the last.
MIN_PART_BYTES: Final = 5 * 2**20
#: Of one `put` or part.
MAX_PUT_BYTES: Final = 5 * 2**30


class StoreError(PinnaceError):
    """The store did not do what was asked.

    `code` is a stable CamelCase word, the store's own where it has one, and fits `records.Problem.reason`; `status` the
    HTTP status, None without an answer; `key` the object's key, empty when the call was about none.
    """

    try_again: ClassVar[bool] = False
    whole_store: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str = "",
        status: int | None = None,
        key: str = "",
        request_id: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.key = key
        #: What finds the request in the store's own log; empty when it gave none.
        self.request_id = request_id
        #: For how many seconds the store asked to be left alone; 0: it did not.
        self.retry_after = retry_after


class TransientStoreError(StoreError):
    """The same call may work in a moment: 5xx, throttling, an answer that makes no sense."""

    try_again = True


class StoreUnreachable(TransientStoreError):
    """No answer came, or it broke off: network, DNS, TLS, time-out."""

    whole_store = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code="StoreUnreachable", hint=hint)


class TerminalStoreError(StoreError):
    """Will never work for this object as it is."""


class NoSuchObject(TerminalStoreError):
    """There is nothing under the key."""


class NoSuchMultipart(TerminalStoreError):
    """The multipart upload is completed, aborted or expired; `head` says whether its object is there."""


class CorruptContent(TerminalStoreError):
    """What arrived is not what the digest says; nothing was stored, or what was stored is not it.

    Hash the source again: with the same digest, the bytes were damaged on the way and the call may be repeated; with
    another, the source has changed and the digest is worthless.
    """


class ObjectExists(TerminalStoreError):
    """Something lies under the key already, and nothing was stored; `head` tells whether it is the same."""


class StoreRefused(StoreError):
    """Every object is refused until a person mends something: credentials, rights, bucket, quota, region.

    No file is at fault. Keep everything, say `code` and `hint` where the person looks, and look again now and then.
    """

    whole_store = True


class CredentialsMissing(StoreRefused):
    """There are no credentials to sign with."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code="CredentialsMissing", hint=hint)


def check_key(key: str) -> None:
    """TerminalStoreError `InvalidKey` unless `key` is one."""
    if key.isascii() and 1 <= len(key) <= MAX_KEY_BYTES:
        return
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise TerminalStoreError(f"the key {key!r} is no Unicode text", code="InvalidKey", key=key) from error
    if not 1 <= size <= MAX_KEY_BYTES:
        raise TerminalStoreError(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {size}", code="InvalidKey", key=key)


def check_range(start: int, size: int | None) -> None:
    """ValueError unless `get` can be asked for it."""
    if start < 0 or (size is not None and size < 1):
        raise ValueError(f"a range begins at 0 or later and has at least 1 byte, not {size} from {start} on")


class Source(Protocol):
    """An open file. It is read by position, so several calls may share it; its own position means nothing."""

    def fileno(self) -> int: ...


class Sink(Protocol):
    """Takes downloaded bytes in order. `data` is valid during the call only."""

    def write(self, data: memoryview, /) -> object: ...


class Evidence(StrEnum):
    """What a stored object was compared with our digests by, the weakest first."""

    #: Only the number of bytes: the store tells nothing that the content could be recognised by.
    SIZE = "size"
    #: An MD5 that the store gives as ETag.
    MD5 = "md5"
    #: A CRC32C that the store computed.
    CRC32C = "crc32c"
    #: It was downloaded, and its SHA-256 taken.
    READ_BACK = "read_back"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The store's acknowledgement of an object. `crc32c` as in digests, None when the store gave none."""

    etag: str
    crc32c: str | None


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says it holds. `size` in bytes; `crc32c` of the whole content, None where it has none to tell."""

    key: str
    size: int
    etag: str
    crc32c: str | None = None
    #: As digests.composite_crc32c has it, for an object that was sent in parts.
    composite_crc32c: str | None = None
    #: How the store says it encrypted it (`AES256`, `aws:kms`); empty when it says nothing.
    encryption: str = ""
    modified_at: datetime | None = None

    def evidence(self, digest: ContentDigest) -> Evidence:
        """What `difference` can go by: CRC32C or, where the store tells none that can be compared, SIZE."""
        return Evidence.CRC32C if self.crc32c is not None or self._is_of_parts(digest) else Evidence.SIZE

    def difference(self, digest: ContentDigest, etag: str = "") -> str:
        """How this differs from the content of `digest`, in words; empty when nothing speaks against it.

        `etag` is the one that the upload was acknowledged with. A store that keeps no CRC32C can't be asked for it.
        """
        if self.size != digest.size:
            return f"the store holds {self.size} bytes, not {digest.size}"
        if self.crc32c is not None and self.crc32c != digest.crc32c:
            return f"the store holds content of CRC32C {self.crc32c}, not {digest.crc32c}"
        if self._is_of_parts(digest) and self.composite_crc32c != composite_crc32c(digest.parts):
            return f"the store holds parts of CRC32C {self.composite_crc32c}, not {composite_crc32c(digest.parts)}"
        if etag and self.etag != etag:
            return f"the store holds ETag {self.etag}, and acknowledged {etag}"
        return ""

    def _is_of_parts(self, digest: ContentDigest) -> bool:
        """Whether there is a checksum of just as many parts as we sent: of others it says nothing to us."""
        return self.composite_crc32c is not None and self.composite_crc32c.endswith(f"-{len(digest.parts)}")


class Multipart(msgspec.Struct, frozen=True, kw_only=True):
    """An upload in parts that was begun and neither completed nor aborted. Both fields survive a restart as text."""

    key: str
    upload_id: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part that the store holds. `number` counts from 1, `size` in bytes."""

    number: int
    size: int
    etag: str
    crc32c: str | None = None


class Store(Protocol):
    """Whole objects. Every method raises StoreError and may be repeated at any time."""

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        """Store `source[digest.offset : digest.offset + digest.size]` under `key`, replacing what is there, at once.

        Without `replace` ObjectExists when something is there, if the store knows how to look and write in one step;
        one that doesn't replaces it.

        `digest` has a SHA-256. At most MAX_PUT_BYTES. When it returns, the store holds the bytes of the digest and says
        so. The object appears whole or not at all. CorruptContent when the source does not have the bytes of the
        digest.
        """
        ...

    def begin_put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Callable[[], Stored]:
        """A `put` in two steps: its bytes go, and the call that is returned waits for its answer.

        So one thread has several objects on their way at a time. Either step may raise what `put` does. `source` stays
        open until the second is done, which is called once, in the same thread, and soon.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What lies under `key`, or None for nothing."""
        ...

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        """Write the content from byte `start` on, at most `size` (≥ 1) bytes, into `sink`; NoSuchObject when there is
        none. The answer tells of the whole object.

        After an error the sink may have got the beginning of it; `start` goes on from there. The bytes are not compared
        with any digest: that is the caller's, who has one.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove what lies under `key`; nothing there is fine."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, by key in order of its UTF-8 bytes, fetched page by page."""
        ...


class MultipartStore(Store, Protocol):
    """A store that also takes one object in parts, in any order, also by several processes one after the other."""

    @property
    def hashes_parts(self) -> bool:
        """Whether the SHA-256 of each part is taken before it is sent, as far as is known now: then a `put` of the
        whole costs half as much.
        """
        ...

    def create_multipart(self, key: str) -> Multipart:
        """Begin an upload. Each call begins another one; when the answer is lost, `list_multiparts` finds it."""
        ...

    def put_part(self, upload: Multipart, number: int, source: Source, digest: PartDigest) -> Part:
        """Send one part: `number` from 1 to MAX_PARTS, its bytes as in `put`. A repeated number replaces the part.

        `digest` needs no SHA-256; where the store wants it, it is taken here.

        All parts but the last have at least MIN_PART_BYTES. NoSuchMultipart when the upload is over.
        """
        ...

    def list_parts(self, upload: Multipart) -> tuple[Part, ...]:
        """The parts that arrived, by number, each once: what need not be sent again after a restart."""
        ...

    def complete_multipart(
        self, upload: Multipart, parts: Sequence[Part], digest: ContentDigest, *, replace: bool = True
    ) -> Stored:
        """Make the object of `parts`, in the order of their numbers; it then has the content of `digest`.

        `replace` as in `put`; after ObjectExists the upload is still there.

        After an error it may have happened all the same: then the second call raises NoSuchMultipart, and `head` shows
        the object.
        """
        ...

    def abort_multipart(self, upload: Multipart) -> None:
        """Forget the upload and its parts; one that is over already is fine."""
        ...

    def list_multiparts(self, prefix: str) -> Iterator[Multipart]:
        """The uploads under way whose key begins with `prefix`, by key.

        Ask with a whole key where it matters: there are stores (MinIO) that find nothing by a part of one.
        """
        ...
