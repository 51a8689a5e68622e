"""One request to the metadata API, done and answered with a value. No decisions, no journal."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pinnace.client import ApiError, Conflict, Invalid
from pinnace.records import (
    Artifact,
    ContentQuery,
    IterationPatch,
    Location,
    Manifest,
    MetricPoint,
    MetricReceipt,
    PodReport,
    PodStanding,
    RecordedContent,
    Stored,
    WriterEnd,
    WriterStatus,
)
from pinnace.settings import StoreSettings
from pinnace_sidecar.files import wire_path
from pinnace_sidecar.journal import JournaledFile

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_YEAR_1: Final = -62_135_596_800
_YEAR_9999: Final = 253_402_300_799


class Api(Protocol):
    """What the sidecar needs of the metadata API; pinnace.client.Client has it. Raises ApiError."""

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None, /
    ) -> tuple[Artifact, ...]: ...

    def recorded_contents(self, iteration_id: UUID, query: ContentQuery, /) -> tuple[RecordedContent, ...]: ...

    def put_metrics(self, iteration_id: UUID, points: Sequence[MetricPoint], /) -> MetricReceipt: ...

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch, /) -> object: ...

    def put_pod_report(self, report: PodReport, /) -> PodStanding: ...

    def pod_artifacts(self, iteration_id: UUID, pod_uid: str, /) -> Iterable[Artifact]: ...

    def writers(self, iteration_id: UUID, pod_uid: str, /) -> WriterStatus: ...


class Request(StrEnum):
    """The kinds of requests."""

    #: Rows of verified files.
    ROWS = "rows"
    #: Metric points.
    POINTS = "points"
    #: Tags and notes of the iteration.
    DESCRIPTION = "description"
    #: The pod's report.
    REPORT = "report"
    #: Which rows of this pod the API holds.
    HELD = "held"
    #: Whether the pod's writers have ended.
    WRITERS = "writers"


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What came of a request. ROWS: `files`, the `sets` that manifests among them name, and, by id, why some files
    were `refused`. POINTS: up to which of the outbox (`last`) they were sent, and how many were refused for which
    reasons. DESCRIPTION: the `change`, and why it was `refused`. REPORT: `report`, and what the API itself has
    `recorded` of the pod. HELD: the rows that are `held`. WRITERS: `writers`.
    """

    request: Request
    error: ApiError | None = None
    files: tuple[JournaledFile, ...] = ()
    sets: Mapping[UUID, Collection[UUID]] = field(default_factory=dict)
    refused: tuple[tuple[UUID | None, str], ...] = ()
    last: int = 0
    change: IterationPatch | None = None
    report: PodReport | None = None
    recorded: Manifest | None = None
    held: tuple[Artifact, ...] = ()
    writers: WriterEnd | None = None


class ApiCalls:
    """Writes to one iteration of one API, for one pod. Safe to use from several threads."""

    def __init__(self, api: Api, iteration_id: UUID, pod_uid: str, store: StoreSettings) -> None:
        self._api = api
        self._iteration_id = iteration_id
        self._pod_uid = pod_uid
        self._store = store

    def ask(self, answer: ApiAnswer, points: tuple[MetricPoint, ...]) -> ApiAnswer:
        """Do the request that `answer` is to be the answer of. An ApiError becomes part of it."""
        try:
            return self._asked(answer, points)
        except ApiError as error:
            return replace(answer, error=error)

    def _asked(self, answer: ApiAnswer, points: tuple[MetricPoint, ...]) -> ApiAnswer:
        match answer.request:
            case Request.ROWS:
                return replace(answer, refused=self._put_rows(answer.files, answer.sets))
            case Request.POINTS:
                return replace(answer, refused=self._put_points(points))
            case Request.DESCRIPTION:
                assert answer.change is not None
                return replace(answer, refused=self._describe(answer.change))
            case Request.REPORT:
                assert answer.report is not None
                return replace(answer, recorded=self._api.put_pod_report(answer.report).recorded)
            case Request.HELD:
                return replace(answer, held=tuple(self._api.pod_artifacts(self._iteration_id, self._pod_uid)))
            case Request.WRITERS:
                return replace(answer, writers=self._api.writers(self._iteration_id, self._pod_uid).ended)

    def _put_rows(
        self, files: tuple[JournaledFile, ...], sets: Mapping[UUID, Collection[UUID]]
    ) -> tuple[tuple[UUID, str], ...]:
        rows = [self._artifact(file) for file in files]
        refused = _put_what_can_be(lambda some: self._put(some, sets), rows)
        return tuple((row.id, why) for row, why in refused)

    def _put(self, rows: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]]) -> None:
        """Rows with what their manifests name. A manifest whose set is refused is recorded all the same: its own row
        is a matter of the promise, and the set is not."""
        named = {row.id: sets[row.id] for row in rows if row.id in sets}
        try:
            self._api.put_artifacts(self._iteration_id, rows, named)
        except (Conflict, Invalid) as error:
            if len(rows) > 1 or not named:
                raise
            self._api.put_artifacts(self._iteration_id, rows)
            _log.warning("a manifest is recorded without its set", extra={"path": rows[0].path, "why": str(error)})

    def _put_points(self, points: tuple[MetricPoint, ...]) -> tuple[tuple[None, str], ...]:
        refused = _put_what_can_be(lambda some: self._api.put_metrics(self._iteration_id, some), points)
        return tuple((None, why) for _, why in refused)

    def _describe(self, change: IterationPatch) -> tuple[tuple[None, str], ...]:
        try:
            self._api.patch_iteration(self._iteration_id, change)
        except (Conflict, Invalid) as error:
            return ((None, str(error)),)
        return ()

    def _artifact(self, file: JournaledFile) -> Artifact:
        return Artifact(
            id=file.artifact_id,
            iteration_id=self._iteration_id,
            path=wire_path(file.path),
            size=file.digest.size,
            sha256=file.digest.sha256,
            crc32c=file.digest.crc32c,
            location=file.shared.location if file.shared else self._own_location(file),
            stored=file.shared.stored if file.shared else _stored(file),
            modified_at=modified_at(file.fingerprint.mtime_ns),
            suspect=file.suspect,
            pod_uid=self._pod_uid,
            etag=file.etag,
        )

    def _own_location(self, file: JournaledFile) -> Location:
        return Location(
            endpoint=self._store.endpoint,
            region=self._store.region,
            bucket=self._store.bucket,
            key=file.key(self._store.prefix),
        )


def _put_what_can_be(put: Callable[[Sequence[_T]], object], items: Sequence[_T]) -> list[tuple[_T, str]]:
    """Put all items, in halves where some are refused for what they are; returns those, each with the reason."""
    try:
        put(items)
    except (Conflict, Invalid) as error:
        if len(items) == 1:
            return [(items[0], str(error))]
        half = len(items) // 2
        return _put_what_can_be(put, items[:half]) + _put_what_can_be(put, items[half:])
    return []


def _stored(file: JournaledFile) -> Stored | None:
    if (own := file.stored) is None:
        return None
    return Stored(encoding=own.encoding, size=own.size, sha256=own.sha256, crc32c=own.crc32c)


def modified_at(mtime_ns: int) -> datetime:
    """As a row has it."""
    # A file may claim any time; a row holds the years 1 to 9999.
    return datetime.fromtimestamp(min(max(mtime_ns / 1e9, _YEAR_1), _YEAR_9999), UTC)
