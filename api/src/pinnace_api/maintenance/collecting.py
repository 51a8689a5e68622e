"""Removing bytes that nobody needs: what deleted artifacts had, what expired uploads brought, and orphans.

An orphan is something under a key of this API's making that no row names: its writer was killed, or could not remove
what it had replaced. It must be older than the grace time, which has to be longer than the longest upload takes. An
object of a sidecar is none by that: it may be about to be registered, when the API was away for days. With `sidecars`
they are taken too; that is for when no pod is waiting.
"""

import logging
from datetime import datetime

import msgspec

from pinnace.records import Location
from pinnace_api.database import Database
from pinnace_api.maintenance import objects
from pinnace_api.refusals import Refused
from pinnace_api.storage.backend import ByteStore, Held
from pinnace_api.storage.keys import is_ours
from pinnace_api.storage.storage import Storage
from pinnace_api.uploads import queries as uploads

_log = logging.getLogger(__name__)


class Collected(msgspec.Struct, kw_only=True):
    """What was removed, or would be."""

    deleted_artifacts: int = 0
    #: Objects whose removal somebody was killed in, or could not do.
    unfinished: int = 0
    expired_uploads: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    failures: list[str] = []


def collect(
    database: Database,
    storage: Storage,
    *,
    now: datetime,
    before: datetime,
    dry_run: bool = False,
    sidecars: bool = False,
) -> Collected:
    """Remove what is rubbish since `before`. A place that can't be used is a failure, and the others go on."""
    collected = Collected()
    _purge(database, storage, before, collected, dry_run=dry_run)
    _expire(database, storage, now, collected, dry_run=dry_run)
    for store in storage.stores:
        try:
            _orphans(database, store, before, collected, dry_run=dry_run, sidecars=sidecars)
        except Refused as refused:
            collected.failures.append(f"{store.name}: {refused.detail}")
    return collected


def _purge(database: Database, storage: Storage, before: datetime, collected: Collected, *, dry_run: bool) -> None:
    for artifact in objects.deleted_before(database, before):
        if dry_run:
            collected.deleted_artifacts += 1
        elif database.write(objects.purge, artifact, before):
            collected.deleted_artifacts += 1
            _release(database, storage, artifact.location, collected)
    for location in objects.leaving(database):
        collected.unfinished += 1
        if not dry_run:
            _release(database, storage, location, collected)


def _expire(database: Database, storage: Storage, now: datetime, collected: Collected, *, dry_run: bool) -> None:
    with database.read() as connection:
        expired = {upload: uploads.pieces(connection, upload) for upload in uploads.expired(connection, now)}
    for upload, pieces in expired.items():
        collected.expired_uploads += 1
        if not dry_run:
            database.write(uploads.remove, upload)
            for _, location in pieces:
                _remove(database, storage, location, collected)


def _orphans(
    database: Database, store: ByteStore, before: datetime, collected: Collected, *, dry_run: bool, sidecars: bool
) -> None:
    for held in store.list():
        if held.written_at >= before or not (sidecars or is_ours(held.location.key)) or _is_needed(database, held):
            continue
        if not dry_run:
            store.discard(held)
            _log.info("orphan.removed", extra={"fields": {"key": held.location.key, "bytes": held.size}})
        collected.orphans, collected.orphan_bytes = collected.orphans + 1, collected.orphan_bytes + held.size


def _is_needed(database: Database, held: Held) -> bool:
    # What has a handle was never finished, so no row names it.
    return not held.handle and database.write(objects.needs, held.location)


def _release(database: Database, storage: Storage, location: Location, collected: Collected) -> None:
    try:
        objects.release(database, storage, location)
    except Refused as refused:
        collected.failures.append(f"{location.key}: {refused.detail}")


def _remove(database: Database, storage: Storage, location: Location, collected: Collected) -> None:
    try:
        if not database.write(objects.needs, location):
            storage.of(location).delete(location)
    except Refused as refused:
        collected.failures.append(f"{location.key}: {refused.detail}")
