"""Two versions of a model compared: what is read for it."""

from uuid import UUID

from pinnace import ids
from pinnace.records import MAX_VERSION_NUMBER, ModelDiff, ModelVersion
from pinnace_api.artifact_sets import queries as sets
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.database import Connection, Database
from pinnace_api.iterations import queries as iterations
from pinnace_api.metrics import queries as metrics
from pinnace_api.model_versions import queries
from pinnace_api.model_versions.diff import differences, flat
from pinnace_api.models import queries as models
from pinnace_api.models import service as model_service
from pinnace_api.refusals import Invalid, IterationNotFound


def compare(database: Database, project: str, model: str, left: int, right: int) -> ModelDiff:
    """Version `left` against version `right`. Raises NotFound for the model, Invalid for a version."""
    with database.read() as connection:
        of = model_service.found(models.find(connection, ids.model_id(project, model)), project, model).model.id
        one, other = (_version(connection, of, number, field) for number, field in ((left, "left"), (right, "right")))
        run, other_run = (iterations.find(connection, each.iteration_id) for each in (one, other))
        if run is None or other_run is None:  # a version keeps its iteration
            raise IterationNotFound(one.iteration_id)
        found = metrics.summaries(connection, [run.id, other_run.id])
        last, other_last = (
            {key: summary.last for key, summary in found.get(each.id, {}).items()} for each in (run, other_run)
        )
        environment, other_environment = (
            flat(iterations.environment(connection, each.id) or {}) for each in (run, other_run)
        )
        return ModelDiff(
            left=one,
            right=other,
            parameters=differences(run.parameters, other_run.parameters),
            metrics=differences(last, other_last),
            environment=differences(environment, other_environment),
            artifacts=differences(_contents(connection, one), _contents(connection, other)),
        )


def _version(connection: Connection, model: UUID, number: int, field: str) -> ModelVersion:
    found = queries.numbered(connection, model, number) if 0 < number <= MAX_VERSION_NUMBER else None
    if found is None:
        raise Invalid(f"the model has no version {number}", field=field)
    return found


def _contents(connection: Connection, version: ModelVersion) -> dict[str, str]:
    """SHA-256 by path: of all files of a set by their path in its folder, or else of the artifact."""
    if version.artifact_id is None:
        return {}
    members = sets.members(connection, version.artifact_id)
    found = artifacts.find_all(connection, members or {version.artifact_id})
    if not members:
        return {each.path: each.sha256 for each in found.values()}
    manifest = artifacts.find_all(connection, {version.artifact_id})[version.artifact_id].path
    folder = manifest.rpartition("/")[0]
    cut = len(folder) + 1 if folder else 0
    return {each.path[cut:]: each.sha256 for each in found.values()}
