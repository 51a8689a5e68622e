"""Datasets: what iterations consumed and produced, and how one led to another."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.lifecycle import Tags, TagsPatch
from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record, Text

Count = Annotated[int, Meta(ge=0, le=2**53)]


class DatasetWrite(Record, frozen=True, kw_only=True):
    """PUT /datasets/{id}. The id is `ids.dataset_id(project, name, digest)`: another content is another dataset."""

    project: ProjectName
    name: Annotated[str, Meta(min_length=1, max_length=250)]
    #: Of its content, with the algorithm where it isn't SHA-256: `sha256:…`, `delta:42`.
    digest: Annotated[str, Meta(min_length=1, max_length=200)]
    #: Where it was read from.
    source: Text = ""
    rows: Count | None = None
    columns: Count | None = None
    bytes: Count | None = None
    #: Its columns or features, in whatever words its owner has for them.
    features: dict[str, Any] = {}
    description: Text = ""
    tags: Tags = {}


class DatasetPatch(Record, frozen=True, kw_only=True):
    """PATCH /datasets/{id}"""

    source: Text | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET


class Dataset(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    name: str
    digest: str
    source: str
    rows: int | None
    columns: int | None
    bytes: int | None
    features: dict[str, Any]
    description: str
    tags: dict[str, str]
    created_at: datetime
    created_by: str


class DatasetPage(Page, frozen=True, kw_only=True):
    items: tuple[Dataset, ...]


class DatasetRole(StrEnum):
    """What a dataset is to an iteration."""

    CONSUMED = "consumed"
    PRODUCED = "produced"


class DatasetUseWrite(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/datasets/{dataset_id}"""

    role: DatasetRole
    #: The artifact that holds it: of this iteration when it was produced here.
    artifact_id: UUID | None = None
    #: What for: `train`, `validation` …
    context: Annotated[str, Meta(max_length=100)] = ""


class DatasetUse(Record, frozen=True, kw_only=True):
    iteration_id: UUID
    role: DatasetRole
    artifact_id: UUID | None
    context: str
    used_at: datetime
    dataset: Dataset


class DatasetUsePage(Page, frozen=True, kw_only=True):
    items: tuple[DatasetUse, ...]


class Direction(StrEnum):
    """Where to follow a lineage."""

    #: What it was made of.
    UPSTREAM = "upstream"
    #: What was made of it.
    DOWNSTREAM = "downstream"


class LineageStep(Record, frozen=True, kw_only=True):
    """One use, `distance` steps (each from iteration to iteration) away from what was asked for."""

    distance: int
    iteration_id: UUID
    dataset_id: UUID
    dataset_name: str
    role: DatasetRole
    artifact_id: UUID | None


class Lineage(Record, frozen=True, kw_only=True):
    """GET /artifacts/{id}/lineage: the uses that lie between, the nearest first."""

    steps: tuple[LineageStep, ...]
    #: There is more than was asked for, or than one answer holds.
    truncated: bool
