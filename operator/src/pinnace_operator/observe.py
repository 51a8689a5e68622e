"""Looking at the world around one Experiment: what the watches have shown, and what the metadata API says."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from pinnace.client import ApiError, NotFound
from pinnace.records import ExperimentWrite, Shown
from pinnace_operator.cluster_objects import pod_view
from pinnace_operator.engines.views import work_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.manifest import MalformedError
from pinnace_operator.observed import Observed, Refusal, Rows, Trouble
from pinnace_operator.perform import trouble_of
from pinnace_operator.ports import Api, Cluster, GoneError
from pinnace_operator.search.stopping import POINTS, Comparison, compared_with, peers_of, suspects
from pinnace_operator.sightings import Sightings
from pinnace_operator.stores import Offers

_ViewT = TypeVar("_ViewT")

_log = logging.getLogger(__name__)


def relist(experiment: Experiment, sightings: Sightings, cluster: Cluster, now: datetime) -> None:
    """Correct `sightings` by a full list when it is due. Raises ClusterError."""
    if not sightings.is_due(now):
        return
    try:
        jobs, jobs_version = cluster.jobs(experiment.namespace, experiment.metadata.uid, experiment.spec.engine.kind)
    except GoneError:
        # The cluster knows no such kind of object, so there are none.
        jobs, jobs_version = [], 0
    pods, pods_version = cluster.pods(experiment.namespace, experiment.metadata.uid)
    sightings.replace(parsed(jobs, work_view), jobs_version, parsed(pods, pod_view), pods_version)
    sightings.listed_at = now


def observe(
    experiment: Experiment,
    sightings: Sightings,
    api: Api,
    *,
    now: datetime,
    poll_seconds: float,
    comparison: Comparison,
    experiment_row: ExperimentWrite | None,
    refusal: Refusal | None,
    api_trouble: Trouble | None,
    images: Mapping[UUID, Mapping[str, str]],
    written_at: datetime | None = None,
    namespace_ends: bool | None = None,
    is_trashed: bool = False,
    offers: Offers | None = None,
) -> Observed:
    """The world as it is known now. That the API does not answer is part of the picture, not an error.

    What is given beside the Experiment and the sightings came of earlier rounds; the status was last written at
    `written_at`.
    """
    # Before the API is asked: a report that a pod left before it ended is in the answer then.
    jobs, past_jobs, pods = sightings.jobs(), sightings.past_jobs(), sightings.pods()
    rows: Rows | None = None
    try:
        rows = Rows(
            iterations={row.index: row for row in api.iterations(experiment.id, lifecycle=Shown.ALL)},
            standings=tuple(api.pods(experiment.id)),
        )
        comparison = _compared(experiment, rows, api, comparison, now=now, poll_seconds=poll_seconds)
    except NotFound:
        rows, experiment_row = Rows(), None
    except ApiError as error:
        api_trouble = trouble_of(error)
    return Observed(
        jobs=jobs,
        past_jobs=past_jobs,
        pods=pods,
        rows=rows,
        api_trouble=api_trouble,
        experiment_row=experiment_row,
        refusal=refusal,
        namespace_ends=namespace_ends,
        is_trashed=is_trashed,
        offers=offers,
        images=images,
        comparison=comparison,
        rescues=sightings.rescues(),
        written_at=written_at,
    )


def _compared(
    experiment: Experiment, rows: Rows, api: Api, last: Comparison, *, now: datetime, poll_seconds: float
) -> Comparison:
    """How those that may be hopeless compare with the others: at most one request in `poll_seconds`, and only when one
    of them has come further. That it fails is no reason to stop anybody, or to do anything else differently."""
    rule, objective = experiment.spec.early_stopping, experiment.spec.objective
    if rule is None or objective is None:
        return Comparison()
    suspected = suspects(rule, objective, rows.iterations)
    if not suspected:
        return Comparison(asked_at=last.asked_at)
    is_early = last.asked_at is not None and now - last.asked_at < timedelta(seconds=poll_seconds)
    if is_early or suspected == last.suspects:
        return last
    others = compared_with(objective, rows.iterations, suspected)
    try:
        curves = api.curves(
            [row.id for row in others], [objective.metric], points=POINTS, to_step=max(suspected.values())
        )
    except ApiError as error:
        _log.warning("curves.failed name=%s/%s error=%s", experiment.namespace, experiment.name, error)
        return Comparison(asked_at=now)
    found = peers_of(objective, rows.iterations, suspected, curves)
    return Comparison(asked_at=now, suspects=suspected, peers=found)


def parsed(manifests: Iterable[dict[str, Any]], view: Callable[[dict[str, Any]], _ViewT]) -> list[_ViewT]:
    """The views of those manifests that are ours; others are logged and left out."""
    views: list[_ViewT] = []
    for manifest in manifests:
        try:
            views.append(view(manifest))
        except MalformedError as error:
            _log.warning("object.malformed error=%s", error)
    return views
