"""Pods in SQL."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, select, update

from pinnace.digests import manifest_sha256
from pinnace.records import Manifest, PodPage, PodReport, PodStanding
from pinnace_api import paging
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Number, Order
from pinnace_api.pods.tables import POD_ARTIFACTS, PODS
from pinnace_api.tables import insert_missing

_THIS = and_(PODS.c.iteration_id == bindparam("iteration"), PODS.c.pod_uid == bindparam("pod"))
_HOLD = select(PODS).where(_THIS).with_for_update(key_share=True)
_NAME = select(PODS.c.name).where(_THIS)
_SET_STALE = update(PODS).where(_THIS).values(recorded_count=None, recorded_sha256=None, recorded_bytes=None)
_RECORDED = (
    select(ARTIFACTS.c.id, ARTIFACTS.c.size)
    .join_from(POD_ARTIFACTS, ARTIFACTS, POD_ARTIFACTS.c.artifact_id == ARTIFACTS.c.id)
    .where(POD_ARTIFACTS.c.iteration_id == bindparam("iteration"), POD_ARTIFACTS.c.pod_uid == bindparam("pod"))
)
_ORDER = Order(columns=(ITERATIONS.c.number, PODS.c.pod_uid), key=tuple[Number, str])


def add(connection: Connection, iteration: UUID, pod_uids: Collection[str]) -> int:
    """Those that aren't there yet; returns how many."""
    blank = {
        "iteration_id": iteration,
        "name": "",
        "report": None,
        "sequence": -1,
        "reported_at": None,
        "recorded_count": None,
        "recorded_sha256": None,
        "recorded_bytes": None,
    }
    return insert_missing(connection, PODS, [{**blank, "pod_uid": pod_uid} for pod_uid in sorted(pod_uids)])


def add_artifacts(connection: Connection, iteration: UUID, links: Collection[tuple[str, UUID]]) -> None:
    """Remember which pod (by its UID) registered which artifact."""
    pod_uids = {pod_uid for pod_uid, _ in links}
    add(connection, iteration, pod_uids)
    rows = [
        {"iteration_id": iteration, "pod_uid": pod_uid, "artifact_id": artifact} for pod_uid, artifact in sorted(links)
    ]
    if insert_missing(connection, POD_ARTIFACTS, rows):
        connection.execute(_SET_STALE, [{"iteration": iteration, "pod": pod_uid} for pod_uid in sorted(pod_uids)])


def set_report(connection: Connection, report: PodReport, name: str, now: datetime) -> bool:
    """Keep the report unless a newer one is there; the bool says whether it was kept."""
    values: dict[str, Any] = {
        "report": msgspec.to_builtins(report),
        "sequence": report.sequence,
        "reported_at": now,
    }
    if name:
        values["name"] = name
    newer = and_(_is(report.iteration_id, report.pod_uid), PODS.c.sequence <= report.sequence)
    return connection.execute(update(PODS).where(newer).values(values)).rowcount == 1


def set_recorded(connection: Connection, standing: PodStanding) -> None:
    """Keep what the pod's artifacts come to, until one joins."""
    connection.execute(
        update(PODS)
        .where(_is(standing.iteration_id, standing.pod_uid))
        .values(
            recorded_count=standing.recorded.count,
            recorded_sha256=standing.recorded.sha256,
            recorded_bytes=standing.bytes_recorded,
        )
    )


def name(connection: Connection, iteration: UUID, pod_uid: str) -> str:
    """As Kubernetes calls it; empty when that isn't known."""
    return connection.execute(_NAME, {"iteration": iteration, "pod": pod_uid}).scalar_one_or_none() or ""


def standing(connection: Connection, iteration: UUID, pod_uid: str) -> tuple[PodStanding, bool]:
    """The pod, which must exist. The bool says whether its manifest had to be computed."""
    row = connection.execute(_HOLD, {"iteration": iteration, "pod": pod_uid}).one()
    return _record(connection, row), row.recorded_count is None


def of_iterations(connection: Connection, iterations: Collection[UUID]) -> dict[UUID, list[PodStanding]]:
    """The pods of those of them that have some."""
    found: dict[UUID, list[PodStanding]] = {}
    for row in connection.execute(select(PODS).where(PODS.c.iteration_id.in_(iterations))).all():
        found.setdefault(row.iteration_id, []).append(_record(connection, row))
    return found


def page(connection: Connection, experiment: UUID, cut: Cut) -> PodPage:
    statement = select(PODS).join_from(ITERATIONS, PODS).where(ITERATIONS.c.experiment_id == experiment)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return PodPage(items=tuple(_record(connection, row) for row in part.rows), next=part.next)


def _record(connection: Connection, row: Row[Any]) -> PodStanding:
    if row.recorded_count is None:
        recorded, size = _recorded(connection, row.iteration_id, row.pod_uid)
    else:
        recorded, size = Manifest(count=row.recorded_count, sha256=row.recorded_sha256), row.recorded_bytes
    return PodStanding(
        iteration_id=row.iteration_id,
        pod_uid=row.pod_uid,
        name=row.name,
        report=None if row.report is None else msgspec.convert(row.report, PodReport),
        recorded=recorded,
        bytes_recorded=size,
        reported_at=row.reported_at,
    )


def _recorded(connection: Connection, iteration: UUID, pod_uid: str) -> tuple[Manifest, int]:
    rows = connection.execute(_RECORDED, {"iteration": iteration, "pod": pod_uid}).all()
    return Manifest(count=len(rows), sha256=manifest_sha256(row.id for row in rows)), sum(row.size for row in rows)


def _is(iteration: UUID, pod_uid: str) -> Any:
    return and_(PODS.c.iteration_id == iteration, PODS.c.pod_uid == pod_uid)
