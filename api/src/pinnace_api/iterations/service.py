"""What may be done with iterations."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from pinnace import ids
from pinnace.records import (
    ENDED_STATES,
    MAX_INDEX,
    Environment,
    ExperimentStatus,
    Heartbeat,
    HeartbeatReceipt,
    Iteration,
    IterationPage,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    Shown,
    Subtree,
)
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_tags, check_writable, deciding, edited, edited_tags, edited_text
from pinnace_api.experiments import queries as experiments
from pinnace_api.iterations import queries, tree_queries
from pinnace_api.iterations.progress import Progress, advance, edit, stamped
from pinnace_api.metrics import queries as metrics
from pinnace_api.paging import Cut
from pinnace_api.refusals import Conflict, Ended, ExperimentNotFound, Gone, Invalid, IterationNotFound, Unavailable
from pinnace_api.values import check_json, check_text, utc

_T = TypeVar("_T")

#: How often a number is sought that another one takes meanwhile.
_ATTEMPTS = 10


def put(
    database: Database, iteration: UUID, write: IterationWrite, *, by: str, by_part: bool = False
) -> tuple[Iteration, bool]:
    """Create the iteration or bring it forward (see progress.py). The bool says whether it is new.

    `by_part`: one of the system's own parts reports what happened, which neither an end nor the trash refuses.
    """
    if write.index is not None and iteration != ids.iteration_id(write.experiment_id, write.index):
        raise Invalid(
            f"iteration {write.index} of experiment {write.experiment_id} has another id",
            field="index",
            hint="the id is the UUIDv5 of the index in the name space of the experiment's id; or leave the index out",
        )
    if write.state is IterationState.LOST:
        raise Invalid("whether an iteration is lost is found out by the API", field="state")
    check_json(write.parameters, "parameters")
    check_json(write.environment, "environment")
    for field in ("name", "notes", "error"):
        check_text(getattr(write, field), field)
    check_tags(write.tags)
    write = msgspec.structs.replace(
        write, started_at=_utc(write.started_at, "started_at"), ended_at=_utc(write.ended_at, "ended_at")
    )
    return database.write(_put, iteration, write, by, by_part)


def patch(
    database: Database, iteration: UUID, change: IterationPatch, *, override: bool = False, by_part: bool = False
) -> Iteration:
    """Edit it. Raises IterationNotFound, Conflict, Ended, Trashed, Invalid. `override`: set parameters may change."""
    if change.parameters is not UNSET:
        check_json(change.parameters, "parameters")
    if change.environment is not UNSET:
        check_json(change.environment, "environment")
    change = msgspec.structs.replace(
        change, started_at=_utc(change.started_at, "started_at"), ended_at=_utc(change.ended_at, "ended_at")
    )
    return database.write(_patch, iteration, change, override, by_part)


def trash(database: Database, iteration: UUID) -> None:
    """Put it into the trash, where it may be already. Raises IterationNotFound."""
    patch(database, iteration, IterationPatch(lifecycle=Lifecycle.TRASHED))


def beat(database: Database, iteration: UUID, heartbeat: Heartbeat) -> HeartbeatReceipt:
    """Take a sign of life: what was LOST runs again. It says nothing about what has ended."""
    return database.write(_beat, iteration, heartbeat)


def sweep(database: Database, *, uptime: float) -> tuple[UUID, ...]:
    """Make those LOST whose signs of life have stopped; returns them. `uptime`: seconds since the API runs."""
    return database.write(queries.sweep, at=now(), uptime=uptime)


def get(database: Database, iteration: UUID) -> Iteration:
    with database.read() as connection:
        return _whole(connection, _found(queries.find(connection, iteration), iteration))


def environment(database: Database, iteration: UUID) -> Environment:
    with database.read() as connection:
        return Environment(environment=_found(queries.environment(connection, iteration), iteration))


def page(database: Database, experiment: UUID, shown: Shown, cut: Cut) -> IterationPage:
    """By index."""
    with database.read() as connection:
        if not experiments.exists(connection, experiment):
            raise ExperimentNotFound(experiment)
        return _page(connection, *queries.page(connection, experiment, shown, cut))


def children(database: Database, iteration: UUID, shown: Shown, cut: Cut) -> IterationPage:
    """Those right below it, by index."""
    with database.read() as connection:
        queries.check_exists(connection, iteration)
        return _page(connection, *queries.children(connection, iteration, shown, cut))


def subtree(database: Database, iteration: UUID, cut: Cut) -> Subtree:
    """It and all below it, and what they come to."""
    with database.read() as connection:
        queries.check_exists(connection, iteration)
        return tree_queries.subtree(connection, iteration, cut)


def _put(
    connection: Connection, iteration: UUID, write: IterationWrite, by: str, by_part: bool
) -> tuple[Iteration, bool]:
    find = experiments.find if write.index is not None else experiments.hold
    around = find(connection, write.experiment_id)
    if around is None:
        raise ExperimentNotFound(write.experiment_id)
    if write.parent_id is not None and not queries.exists(connection, iteration):
        _check_parent(connection, iteration, write.experiment_id, write.parent_id)
    new = _add(connection, iteration, write if by_part else _first(write), by, around.experiment.namespace)
    if new is None:
        return _advance(connection, iteration, write, by_part), False
    if not by_part:
        _check_takes_more(around)
    return new, True


def _add(connection: Connection, iteration: UUID, write: IterationWrite, by: str, namespace: str) -> Iteration | None:
    """The new iteration, None when its id is there already, or the number that the caller chose."""
    new = _new(iteration, write, by)
    if write.index is not None:
        return new if queries.add(connection, new, write.environment) else None
    lowest = MAX_INDEX + 1 if namespace else 0
    for _ in range(_ATTEMPTS):
        last = queries.last_number(connection, write.experiment_id)
        new = msgspec.structs.replace(new, index=lowest if last is None else max(last + 1, lowest))
        if queries.add(connection, new, write.environment):
            return new
        if queries.exists(connection, iteration):
            return None
    raise Unavailable("others take every number that this iteration could have", hint="try again")


def _advance(connection: Connection, iteration: UUID, write: IterationWrite, by_part: bool) -> Iteration:
    held = queries.hold(connection, iteration)
    if held is None:
        raise Conflict(
            f"the index {write.index} is taken by another iteration of experiment {write.experiment_id}",
            field="index",
            hint="leave it out, and the API gives the next one",
        )
    for field, here in (("experiment_id", write.experiment_id), ("index", write.index)):
        if here not in (None, getattr(held.iteration, field)):
            raise Conflict(f"iteration {iteration} has another {field}", field=field, hint="take another id")
    advanced = advance(iteration, held.progress, write, by_part=by_part)
    if not by_part:
        advanced = stamped(held.progress.state, advanced, now())
    if advanced != held.progress:
        if not by_part:
            held.standing.check_writable()
        queries.set_progress(connection, held, advanced)
    return _whole(connection, _found(queries.find(connection, iteration), iteration))


def _patch(connection: Connection, iteration: UUID, change: IterationPatch, override: bool, by_part: bool) -> Iteration:
    if change.parent_id is not UNSET and change.parent_id is not None:
        # Under the experiment's lock, so that two such edits never close a circle together.
        experiment = _found(queries.experiment(connection, iteration), iteration)
        experiments.hold(connection, experiment)
        _check_parent(connection, iteration, experiment, change.parent_id)
    held = _found(queries.hold(connection, iteration), iteration)
    stored = held.iteration
    if stored.purged_at is not None and change.lifecycle not in (UNSET, Lifecycle.TRASHED):
        raise Gone(
            f"retention removed what iteration {iteration} had on {stored.purged_at:%Y-%m-%d}",
            hint="it stays in the trash; do it again as another iteration",
        )
    edition = msgspec.structs.replace(
        stored,
        name=edited_text(stored.name, change.name, "name"),
        notes=edited_text(stored.notes, change.notes, "notes"),
        tags=edited_tags(stored.tags, change.tags),
        parent_id=edited(stored.parent_id, change.parent_id),
        lifecycle=edited(stored.lifecycle, change.lifecycle),
    )
    progress = edit(iteration, held.progress, change, override=override, by_part=by_part)
    if not by_part:
        progress = stamped(held.progress.state, progress, now())
        if msgspec.structs.replace(change, lifecycle=UNSET) != IterationPatch():
            held.standing.check_writable(deciding(stored.lifecycle, edition.lifecycle))
    queries.describe(connection, edition)
    queries.set_progress(connection, held, progress)
    return _whole(connection, _found(queries.find(connection, iteration), iteration))


def _beat(connection: Connection, iteration: UUID, heartbeat: Heartbeat) -> HeartbeatReceipt:
    held = _found(queries.hold(connection, iteration), iteration)
    state = held.progress.state
    until: datetime | None = None
    if state not in ENDED_STATES:
        state = IterationState.RUNNING if state is IterationState.LOST else state
        until = queries.set_lease(connection, iteration, heartbeat.lease_seconds, state=state, at=now())
    return HeartbeatReceipt(state=state, lifecycle=held.standing.effective, lease_until=until)


def _first(write: IterationWrite) -> IterationWrite:
    """With the times that its state asks for."""
    given = Progress(parameters={}, state=write.state, started_at=write.started_at, ended_at=write.ended_at)
    times = stamped(IterationState.PENDING, given, now())
    return msgspec.structs.replace(write, started_at=times.started_at, ended_at=times.ended_at)


def _new(iteration: UUID, write: IterationWrite, by: str) -> Iteration:
    return Iteration(
        id=iteration,
        experiment_id=write.experiment_id,
        index=write.index or 0,
        parameters=write.parameters,
        state=write.state,
        started_at=write.started_at,
        ended_at=write.ended_at,
        metrics={},
        name=write.name,
        notes=write.notes,
        error=write.error,
        parent_id=write.parent_id,
        created_at=now(),
        created_by=by,
        tags=write.tags,
    )


def _check_parent(connection: Connection, iteration: UUID, experiment: UUID, parent: UUID) -> None:
    if queries.experiment(connection, parent) != experiment:
        raise Invalid(f"there is no iteration {parent} in this experiment", field="parent_id")
    if tree_queries.is_below(connection, parent, iteration):
        raise Invalid("an iteration can't lie below itself", field="parent_id")


def _check_takes_more(around: experiments.Held) -> None:
    experiment = around.experiment
    check_writable(
        {
            f"experiment {experiment.id}": experiment.lifecycle,
            f"project {experiment.project!r}": around.project_lifecycle,
        }
    )
    if experiment.status is not ExperimentStatus.OPEN:
        raise Ended(
            f"experiment {experiment.id} is {experiment.status} and takes no more iterations",
            field="experiment_id",
            hint='open it again: PATCH {"status": "OPEN"}',
        )


def _page(connection: Connection, items: tuple[Iteration, ...], following: str | None) -> IterationPage:
    summaries = metrics.summaries(connection, [item.id for item in items])
    return IterationPage(items=tuple(queries.with_metrics(item, summaries) for item in items), next=following)


def _whole(connection: Connection, iteration: Iteration) -> Iteration:
    return queries.with_metrics(iteration, metrics.summaries(connection, [iteration.id]))


def _found(value: _T | None, iteration: UUID) -> _T:
    if value is None:
        raise IterationNotFound(iteration)
    return value


def _utc(moment: _T, field: str) -> _T | datetime:
    """A moment in UTC; what is none stays as it is."""
    return utc(moment, field) if isinstance(moment, datetime) else moment
