"""Whether the bytes that rows name are there, and are those that were recorded."""

from collections.abc import Callable

import msgspec

from pinnace.records import Artifact
from pinnace_api.database import Database
from pinnace_api.maintenance import objects
from pinnace_api.maintenance.moving import Failure
from pinnace_api.refusals import BytesCorrupt, BytesMissing, Refused
from pinnace_api.storage.reading import Reading
from pinnace_api.storage.storage import Storage


class Verified(msgspec.Struct, kw_only=True):
    """What was found. `unreachable`: nobody can say, because the place can't be used or isn't configured."""

    artifacts: int = 0
    bytes: int = 0
    missing: list[Failure] = []
    corrupt: list[Failure] = []
    unreachable: list[Failure] = []


def verify(
    database: Database,
    storage: Storage,
    *,
    sizes_only: bool = False,
    progress: Callable[[Verified], None] = lambda _: None,
) -> Verified:
    """Look at every artifact that is not deleted. `sizes_only`: read no bytes."""
    verified = Verified()
    for artifact in objects.all_kept(database):
        verified.artifacts += 1
        verified.bytes += artifact.size
        try:
            _look(storage, artifact, sizes_only=sizes_only)
        except Refused as refused:
            failure = Failure(artifact=str(artifact.id), path=artifact.path, cause=refused.detail)
            match refused:
                case BytesMissing():
                    verified.missing.append(failure)
                case BytesCorrupt():
                    verified.corrupt.append(failure)
                case _:
                    verified.unreachable.append(failure)
        progress(verified)
    return verified


def _look(storage: Storage, artifact: Artifact, *, sizes_only: bool) -> None:
    store = storage.of(artifact.location)
    size = store.size(artifact.location)
    if size is None:
        raise BytesMissing(artifact.location)
    if size != artifact.object_size:
        raise BytesCorrupt(artifact.location, f"{size} bytes")
    if not sizes_only:
        reading = Reading(store, artifact)
        while reading.next():
            pass
