"""Pods: what their sidecars say of the files that they bring ashore."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pinnace.records.record import Page, Record, Sha256

MAX_PROBLEMS_PER_REPORT = 8


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
    #: The pod is not one of the iteration's Job: its sidecar was put in at the owner's request.
    injected: bool = False
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
    #: As Kubernetes calls it; empty when it never reported.
    name: str = ""
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


class PodPage(Page, frozen=True, kw_only=True):
    items: tuple[PodStanding, ...]
