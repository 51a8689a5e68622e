"""The metadata API as Python methods: records in, records out, ApiError (see errors.py) when it can't be done.

Each method is one idempotent request (a list: one per page), so a caller may repeat any of them at any time. There is
no retry loop in here: the operator, the sidecar and the command line each have their own.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import UUID

import msgspec

from pinnace import records
from pinnace.client.accounts import AccountCalls
from pinnace.client.connection import Connection
from pinnace.client.errors import Invalid
from pinnace.client.files import FileCalls
from pinnace.client.models import ModelCalls
from pinnace.client.retention import RetentionCalls
from pinnace.client.tracking import TrackingCalls
from pinnace.records import (
    Artifact,
    ArtifactBatch,
    ArtifactSetWrite,
    ContentQuery,
    Experiment,
    ExperimentWrite,
    Iteration,
    IterationWrite,
    MetricBatch,
    MetricPoint,
    MetricReceipt,
    MetricWrite,
    PodReport,
    PodStanding,
    Project,
    ProjectWrite,
    RecordedContent,
    RecordedContents,
    Shown,
    StoreCredentials,
    StoreCredentialsQuery,
    WriterStatus,
)
from pinnace.settings import ClientSettings


class Client(TrackingCalls, FileCalls, ModelCalls, RetentionCalls, AccountCalls):
    """Calls one metadata API. Safe to use from several threads at once; connections are kept and shared.

    `timeout` in seconds is for each wait on the network (connect, read); a whole call takes at most three times that
    once the request is out. The token is `settings.api_token`, or what `settings.api_token_file` holds at the moment of
    the call. List methods are iterators that fetch pages as they go; `limit` bounds the items of all pages together.
    """

    def __init__(self, settings: ClientSettings, *, timeout: float = 30.0, connections: int = 8) -> None:
        self.api_url = settings.api_url
        super().__init__(Connection(settings, timeout=timeout, connections=connections))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._connection.close()

    # --- writing

    def put_project(self, name: str, project: ProjectWrite | None = None) -> Project:
        """Create the project, or give it this description."""
        return self._connection.put(f"/projects/{quote(name, safe='')}", project or ProjectWrite(), Project)

    def put_experiment(self, experiment_id: UUID, experiment: ExperimentWrite) -> Experiment:
        """Create the experiment, or give it this description and these tags.

        Conflict when it exists under another project, name or namespace.
        """
        return self._connection.put(f"/experiments/{experiment_id}", experiment, Experiment)

    def put_iteration(self, iteration_id: UUID, iteration: IterationWrite) -> Iteration:
        """Create the iteration or bring its state forward.

        Conflict when a set parameter would change or the state would go backwards.
        NotFound with code `experiment-not-found` when the experiment isn't there (yet).
        """
        return self._connection.put(f"/iterations/{iteration_id}", iteration, Iteration)

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None
    ) -> tuple[Artifact, ...]:
        """Register artifacts; returns the rows as stored, in the same order.

        `sets`: what the manifests among them name, by the manifest's id; its files come before it, or were recorded.

        All or nothing up to records.MAX_ARTIFACTS_PER_REQUEST; more are sent in several requests, in order.
        NotFound with code `iteration-not-found` when the iteration isn't there (yet).
        """
        stored: list[Artifact] = []
        for start in range(0, len(artifacts), records.MAX_ARTIFACTS_PER_REQUEST):
            batch = tuple(artifacts[start : start + records.MAX_ARTIFACTS_PER_REQUEST])
            stored.extend(self._put_artifact_batch(iteration_id, batch, sets or {}))
        return tuple(stored)

    def put_metrics(self, iteration_id: UUID, points: Sequence[MetricWrite]) -> MetricReceipt:
        """Add the points that aren't there yet. A float NaN or infinity is sent as its name.

        All or nothing up to records.MAX_POINTS_PER_REQUEST; more are sent in several requests, in order. The receipt
        has the steps of all points when the API chose some of them.
        """
        receipt = MetricReceipt(added=0, present=0)
        chosen = any(point.step is None for point in points)
        for start in range(0, len(points), records.MAX_POINTS_PER_REQUEST):
            batch = tuple(_spelled(point) for point in points[start : start + records.MAX_POINTS_PER_REQUEST])
            receipt = _both(receipt, self._put_metric_batch(iteration_id, batch, chosen=chosen))
        return receipt

    def put_pod_report(self, report: PodReport) -> PodStanding:
        """Leave a pod's report; the answer says what the API itself holds of the pod. An older one changes nothing."""
        return self._connection.put(
            f"/iterations/{report.iteration_id}/pods/{quote(report.pod_uid, safe='')}", report, PodStanding
        )

    # --- reading

    def writers(self, iteration_id: UUID, pod_uid: str) -> WriterStatus:
        """Whether the pod's own containers have ended, and how."""
        return self._connection.get(f"/iterations/{iteration_id}/pods/{quote(pod_uid, safe='')}/writers", WriterStatus)

    def recorded_contents(self, iteration_id: UUID, query: ContentQuery) -> tuple[RecordedContent, ...]:
        """Which of these contents the iteration's experiment has recorded already, and in which objects."""
        return self._connection.post(f"/iterations/{iteration_id}/contents", query, RecordedContents).items

    def store_credentials(self, iteration_id: UUID, store: str) -> StoreCredentials:
        """New ones for the ArtifactStore `store`, for the keys of the caller's own namespace."""
        query = StoreCredentialsQuery(store=store)
        return self._connection.post(f"/iterations/{iteration_id}/credentials", query, StoreCredentials)

    def project(self, name: str) -> Project:
        return self._connection.get(f"/projects/{quote(name, safe='')}", Project)

    def projects(self, *, lifecycle: Shown = Shown.ACTIVE, limit: int | None = None) -> Iterator[Project]:
        """By name."""
        return self._pages("/projects", records.ProjectPage, limit, lifecycle=lifecycle.value)

    def experiment(self, experiment_id: UUID) -> Experiment:
        return self._connection.get(f"/experiments/{experiment_id}", Experiment)

    def experiments(
        self,
        *,
        project: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        where: str | None = None,
        lifecycle: Shown = Shown.ACTIVE,
        limit: int | None = None,
    ) -> Iterator[Experiment]:
        """The newest first; those that match every filter given. `where` is written in the filter language."""
        filters = {"project": project, "namespace": namespace, "name": name, "lifecycle": lifecycle.value}
        filters["filter"] = where
        return self._pages("/experiments", records.ExperimentPage, limit, **filters)

    def iteration(self, iteration_id: UUID) -> Iteration:
        return self._connection.get(f"/iterations/{iteration_id}", Iteration)

    def iterations(
        self, experiment_id: UUID, *, lifecycle: Shown = Shown.ACTIVE, limit: int | None = None
    ) -> Iterator[Iteration]:
        """By index."""
        path = f"/experiments/{experiment_id}/iterations"
        return self._pages(path, records.IterationPage, limit, lifecycle=lifecycle.value)

    def artifact(self, artifact_id: UUID) -> Artifact:
        return self._connection.get(f"/artifacts/{artifact_id}", Artifact)

    def experiment_artifacts(self, experiment_id: UUID, *, limit: int | None = None) -> Iterator[Artifact]:
        """By iteration, then in the order of recording."""
        return self._pages(f"/experiments/{experiment_id}/artifacts", records.ArtifactPage, limit)

    def iteration_artifacts(
        self, iteration_id: UUID, *, manifest: UUID | None = None, limit: int | None = None
    ) -> Iterator[Artifact]:
        """In the order of recording; with a `manifest` the files of its set, those that were removed included."""
        query = {"manifest": None if manifest is None else str(manifest)}
        return self._pages(f"/iterations/{iteration_id}/artifacts", records.ArtifactPage, limit, **query)

    def pod_artifacts(self, iteration_id: UUID, pod_uid: str, *, limit: int | None = None) -> Iterator[Artifact]:
        """What a pod registered, whoever was first with it, in the order of recording."""
        path = f"/iterations/{iteration_id}/pods/{quote(pod_uid, safe='')}/artifacts"
        return self._pages(path, records.ArtifactPage, limit)

    def metrics(self, iteration_id: UUID, *, key: str | None = None, limit: int | None = None) -> Iterator[MetricPoint]:
        """By key, then step, then time; `key` alone or all."""
        return self._pages(f"/iterations/{iteration_id}/metrics", records.MetricPage, limit, key=key)

    def pods(self, experiment_id: UUID, *, limit: int | None = None) -> Iterator[PodStanding]:
        """Every pod that reported or registered something, by iteration and pod UID."""
        return self._pages(f"/experiments/{experiment_id}/pods", records.PodPage, limit)

    # --- how

    def _put_artifact_batch(
        self, iteration_id: UUID, batch: tuple[Artifact, ...], sets: Mapping[UUID, Collection[UUID]]
    ) -> tuple[Artifact, ...]:
        named = tuple(ArtifactSetWrite(id=each.id, members=tuple(sets[each.id])) for each in batch if each.id in sets)
        try:
            answer = self._connection.put(
                f"/iterations/{iteration_id}/artifacts", ArtifactBatch(artifacts=batch, sets=named), ArtifactBatch
            )
        except Invalid as error:
            if error.status != 413 or len(batch) < 2:
                raise
            half = len(batch) // 2
            first = self._put_artifact_batch(iteration_id, batch[:half], sets)
            return first + self._put_artifact_batch(iteration_id, batch[half:], sets)
        return answer.artifacts

    def _put_metric_batch(self, iteration_id: UUID, batch: tuple[MetricWrite, ...], *, chosen: bool) -> MetricReceipt:
        try:
            path = f"/iterations/{iteration_id}/metrics"
            receipt = self._connection.put(path, MetricBatch(points=batch), MetricReceipt)
        except Invalid as error:
            if error.status != 413 or len(batch) < 2:
                raise
        else:
            steps = receipt.steps or tuple(point.step for point in batch if point.step is not None)
            return msgspec.structs.replace(receipt, steps=steps if chosen else ())
        half = len(batch) // 2
        first = self._put_metric_batch(iteration_id, batch[:half], chosen=chosen)
        return _both(first, self._put_metric_batch(iteration_id, batch[half:], chosen=chosen))


def _both(first: MetricReceipt, second: MetricReceipt) -> MetricReceipt:
    return MetricReceipt(
        added=first.added + second.added, present=first.present + second.present, steps=first.steps + second.steps
    )


def _spelled(point: MetricWrite) -> MetricWrite:
    if isinstance(point.value, str) or math.isfinite(point.value):
        return point
    return msgspec.structs.replace(point, value=records.metric_value_to_wire(point.value))
