"""What the journal's files are to others, and how that is spelled in a row."""

import os
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.digests import ContentDigest, Digests, EncodedDigest, PartDigest
from pinnace.ids import artifact_of, key_of, object_name
from pinnace.records import Artifact, FileState, RecordedContent, Stored
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal.sets import Arrived
from pinnace_sidecar.lifecycle import Event

COLUMNS: Final = (
    "id, path, fingerprint, state, suspect, settled_at, artifact_id, digest, upload_id, etag, shared, stored"
)

#: By its text, in a tenth of the time that FileState(…) takes.
_STATES: Final = {state.value: state for state in FileState}
_decoder = msgspec.json.Decoder(ContentDigest)


class JournaledFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file with a durable copy in the buffer."""

    id: int
    path: str
    fingerprint: Fingerprint
    state: FileState
    suspect: bool
    settled_at: float
    artifact_id: UUID
    #: What its copy is called in the buffer.
    name: str
    digest: ContentDigest
    upload_id: str
    etag: str
    #: The object of another artifact that holds this content; None: it has, or will have, its own.
    shared: RecordedContent | None = None
    #: The bytes of its copy and its own object, where they are not the content itself.
    stored: EncodedDigest | None = None

    @property
    def kept(self) -> ContentDigest:
        """Of the bytes of its copy and its own object."""
        return self.stored or self.digest

    def key(self, prefix: str) -> str:
        """Where its own object lies in the store."""
        return key_of(prefix, self.name)


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What `FileTable.add_copy` is told of a fresh copy in the buffer, which is called `name` there. `settled_at` in
    seconds since the epoch.
    """

    path: str
    fingerprint: Fingerprint
    suspect: bool
    settled_at: float
    name: str
    digests: Digests

    @property
    def artifact(self) -> str:
        """The id of the artifact that it is."""
        return self.name.partition(".")[0]


class Progress(msgspec.Struct, frozen=True):
    """What `FileTable.apply_all` is told of one file."""

    events: tuple[Event, ...]
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a file is quarantined."""

    path: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FileTotals:
    """Over all files of the journal. `oldest_settled_at`: of those still on their way, None when there are none."""

    states: dict[FileState, int]
    bytes_recorded: int
    oldest_settled_at: float | None


def arrived(file: JournaledFile) -> Arrived:
    """What a set is told of a file that the API has."""
    return Arrived(
        path=file.path,
        state=file.state,
        size=file.digest.size,
        artifact_id=file.artifact_id,
        mtime_ns=file.fingerprint.mtime_ns,
    )


def text_of(fingerprint: Fingerprint) -> str:
    """A fingerprint as it stands in the journal."""
    # As text, because an inode may need all 64 bits and SQLite's integers are signed.
    return f"{fingerprint.inode}:{fingerprint.size}:{fingerprint.mtime_ns}:{fingerprint.ctime_ns}"


def fingerprint_of(text: str) -> Fingerprint:
    """The fingerprint that `text_of` wrote."""
    return Fingerprint(*map(int, text.split(":")))


def digest_of(artifact: Artifact) -> ContentDigest:
    """The digest of a file whose row the API has."""
    whole = PartDigest(offset=0, size=artifact.size, sha256=artifact.sha256, crc32c=artifact.crc32c)
    return ContentDigest(size=artifact.size, sha256=artifact.sha256, crc32c=artifact.crc32c, parts=(whole,))


def encoded_digest_of(stored: Stored) -> EncodedDigest:
    """The digest of the object of a file whose row the API has."""
    whole = PartDigest(offset=0, size=stored.size, sha256=stored.sha256, crc32c=stored.crc32c)
    return EncodedDigest(
        encoding=stored.encoding, size=stored.size, sha256=stored.sha256, crc32c=stored.crc32c, parts=(whole,)
    )


def journaled(row: tuple[Any, ...]) -> JournaledFile:
    """The file of a row read as `COLUMNS`."""
    file_id, path, fingerprint, state, suspect, settled_at, artifact, digest, upload_id, etag, shared, encoded = row
    # As UUID(…) does, in a quarter of the time.
    artifact_id = msgspec.convert(artifact, UUID)
    stored = msgspec.json.decode(encoded, type=EncodedDigest) if encoded is not None else None
    return JournaledFile(
        id=file_id,
        path=os.fsdecode(path),
        fingerprint=fingerprint_of(fingerprint),
        state=_STATES[state],
        suspect=bool(suspect),
        settled_at=settled_at,
        artifact_id=artifact_id,
        name=object_name(artifact_id, stored.sha256) if stored else artifact,
        digest=_decoder.decode(digest),
        upload_id=upload_id,
        etag=etag,
        shared=msgspec.json.decode(shared, type=RecordedContent) if shared is not None else None,
        stored=stored,
    )


def fresh_file(file_id: int, copy: Copy) -> JournaledFile:
    """The file of a row that was just made of this copy."""
    return JournaledFile(
        id=file_id,
        path=copy.path,
        fingerprint=copy.fingerprint,
        state=FileState.BUFFERED,
        suspect=copy.suspect,
        settled_at=copy.settled_at,
        artifact_id=artifact_of(copy.name),
        name=copy.name,
        digest=copy.digests.content,
        upload_id="",
        etag="",
        stored=copy.digests.stored,
    )
