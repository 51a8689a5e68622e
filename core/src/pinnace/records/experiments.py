"""Experiments: what iterations are gathered in."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.lifecycle import Lifecycle, Tags, TagsPatch
from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record, Text


class ExperimentStatus(StrEnum):
    """Whether more is to come."""

    OPEN = "OPEN"
    #: It has shown what it was to show.
    FINISHED = "FINISHED"
    #: Given up.
    STOPPED = "STOPPED"


class ExperimentWrite(Record, frozen=True, kw_only=True):
    """PUT /experiments/{id}. The project is created when it does not exist.

    Sent again with another description or other tags, it changes what differs from the PUT before and leaves alone
    what was edited by PATCH.
    """

    project: ProjectName
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    #: The Kubernetes namespace whose pods may write into this experiment; empty when it runs elsewhere.
    namespace: Annotated[str, Meta(max_length=63)] = ""
    description: Text = ""
    tags: Tags = {}


class ExperimentPatch(Record, frozen=True, kw_only=True):
    """PATCH /experiments/{id}"""

    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET
    #: OPEN opens it again.
    status: ExperimentStatus | UnsetType = UNSET
    lifecycle: Lifecycle | UnsetType = UNSET


class Experiment(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    name: str
    namespace: str
    description: str
    tags: dict[str, str]
    created_at: datetime
    created_by: str = ""
    status: ExperimentStatus = ExperimentStatus.OPEN
    #: When it was finished or stopped.
    ended_at: datetime | None = None
    lifecycle: Lifecycle = Lifecycle.ACTIVE


class ExperimentPage(Page, frozen=True, kw_only=True):
    items: tuple[Experiment, ...]
