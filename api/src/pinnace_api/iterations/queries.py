"""Iterations in SQL."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, bindparam, select, update

from pinnace.records import Iteration, IterationState, IterationWrite, MetricSummary
from pinnace_api import paging
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.iterations.progress import Progress
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Number, Order
from pinnace_api.tables import insert_missing

_FIND = select(ITERATIONS).where(ITERATIONS.c.id == bindparam("id"))
_HOLD = _FIND.with_for_update(key_share=True)
_EXISTS = select(ITERATIONS.c.id).where(ITERATIONS.c.id == bindparam("id"))
_NAMESPACE = (
    select(EXPERIMENTS.c.namespace).join_from(ITERATIONS, EXPERIMENTS).where(ITERATIONS.c.id == bindparam("id"))
)
_ORDER = Order(columns=(ITERATIONS.c.number,), key=tuple[Number])


def add(connection: Connection, iteration: UUID, write: IterationWrite, now: datetime) -> bool:
    """Whether it was new. Its experiment must exist."""
    row = {
        "id": iteration,
        "experiment_id": write.experiment_id,
        "number": write.index,
        "parameters": write.parameters,
        "state": write.state,
        "started_at": write.started_at,
        "ended_at": write.ended_at,
        "created_at": now,
    }
    return insert_missing(connection, ITERATIONS, [row]) == 1


def progress_for_update(connection: Connection, iteration: UUID) -> Progress | None:
    """What of it can change, held until the transaction ends."""
    row = connection.execute(_HOLD, {"id": iteration}).one_or_none()
    if row is None:
        return None
    return Progress(
        parameters=row.parameters,
        state=IterationState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def set_progress(connection: Connection, iteration: UUID, progress: Progress) -> None:
    connection.execute(
        update(ITERATIONS).where(ITERATIONS.c.id == iteration).values(**msgspec.structs.asdict(progress))
    )


def exists(connection: Connection, iteration: UUID) -> bool:
    return connection.execute(_EXISTS, {"id": iteration}).first() is not None


def namespace(connection: Connection, iteration: UUID) -> str | None:
    """The namespace of its experiment; None when there is no such iteration."""
    return connection.execute(_NAMESPACE, {"id": iteration}).scalar_one_or_none()


def find(connection: Connection, iteration: UUID) -> Iteration | None:
    """Without its metrics."""
    row = connection.execute(_FIND, {"id": iteration}).one_or_none()
    return None if row is None else _record(row)


def page(connection: Connection, experiment: UUID, cut: Cut) -> tuple[tuple[Iteration, ...], str | None]:
    """Iterations without their metrics, and the next cursor."""
    statement = select(ITERATIONS).where(ITERATIONS.c.experiment_id == experiment)
    part = paging.fetch(connection, statement, _ORDER, cut)
    return tuple(_record(row) for row in part.rows), part.next


def with_metrics(iteration: Iteration, summaries: Mapping[UUID, dict[str, MetricSummary]]) -> Iteration:
    return msgspec.structs.replace(iteration, metrics=summaries.get(iteration.id, {}))


def _record(row: Row[Any]) -> Iteration:
    return Iteration(
        id=row.id,
        experiment_id=row.experiment_id,
        index=row.number,
        parameters=row.parameters,
        state=IterationState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        metrics={},
    )
