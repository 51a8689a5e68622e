"""What may be done with versions of models.

Whatever writes holds the model's row first, so versions, stages and aliases of one model change one after the other.
"""

from functools import partial
from typing import TypeVar
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import (
    MAX_VERSION_NUMBER,
    Lifecycle,
    ModelStage,
    ModelTransitionPage,
    ModelVersion,
    ModelVersionPage,
    ModelVersionPatch,
    ModelVersionWrite,
    ModelWrite,
    ProjectRole,
    Shown,
    StageWrite,
)
from pinnace_api.access import check_project
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_edit, check_tags, check_writable, edited, edited_tags, edited_text
from pinnace_api.identity import Visit
from pinnace_api.iterations import queries as iterations
from pinnace_api.model_versions import queries
from pinnace_api.models import queries as models
from pinnace_api.models import service as model_service
from pinnace_api.models.queries import Held
from pinnace_api.paging import Cut
from pinnace_api.refusals import Conflict, Gone, Invalid, NotFound
from pinnace_api.values import check_text

_T = TypeVar("_T")


def put(database: Database, visit: Visit, version: UUID, write: ModelVersionWrite) -> tuple[ModelVersion, bool]:
    """Register a version, and its model if that isn't there. The bool says whether it is new.

    Another model, iteration or artifact than it has is a Conflict.
    """
    check_text(write.description, "description")
    check_tags(write.tags)
    return database.write(_put, visit, version, write)


def patch(database: Database, version: UUID, change: ModelVersionPatch) -> ModelVersion:
    """Edit it. Raises NotFound, Trashed, Conflict, Invalid."""
    return database.write(_patch, version, change)


def trash(database: Database, version: UUID) -> None:
    """Put it into the trash, where it may be already. Raises NotFound, and Conflict for one that is in use."""
    patch(database, version, ModelVersionPatch(lifecycle=Lifecycle.TRASHED))


def set_stage(database: Database, visit: Visit, version: UUID, write: StageWrite) -> ModelVersion:
    """Move it to a stage; nothing happens when it is there already.

    What is in PRODUCTION becomes ARCHIVED when another one comes, at once. Only an admin of the project moves a
    version into PRODUCTION or out of it.
    """
    check_text(write.comment, "comment")
    return database.write(_set_stage, visit, version, write)


def get(database: Database, version: UUID) -> ModelVersion:
    with database.read() as connection:
        return _found(queries.find(connection, version), version)


def numbered(database: Database, project: str, model: str, number: int) -> ModelVersion:
    with database.read() as connection:
        of = model_service.found(models.find(connection, ids.model_id(project, model)), project, model).model
        found = queries.numbered(connection, of.id, number) if 0 < number <= MAX_VERSION_NUMBER else None
        if found is None and 0 < number <= of.last_number:
            raise Gone(
                f"version {number} of model {model!r} was removed by a retention policy", hint="the audit has when"
            )
        return _chosen(found, f"model {model!r} has no version {number}")


def called(database: Database, project: str, model: str, alias: str) -> ModelVersion:
    check_text(alias, "alias")
    with database.read() as connection:
        found = queries.called(connection, _model(connection, project, model), alias)
        return _chosen(found, f"no version of model {model!r} is called {alias!r}")


def newest(database: Database, project: str, model: str) -> ModelVersion:
    with database.read() as connection:
        found = queries.newest(connection, _model(connection, project, model))
        return _chosen(found, f"model {model!r} has no version")


def in_stage(database: Database, project: str, model: str, stage: str) -> ModelVersion:
    """The newest one in the stage, whose name may be written in small letters."""
    if stage.upper() not in ModelStage.__members__:
        raise NotFound(f"there is no stage {stage!r}", hint="none, staging, production and archived are the stages")
    with database.read() as connection:
        found = queries.in_stage(connection, _model(connection, project, model), ModelStage(stage.upper()))
        return _chosen(found, f"no version of model {model!r} is in {stage.upper()}")


def page_of_model(
    database: Database, project: str, model: str, cut: Cut, *, stage: ModelStage | None, shown: Shown
) -> ModelVersionPage:
    with database.read() as connection:
        return queries.page_of_model(connection, _model(connection, project, model), stage, shown, cut)


def page_of_iteration(database: Database, iteration: UUID, cut: Cut) -> ModelVersionPage:
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page_of_iteration(connection, iteration, cut)


def page_of_artifact(database: Database, artifact: UUID, cut: Cut) -> ModelVersionPage:
    with database.read() as connection:
        if queries.iteration_of(connection, artifact) is None:
            raise NotFound(f"there is no artifact {artifact}")
        return queries.page_of_artifact(connection, artifact, cut)


def transitions(database: Database, project: str, model: str, cut: Cut) -> ModelTransitionPage:
    with database.read() as connection:
        return queries.transitions(connection, _model(connection, project, model), cut)


def _put(connection: Connection, visit: Visit, version: UUID, write: ModelVersionWrite) -> tuple[ModelVersion, bool]:
    held, _ = model_service.begin(connection, write.project, write.model, ModelWrite(), by=str(visit))
    stored = queries.find(connection, version)
    if stored is not None:
        return _agreed(stored, write), False
    standing = iterations.standing(connection, write.iteration_id)
    if standing is None or standing.project != write.project:
        raise Invalid(f"there is no iteration {write.iteration_id} in project {write.project!r}", field="iteration_id")
    standing.check_writable()
    if write.artifact_id is not None:
        _check_artifact(connection, write.iteration_id, write.artifact_id)
    fresh = ModelVersion(
        id=version,
        project=write.project,
        model=write.model,
        number=held.model.last_number + 1,
        iteration_id=write.iteration_id,
        artifact_id=write.artifact_id,
        stage=ModelStage.NONE,
        description=write.description,
        tags=write.tags,
        lifecycle=Lifecycle.ACTIVE,
        created_at=now(),
        created_by=str(visit),
        aliases=(),
    )
    if not queries.add(connection, held.model.id, fresh):
        raise Conflict(f"version {version} belongs to another model", field="model", hint="take another id")
    models.count(connection, held.model.id, fresh.number)
    if write.stage is not ModelStage.NONE:
        fresh = _move(connection, visit, held, fresh, StageWrite(stage=write.stage))
    return fresh, True


def _agreed(stored: ModelVersion, write: ModelVersionWrite) -> ModelVersion:
    for field in ("project", "model", "iteration_id", "artifact_id"):
        sent = getattr(write, field)
        if getattr(stored, field) != sent and not (field == "artifact_id" and sent is None):
            raise Conflict(
                f"version {stored.id} has the {field} {getattr(stored, field)}",
                field=field,
                hint="another version needs another id; an artifact is attached later by PATCH",
            )
    return stored


def _patch(connection: Connection, version: UUID, change: ModelVersionPatch) -> ModelVersion:
    held, stored = _hold(connection, version)
    artifact = edited(stored.artifact_id, change.artifact_id)
    if artifact is not None and artifact != stored.artifact_id:
        if stored.artifact_id is not None:
            raise Conflict(
                f"version {stored.number} has artifact {stored.artifact_id}, which can't change",
                field="artifact_id",
                hint="register another version",
            )
        _check_artifact(connection, stored.iteration_id, artifact)
    edition = msgspec.structs.replace(
        stored,
        artifact_id=artifact,
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
        lifecycle=edited(stored.lifecycle, change.lifecycle),
    )
    if edition == stored:
        return stored
    check_edit(stored, edition, partial(_around, held, stored))
    if edition.lifecycle is Lifecycle.TRASHED and stored.lifecycle is not Lifecycle.TRASHED:
        _check_unused(stored)
    queries.edit(connection, edition)
    return edition


def _set_stage(connection: Connection, visit: Visit, version: UUID, write: StageWrite) -> ModelVersion:
    held, stored = _hold(connection, version)
    if stored.stage is write.stage:
        return stored
    check_writable(_around(held, stored, stored.lifecycle))
    return _move(connection, visit, held, stored, write)


def _move(connection: Connection, visit: Visit, held: Held, version: ModelVersion, write: StageWrite) -> ModelVersion:
    if visit.caller is not None and ModelStage.PRODUCTION in (version.stage, write.stage):
        check_project(visit.caller, ids.project_id(version.project), ProjectRole.ADMIN)
    if write.stage is ModelStage.PRODUCTION:
        # First: the database holds no two of them, not even within a transaction.
        former = queries.in_stage(connection, held.model.id, ModelStage.PRODUCTION)
        if former is not None:
            comment = f"version {version.number} took its place"
            _change(connection, visit, former, StageWrite(stage=ModelStage.ARCHIVED, comment=comment))
    return _change(connection, visit, version, write)


def _change(connection: Connection, visit: Visit, version: ModelVersion, write: StageWrite) -> ModelVersion:
    queries.set_stage(connection, version, write.stage, at=now(), by=str(visit), comment=write.comment)
    note(
        connection,
        visit,
        "model.stage",
        f"{version.project}/{version.model}",
        number=version.number,
        before=version.stage.value,
        after=write.stage.value,
    )
    return msgspec.structs.replace(version, stage=write.stage)


def _hold(connection: Connection, version: UUID) -> tuple[Held, ModelVersion]:
    """The version as it is while its model is held."""
    found = _found(queries.find(connection, version), version)
    model = ids.model_id(found.project, found.model)
    held = model_service.found(models.hold(connection, model), found.project, found.model)
    return held, _found(queries.find(connection, version), version)


def _around(held: Held, version: ModelVersion, own: Lifecycle) -> dict[str, Lifecycle]:
    return {f"version {version.number}": own, **held.around()}


def _check_unused(version: ModelVersion) -> None:
    if version.stage is ModelStage.PRODUCTION:
        raise Conflict(f"version {version.number} is in PRODUCTION", hint="move it to another stage first")
    if version.aliases:
        raise Conflict(
            f"version {version.number} is called {', '.join(version.aliases)}", hint="move its aliases first"
        )


def _check_artifact(connection: Connection, iteration: UUID, artifact: UUID) -> None:
    # Held, so that nobody removes it meanwhile.
    there = artifacts.hold(connection, artifact)
    if there is None or there[1] is not None or there[0].iteration_id != iteration:
        raise Invalid(
            f"there is no artifact {artifact} of iteration {iteration}",
            field="artifact_id",
            hint="a version's artifact is one that its iteration made",
        )


def _model(connection: Connection, project: str, name: str) -> UUID:
    return model_service.found(models.find(connection, ids.model_id(project, name)), project, name).model.id


def _chosen(version: _T | None, why: str) -> _T:
    if version is None:
        raise NotFound(why)
    return version


def _found(value: _T | None, version: UUID) -> _T:
    return _chosen(value, f"there is no model version {version}")
