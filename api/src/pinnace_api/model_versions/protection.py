"""What versions of models keep from being purged: the one rule, for whoever removes rows or bytes for good.

A version keeps its iteration and its artifact, with all the files of a set; a model keeps its project. Those in the
trash too, because they can be taken back: purge the version first. Ask in the transaction that deletes. A version that
comes meanwhile is caught by its foreign keys, so that the deletion fails and nothing is lost.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Connection, bindparam, select, union

from pinnace_api import in_lists
from pinnace_api.artifact_sets.tables import ARTIFACT_SET_MEMBERS
from pinnace_api.model_versions.tables import MODEL_VERSIONS
from pinnace_api.models.tables import MODELS

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_ARTIFACTS = union(
    select(MODEL_VERSIONS.c.artifact_id).where(MODEL_VERSIONS.c.artifact_id.in_(_IDS)),
    select(ARTIFACT_SET_MEMBERS.c.artifact_id)
    .join_from(ARTIFACT_SET_MEMBERS, MODEL_VERSIONS, MODEL_VERSIONS.c.artifact_id == ARTIFACT_SET_MEMBERS.c.set_id)
    .where(ARTIFACT_SET_MEMBERS.c.artifact_id.in_(_IDS)),
)
_ITERATIONS = select(MODEL_VERSIONS.c.iteration_id).where(MODEL_VERSIONS.c.iteration_id.in_(_IDS))
_PROJECTS = select(MODELS.c.project_id).where(MODELS.c.project_id.in_(_IDS))


def kept_artifacts(connection: Connection, artifacts: Collection[UUID]) -> frozenset[UUID]:
    """Those of them that can't be purged."""
    return in_lists.found(connection, _ARTIFACTS, artifacts)


def kept_iterations(connection: Connection, iterations: Collection[UUID]) -> frozenset[UUID]:
    """Those of them that can't be purged."""
    return in_lists.found(connection, _ITERATIONS, iterations)


def kept_projects(connection: Connection, projects: Collection[UUID]) -> frozenset[UUID]:
    """Those of them that can't be purged."""
    return in_lists.found(connection, _PROJECTS, projects)
