"""To which project the thing that a path names belongs: found here, for every route."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BindParameter, Delete, Select, bindparam, select

from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.database import Database
from pinnace_api.datasets.tables import DATASETS
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.iterations import queries as iterations
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.model_versions.tables import MODEL_VERSIONS
from pinnace_api.models.tables import MODELS
from pinnace_api.pods import queries as pods
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.recollection import Recollection

_OWNED: Final = (PROJECTS, EXPERIMENTS, ITERATIONS, DATASETS, ARTIFACTS, MODELS, MODEL_VERSIONS)
_VALUE: Final[BindParameter[Any]] = bindparam("value")
_BY_PARAMETER: Final[Mapping[str, Select[Any]]] = {
    "name": select(PROJECTS.c.id).where(PROJECTS.c.name == _VALUE),
    "experiment_id": select(EXPERIMENTS.c.project_id).where(EXPERIMENTS.c.id == _VALUE),
    "iteration_id": select(EXPERIMENTS.c.project_id)
    .join_from(ITERATIONS, EXPERIMENTS)
    .where(ITERATIONS.c.id == _VALUE),
    "dataset_id": select(DATASETS.c.project_id).where(DATASETS.c.id == _VALUE),
    "artifact_id": select(EXPERIMENTS.c.project_id)
    .join_from(ARTIFACTS, ITERATIONS)
    .join(EXPERIMENTS)
    .where(ARTIFACTS.c.id == _VALUE),
    "version_id": select(MODELS.c.project_id).join_from(MODEL_VERSIONS, MODELS).where(MODEL_VERSIONS.c.id == _VALUE),
}


class StoredOwners:
    """The `Owners` of the database.

    Nothing ever moves to another project, so what was found is true until something is deleted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered = Recollection[tuple[str, Any], UUID]()
        database.watch(_OWNED, self._remembered.forget, statements=(Delete,))

    def recall(self, parameter: str, value: Any) -> UUID | None:
        return self._remembered.recall((parameter, value))

    def project(self, parameter: str, value: Any) -> UUID | None:
        if isinstance(value, str) and "\0" in value:
            return None
        return self.recall(parameter, value) or self._remembered.ask(
            (parameter, value), lambda: self._find(parameter, value)
        )

    def namespace(self, iteration: UUID) -> str | None:
        with self._database.read() as connection:
            return iterations.namespace(connection, iteration)

    def pod_name(self, iteration: UUID, pod_uid: str) -> str:
        with self._database.read() as connection:
            return pods.name(connection, iteration, pod_uid)

    def _find(self, parameter: str, value: Any) -> UUID | None:
        with self._database.read() as connection:
            found: UUID | None = connection.execute(_BY_PARAMETER[parameter], {"value": value}).scalar_one_or_none()
        return found
