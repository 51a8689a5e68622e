"""The metadata API in memory: the methods of pinnace.client.Client that the sidecar calls, with the API's own rules."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from pinnace.client import ApiError, Conflict, Invalid, NotFound, Unexpected
from pinnace.digests import manifest_sha256
from pinnace.ids import artifact_id, is_own_key
from pinnace.records import (
    Artifact,
    ArtifactBatch,
    ArtifactSetWrite,
    Content,
    ContentQuery,
    IterationPatch,
    Manifest,
    MetricBatch,
    MetricPoint,
    MetricReceipt,
    PodReport,
    PodStanding,
    RecordedContent,
    WriterEnd,
    WriterStatus,
)

_T = TypeVar("_T")


class FakeApi:
    """One API. Requests and answers go through JSON, so a record that could not travel fails here too."""

    def __init__(self) -> None:
        self.iterations: set[UUID] | None = None  # None: every iteration is there
        self.rows: dict[UUID, Artifact] = {}
        self.sources: set[tuple[str, UUID]] = set()
        #: What manifests name; and whether it takes that at all.
        self.sets: dict[UUID, tuple[UUID, ...]] = {}
        self.knows_sets = True
        self.points: dict[tuple[str, int, str, int], MetricPoint] = {}
        self.reports: list[PodReport] = []
        self.ended = WriterEnd.CLEAN
        self.requests: list[str] = []
        self.queries: list[ContentQuery] = []
        self.refused_paths: set[str] = set()
        self.refused_keys: set[str] = set()
        self.refused_tags: set[str] = set()
        #: Of the iteration; and how many edits of it there were.
        self.tags: dict[str, str] = {}
        self.notes = ""
        self.edits = 0
        #: Kinds of requests that fail as an API with a defect does.
        self.broken: set[str] = set()
        self._faults: deque[tuple[ApiError, bool]] = deque()

    # --- for tests only

    def fail_next(self, error: ApiError, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls raise `error`: instead of doing anything, or `after` it was done (a lost answer)."""
        self._faults.extend([(error, after)] * times)

    def mend(self) -> None:
        """Forget the faults that are left."""
        self._faults.clear()

    @property
    def report(self) -> PodReport:
        """The newest report."""
        return max(self.reports, key=lambda report: report.sequence)

    # --- the client's methods

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None, /
    ) -> tuple[Artifact, ...]:
        lost = self._enter("artifacts", iteration_id)
        named = tuple(ArtifactSetWrite(id=id_, members=tuple(members)) for id_, members in (sets or {}).items())
        batch = _travelled(ArtifactBatch(artifacts=tuple(artifacts), sets=named))
        for row in batch.artifacts:
            if row.id != artifact_id(row.iteration_id, row.path, row.sha256) or row.iteration_id != iteration_id:
                raise Invalid("wrong id", status=422, code="invalid")
            if row.path in self.refused_paths:
                raise Invalid(f"{row.path} is refused", status=422, code="invalid")
            is_own = is_own_key(row.location.key, row.id, row.stored.sha256 if row.stored else "")
            if not is_own and row.id not in self.rows and not self._is_recorded(row):
                raise Conflict(f"{row.path} points at nothing", status=409, code="object-not-recorded")
        sent = {row.id for row in batch.artifacts}
        for each in batch.sets:
            if each.id not in sent or not sent | self.rows.keys() >= set(each.members):
                raise Invalid("a set of what is not recorded", status=422, code="invalid")
            if self.sets.get(each.id, each.members) != each.members or not self.knows_sets:
                raise Conflict("a set stays", status=409, code="conflict")
        self.sets |= {each.id: each.members for each in batch.sets}
        for row in batch.artifacts:
            stored = self.rows.get(row.id)
            suspect = row.suspect and (stored is None or stored.suspect)
            self.rows[row.id] = msgspec.structs.replace(stored or row, suspect=suspect)
            self.sources.add((row.pod_uid, row.id))
        _leave(lost)
        return tuple(self.rows[row.id] for row in batch.artifacts)

    def recorded_contents(self, iteration_id: UUID, query: ContentQuery, /) -> tuple[RecordedContent, ...]:
        lost = self._enter("contents", iteration_id)
        query = _travelled(query)
        self.queries.append(query)
        found = {}
        for row in self.rows.values():
            if Content(size=row.size, sha256=row.sha256, crc32c=row.crc32c) in query.contents:
                fields = {name: getattr(row, name) for name in RecordedContent.__struct_fields__}
                found[row.sha256] = RecordedContent(**fields)
        _leave(lost)
        return tuple(_travelled(content) for content in found.values())

    def _is_recorded(self, row: Artifact) -> bool:
        wanted = row.location, row.sha256, row.stored
        return any((each.location, each.sha256, each.stored) == wanted for each in self.rows.values())

    def put_metrics(self, iteration_id: UUID, points: Sequence[MetricPoint], /) -> MetricReceipt:
        lost = self._enter("metrics", iteration_id)
        before = len(self.points)
        batch = _travelled(MetricBatch(points=tuple(points)))
        for point in batch.points:
            if point.key in self.refused_keys:
                raise Invalid(f"{point.key} is refused", status=422, code="invalid")
        for point in (msgspec.convert(each, MetricPoint, from_attributes=True) for each in batch.points):
            self.points.setdefault((point.key, point.step, point.source, point.offset), point)
        _leave(lost)
        added = len(self.points) - before
        return MetricReceipt(added=added, present=len(points) - added)

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch, /) -> None:
        lost = self._enter("iteration", iteration_id)
        change = _travelled(change)
        if change.tags and self.refused_tags & set(change.tags):
            raise Invalid("a tag is refused", status=422, code="invalid")
        self.edits += 1
        for key, value in (change.tags or {}).items():
            if value is None:
                self.tags.pop(key, None)
            else:
                self.tags[key] = value
        self.notes = self.notes if change.notes is UNSET else change.notes or ""
        _leave(lost)

    def put_pod_report(self, report: PodReport, /) -> PodStanding:
        lost = self._enter("report", report.iteration_id)
        self.reports.append(_travelled(report))
        _leave(lost)
        mine = [artifact for pod, artifact in self.sources if pod == report.pod_uid]
        return PodStanding(
            iteration_id=report.iteration_id,
            pod_uid=report.pod_uid,
            report=report,
            recorded=Manifest(count=len(mine), sha256=manifest_sha256(mine)),
            bytes_recorded=sum(self.rows[artifact].size for artifact in mine),
            reported_at=None,
        )

    def pod_artifacts(self, iteration_id: UUID, pod_uid: str, /) -> Iterator[Artifact]:
        _leave(self._enter("pod artifacts", iteration_id))
        return iter([self.rows[artifact] for pod, artifact in sorted(self.sources) if pod == pod_uid])

    def writers(self, iteration_id: UUID, pod_uid: str, /) -> WriterStatus:
        _leave(self._enter("writers", iteration_id))
        return WriterStatus(ended=self.ended)

    def _enter(self, request: str, iteration_id: UUID) -> ApiError | None:
        self.requests.append(request)
        error, after = self._faults.popleft() if self._faults else (None, False)
        if error and not after:
            raise error
        if request in self.broken:
            raise Unexpected(f"{request} failed", status=500)
        if self.iterations is not None and iteration_id not in self.iterations:
            raise NotFound("no such iteration", status=404, code="iteration-not-found")
        return error


def _leave(lost: ApiError | None) -> None:
    if lost:
        raise lost


def _travelled(record: _T) -> _T:
    return msgspec.json.decode(msgspec.json.encode(record), type=type(record))
