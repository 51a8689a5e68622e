"""Projects: what experiments are gathered in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.lifecycle import Lifecycle, Tags, TagsPatch
from pinnace.records.record import Page, Record, Text

#: `$` alone would let a newline follow.
ProjectName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]


class ProjectWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}"""

    description: Text = ""
    #: Taken when the project is created; afterwards they are edited by PATCH.
    tags: Tags = {}


class ProjectPatch(Record, frozen=True, kw_only=True):
    """PATCH /projects/{name}"""

    description: Text | UnsetType | None = UNSET
    tags: TagsPatch | UnsetType | None = UNSET
    lifecycle: Lifecycle | UnsetType = UNSET


class Project(Record, frozen=True, kw_only=True):
    id: UUID
    name: ProjectName
    description: str
    created_at: datetime
    #: Who created it, and so owns it.
    created_by: str = ""
    tags: dict[str, str] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE


class ProjectPage(Page, frozen=True, kw_only=True):
    items: tuple[Project, ...]
