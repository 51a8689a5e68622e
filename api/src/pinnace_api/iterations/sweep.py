"""The background task that finds iterations whose signs of life have stopped."""

import asyncio
import logging
import time
from typing import Final

from litestar.concurrency import sync_to_thread

from pinnace_api.database import Database
from pinnace_api.iterations import service
from pinnace_api.refusals import Unavailable

_log = logging.getLogger(__name__)

#: So many lost ones are named in one line of the log.
_NAMED: Final = 20


async def sweep_until(stopped: asyncio.Event, database: Database, *, every: float) -> None:
    """Look every `every` seconds. What fails is tried again the next time: nobody would notice that it has ended."""
    begun = time.monotonic()
    while not await happens(stopped, within=every):
        try:
            lost = await sync_to_thread(service.sweep, database, uptime=time.monotonic() - begun)
        except Unavailable as error:
            _log.warning("iterations.not_swept", extra={"fields": {"cause": error.detail}})
        except Exception:  # noqa: BLE001
            _log.exception("iterations.sweep_broken")
        else:
            if lost:
                named = " ".join(map(str, lost[:_NAMED]))
                _log.warning("iterations.lost", extra={"fields": {"count": len(lost), "iterations": named}})


async def happens(event: asyncio.Event, *, within: float) -> bool:
    """Whether it does within so many seconds; returns as soon as it does."""
    try:
        await asyncio.wait_for(event.wait(), timeout=within)
    except TimeoutError:
        return False
    return True
