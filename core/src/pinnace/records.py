"""What the parts of the system tell each other: parsed and validated once, at the boundary.

These are the wire types of the metadata API (JSON, field names as here) and of the sidecar's termination message.
A field that is added later gets a default, so that parts of different versions understand each other.
"""

import math
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

#: Limits of one request to the API.
MAX_ARTIFACTS_PER_REQUEST = 1000
MAX_POINTS_PER_REQUEST = 10_000
MAX_PROBLEMS_PER_REPORT = 8

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="SHA-256 in lower-case hex")]
#: `$` alone would let a newline follow.
ProjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]
Text = Annotated[str, Meta(max_length=4096)]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]
MetricKey = Annotated[str, Meta(min_length=1, max_length=250)]
RelativePath = Annotated[str, Meta(min_length=1, max_length=4096)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of all wire types: immutable, fields by name, unknown fields ignored."""


class FileState(StrEnum):
    """Where a file stands on its way ashore. Every file is in exactly one state."""

    #: Noticed on the volume; may still be written to.
    SEEN = "seen"
    #: Complete by a marker, a rename or settle time.
    SETTLED = "settled"
    #: An unchanging copy with its digests lies in the buffer, fsynced.
    BUFFERED = "buffered"
    #: The store acknowledged the bytes.
    UPLOADED = "uploaded"
    #: What the store says it holds equals our digests.
    VERIFIED = "verified"
    #: The API holds the row. The end for a complete file.
    RECORDED = "recorded"
    #: In store and API like a recorded one, but its writer ended before the file was complete.
    SUSPECT = "suspect"
    #: Can't be shipped; reason and hint are kept.
    QUARANTINED = "quarantined"
    #: Left out by pattern, type or policy.
    EXCLUDED = "excluded"


#: States in which nothing is left to do for a file.
FINAL_STATES = frozenset({FileState.RECORDED, FileState.SUSPECT, FileState.QUARANTINED, FileState.EXCLUDED})


class IterationState(StrEnum):
    """What is known of the training itself; says nothing about artifacts."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class ProjectWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}"""

    description: Text = ""


class Project(Record, frozen=True, kw_only=True):
    id: UUID
    name: ProjectName
    description: str
    created_at: datetime


class ExperimentWrite(Record, frozen=True, kw_only=True):
    """PUT /experiments/{id}. The project is created when it does not exist."""

    project: ProjectName
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    #: The Kubernetes namespace whose pods may write into this experiment; empty when it runs elsewhere.
    namespace: Annotated[str, Meta(max_length=63)] = ""
    description: Text = ""
    tags: Annotated[tuple[Tag, ...], Meta(max_length=100)] = ()


class Experiment(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    name: str
    namespace: str
    description: str
    tags: tuple[str, ...]
    created_at: datetime


class IterationWrite(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}. `parameters` are set once; another value for a set key is a 409."""

    experiment_id: UUID
    index: Annotated[int, Meta(ge=0, le=1_000_000)]
    parameters: dict[str, Any] = {}
    state: IterationState = IterationState.PENDING
    started_at: datetime | None = None
    ended_at: datetime | None = None


class MetricSummary(Record, frozen=True, kw_only=True):
    """One metric of one iteration: the value at the highest step, and the extremes without NaN (None: only NaN)."""

    last: "MetricValue"
    last_step: int
    min: "MetricValue | None"
    max: "MetricValue | None"
    count: int


class Iteration(Record, frozen=True, kw_only=True):
    id: UUID
    experiment_id: UUID
    index: int
    parameters: dict[str, Any]
    state: IterationState
    started_at: datetime | None
    ended_at: datetime | None
    metrics: dict[str, MetricSummary]


class Location(Record, frozen=True, kw_only=True):
    """Where the bytes of an artifact lie, without any credential."""

    endpoint: Annotated[str, Meta(max_length=512)]
    region: Annotated[str, Meta(max_length=64)]
    bucket: Annotated[str, Meta(min_length=3, max_length=63)]
    key: Annotated[str, Meta(min_length=1, max_length=1024)]


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
    #: Base64 of the big-endian CRC32C, as S3 has it.
    crc32c: Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{6}==$", max_length=8)]
    location: Location
    #: The file's own modification time.
    modified_at: datetime
    #: True when the writer ended before the file was known to be complete.
    suspect: bool = False
    #: The pod that shipped it. The same content from a second pod is still one row.
    pod_uid: Annotated[str, Meta(max_length=64)] = ""
    #: Set by the API.
    recorded_at: datetime | None = None


class ArtifactBatch(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/artifacts: all or nothing; sending it again changes nothing."""

    artifacts: Annotated[tuple[Artifact, ...], Meta(max_length=MAX_ARTIFACTS_PER_REQUEST)]


class MetricPoint(Record, frozen=True, kw_only=True):
    """One value of one metric. (key, step, source, offset) identifies it within its iteration."""

    key: MetricKey
    step: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    value: "MetricValue"
    time: datetime | None = None
    #: What wrote it, `<pod uid>:<file>` for a tailed file; with `offset` it tells a repeated send from a new point.
    source: Annotated[str, Meta(max_length=4200)] = ""
    #: Byte offset of the line in its file.
    offset: Annotated[int, Meta(ge=0)] = 0


class MetricBatch(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/metrics: all or nothing; points that are there already are left alone."""

    points: Annotated[tuple[MetricPoint, ...], Meta(max_length=MAX_POINTS_PER_REQUEST)]


#: JSON has no NaN and no infinities, so these three travel as their names.
MetricValue = float | str


def metric_value_to_wire(value: float) -> MetricValue:
    """`value` as JSON can carry it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def metric_value_from_wire(value: MetricValue) -> float:
    """The float behind a wire value. Raises ValueError for any other text."""
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise ValueError(f'a metric value is a number, "NaN", "Infinity" or "-Infinity", not {value!r}')
        return float(value)
    return value


class Problem(Record, frozen=True, kw_only=True):
    """Why files wait or can't be shipped, in words for a person."""

    #: A stable CamelCase word: StoreUnreachable, AccessDenied, NoSuchBucket, ApiUnreachable, BufferFull …
    reason: Annotated[str, Meta(pattern="^[A-Z][A-Za-z0-9]*$", max_length=100)]
    message: Annotated[str, Meta(max_length=1024)]
    #: How many files it holds up or has ended.
    files: int = 0


class Manifest(Record, frozen=True, kw_only=True):
    """A set of artifacts in two figures; equal manifests mean equal sets (digests.manifest_sha256)."""

    count: int
    sha256: Sha256


class PodReport(Record, frozen=True, kw_only=True):
    """What one pod's sidecar says of its files: sent to the API while it runs, and the termination message at the end.

    PUT /iterations/{id}/pods/{pod_uid}; the newest `sequence` wins.
    """

    version: int = 1
    iteration_id: UUID
    pod_uid: Annotated[str, Meta(min_length=1, max_length=64)]
    sequence: Annotated[int, Meta(ge=0)]
    #: The sidecar has seen the end of the writer, shipped everything there was, and will change nothing more.
    final: bool = False
    files: dict[FileState, int] = {}
    bytes_recorded: int = 0
    #: Age of the oldest file that is complete and not yet recorded, in seconds.
    oldest_unshipped_seconds: float = 0.0
    metric_points: int = 0
    bad_metric_lines: int = 0
    #: The recorded and suspect artifacts that this pod shipped.
    manifest: Manifest
    problems: Annotated[tuple[Problem, ...], Meta(max_length=MAX_PROBLEMS_PER_REPORT)] = ()

    @property
    def pending(self) -> int:
        """Files that are still on their way."""
        return sum(count for state, count in self.files.items() if state not in FINAL_STATES)


class PodStanding(Record, frozen=True, kw_only=True):
    """GET /experiments/{id}/pods: a pod's latest report beside what the API itself holds of it."""

    iteration_id: UUID
    pod_uid: str
    report: PodReport | None
    #: Over the rows that this pod's sidecar registered.
    recorded: Manifest
    bytes_recorded: int
    reported_at: datetime | None


class WriterEnd(StrEnum):
    """Whether the pod's own containers (the writers of its files) have ended, and how."""

    RUNNING = "running"
    #: All ended with exit code 0: what they left behind is what they wanted to write.
    CLEAN = "clean"
    #: At least one was killed or failed: its last files may be torn.
    FAILED = "failed"
    #: The cluster can't tell (no pod, no Kubernetes).
    UNKNOWN = "unknown"


class WriterStatus(Record, frozen=True, kw_only=True):
    """GET /iterations/{id}/pods/{pod_uid}/writers"""

    ended: WriterEnd


class MetricReceipt(Record, frozen=True, kw_only=True):
    """Answer to a MetricBatch: how many points were new, and how many were there already."""

    added: int
    present: int


class Page(Record, frozen=True, kw_only=True):
    """How every list is cut: `next` goes into `after` of the following request; None means that was all."""

    next: str | None = None


class ProjectPage(Page, frozen=True, kw_only=True):
    items: tuple[Project, ...]


class ExperimentPage(Page, frozen=True, kw_only=True):
    items: tuple[Experiment, ...]


class IterationPage(Page, frozen=True, kw_only=True):
    items: tuple[Iteration, ...]


class ArtifactPage(Page, frozen=True, kw_only=True):
    items: tuple[Artifact, ...]


class MetricPage(Page, frozen=True, kw_only=True):
    items: tuple[MetricPoint, ...]


class PodPage(Page, frozen=True, kw_only=True):
    items: tuple[PodStanding, ...]


class ProblemDetails(Record, frozen=True, kw_only=True):
    """RFC 9457 `application/problem+json`, with a stable `code` and a `hint` for a person."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    #: Which field of the request is wrong, where that is known: `points[3].value`.
    field: str = ""
