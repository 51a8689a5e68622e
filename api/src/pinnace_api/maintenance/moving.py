"""Moving bytes from any place to any other, one object after the other, so that every moment of it is a good one.

Each object is copied and compared with what was recorded; then, in one transaction, all rows that name the old bytes
name the new ones instead (those that do not name them any more are left alone); and only when nobody needs the old
bytes are they removed. Killed before the transaction, the copy is rubbish that the garbage collector finds; after it,
the old bytes are.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import msgspec

from pinnace.records import Artifact, Backend, Location
from pinnace_api.artifacts import queries
from pinnace_api.database import Connection, Database
from pinnace_api.maintenance import objects
from pinnace_api.refusals import Refused
from pinnace_api.storage.backend import ByteStore, Written, write
from pinnace_api.storage.keys import is_ours
from pinnace_api.storage.reading import Reading
from pinnace_api.storage.storage import Storage

_log = logging.getLogger(__name__)

DEFAULT_WORKERS: Final = 4


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be done, and why; the row is as it was."""

    artifact: str
    path: str
    cause: str

    def __str__(self) -> str:
        return f"{self.artifact} {self.path}: {self.cause}"


class Moved(msgspec.Struct, kw_only=True):
    """What came of it. `objects` are copies that were made, `artifacts` the rows that name them."""

    objects: int = 0
    artifacts: int = 0
    bytes: int = 0
    #: Rows that had changed before it was their turn: moved with another, or sent again.
    passed_over: int = 0
    failures: list[Failure] = []


def move(
    database: Database,
    storage: Storage,
    to: ByteStore,
    *,
    workers: int = DEFAULT_WORKERS,
    dry_run: bool = False,
    progress: Callable[[Moved], None] = lambda _: None,
) -> Moved:
    """Move everything to `to`. The same call again moves what is left. A failing row is logged and left as it was."""
    moved = Moved()
    if dry_run:
        for artifact in _each_object(database, to.name):
            moved.objects, moved.bytes = moved.objects + 1, moved.bytes + artifact.size
            moved.artifacts += 1
        return moved
    with ThreadPoolExecutor(workers, thread_name_prefix="move") as pool:
        under_way: dict[Future[int], Artifact] = {}
        for artifact in _each_object(database, to.name):
            under_way[pool.submit(_move_one, database, storage, to, artifact)] = artifact
            if len(under_way) >= 2 * workers:
                _take_in(under_way, moved, progress)
        while under_way:
            _take_in(under_way, moved, progress)
    return moved


def _each_object(database: Database, to: Backend) -> Iterator[Artifact]:
    """One artifact for each object, as long as neighbours share it; the rest is found out at the swap."""
    last: Location | None = None
    for artifact in objects.in_other_places(database, to):
        if artifact.location != last:
            yield artifact
        last = artifact.location


def _take_in(under_way: dict[Future[int], Artifact], moved: Moved, progress: Callable[[Moved], None]) -> None:
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        artifact = under_way.pop(future)
        try:
            rows = future.result()
        except Refused as refused:
            _log.error("artifact.not-moved", extra={"fields": {"artifact": artifact.id, "cause": refused.detail}})
            moved.failures.append(Failure(artifact=str(artifact.id), path=artifact.path, cause=refused.detail))
            continue
        moved.artifacts += rows
        moved.objects += 1 if rows else 0
        moved.bytes += artifact.size if rows else 0
        moved.passed_over += 0 if rows else 1
        progress(moved)


def _move_one(database: Database, storage: Storage, to: ByteStore, artifact: Artifact) -> int:
    """How many rows name the new bytes now."""
    with database.read() as connection:
        there = queries.find_all(connection, [artifact.id]).get(artifact.id)
    if there is None or there.location != artifact.location:
        return 0
    written = _copied(storage.of(artifact.location), to, artifact)
    rows = database.write(_swap, artifact, written)
    if rows == 0:
        to.delete(written.location)
    elif not database.write(objects.needs, artifact.location):
        _remove(storage, artifact.location)
    return rows


def _copied(source: ByteStore, to: ByteStore, artifact: Artifact) -> Written:
    written = write(to, iter(Reading(source, artifact).next, b""), artifact.size)
    assert written.digest.sha256 == artifact.sha256  # the reading compared it
    return written


def _swap(connection: Connection, artifact: Artifact, written: Written) -> int:
    return queries.relocate(connection, artifact.location, artifact.sha256, written.location, written.etag)


def _remove(storage: Storage, location: Location) -> None:
    """The old bytes. What stays is found by the garbage collector."""
    try:
        storage.of(location).delete(location)
    except Refused as refused:
        fields = {"key": location.key, "ours": is_ours(location.key), "cause": refused.detail}
        _log.warning("bytes.left", extra={"fields": fields})
