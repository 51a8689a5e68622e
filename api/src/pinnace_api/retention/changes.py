"""What is done by a plan, in SQL: each call is one transaction, which looks once more whether it still may be done."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, delete, select, tuple_, update

from pinnace.records import Lifecycle, Location, Removal
from pinnace_api import in_lists
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.audit.service import note
from pinnace_api.identity import Visit
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.maintenance.objects import LETTING_GO
from pinnace_api.metrics.tables import METRIC_AUTO_STEPS, METRIC_POINTS, METRIC_SOURCES, METRICS
from pinnace_api.model_versions.tables import MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.retention import facts
from pinnace_api.retention.plan import Piece, Rule, Version, may_go, version_may_go

#: So many points go in one transaction.
_POINTS: Final = 20_000
_POINT: Final = tuple_(
    METRIC_POINTS.c.metric_id, METRIC_POINTS.c.step, METRIC_POINTS.c.source_id, METRIC_POINTS.c.offset
)


class Let(NamedTuple):
    """An artifact that has become a tombstone, and the object that it has let go of."""

    size: int
    location: Location


def remove(
    connection: Connection, rule: Rule, iteration: UUID, groups: Sequence[Sequence[Piece]], why: Removal
) -> tuple[Let, ...]:
    """Make tombstones of the artifacts, but for groups of which something needs one by now."""
    run = facts.hold_run(connection, iteration)
    if run is None or not may_go(rule, run, why.at):
        return ()
    there: dict[UUID, Any] = {}
    ids = sorted(piece.id for group in groups for piece in group)
    for part in in_lists.parts(ids):
        batch = ARTIFACTS.c.id.in_(part)
        # As for deleting, so that whoever is about to refer to one is waited for.
        held = select(ARTIFACTS).where(batch, ARTIFACTS.c.deleted_at.is_(None)).order_by(ARTIFACTS.c.id)
        there.update((row.id, row) for row in connection.execute(held.with_for_update()))
    needed = facts.reasons(connection, there)
    gone = [
        there[piece.id]
        for group in groups
        if not any(piece.id in needed for piece in group)
        for piece in group
        if piece.id in there
    ]
    values = {"deleted_at": why.at, "deleted_by": why.by, "deleted_policy": why.policy, **LETTING_GO}
    for rows in in_lists.parts(gone):
        batch = ARTIFACTS.c.id.in_([row.id for row in rows])
        connection.execute(update(ARTIFACTS).where(batch).values(**values))
    let = tuple(
        Let(row.size if row.stored_size is None else row.stored_size, artifacts.location_of(row)) for row in gone
    )
    if let:
        _note(connection, why, "retention.removed", iteration, artifacts=len(let), bytes=sum(each.size for each in let))
    return let


def trash(connection: Connection, rule: Rule, iteration: UUID, why: Removal) -> bool:
    """Put the iteration into the trash; whether it went."""
    run = facts.hold_run(connection, iteration)
    if run is None or not may_go(rule, run, why.at):
        return False
    if facts.contents(connection, iteration).is_needed:
        return False
    values = {"lifecycle": Lifecycle.TRASHED, "trashed_at": why.at}
    connection.execute(update(ITERATIONS).where(ITERATIONS.c.id == iteration).values(**values))
    _note(connection, why, "retention.trashed", iteration)
    return True


def purge_points(connection: Connection, rule: Rule, iteration: UUID, why: Removal) -> bool:
    """Delete some of the points of an iteration that goes for good; whether there may be more."""
    if not _goes(connection, rule, iteration, why):
        return False
    some = (
        select(METRIC_POINTS.c.metric_id, METRIC_POINTS.c.step, METRIC_POINTS.c.source_id, METRIC_POINTS.c.offset)
        .join_from(METRIC_POINTS, METRICS)
        .where(METRICS.c.iteration_id == iteration)
        .limit(_POINTS)
    )
    return connection.execute(delete(METRIC_POINTS).where(_POINT.in_(some))).rowcount == _POINTS


def purge(connection: Connection, rule: Rule, iteration: UUID, why: Removal) -> bool:
    """Leave of the iteration, whose points are gone, its id, number, state, times, name and parameters; whether it
    went. It stays in the trash, whatever becomes of what it lies in.
    """
    if not _goes(connection, rule, iteration, why):
        return False
    metrics = select(METRICS.c.id).where(METRICS.c.iteration_id == iteration)
    for table in (METRIC_POINTS, METRIC_AUTO_STEPS):
        connection.execute(delete(table).where(table.c.metric_id.in_(metrics)))
    for table in (METRICS, METRIC_SOURCES):
        connection.execute(delete(table).where(table.c.iteration_id == iteration))
    values = {"purged_at": why.at, "lifecycle": Lifecycle.TRASHED, "notes": "", "error": "", "environment": {}}
    statement = update(ITERATIONS).where(ITERATIONS.c.id == iteration)
    connection.execute(statement.values(**values))
    connection.execute(statement.where(ITERATIONS.c.trashed_at.is_(None)).values(trashed_at=why.at))
    _note(connection, why, "retention.purged", iteration)
    return True


def purge_version(connection: Connection, rule: Rule, version: UUID, why: Removal) -> bool:
    """Delete a version of a model with its transitions; whether it went. Its number is never given again."""
    found = _held_version(connection, rule, version, why)
    if found is None:
        return False
    connection.execute(delete(MODEL_TRANSITIONS).where(MODEL_TRANSITIONS.c.version_id == version))
    connection.execute(delete(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id == version))
    _note_version(connection, why, "retention.version.purged", found)
    return True


def trash_version(connection: Connection, rule: Rule, version: UUID, why: Removal) -> bool:
    """Put a version of a model into the trash; whether it went."""
    found = _held_version(connection, rule, version, why)
    if found is None:
        return False
    values = {"lifecycle": Lifecycle.TRASHED, "trashed_at": why.at}
    connection.execute(update(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id == version).values(**values))
    _note_version(connection, why, "retention.version.trashed", found)
    return True


def _held_version(connection: Connection, rule: Rule, version: UUID, why: Removal) -> Version | None:
    """It, if what was planned for it still may be done, and then nothing about it changes meanwhile."""
    found = facts.hold_version(connection, version)
    return found if found is not None and version_may_go(rule, found, why.at) else None


def _goes(connection: Connection, rule: Rule, iteration: UUID, why: Removal) -> bool:
    run = facts.hold_run(connection, iteration)
    return run is not None and not run.is_purged and not run.artifacts and may_go(rule, run, why.at)


def _note_version(connection: Connection, why: Removal, action: str, version: Version) -> None:
    _note(connection, why, action, version.id, model=version.model, number=version.number, stage=version.stage.value)


def _note(connection: Connection, why: Removal, action: str, subject: UUID, **detail: int | str) -> None:
    note(connection, Visit(name=why.by), action, str(subject), policy=why.policy, **detail)
