"""The background task that applies retention policies, in one replica at a time."""

import asyncio
import logging

from litestar.concurrency import sync_to_thread

from pinnace_api.clock import now
from pinnace_api.database import Database
from pinnace_api.iterations.sweep import happens
from pinnace_api.refusals import Unavailable
from pinnace_api.retention import applying
from pinnace_api.storage.storage import Storage

_log = logging.getLogger(__name__)

#: Who the tombstones and the audit say it was.
SERVER = "server"


async def apply_until(stopped: asyncio.Event, database: Database, storage: Storage, *, every: float) -> None:
    """Apply them every `every` seconds; 0: never. What fails is tried again the next time."""
    while every and not await happens(stopped, within=every):
        try:
            outcome = await sync_to_thread(
                applying.apply, database, storage, now=now(), by=SERVER, is_over=stopped.is_set
            )
        except Unavailable as error:
            _log.warning("retention.not_applied", extra={"fields": {"cause": error.detail}})
        except Exception:  # noqa: BLE001
            _log.exception("retention.broken")
        else:
            for each in outcome.policies:
                if each.artifacts or each.trashed or each.purged or each.versions or each.trashed_versions:
                    _log.info("retention.applied", extra={"fields": {"what": str(each)}})
