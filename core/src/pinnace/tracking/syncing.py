"""Delivering what lies in a spool: after the training, from the same computer or another one. Safe to break off."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from pinnace.client import ApiError, Client
from pinnace.records.record import Record
from pinnace.tracking.delivery import Delivery, is_worth_repeating
from pinnace.tracking.errors import SpoolBusy
from pinnace.tracking.events import End, File
from pinnace.tracking.spool import Spool

_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 15.0


class Outcome(StrEnum):
    """What came of a spool."""

    #: The API has all of it.
    DELIVERED = "delivered"
    #: And has refused a part of it for ever: refused.jsonl says what and why.
    REFUSED = "refused"
    #: Broken off; the next time goes on from there.
    LEFT = "left"
    #: Its training runs, or somebody else delivers it.
    BUSY = "busy"
    #: It does not say what was begun.
    UNREADABLE = "unreadable"


class Synced(Record, frozen=True, kw_only=True):
    """One spool. `left_bytes` of its events are not delivered; `reason` says why."""

    folder: str
    outcome: Outcome
    iteration_id: UUID | None = None
    project: str = ""
    experiment: str = ""
    left_bytes: int = 0
    refused: tuple[str, ...] = ()
    reason: str = ""


#: Told after each step: how many bytes were delivered, how many there are.
Progress = Callable[[int, int], None]


def sync(client: Client, folder: Path, *, patience: float, progress: Progress, remove: bool = False) -> Synced:
    """Deliver the spool `folder`. Gives up when nothing has worked for `patience` seconds.

    `remove` deletes it when the API has taken all of it. Raises SpoolError when it is no spool.
    """
    try:
        spool = Spool.open(folder)
    except SpoolBusy as error:
        return Synced(folder=str(folder), outcome=Outcome.BUSY, reason=str(error))
    try:
        synced = _deliver(client, spool, patience, progress)
        if remove and synced.outcome is Outcome.DELIVERED:
            spool.remove()
        return synced
    finally:
        spool.close()


def _deliver(client: Client, spool: Spool, patience: float, progress: Progress) -> Synced:
    delivery = Delivery(client, spool, keep=True)
    reason = ""
    ended, end = False, 0
    files: list[tuple[int, int]] = []
    for entry in spool.entries(0):
        ended, end = isinstance(entry.event, End), entry.end
        if isinstance(entry.event, File):
            files.append((entry.end, entry.event.size))

    def done(mark: int) -> int:
        return mark + sum(size for behind, size in files if behind <= mark)

    worked_at, pause = time.monotonic(), _FIRST_PAUSE_S
    progress(done(delivery.mark), done(end))
    while True:
        try:
            if not delivery.step():
                if not ended:
                    # Its process died without a word: without another sign of life it will be LOST.
                    client.heartbeat(spool.begin.id, lease_seconds=1)
                break
            progress(done(delivery.mark), done(end))
            worked_at, pause = time.monotonic(), _FIRST_PAUSE_S
        except (ApiError, OSError) as error:
            reason = str(error)
            over = time.monotonic() - worked_at >= patience
            if over or (isinstance(error, ApiError) and not is_worth_repeating(error)):
                return _synced(spool, Outcome.LEFT, end - delivery.mark, reason)
            threading.Event().wait(min(pause, patience))
            pause = min(2 * pause, _LAST_PAUSE_S)
    return _synced(spool, Outcome.REFUSED if spool.refused else Outcome.DELIVERED, 0, "")


def _synced(spool: Spool, outcome: Outcome, left: int, reason: str) -> Synced:
    begin = spool.begin
    return Synced(
        folder=str(spool.folder),
        outcome=outcome,
        iteration_id=begin.id,
        project=begin.project,
        experiment=begin.experiment,
        left_bytes=left,
        refused=tuple(spool.refused),
        reason=reason,
    )
