"""Experiments: what iterations are gathered in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record, Tag, Text


class ExperimentWrite(Record, frozen=True, kw_only=True):
    """PUT /experiments/{id}. The project is created when it does not exist."""

    project: ProjectName
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    #: The Kubernetes namespace whose pods may write into this experiment; empty when it runs elsewhere.
    namespace: Annotated[str, Meta(max_length=63)] = ""
    description: Text = ""
    tags: Annotated[tuple[Tag, ...], Meta(max_length=100)] = ()


class Experiment(Record, frozen=True, kw_only=True):
    id: UUID
    project: ProjectName
    name: str
    namespace: str
    description: str
    tags: tuple[str, ...]
    created_at: datetime


class ExperimentPage(Page, frozen=True, kw_only=True):
    items: tuple[Experiment, ...]
