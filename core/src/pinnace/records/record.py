"""What every wire type has in common: its base, the words many of them share, and how lists are cut."""

from typing import Annotated

import msgspec
from msgspec import Meta

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="SHA-256 in lower-case hex")]
Text = Annotated[str, Meta(max_length=4096)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of all wire types: immutable, fields by name, unknown fields ignored."""


class Page(Record, frozen=True, kw_only=True):
    """How every list is cut: `next` goes into `after` of the following request; None means that was all."""

    next: str | None = None
