"""What a plan is made of, in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Select, bindparam, func, select, union

from pinnace.records import (
    ENDED_STATES,
    MAX_INDEX,
    Backend,
    FileState,
    Lifecycle,
    ModelStage,
    PodStanding,
    RetentionPolicy,
    RetentionTarget,
    Shown,
)
from pinnace_api import in_lists
from pinnace_api.artifact_sets.tables import ARTIFACT_SET_MEMBERS
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.clock import now
from pinnace_api.datasets.tables import DATASET_USES
from pinnace_api.experiments import queries as experiment_queries
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.experiments.vocabulary import VOCABULARY as OF_EXPERIMENTS
from pinnace_api.filters.parser import parse_filter, parse_order
from pinnace_api.holds import queries as holds
from pinnace_api.holds.tables import HOLDS
from pinnace_api.iterations.search_queries import compiler_for
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.iterations.vocabulary import VOCABULARY as OF_ITERATIONS
from pinnace_api.lists import is_shown
from pinnace_api.model_versions import protection
from pinnace_api.model_versions.tables import MODEL_ALIASES, MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.models.tables import MODELS
from pinnace_api.pods import queries as pods
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.retention.plan import Because, Contents, Piece, Run, Version
from pinnace_api.uploads.tables import UPLOADS

_BATCH: Final = 500
_ENDED: Final = func.coalesce(ITERATIONS.c.ended_at, ITERATIONS.c.created_at)
_RUNS: Final = (
    select(
        ITERATIONS.c.id,
        ITERATIONS.c.number,
        ITERATIONS.c.state,
        ITERATIONS.c.lifecycle,
        ITERATIONS.c.trashed_at,
        ITERATIONS.c.purged_at,
        _ENDED.label("ended"),
        EXPERIMENTS.c.namespace,
        EXPERIMENTS.c.lifecycle.label("experiment_lifecycle"),
        EXPERIMENTS.c.trashed_at.label("experiment_trashed_at"),
        PROJECTS.c.lifecycle.label("project_lifecycle"),
        PROJECTS.c.trashed_at.label("project_trashed_at"),
    )
    .join_from(ITERATIONS, EXPERIMENTS)
    .join(PROJECTS)
)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_HELD_RUN: Final = _RUNS.where(ITERATIONS.c.id == bindparam("id")).with_for_update(of=ITERATIONS)
_SHARE: Final = (
    select(PROJECTS.c.id)
    .join_from(ITERATIONS, EXPERIMENTS)
    .join(PROJECTS)
    .where(ITERATIONS.c.id == bindparam("id"))
    .with_for_update(read=True, of=(PROJECTS, EXPERIMENTS))
)
_WHOLE: Final = select(MODEL_VERSIONS.c.iteration_id).where(
    MODEL_VERSIONS.c.iteration_id.in_(_IDS), MODEL_VERSIONS.c.artifact_id.is_(None)
)
_UPLOADING: Final = select(UPLOADS.c.iteration_id).where(
    UPLOADS.c.iteration_id.in_(_IDS), UPLOADS.c.artifact_id.is_(None), UPLOADS.c.expires_at > bindparam("now")
)
_COUNTS: Final = (
    select(ARTIFACTS.c.iteration_id, func.count().label("artifacts"))
    .where(ARTIFACTS.c.iteration_id.in_(_IDS), ARTIFACTS.c.deleted_at.is_(None))
    .group_by(ARTIFACTS.c.iteration_id)
)
_OF_DATASETS: Final = union(
    select(DATASET_USES.c.artifact_id).where(DATASET_USES.c.artifact_id.in_(_IDS)),
    select(ARTIFACT_SET_MEMBERS.c.artifact_id)
    .join_from(ARTIFACT_SET_MEMBERS, DATASET_USES, DATASET_USES.c.artifact_id == ARTIFACT_SET_MEMBERS.c.set_id)
    .where(ARTIFACT_SET_MEMBERS.c.artifact_id.in_(_IDS)),
)
_THERE: Final = select(ARTIFACTS).where(
    ARTIFACTS.c.iteration_id == bindparam("iteration"), ARTIFACTS.c.deleted_at.is_(None)
)
_SETS: Final = (
    select(ARTIFACT_SET_MEMBERS)
    .join_from(ARTIFACT_SET_MEMBERS, ARTIFACTS, ARTIFACTS.c.id == ARTIFACT_SET_MEMBERS.c.set_id)
    .where(ARTIFACTS.c.iteration_id == bindparam("iteration"))
)
_USERS: Final = (
    select(ARTIFACTS.c.backend, ARTIFACTS.c.bucket, ARTIFACTS.c.key, func.count().label("users"))
    .where(
        ARTIFACTS.c.backend != Backend.NONE.value,
        ARTIFACTS.c.key.in_(select(ARTIFACTS.c.key).where(ARTIFACTS.c.iteration_id == bindparam("iteration"))),
    )
    .group_by(ARTIFACTS.c.backend, ARTIFACTS.c.bucket, ARTIFACTS.c.key)
    .having(func.count() > 1)
)
_VERSIONS: Final = (
    select(
        MODEL_VERSIONS,
        MODELS.c.name.label("model"),
        MODELS.c.lifecycle.label("model_lifecycle"),
        MODELS.c.trashed_at.label("model_trashed_at"),
        PROJECTS.c.lifecycle.label("project_lifecycle"),
        PROJECTS.c.trashed_at.label("project_trashed_at"),
        select(func.count())
        .where(MODEL_ALIASES.c.version_id == MODEL_VERSIONS.c.id)
        .scalar_subquery()
        .label("aliases"),
        select(func.max(MODEL_TRANSITIONS.c.at))
        .where(MODEL_TRANSITIONS.c.version_id == MODEL_VERSIONS.c.id)
        .scalar_subquery()
        .label("moved_at"),
    )
    .join_from(MODEL_VERSIONS, MODELS)
    .join(PROJECTS, PROJECTS.c.id == MODELS.c.project_id)
    .join(ITERATIONS, ITERATIONS.c.id == MODEL_VERSIONS.c.iteration_id)
    .join(EXPERIMENTS, EXPERIMENTS.c.id == ITERATIONS.c.experiment_id)
)
#: Versions of whose files one is held: a file of their set, or, for those that mean all of their iteration, any of it.
_HELD_IN_PART: Final = union(
    select(MODEL_VERSIONS.c.id)
    .join(ARTIFACT_SET_MEMBERS, ARTIFACT_SET_MEMBERS.c.set_id == MODEL_VERSIONS.c.artifact_id)
    .join(HOLDS, HOLDS.c.artifact_id == ARTIFACT_SET_MEMBERS.c.artifact_id)
    .where(MODEL_VERSIONS.c.id.in_(_IDS), HOLDS.c.lifted_at.is_(None)),
    select(MODEL_VERSIONS.c.id)
    .join(ARTIFACTS, ARTIFACTS.c.iteration_id == MODEL_VERSIONS.c.iteration_id)
    .join(HOLDS, HOLDS.c.artifact_id == ARTIFACTS.c.id)
    .where(MODEL_VERSIONS.c.id.in_(_IDS), MODEL_VERSIONS.c.artifact_id.is_(None), HOLDS.c.lifted_at.is_(None)),
)
_OF_VERSION: Final = (
    select(MODELS.c.id).join_from(MODEL_VERSIONS, MODELS).join(PROJECTS).where(MODEL_VERSIONS.c.id == bindparam("id"))
)
_HOLD_MODEL: Final = _OF_VERSION.with_for_update(of=MODELS, key_share=True)
_SHARE_PROJECT: Final = _OF_VERSION.with_for_update(read=True, of=PROJECTS)


def experiments(connection: Connection, project: UUID, policy: RetentionPolicy) -> Sequence[UUID]:
    """Those of the project that the policy is about."""
    statement = select(EXPERIMENTS.c.id).join_from(EXPERIMENTS, PROJECTS).where(EXPERIMENTS.c.project_id == project)
    return list(connection.execute(_of_experiments(connection, statement, policy).order_by(EXPERIMENTS.c.id)).scalars())


def runs(connection: Connection, experiment: UUID, policy: RetentionPolicy) -> Sequence[Run]:
    """Those of the experiment that the policy is about, the best first."""
    around = ITERATIONS.c.lifecycle, EXPERIMENTS.c.lifecycle, PROJECTS.c.lifecycle
    statement = _RUNS.where(ITERATIONS.c.experiment_id == experiment, _is_wanted(policy, *around))
    ordered = _chosen(connection, statement, policy).order_by(_ENDED.desc(), ITERATIONS.c.id)
    rows = connection.execute(ordered).all()
    found = [run for start in range(0, len(rows), _BATCH) for run in _records(connection, rows[start : start + _BATCH])]
    return [run for run in found if run.artifacts or not run.is_purged]


def hold_run(connection: Connection, iteration: UUID) -> Run | None:
    """As it is now, and neither it nor what it lies in is edited, held or registered until the transaction ends."""
    connection.execute(_SHARE, {"id": iteration})
    rows = connection.execute(_HELD_RUN, {"id": iteration}).all()
    return next(iter(_records(connection, rows)), None)


def contents(connection: Connection, iteration: UUID) -> Contents:
    """Its artifacts that are not deleted."""
    rows = connection.execute(_THERE, {"iteration": iteration}).all()
    users = {row[:3]: row.users for row in connection.execute(_USERS, {"iteration": iteration})}
    needed = reasons(connection, [row.id for row in rows])
    sets: dict[UUID, list[UUID]] = {}
    for row in connection.execute(_SETS, {"iteration": iteration}):
        sets.setdefault(row.set_id, [row.set_id]).append(row.artifact_id)
    pieces = [
        Piece(
            id=row.id,
            size=row.size if row.stored_size is None else row.stored_size,
            location=artifacts.location_of(row),
            users=users.get((row.backend, row.bucket, row.key), 1),
            because=needed.get(row.id),
        )
        for row in rows
    ]
    return Contents(pieces=pieces, sets=tuple(sets.values()))


def reasons(connection: Connection, asked: Collection[UUID]) -> dict[UUID, Because]:
    """Which of the artifacts something needs, and what."""
    ids = sorted(asked)
    of_datasets = [
        found
        for start in range(0, len(ids), _BATCH)
        for found in connection.execute(_OF_DATASETS, {"ids": ids[start : start + _BATCH]}).scalars()
    ]
    return {
        **dict.fromkeys(of_datasets, Because.DATASET),
        **dict.fromkeys(protection.kept_artifacts(connection, ids), Because.MODEL_VERSION),
        **dict.fromkeys(holds.held_artifacts(connection, ids), Because.HELD),
    }


def versions(connection: Connection, project: UUID, policy: RetentionPolicy) -> Sequence[Version]:
    """Those of the project's models that the policy is about, the best first."""
    around = MODEL_VERSIONS.c.lifecycle, MODELS.c.lifecycle, PROJECTS.c.lifecycle
    statement = _VERSIONS.where(MODELS.c.project_id == project, _is_wanted(policy, *around))
    if policy.target is RetentionTarget.VERSIONS:
        statement = statement.where(MODEL_VERSIONS.c.stage.in_(policy.stages))
    chosen = _chosen(connection, _of_experiments(connection, statement, policy), policy)
    return _versions(connection, chosen.order_by(MODEL_VERSIONS.c.number.desc(), MODEL_VERSIONS.c.id))


def hold_version(connection: Connection, version: UUID) -> Version | None:
    """As it is now, which stays until the transaction ends."""
    connection.execute(_HOLD_MODEL, {"id": version})
    connection.execute(_SHARE_PROJECT, {"id": version})
    return next(iter(_versions(connection, _VERSIONS.where(MODEL_VERSIONS.c.id == version))), None)


def _is_wanted(policy: RetentionPolicy, own: ColumnElement[str], *around: ColumnElement[str]) -> ColumnElement[bool]:
    in_trash = is_shown(Shown.TRASHED, own, *around)
    return in_trash if policy.target is RetentionTarget.TRASH else ~in_trash


def _of_experiments(connection: Connection, statement: Select[Any], policy: RetentionPolicy) -> Select[Any]:
    if not policy.experiments.strip():
        return statement
    expression = parse_filter(policy.experiments, OF_EXPERIMENTS, field="experiments")
    return statement.where(experiment_queries.compiler_for(connection).condition(expression))


def _chosen(connection: Connection, statement: Select[Any], policy: RetentionPolicy) -> Select[Any]:
    """Those of the iterations, or of what is joined to them, that match, in the order of what is kept."""
    compiler = compiler_for(connection)
    if policy.filter.strip():
        statement = statement.where(compiler.condition(parse_filter(policy.filter, OF_ITERATIONS)))
    keys = [key for term in parse_order(policy.keep_by, OF_ITERATIONS) for key in compiler.keys(term)]
    return statement.order_by(*(key.column.desc() if key.descending else key.column for key in keys))


def _versions(connection: Connection, statement: Select[Any]) -> Sequence[Version]:
    rows = connection.execute(statement).all()
    held = holds.held_iterations(connection, {row.iteration_id for row in rows})
    held |= holds.held_artifacts(connection, {row.artifact_id for row in rows if row.artifact_id is not None})
    held |= in_lists.found(connection, _HELD_IN_PART, {row.id for row in rows})
    return [
        Version(
            id=row.id,
            model=row.model,
            number=row.number,
            stage=ModelStage(row.stage),
            staged_at=row.moved_at or row.created_at,
            trashed_at=_in_trash_since(
                (row.lifecycle, row.trashed_at),
                (row.model_lifecycle, row.model_trashed_at),
                (row.project_lifecycle, row.project_trashed_at),
            ),
            is_held=not held.isdisjoint((row.id, row.iteration_id, row.artifact_id)),
            is_in_use=row.stage == ModelStage.PRODUCTION or row.aliases > 0,
        )
        for row in rows
    ]


def _records(connection: Connection, rows: Sequence[Any]) -> list[Run]:
    ids = [row.id for row in rows]
    standings = pods.of_iterations(connection, ids)
    held, registered = holds.held_iterations(connection, ids), protection.kept_iterations(connection, ids)
    whole = set(connection.execute(_WHOLE, {"ids": ids}).scalars())
    uploading = set(connection.execute(_UPLOADING, {"ids": ids, "now": now()}).scalars())
    counts = {row.iteration_id: row.artifacts for row in connection.execute(_COUNTS, {"ids": ids})}
    return [
        Run(
            id=row.id,
            ended_at=row.ended,
            is_ended=row.state in ENDED_STATES,
            is_synced=row.id not in uploading and _is_proven(row, standings.get(row.id, [])),
            is_held=row.id in held,
            is_registered=row.id in registered,
            is_whole=row.id in whole,
            trashed_at=_in_trash_since(
                (row.lifecycle, row.trashed_at),
                (row.experiment_lifecycle, row.experiment_trashed_at),
                (row.project_lifecycle, row.project_trashed_at),
            ),
            is_purged=row.purged_at is not None,
            artifacts=counts.get(row.id, 0),
        )
        for row in rows
    ]


def _is_proven(row: Row[Any], standings: Sequence[PodStanding]) -> bool:
    """Whether all pods said that they are done, and what is recorded is what they shipped. The operator's iterations
    have at least one.
    """
    if not standings and row.namespace and row.number <= MAX_INDEX:
        return False
    return all(
        pod.report is not None
        and pod.report.final
        and not pod.report.files.get(FileState.QUARANTINED)
        and pod.report.manifest == pod.recorded
        for pod in standings
    )


def _in_trash_since(*around: tuple[str, datetime | None]) -> datetime | None:
    since = [at for lifecycle, at in around if lifecycle == Lifecycle.TRASHED and at is not None]
    return min(since, default=None)
