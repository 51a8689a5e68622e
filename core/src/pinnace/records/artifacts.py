"""Artifacts: what was written, and where its bytes lie."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.digests import Encoding
from pinnace.records.lifecycle import Tags, TagsPatch
from pinnace.records.record import Page, Record, Sha256, Text

#: Limit of one request to the API.
MAX_ARTIFACTS_PER_REQUEST = 1000
#: How many files a manifest may name.
MAX_SET_MEMBERS = 10_000

#: Base64 of the big-endian CRC32C, as S3 has it.
Crc32c = Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{6}==$", max_length=8)]
RelativePath = Annotated[str, Meta(min_length=1, max_length=4096)]
#: `type/subtype`, maybe with parameters; empty: not known.
ContentType = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9_.-]+=[A-Za-z0-9_.:+-]+)*)?$(?!\n)",
        max_length=250,
    ),
]


class Backend(StrEnum):
    """What kind of place holds bytes."""

    #: An object of an S3-compatible store.
    S3 = "s3"
    #: A file below the folder that the API is configured with.
    FILESYSTEM = "filesystem"
    #: The API's database.
    INLINE = "inline"
    #: Nothing any more: the artifact was deleted, and then its bytes.
    NONE = "none"


class Location(Record, frozen=True, kw_only=True):
    """Where the bytes of an artifact lie, without any credential.

    Endpoint, region and bucket are those of an object; elsewhere they are empty.
    """

    endpoint: Annotated[str, Meta(max_length=512)]
    region: Annotated[str, Meta(max_length=64)]
    bucket: Annotated[str, Meta(max_length=63)]
    key: Annotated[str, Meta(min_length=1, max_length=1024)]
    backend: Backend = Backend.S3

    def __post_init__(self) -> None:
        if self.backend is Backend.S3 and len(self.bucket) < 3:
            raise ValueError("`bucket` of an object has 3 characters or more")


class Stored(Record, frozen=True, kw_only=True):
    """The bytes that an object holds instead of the content itself."""

    encoding: Encoding
    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256
    crc32c: Crc32c


class Removal(Record, frozen=True, kw_only=True):
    """When an artifact was deleted, and by whom; `policy` is the retention policy that wanted it, empty: a person."""

    at: datetime
    by: str
    policy: str


class Artifact(Record, frozen=True, kw_only=True):
    """One content of one path of one iteration; the one type from the sidecar's buffer to the API's row.

    Its id is `ids.artifact_id(iteration, path, sha256)`; the API refuses another.
    """

    id: UUID
    iteration_id: UUID
    #: Relative to the volume, `/` between parts. A path that is not UTF-8 has `%XX` (`%80` to `%FF`) for each byte that
    #: is not, and `%25` for `%`; so has a path that could be taken for one of these, because `%25` or `%80` to `%FF`
    #: stands in it. Every other path is as it is, so no two paths are spelled alike.
    path: RelativePath
    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256
    crc32c: Crc32c
    location: Location
    #: What lies at `location`; null: the content as it is, which `size`, `sha256` and `crc32c` speak of always.
    stored: Stored | None = None
    #: The file's own modification time.
    modified_at: datetime
    #: True when the writer ended before the file was known to be complete.
    suspect: bool = False
    #: The pod that shipped it. The same content from a second pod is still one row.
    pod_uid: Annotated[str, Meta(max_length=64)] = ""
    #: The ETag that the store gave the object when it was verified; empty: not known.
    etag: Annotated[str, Meta(max_length=256)] = ""
    content_type: ContentType = ""
    description: Text = ""
    tags: Tags = {}
    #: These are set by the API.
    recorded_at: datetime | None = None
    created_by: str = ""
    #: Set by the API where the contents of one path are asked for: 1 for the one that was recorded first.
    version: int | None = None
    #: Set by the API for one that is no more: its bytes are gone, or about to go.
    removed: Removal | None = None

    @property
    def object_size(self) -> int:
        """How many bytes lie at `location`."""
        return self.stored.size if self.stored else self.size


class ArtifactSetWrite(Record, frozen=True, kw_only=True):
    """What a manifest names, as artifacts: which content of each path is meant."""

    #: The manifest, an artifact of the same request.
    id: UUID
    #: Artifacts of the same iteration in the manifest's folder, recorded before or in the same request.
    members: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=MAX_SET_MEMBERS)]


class ArtifactBatch(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/artifacts: all or nothing; sending it again changes nothing."""

    artifacts: Annotated[tuple[Artifact, ...], Meta(max_length=MAX_ARTIFACTS_PER_REQUEST)]
    #: The sets that manifests among them name; left out of the answer.
    sets: Annotated[tuple[ArtifactSetWrite, ...], Meta(max_length=MAX_ARTIFACTS_PER_REQUEST)] = ()


class ArtifactPatch(Record, frozen=True, kw_only=True):
    """PATCH /artifacts/{id}: what is said about it. Its content never changes; other content is another artifact."""

    content_type: ContentType | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET


class Content(Record, frozen=True, kw_only=True):
    """What somebody holds in full: all three follow from the bytes and none of them from another."""

    size: Annotated[int, Meta(ge=0)]
    sha256: Sha256
    crc32c: Crc32c


class ContentQuery(Record, frozen=True, kw_only=True):
    """POST /iterations/{id}/contents: which of these are recorded in that bucket for the iteration's experiment?"""

    endpoint: Annotated[str, Meta(max_length=512)]
    bucket: Annotated[str, Meta(max_length=63)]
    contents: Annotated[tuple[Content, ...], Meta(max_length=MAX_ARTIFACTS_PER_REQUEST)]


class RecordedContent(Content, frozen=True, kw_only=True):
    """Content that some artifact of the experiment has, and the object that holds it."""

    location: Location
    stored: Stored | None = None
    etag: str = ""


class RecordedContents(Record, frozen=True, kw_only=True):
    """Answer to a ContentQuery: those that are recorded, each once, in any order."""

    items: tuple[RecordedContent, ...]


class ArtifactPage(Page, frozen=True, kw_only=True):
    items: tuple[Artifact, ...]


class ArtifactSet(Record, frozen=True, kw_only=True):
    """A set that is complete: its manifest, and what the files that it names come to."""

    manifest: Artifact
    files: int
    bytes: int


class ArtifactSetPage(Page, frozen=True, kw_only=True):
    items: tuple[ArtifactSet, ...]


class UploadWrite(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/uploads/{upload}: a file that will come in several requests."""

    path: RelativePath
    #: Both are compared with what arrives, where they are given.
    size: Annotated[int, Meta(ge=0)] | None = None
    sha256: Sha256 | None = None
    content_type: ContentType = ""
    #: As of an artifact; without the first, when it is complete.
    modified_at: datetime | None = None
    suspect: bool = False


class Upload(Record, frozen=True, kw_only=True):
    """What has arrived of it."""

    id: UUID
    iteration_id: UUID
    path: str
    size: int | None
    sha256: str | None
    content_type: str
    modified_at: datetime | None = None
    suspect: bool = False
    #: The next piece begins at this byte.
    received: int
    #: Afterwards what has arrived is thrown away; each piece puts it off.
    expires_at: datetime
    #: What became of it; None: it is not complete.
    artifact_id: UUID | None
