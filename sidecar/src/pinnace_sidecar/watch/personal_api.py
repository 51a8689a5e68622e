"""The API as a person has it, in the place of a pod's: a person speaks for no pod.

So rows carry no pod, reports stay here, nobody knows how the writers ended, and no object of another artifact is
shared. What the API has recorded is counted over the whole iteration.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from pinnace.client import Client
from pinnace.digests import manifest_sha256
from pinnace.records import (
    Artifact,
    ContentQuery,
    IterationPatch,
    Manifest,
    MetricPoint,
    MetricReceipt,
    PodReport,
    PodStanding,
    RecordedContent,
    WriterEnd,
    WriterStatus,
)

#: Reports come every 30 s at the latest.
LEASE_SECONDS: Final = 120


class PersonalApi:
    """An `Api`. `is_own`: the iteration is ours, so that each report is also its sign of life."""

    def __init__(self, client: Client, *, is_own: bool) -> None:
        self._client = client
        self._is_own = is_own

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None, /
    ) -> tuple[Artifact, ...]:
        rows = [msgspec.structs.replace(artifact, pod_uid="") for artifact in artifacts]
        return self._client.put_artifacts(iteration_id, rows, sets)

    def recorded_contents(self, iteration_id: UUID, query: ContentQuery, /) -> tuple[RecordedContent, ...]:
        del iteration_id, query
        return ()

    def put_metrics(self, iteration_id: UUID, points: Sequence[MetricPoint], /) -> MetricReceipt:
        return self._client.put_metrics(iteration_id, points)

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch, /) -> None:
        self._client.patch_iteration(iteration_id, change)

    def put_pod_report(self, report: PodReport, /) -> PodStanding:
        if self._is_own:
            self._client.heartbeat(report.iteration_id, lease_seconds=LEASE_SECONDS)
        recorded = self._recorded(report.iteration_id) if report.final else report.manifest
        return PodStanding(
            iteration_id=report.iteration_id,
            pod_uid=report.pod_uid,
            report=report,
            recorded=recorded,
            bytes_recorded=report.bytes_recorded,
            reported_at=None,
        )

    def pod_artifacts(self, iteration_id: UUID, pod_uid: str, /) -> Iterable[Artifact]:
        del pod_uid
        return self._client.iteration_artifacts(iteration_id)

    def writers(self, iteration_id: UUID, pod_uid: str, /) -> WriterStatus:
        del iteration_id, pod_uid
        return WriterStatus(ended=WriterEnd.UNKNOWN)

    def _recorded(self, iteration_id: UUID) -> Manifest:
        ids = [artifact.id for artifact in self._client.iteration_artifacts(iteration_id)]
        return Manifest(count=len(ids), sha256=manifest_sha256(ids))


class StorelessApi(PersonalApi):
    """For one whose files the API keeps itself: uploading them has made their rows."""

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None, /
    ) -> tuple[Artifact, ...]:
        """The rows as they are, of which the sets are made; NotFound when one is not there."""
        there = tuple(self._client.artifact(artifact.id) for artifact in artifacts)
        return self._client.put_artifacts(iteration_id, there, sets) if sets else there
