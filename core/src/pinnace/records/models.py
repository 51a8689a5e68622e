"""Registered models: versions of what iterations made, where each stands, and what they are called."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.lifecycle import Lifecycle, Tags, TagsPatch
from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record, Text

MAX_VERSION_NUMBER = 2**31 - 1

#: `$` alone would let a newline follow.
ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]{0,98}[A-Za-z0-9])?$(?!\n)", min_length=1, max_length=100)
]
#: A name that no number and no stage can be taken for, so that MODEL@WORD means one thing.
AliasName = Annotated[
    str,
    Meta(
        pattern=r"^(?![0-9]+$)(?!(none|staging|production|archived|newest)$)"
        r"[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)",
        min_length=1,
        max_length=100,
    ),
]
VersionNumber = Annotated[int, Meta(ge=1, le=MAX_VERSION_NUMBER)]


class ModelStage(StrEnum):
    """Where a version stands; any may follow any."""

    NONE = "NONE"
    STAGING = "STAGING"
    #: At most one version of a model: the one before becomes ARCHIVED.
    PRODUCTION = "PRODUCTION"
    ARCHIVED = "ARCHIVED"


class ModelWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}/models/{model}: taken when it is created; afterwards they are edited by PATCH."""

    description: Text = ""
    tags: Tags = {}


class ModelPatch(Record, frozen=True, kw_only=True):
    """PATCH /projects/{name}/models/{model}"""

    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET
    lifecycle: Lifecycle | UnsetType = UNSET


class Model(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    name: ModelName
    description: str
    tags: dict[str, str]
    lifecycle: Lifecycle
    created_at: datetime
    created_by: str
    #: The number that the latest version got; 0: there was none yet.
    last_number: int
    #: The number of the version in PRODUCTION.
    production: int | None
    #: Names for versions, and the number that each stands for.
    aliases: dict[str, int]


class ModelPage(Page, frozen=True, kw_only=True):
    items: tuple[Model, ...]


class ModelVersionWrite(Record, frozen=True, kw_only=True):
    """PUT /model-versions/{id}. The model is created if it isn't there; the number is given by the API."""

    project: ProjectName
    model: ModelName
    iteration_id: UUID
    #: An artifact of that iteration. The manifest of a set means the whole set.
    artifact_id: UUID | None = None
    #: These three are taken when the version is created.
    stage: ModelStage = ModelStage.NONE
    description: Text = ""
    tags: Tags = {}


class ModelVersionPatch(Record, frozen=True, kw_only=True):
    """PATCH /model-versions/{id}"""

    #: Given to a version that has none; what it has can't change.
    artifact_id: UUID | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET
    lifecycle: Lifecycle | UnsetType = UNSET


class ModelVersion(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    model: ModelName
    #: Counted from 1 within the model, never given twice.
    number: int
    iteration_id: UUID
    artifact_id: UUID | None
    stage: ModelStage
    description: str
    tags: dict[str, str]
    lifecycle: Lifecycle
    created_at: datetime
    created_by: str
    aliases: tuple[str, ...]


class ModelVersionPage(Page, frozen=True, kw_only=True):
    items: tuple[ModelVersion, ...]


class StageWrite(Record, frozen=True, kw_only=True):
    """PUT /model-versions/{id}/stage"""

    stage: ModelStage
    comment: Text = ""


class ModelTransition(Record, frozen=True, kw_only=True):
    """One change of a version's stage."""

    number: int
    version_id: UUID
    before: ModelStage
    after: ModelStage
    at: datetime
    by: str
    comment: str


class ModelTransitionPage(Page, frozen=True, kw_only=True):
    items: tuple[ModelTransition, ...]


class AliasWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}/models/{model}/aliases/{alias}"""

    number: VersionNumber
    #: What it must stand for before: a number, or null for nothing. Left out: whatever it stands for.
    expected: VersionNumber | UnsetType | None = UNSET


class ModelAlias(Record, frozen=True, kw_only=True):
    alias: AliasName
    number: int
    version_id: UUID
    moved_at: datetime
    moved_by: str


class ModelAliasPage(Page, frozen=True, kw_only=True):
    items: tuple[ModelAlias, ...]


class Likeness(StrEnum):
    """How two versions compare in one point."""

    SAME = "same"
    DIFFER = "differ"
    #: One of them has none.
    MISSING = "missing"


class Difference(Record, frozen=True, kw_only=True):
    """One point of a comparison. The side that is left out has no such value."""

    name: str
    likeness: Likeness
    left: Any | UnsetType = UNSET
    right: Any | UnsetType = UNSET


class ModelDiff(Record, frozen=True, kw_only=True):
    """Two versions of a model, point by point, each list by name."""

    left: ModelVersion
    right: ModelVersion
    parameters: tuple[Difference, ...]
    #: The last value of each.
    metrics: tuple[Difference, ...]
    #: By dotted names: `packages.numpy`.
    environment: tuple[Difference, ...]
    #: SHA-256 by path: of the artifact, or of all the files of a set by their path in its folder.
    artifacts: tuple[Difference, ...]
