"""Projects: what experiments are gathered in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pinnace.records.record import Page, Record, Text

#: `$` alone would let a newline follow.
ProjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]


class ProjectWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}"""

    description: Text = ""


class Project(Record, frozen=True, kw_only=True):
    id: UUID
    name: ProjectName
    description: str
    created_at: datetime


class ProjectPage(Page, frozen=True, kw_only=True):
    items: tuple[Project, ...]
