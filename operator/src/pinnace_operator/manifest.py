"""What every object of the cluster is parsed by. Pure."""

from datetime import datetime

import msgspec

from pinnace.errors import PinnaceError


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything read from or written to the cluster: camelCase there, unknown fields ignored."""


class Metadata(Manifest, frozen=True, kw_only=True):
    """What we read of any object's metadata."""

    name: str
    namespace: str = ""
    uid: str
    generation: int = 0
    resource_version: str = "0"
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def version(self) -> int:
        """Grows with each change of an object. Opaque by the book, and an integer in every API server there is."""
        return int(self.resource_version) if self.resource_version.isdigit() else 0


class MalformedError(PinnaceError):
    """An object of the cluster does not have the shape that its schema promises. Trying again can't help."""
