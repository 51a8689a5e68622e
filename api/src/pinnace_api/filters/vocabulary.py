"""Which names a filter over something may use, and what may be asked of each."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from pinnace_api.filters.expression import Family


class Type(StrEnum):
    """What an attribute holds."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    ID = "id"
    #: One of a few words.
    CHOICE = "choice"


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    type: Type
    #: The words of a CHOICE.
    choices: tuple[str, ...] = ()
    #: Whether a list may be sorted by it.
    sortable: bool = True
    #: Whether the word `me` may stand for who asks.
    person: bool = False


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of thing is called, its attributes by name, and what else it has."""

    of: str
    attributes: Mapping[str, Attribute]
    families: frozenset[Family]

    @property
    def names(self) -> tuple[str, ...]:
        """What a field may begin with."""
        return (*self.attributes, *sorted(family.value for family in self.families))


def time_of(text: str) -> datetime | None:
    """ISO 8601; a day is its midnight. None for anything else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
