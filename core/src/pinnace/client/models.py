"""Calls of registered models, and of sets and versions of artifacts.

A version is made with an id of the caller's and gets its number from the API, so each call may be repeated.
"""

from collections.abc import Iterator
from urllib.parse import quote
from uuid import UUID

from msgspec import UNSET, UnsetType

from pinnace import records
from pinnace.client.calls import Calls
from pinnace.records import (
    AliasWrite,
    Artifact,
    ArtifactPatch,
    ArtifactSet,
    Model,
    ModelAlias,
    ModelDiff,
    ModelPatch,
    ModelStage,
    ModelTransition,
    ModelVersion,
    ModelVersionPatch,
    ModelVersionWrite,
    ModelWrite,
    Shown,
    StageWrite,
)


class ModelCalls(Calls):
    """Raises ApiError: Conflict with the code `trashed` for what lies in the trash."""

    # --- models

    def put_model(self, project: str, name: str, model: ModelWrite | None = None) -> Model:
        """Create the model; one that is there stays as it is."""
        return self._connection.put(_model(project, name), model or ModelWrite(), Model)

    def patch_model(self, project: str, name: str, change: ModelPatch) -> Model:
        return self._connection.patch(_model(project, name), change, Model)

    def trash_model(self, project: str, name: str) -> None:
        """With its versions. Nothing is deleted, and no number is given again."""
        self._connection.delete(_model(project, name))

    def model(self, project: str, name: str) -> Model:
        return self._connection.get(_model(project, name), Model)

    def models(
        self,
        *,
        project: str | None = None,
        name: str | None = None,
        lifecycle: Shown = Shown.ACTIVE,
        limit: int | None = None,
    ) -> Iterator[Model]:
        """By project and name; those that match every filter given."""
        return self._pages("/models", records.ModelPage, limit, project=project, name=name, lifecycle=lifecycle.value)

    # --- versions

    def put_model_version(self, version_id: UUID, version: ModelVersionWrite) -> ModelVersion:
        """Register a version, and its model if that isn't there. Conflict when the id has another."""
        return self._connection.put(f"/model-versions/{version_id}", version, ModelVersion)

    def patch_model_version(self, version_id: UUID, change: ModelVersionPatch) -> ModelVersion:
        """Edit it, or attach the artifact that it has none of yet."""
        return self._connection.patch(f"/model-versions/{version_id}", change, ModelVersion)

    def trash_model_version(self, version_id: UUID) -> None:
        """Conflict for one that is in PRODUCTION or has an alias."""
        self._connection.delete(f"/model-versions/{version_id}")

    def set_model_stage(self, version_id: UUID, stage: ModelStage, *, comment: str = "") -> ModelVersion:
        """Move it; the version that was in PRODUCTION becomes ARCHIVED when another one comes."""
        write = StageWrite(stage=stage, comment=comment)
        return self._connection.put(f"/model-versions/{version_id}/stage", write, ModelVersion)

    def model_version(
        self, project: str, name: str, *, number: int | None = None, stage: str | None = None, alias: str | None = None
    ) -> ModelVersion:
        """By one of the three, or without any the newest. NotFound when there is none."""
        match (number, stage, alias):
            case (None, None, None):
                which = "newest"
            case (int(), None, None):
                which = f"versions/{number}"
            case (None, str(), None):
                which = f"stages/{quote(stage, safe='')}"
            case (None, None, str()):
                which = f"aliases/{quote(alias, safe='')}"
            case _:
                raise ValueError("give one of number, stage and alias")
        return self._connection.get(f"{_model(project, name)}/{which}", ModelVersion)

    def model_version_by_id(self, version_id: UUID) -> ModelVersion:
        return self._connection.get(f"/model-versions/{version_id}", ModelVersion)

    def model_versions(
        self,
        project: str,
        name: str,
        *,
        stage: ModelStage | None = None,
        lifecycle: Shown = Shown.ACTIVE,
        limit: int | None = None,
    ) -> Iterator[ModelVersion]:
        """The highest number first."""
        filters = {"stage": None if stage is None else stage.value, "lifecycle": lifecycle.value}
        return self._pages(f"{_model(project, name)}/versions", records.ModelVersionPage, limit, **filters)

    def model_transitions(self, project: str, name: str, *, limit: int | None = None) -> Iterator[ModelTransition]:
        """Every change of a stage, the latest first."""
        return self._pages(f"{_model(project, name)}/transitions", records.ModelTransitionPage, limit)

    def diff_model_versions(self, project: str, name: str, left: int, right: int) -> ModelDiff:
        return self._connection.get(f"{_model(project, name)}/diff", ModelDiff, {"left": left, "right": right})

    def iteration_model_versions(self, iteration_id: UUID, *, limit: int | None = None) -> Iterator[ModelVersion]:
        """Which came of it, the newest first."""
        return self._pages(f"/iterations/{iteration_id}/model-versions", records.ModelVersionPage, limit)

    def artifact_model_versions(self, artifact_id: UUID, *, limit: int | None = None) -> Iterator[ModelVersion]:
        """Which came of it or of a set with it, the newest first."""
        return self._pages(f"/artifacts/{artifact_id}/model-versions", records.ModelVersionPage, limit)

    # --- aliases

    def set_model_alias(
        self, project: str, name: str, alias: str, number: int, *, expected: int | UnsetType | None = UNSET
    ) -> ModelAlias:
        """Let the alias stand for a version. With `expected` (None: for none), Conflict unless it stood for that."""
        write = AliasWrite(number=number, expected=expected)
        return self._connection.put(f"{_model(project, name)}/aliases/{quote(alias, safe='')}", write, ModelAlias)

    def delete_model_alias(self, project: str, name: str, alias: str) -> None:
        self._connection.delete(f"{_model(project, name)}/aliases/{quote(alias, safe='')}")

    def model_aliases(self, project: str, name: str, *, limit: int | None = None) -> Iterator[ModelAlias]:
        """By name."""
        return self._pages(f"{_model(project, name)}/aliases", records.ModelAliasPage, limit)

    # --- artifacts

    def patch_artifact(self, artifact_id: UUID, change: ArtifactPatch) -> Artifact:
        return self._connection.patch(f"/artifacts/{artifact_id}", change, Artifact)

    def artifact_versions(
        self, iteration_id: UUID, path: str, *, newest: bool = False, limit: int | None = None
    ) -> Iterator[Artifact]:
        """The contents of one path, each with its `version`: in the order of recording, or the newest first."""
        query = {"path": path, "newest": "true" if newest else None}
        return self._pages(f"/iterations/{iteration_id}/artifacts", records.ArtifactPage, limit, **query)

    def artifact_sets(self, iteration_id: UUID, *, limit: int | None = None) -> Iterator[ArtifactSet]:
        """The complete sets of an iteration, the latest first."""
        return self._pages(f"/iterations/{iteration_id}/artifact-sets", records.ArtifactSetPage, limit)

    def artifact_set_members(self, manifest_id: UUID, *, limit: int | None = None) -> Iterator[Artifact]:
        """The files of a set in the order of recording; of any other artifact none."""
        return self._pages(f"/artifacts/{manifest_id}/members", records.ArtifactPage, limit)


def _model(project: str, name: str) -> str:
    return f"/projects/{quote(project, safe='')}/models/{quote(name, safe='')}"
