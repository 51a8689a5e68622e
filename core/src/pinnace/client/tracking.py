"""Calls that edit what is tracked, and those of trees, signs of life, datasets and lineage.

An edit is a merge patch: what its record leaves out stays, None takes the value away.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from pinnace import records
from pinnace.client.calls import Calls
from pinnace.records import (
    AlignedMetric,
    AlignedMetrics,
    Axis,
    Comparison,
    Curve,
    Curves,
    Dataset,
    DatasetPatch,
    DatasetUse,
    DatasetUseWrite,
    DatasetWrite,
    Direction,
    Environment,
    Experiment,
    ExperimentPatch,
    Heartbeat,
    HeartbeatReceipt,
    Iteration,
    IterationPage,
    IterationPatch,
    Lineage,
    MetricPatch,
    MetricPoint,
    MetricSeries,
    Project,
    ProjectPatch,
    Shown,
    Subtree,
)


class TrackingCalls(Calls):
    """Raises ApiError: Conflict with the code `ended` or `trashed` for what takes no more."""

    # --- edits

    def patch_project(self, name: str, change: ProjectPatch) -> Project:
        return self._connection.patch(f"/projects/{quote(name, safe='')}", change, Project)

    def patch_experiment(self, experiment_id: UUID, change: ExperimentPatch) -> Experiment:
        return self._connection.patch(f"/experiments/{experiment_id}", change, Experiment)

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch, *, override: bool = False) -> Iteration:
        """`override` lets parameters change that are set."""
        query = {"override": "true"} if override else None
        return self._connection.patch(f"/iterations/{iteration_id}", change, Iteration, query)

    def trash_project(self, name: str) -> None:
        """With all that is in it. Nothing is deleted: a patch of `lifecycle` takes it back."""
        self._connection.delete(f"/projects/{quote(name, safe='')}")

    def trash_experiment(self, experiment_id: UUID) -> None:
        """With all that is in it, as `trash_project`."""
        self._connection.delete(f"/experiments/{experiment_id}")

    def trash_iteration(self, iteration_id: UUID) -> None:
        """Those below it stay."""
        self._connection.delete(f"/iterations/{iteration_id}")

    # --- iterations

    def search(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        project: str | None = None,
        experiment: UUID | None = None,
        lifecycle: Shown = Shown.ACTIVE,
        limit: int | None = None,
    ) -> Iterator[Iteration]:
        """Those that match, the newest first unless `order_by` says otherwise.

        `where` and `order_by` are written in the filter language: `metrics.accuracy.last > 0.9 and created_by = me`,
        `metrics.accuracy.max desc`. Invalid points at the place where one is wrong.
        """
        query = {"filter": where, "order_by": order_by, "project": project, "lifecycle": lifecycle.value}
        query["experiment"] = str(experiment) if experiment else None
        return self._pages("/iterations", records.IterationPage, limit, **query)

    def search_page(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        project: str | None = None,
        total: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> IterationPage:
        """One page of `search`: `next` goes into `after`. `total` counts those of all pages."""
        query: dict[str, str | int | None] = {"filter": where, "order_by": order_by, "project": project}
        query |= {"total": "true" if total else None, "limit": limit, "after": after}
        return self._connection.get("/iterations", IterationPage, query)

    def heartbeat(self, iteration_id: UUID, *, lease_seconds: int = 60) -> HeartbeatReceipt:
        """Say that it lives and will say so again within `lease_seconds`; otherwise it becomes LOST."""
        beat = Heartbeat(lease_seconds=lease_seconds)
        return self._connection.put(f"/iterations/{iteration_id}/heartbeat", beat, HeartbeatReceipt)

    def environment(self, iteration_id: UUID) -> dict[str, Any]:
        return self._connection.get(f"/iterations/{iteration_id}/environment", Environment).environment

    def children(
        self, iteration_id: UUID, *, lifecycle: Shown = Shown.ACTIVE, limit: int | None = None
    ) -> Iterator[Iteration]:
        """Those right below it, by index."""
        path = f"/iterations/{iteration_id}/children"
        return self._pages(path, records.IterationPage, limit, lifecycle=lifecycle.value)

    def subtree(self, iteration_id: UUID, *, limit: int = 100, after: str | None = None) -> Subtree:
        """What it and all below it come to, and a page of them: `next` goes into `after`."""
        return self._connection.get(f"/iterations/{iteration_id}/subtree", Subtree, {"limit": limit, "after": after})

    def compare(self, iterations: Iterable[UUID]) -> Comparison:
        """All that they have by name, and whether it is the same, differs, or is missing; 50 of them at most."""
        return self._connection.get("/comparison", Comparison, {"iterations": [str(each) for each in iterations]})

    def compare_curves(
        self, iterations: Iterable[UUID], keys: Iterable[str], *, points: int = 1000
    ) -> tuple[AlignedMetric, ...]:
        """Metrics along the same steps, at most so many of them."""
        query: dict[str, str | int | Sequence[str] | None] = {"keys": list(keys), "points": points}
        query["iterations"] = [str(each) for each in iterations]
        return self._connection.get("/comparison/curves", AlignedMetrics, query).items

    # --- metrics

    def curves(
        self,
        iterations: Iterable[UUID],
        keys: Iterable[str],
        *,
        points: int = 1000,
        x: Axis = Axis.STEP,
        from_step: int | None = None,
        to_step: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Curve, ...]:
        """Each key of each iteration in about so many points, with every peak, the first point and the last one."""
        query: dict[str, str | int | Sequence[str] | None] = {
            "iterations": [str(each) for each in iterations],
            "keys": list(keys),
            "points": points,
            "x": x.value,
            "from_step": from_step,
            "to_step": to_step,
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
        }
        return self._connection.get("/curves", Curves, query).items

    def metric_series(self, iteration_id: UUID, *, limit: int | None = None) -> Iterator[MetricSeries]:
        """The keys of its metrics with their summaries, by key."""
        return self._pages(f"/iterations/{iteration_id}/series", records.MetricSeriesPage, limit)

    def patch_metric(
        self, iteration_id: UUID, change: MetricPatch, *, key: str, step: int, source: str = "", offset: int = 0
    ) -> MetricPoint:
        """Edit the one point that these name."""
        query: dict[str, str | int | None] = {"key": key, "step": step, "source": source, "offset": offset}
        return self._connection.patch(f"/iterations/{iteration_id}/metrics", change, MetricPoint, query)

    def delete_metrics(self, iteration_id: UUID, *, key: str, step: int | None = None) -> None:
        """Delete the points of `key`: all, or those of one step."""
        self._connection.delete(f"/iterations/{iteration_id}/metrics", {"key": key, "step": step})

    # --- datasets

    def put_dataset(self, dataset_id: UUID, dataset: DatasetWrite) -> Dataset:
        """The id is `ids.dataset_id(project, name, digest)`."""
        return self._connection.put(f"/datasets/{dataset_id}", dataset, Dataset)

    def patch_dataset(self, dataset_id: UUID, change: DatasetPatch) -> Dataset:
        return self._connection.patch(f"/datasets/{dataset_id}", change, Dataset)

    def dataset(self, dataset_id: UUID) -> Dataset:
        return self._connection.get(f"/datasets/{dataset_id}", Dataset)

    def datasets(
        self, *, project: str | None = None, name: str | None = None, limit: int | None = None
    ) -> Iterator[Dataset]:
        """The newest first; those that match every filter given."""
        return self._pages("/datasets", records.DatasetPage, limit, project=project, name=name)

    def use_dataset(self, iteration_id: UUID, dataset_id: UUID, use: DatasetUseWrite) -> DatasetUse:
        """Say that the iteration consumed or produced it."""
        return self._connection.put(f"/iterations/{iteration_id}/datasets/{dataset_id}", use, DatasetUse)

    def forget_dataset(self, iteration_id: UUID, dataset_id: UUID) -> None:
        """Take that back."""
        self._connection.delete(f"/iterations/{iteration_id}/datasets/{dataset_id}")

    def iteration_datasets(self, iteration_id: UUID, *, limit: int | None = None) -> Iterator[DatasetUse]:
        """What it consumed and produced."""
        return self._pages(f"/iterations/{iteration_id}/datasets", records.DatasetUsePage, limit)

    def dataset_uses(self, dataset_id: UUID, *, limit: int | None = None) -> Iterator[DatasetUse]:
        """Which iterations consumed and produced it."""
        return self._pages(f"/datasets/{dataset_id}/uses", records.DatasetUsePage, limit)

    def lineage(self, artifact_id: UUID, direction: Direction, *, depth: int = 5) -> Lineage:
        """The uses of datasets that led to the artifact, or that it led to; `depth` steps from run to run at most."""
        query: dict[str, str | int | None] = {"direction": direction.value, "depth": depth}
        return self._connection.get(f"/artifacts/{artifact_id}/lineage", Lineage, query)
