"""What may be done with iterations."""

from datetime import datetime
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import Iteration, IterationPage, IterationWrite
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.experiments import queries as experiments
from pinnace_api.iterations import queries
from pinnace_api.iterations.progress import advance
from pinnace_api.metrics import queries as metrics
from pinnace_api.paging import Cut
from pinnace_api.refusals import ExperimentNotFound, Invalid, IterationNotFound
from pinnace_api.values import check_json, utc


def put(database: Database, iteration: UUID, write: IterationWrite) -> tuple[Iteration, bool]:
    """Create the iteration or bring it forward (see progress.py). The bool says whether it is new."""
    if iteration != ids.iteration_id(write.experiment_id, write.index):
        raise Invalid(
            f"iteration {write.index} of experiment {write.experiment_id} has another id",
            field="index",
            hint="the id is the UUIDv5 of the index in the name space of the experiment's id",
        )
    check_json(write.parameters, "parameters")
    write = msgspec.structs.replace(
        write, started_at=_utc(write.started_at, "started_at"), ended_at=_utc(write.ended_at, "ended_at")
    )
    return database.write(_put, iteration, write)


def get(database: Database, iteration: UUID) -> Iteration:
    with database.read() as connection:
        record = queries.find(connection, iteration)
        if record is None:
            raise IterationNotFound(iteration)
        return queries.with_metrics(record, metrics.summaries(connection, [iteration]))


def page(database: Database, experiment: UUID, cut: Cut) -> IterationPage:
    """By index."""
    with database.read() as connection:
        if not experiments.exists(connection, experiment):
            raise ExperimentNotFound(experiment)
        items, following = queries.page(connection, experiment, cut)
        summaries = metrics.summaries(connection, [item.id for item in items])
    return IterationPage(items=tuple(queries.with_metrics(item, summaries) for item in items), next=following)


def namespace(database: Database, iteration: UUID) -> str | None:
    """The namespace whose pods may write to it, empty when none may; None when there is no such iteration."""
    with database.read() as connection:
        return queries.namespace(connection, iteration)


def _put(connection: Connection, iteration: UUID, write: IterationWrite) -> tuple[Iteration, bool]:
    if not experiments.exists(connection, write.experiment_id):
        raise ExperimentNotFound(write.experiment_id)
    if queries.add(connection, iteration, write, now()):
        return _first(iteration, write), True
    stored = queries.progress_for_update(connection, iteration)
    assert stored is not None
    advanced = advance(iteration, stored, write)
    if advanced != stored:
        queries.set_progress(connection, iteration, advanced)
    record = queries.find(connection, iteration)
    assert record is not None
    return queries.with_metrics(record, metrics.summaries(connection, [iteration])), False


def _first(iteration: UUID, write: IterationWrite) -> Iteration:
    return Iteration(
        id=iteration,
        experiment_id=write.experiment_id,
        index=write.index,
        parameters=write.parameters,
        state=write.state,
        started_at=write.started_at,
        ended_at=write.ended_at,
        metrics={},
    )


def _utc(moment: datetime | None, field: str) -> datetime | None:
    return None if moment is None else utc(moment, field)
