"""`python -m pinnace_sidecar rescue`: ship what a pod that is gone left on a volume that outlived it, in its name.

Volume, buffer and journal are that pod's own, and so is what the settings say of it; the writers have ended. All that a
sidecar knows of a drain holds: what was copied is complete, what was not is judged, and touched last it is suspect.
When everything is ashore the report is final. Safe to break off at any moment, and to begin again.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from threading import Event

from pinnace.errors import PinnaceError
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace_sidecar import log_lines, summary
from pinnace_sidecar.assembly import open_journal, sidecar_of
from pinnace_sidecar.clock import SystemClock
from pinnace_sidecar.files import LocalVolume, Volume
from pinnace_sidecar.inotify import NoWatcher
from pinnace_sidecar.journal.place import LocalPlace

_log = logging.getLogger(__name__)


class Exit(IntEnum):
    #: Everything is ashore, or can't be shipped whatever is tried; the report is final.
    DONE = 0
    #: Not everything yet: worth trying again.
    UNFINISHED = 1
    #: That pod left nothing here: trying again can't help.
    NOTHING_HERE = 3


class NothingHere(PinnaceError):
    """The volume is not the one that the pod wrote to."""


def main(environ: Mapping[str, str]) -> int:
    """Run until the end; returns the exit code."""
    log_lines.begin("info")
    # A container's first process ignores signals that it does not ask for. Where it stands is on disk at any moment.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(Exit.UNFINISHED))
    message = Path("/dev/termination-log")
    try:
        own = load(SidecarSettings, environ, SIDECAR_PREFIX)
        message = Path(own.termination_message)
        return _rescue(own, environ)
    except NothingHere as error:
        return _fail(message, error, Exit.NOTHING_HERE)
    except PinnaceError as error:
        return _fail(message, error, Exit.UNFINISHED)
    except Exception as error:  # noqa: BLE001
        # What matters is on disk: the next try goes on from there.
        _log.exception("ended by a defect or by its own disk")
        return _fail(message, error, Exit.UNFINISHED)


def _rescue(own: SidecarSettings, environ: Mapping[str, str]) -> int:
    if not had_journal(Path(own.buffer_dir)):
        raise NothingHere(
            f"pod {own.pod_uid} has no journal on this volume, so nobody can tell what it wrote",
            hint="was the claim deleted and made again? Compare the recorded artifacts with what should be there",
        )
    volume = LocalVolume(own.artifacts_dir)
    ended_at = last_change(volume, SystemClock().now())
    journal = open_journal(own)
    try:
        sidecar = sidecar_of(own, environ, journal, bell := Event(), volume=volume, watcher=NoWatcher())
        _log.info("rescuing", extra={"pod": own.pod_uid, "iteration": str(own.iteration_id)})
        report = sidecar.run(bell, lambda: ended_at)
    finally:
        journal.close()
    summary.leave(Path(own.termination_message), report)
    return Exit.DONE if report.final else Exit.UNFINISHED


def had_journal(buffer: Path) -> bool:
    """Whether a sidecar has worked with this buffer, whatever became of its journal since."""
    if not buffer.is_dir():
        return False
    place = LocalPlace(buffer / "journal.db")
    try:
        return place.had_one()
    finally:
        place.release()


def last_change(volume: Volume, now: float) -> float:
    """When the writers lived at the latest, as far as their files tell, in seconds since the epoch; `now` without any.

    Nobody saw them die. Taken too early, the moment makes a whole file suspect; too late, a torn one complete. A time
    that is yet to come tells nothing: anybody can set one.
    """
    times = (
        entry.fingerprint.mtime_ns / 1e9
        for folder in volume.scan(lambda _: None)
        for entry in folder.entries
        if entry.fingerprint is not None
    )
    return max((time for time in times if time <= now), default=now)


def _fail(message: Path, error: Exception, code: Exit) -> int:
    _log.error("can't go on", extra={"error": str(error)})
    summary.leave_text(message, str(error))
    print(f"pinnace_sidecar rescue: {error}", file=sys.stderr)
    return code
