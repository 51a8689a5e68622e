"""Iterations in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from pinnace.records import Iteration, IterationState, Lifecycle, MetricSummary, Shown
from pinnace_api import paging
from pinnace_api.clock import now
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.iterations.progress import Progress
from pinnace_api.iterations.standing import Standing
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.lists import is_shown, trashed_at
from pinnace_api.paging import Cut, Number, Order
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.refusals import IterationNotFound
from pinnace_api.tables import insert_missing

#: The environment can be long, and hardly anybody who lists iterations wants it.
_BRIEF = tuple(column for column in ITERATIONS.c if column.name != "environment")
_AROUND = (
    EXPERIMENTS.c.lifecycle.label("experiment_lifecycle"),
    PROJECTS.c.name.label("project"),
    PROJECTS.c.lifecycle.label("project_lifecycle"),
)
_FIND = select(*_BRIEF).where(ITERATIONS.c.id == bindparam("id"))
_HOLD = (
    select(ITERATIONS, *_AROUND)
    .join_from(ITERATIONS, EXPERIMENTS)
    .join(PROJECTS)
    .where(ITERATIONS.c.id == bindparam("id"))
    .with_for_update(key_share=True, of=ITERATIONS)
)
_STANDING_NOW = (
    select(ITERATIONS.c.id, ITERATIONS.c.experiment_id, ITERATIONS.c.state, ITERATIONS.c.lifecycle, *_AROUND)
    .join_from(ITERATIONS, EXPERIMENTS)
    .join(PROJECTS)
    .where(ITERATIONS.c.id == bindparam("id"))
)
#: Those who write for it don't keep each other away, only an edit of it.
_STANDING = _STANDING_NOW.with_for_update(read=True, of=ITERATIONS)
_EXISTS = select(ITERATIONS.c.id).where(ITERATIONS.c.id == bindparam("id"))
_EXPERIMENT = select(ITERATIONS.c.experiment_id).where(ITERATIONS.c.id == bindparam("id"))
_ENVIRONMENT = select(ITERATIONS.c.environment).where(ITERATIONS.c.id == bindparam("id"))
_NAMESPACE = (
    select(EXPERIMENTS.c.namespace).join_from(ITERATIONS, EXPERIMENTS).where(ITERATIONS.c.id == bindparam("id"))
)
_LAST_NUMBER = select(func.max(ITERATIONS.c.number)).where(ITERATIONS.c.experiment_id == bindparam("experiment"))
_ORDER = Order(columns=(ITERATIONS.c.number,), key=tuple[Number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An iteration that nobody else edits until the transaction ends; without its metrics."""

    iteration: Iteration
    progress: Progress
    standing: Standing


def add(connection: Connection, iteration: Iteration, environment: dict[str, Any]) -> bool:
    """Whether it was new: neither its id nor its number was there. Its experiment and parent must exist."""
    row = {
        "id": iteration.id,
        "experiment_id": iteration.experiment_id,
        "number": iteration.index,
        "parameters": iteration.parameters,
        "state": iteration.state,
        "started_at": iteration.started_at,
        "ended_at": iteration.ended_at,
        "created_at": iteration.created_at,
        "name": iteration.name,
        "notes": iteration.notes,
        "error": iteration.error,
        "parent_id": iteration.parent_id,
        "created_by": iteration.created_by,
        "tags": iteration.tags,
        "environment": environment,
        "lifecycle": iteration.lifecycle,
    }
    return insert_missing(connection, ITERATIONS, [row]) == 1


def last_number(connection: Connection, experiment: UUID) -> int | None:
    """The highest number that an iteration of the experiment has."""
    number: int | None = connection.execute(_LAST_NUMBER, {"experiment": experiment}).scalar_one()
    return number


def hold(connection: Connection, iteration: UUID) -> Held | None:
    row = connection.execute(_HOLD, {"id": iteration}).one_or_none()
    if row is None:
        return None
    progress = Progress(
        parameters=row.parameters,
        state=IterationState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
        environment=row.environment,
    )
    return Held(iteration=record(row), progress=progress, standing=_standing(row))


def standing(connection: Connection, iteration: UUID) -> Standing | None:
    """Where it stands, and that stays until the transaction ends."""
    row = connection.execute(_STANDING, {"id": iteration}).one_or_none()
    return None if row is None else _standing(row)


def standing_now(connection: Connection, iteration: UUID) -> Standing | None:
    """Where it stands at this moment."""
    row = connection.execute(_STANDING_NOW, {"id": iteration}).one_or_none()
    return None if row is None else _standing(row)


def set_progress(connection: Connection, held: Held, progress: Progress) -> None:
    """Keep it. Who changes the state has given a sign of life, and what was promised before counts no more."""
    lease: dict[str, Any] = {}
    if progress.state is not held.progress.state:
        lease = {"lease_seconds": None, "lease_until": None}
    connection.execute(
        update(ITERATIONS)
        .where(ITERATIONS.c.id == held.iteration.id)
        .values(**msgspec.structs.asdict(progress), **lease)
    )


def describe(connection: Connection, iteration: Iteration) -> None:
    """Keep what of it can change at any time."""
    connection.execute(
        update(ITERATIONS)
        .where(ITERATIONS.c.id == iteration.id)
        .values(
            name=iteration.name,
            notes=iteration.notes,
            tags=iteration.tags,
            parent_id=iteration.parent_id,
            lifecycle=iteration.lifecycle,
            trashed_at=trashed_at(ITERATIONS.c.trashed_at, iteration.lifecycle, now()),
        )
    )


def set_lease(
    connection: Connection, iteration: UUID, seconds: int, *, state: IterationState, at: datetime
) -> datetime:
    """Keep a sign of life; returns when the next one is due."""
    until = at + timedelta(seconds=seconds)
    connection.execute(
        update(ITERATIONS)
        .where(ITERATIONS.c.id == iteration)
        .values(state=state, heartbeat_at=at, lease_seconds=seconds, lease_until=until)
    )
    return until


def sweep(connection: Connection, *, at: datetime, uptime: float) -> tuple[UUID, ...]:
    """Make those LOST whose lease has run out; returns them.

    One statement, so that of several sweeps at once only one finds each. `uptime` in seconds: a lease longer than that
    may have run out because nobody was there to take the sign of life.
    """
    statement = (
        update(ITERATIONS)
        .where(
            ITERATIONS.c.lease_until < at,
            ITERATIONS.c.lease_seconds <= uptime,
            ITERATIONS.c.state == IterationState.RUNNING,
        )
        .values(state=IterationState.LOST)
        .returning(ITERATIONS.c.id)
    )
    return tuple(connection.execute(statement).scalars())


def exists(connection: Connection, iteration: UUID) -> bool:
    return connection.execute(_EXISTS, {"id": iteration}).first() is not None


def check_exists(connection: Connection, iteration: UUID) -> None:
    """Raise IterationNotFound when there is no such iteration."""
    if not exists(connection, iteration):
        raise IterationNotFound(iteration)


def experiment(connection: Connection, iteration: UUID) -> UUID | None:
    """The experiment that it is of; None when there is no such iteration."""
    return connection.execute(_EXPERIMENT, {"id": iteration}).scalar_one_or_none()


def environment(connection: Connection, iteration: UUID) -> dict[str, Any] | None:
    """None when there is no such iteration."""
    return connection.execute(_ENVIRONMENT, {"id": iteration}).scalar_one_or_none()


def namespace(connection: Connection, iteration: UUID) -> str | None:
    """The namespace of its experiment; None when there is no such iteration."""
    return connection.execute(_NAMESPACE, {"id": iteration}).scalar_one_or_none()


def find(connection: Connection, iteration: UUID) -> Iteration | None:
    """Without its metrics."""
    row = connection.execute(_FIND, {"id": iteration}).one_or_none()
    return None if row is None else record(row)


def page(connection: Connection, experiment: UUID, shown: Shown, cut: Cut) -> tuple[tuple[Iteration, ...], str | None]:
    """Iterations without their metrics, and the next cursor."""
    return _page(connection, listed(shown).where(ITERATIONS.c.experiment_id == experiment), cut)


def children(connection: Connection, parent: UUID, shown: Shown, cut: Cut) -> tuple[tuple[Iteration, ...], str | None]:
    """As `page`, of those right below `parent`."""
    return _page(connection, listed(shown).where(ITERATIONS.c.parent_id == parent), cut)


def with_metrics(iteration: Iteration, summaries: Mapping[UUID, dict[str, MetricSummary]]) -> Iteration:
    return msgspec.structs.replace(iteration, metrics=summaries.get(iteration.id, {}))


def listed(shown: Shown) -> Select[Any]:
    """Those to show, with their experiment and project around them; `record` makes something of a row."""
    around = (EXPERIMENTS.c.lifecycle, PROJECTS.c.lifecycle)
    joined = select(*_BRIEF).join_from(ITERATIONS, EXPERIMENTS).join(PROJECTS)
    return joined.where(is_shown(shown, ITERATIONS.c.lifecycle, *around))


def _page(connection: Connection, statement: Select[Any], cut: Cut) -> tuple[tuple[Iteration, ...], str | None]:
    part = paging.fetch(connection, statement, _ORDER, cut)
    return tuple(record(row) for row in part.rows), part.next


def _standing(row: Any) -> Standing:
    return Standing(
        iteration=row.id,
        experiment=row.experiment_id,
        project=row.project,
        state=IterationState(row.state),
        lifecycle=Lifecycle(row.lifecycle),
        experiment_lifecycle=Lifecycle(row.experiment_lifecycle),
        project_lifecycle=Lifecycle(row.project_lifecycle),
    )


def record(row: Row[Any]) -> Iteration:
    return Iteration(
        id=row.id,
        experiment_id=row.experiment_id,
        index=row.number,
        parameters=row.parameters,
        state=IterationState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        metrics={},
        name=row.name,
        notes=row.notes,
        error=row.error,
        parent_id=row.parent_id,
        created_at=row.created_at,
        created_by=row.created_by,
        tags=row.tags,
        lifecycle=Lifecycle(row.lifecycle),
        heartbeat_at=row.heartbeat_at,
        lease_until=row.lease_until,
        trashed_at=row.trashed_at,
        purged_at=row.purged_at,
    )
