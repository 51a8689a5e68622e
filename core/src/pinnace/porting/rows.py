"""What a project is made of, as it moves from one API to another: what people and runs have said, and nothing that an
API adds by itself.

These are the rows of the files of an export, too. A field that is added later gets a default.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pinnace.records import (
    DatasetRole,
    ExperimentStatus,
    IterationState,
    Lifecycle,
    ModelStage,
)
from pinnace.records.record import Record


class ProjectRow(Record, frozen=True, kw_only=True):
    name: str
    description: str = ""
    tags: dict[str, str] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE


class ExperimentRow(Record, frozen=True, kw_only=True):
    id: UUID
    name: str
    namespace: str = ""
    description: str = ""
    tags: dict[str, str] = {}
    status: ExperimentStatus = ExperimentStatus.OPEN
    lifecycle: Lifecycle = Lifecycle.ACTIVE


class IterationRow(Record, frozen=True, kw_only=True):
    id: UUID
    experiment_id: UUID
    #: None: whatever comes next.
    index: int | None = None
    name: str = ""
    state: IterationState
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parameters: dict[str, Any] = {}
    notes: str = ""
    error: str = ""
    parent_id: UUID | None = None
    tags: dict[str, str] = {}
    environment: dict[str, Any] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE


class DatasetRow(Record, frozen=True, kw_only=True):
    name: str
    digest: str
    source: str = ""
    rows: int | None = None
    columns: int | None = None
    bytes: int | None = None
    features: dict[str, Any] = {}
    description: str = ""
    tags: dict[str, str] = {}


class UseRow(Record, frozen=True, kw_only=True):
    """Of a dataset, which its name and digest tell."""

    iteration_id: UUID
    name: str
    digest: str
    role: DatasetRole
    artifact_id: UUID | None = None
    context: str = ""


class ArtifactRow(Record, frozen=True, kw_only=True):
    """Those of an iteration are in the order in which they were recorded."""

    iteration_id: UUID
    path: str
    size: int
    #: Empty: not known before it is read.
    sha256: str = ""
    #: None: as the API finds.
    content_type: str | None = None
    description: str = ""
    tags: dict[str, str] = {}
    #: Where the bytes are, relative to the folder; empty: they are lost.
    file: str = ""


class SetRow(Record, frozen=True, kw_only=True):
    """A manifest and the files that it names, all by path and SHA-256."""

    iteration_id: UUID
    manifest: tuple[str, str]
    members: tuple[tuple[str, str], ...]


class ModelRow(Record, frozen=True, kw_only=True):
    name: str
    description: str = ""
    tags: dict[str, str] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    #: Names for versions, by their numbers here.
    aliases: dict[str, int] = {}


class VersionRow(Record, frozen=True, kw_only=True):
    """Those of a model are in the order of their numbers."""

    id: UUID
    model: str
    number: int
    iteration_id: UUID
    #: Path and SHA-256 of the iteration's artifact.
    artifact: tuple[str, str] | None = None
    stage: ModelStage = ModelStage.NONE
    description: str = ""
    tags: dict[str, str] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE
