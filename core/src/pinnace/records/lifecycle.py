"""What projects, experiments and iterations have in common: where they stand with their owner, and their tags.

An edit is a JSON merge patch (RFC 7396): a field that is left out (UNSET) stays, null takes the value away.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

MAX_TAGS = 100

TagKey = Annotated[str, Meta(min_length=1, max_length=100)]
TagValue = Annotated[str, Meta(max_length=4096)]
#: `{"baseline": "", "team": "vision"}`
Tags = Annotated[dict[TagKey, TagValue], Meta(max_length=MAX_TAGS)]
#: What is null is taken away.
TagsPatch = Annotated[dict[TagKey, TagValue | None], Meta(max_length=2 * MAX_TAGS)]


class Lifecycle(StrEnum):
    """Whether something is still wanted; says nothing about how it went."""

    ACTIVE = "ACTIVE"
    #: Left out of lists, otherwise as before.
    ARCHIVED = "ARCHIVED"
    #: Left out of lists and closed for writing, with all that is in it. Can be taken back.
    TRASHED = "TRASHED"


class Shown(StrEnum):
    """Which of them a list shows. What lies in something trashed counts as trashed."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    TRASHED = "trashed"
    ALL = "all"
