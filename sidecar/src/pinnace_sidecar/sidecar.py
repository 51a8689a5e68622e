"""One pod's sidecar: the parts put together, one pass over all of them, and the loop and the end around it.

A pass takes what operations brought back, looks at the volume when that is worth while, and hands out new ones. It
never waits; the loop does. When the pod's writers have ended (SIGTERM) passes go on until nothing is left to do or
time is up.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Bell
from typing import Any, Final

from pinnace.records import PodReport, WriterEnd
from pinnace.settings import SidecarSettings, StoreSettings
from pinnace.stores.store import MultipartStore
from pinnace_sidecar.adoption import Adoption
from pinnace_sidecar.api_calls import Api, ApiAnswer, ApiCalls
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.completeness import Ending, writers_may_write
from pinnace_sidecar.compressing import Compression
from pinnace_sidecar.copier import Copier, CopyAnswer
from pinnace_sidecar.crash import Crash
from pinnace_sidecar.describing import Describer
from pinnace_sidecar.disk import Disk
from pinnace_sidecar.files import Volume
from pinnace_sidecar.health import Status
from pinnace_sidecar.inotify import Watcher
from pinnace_sidecar.intake import Intake
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.lifecycle import DUTIES
from pinnace_sidecar.lost_copies import LostCopies
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.registrar import Registrar
from pinnace_sidecar.reporter import Reporter
from pinnace_sidecar.sets import Sets
from pinnace_sidecar.settings import Tuning
from pinnace_sidecar.sharing import Sharing
from pinnace_sidecar.shipper import Shipper
from pinnace_sidecar.store_calls import Answer, Carrier, StoreCalls
from pinnace_sidecar.sweeper import Sweeper
from pinnace_sidecar.tailing import Tailer
from pinnace_sidecar.upload_calls import ApiFiles, UploadCalls
from pinnace_sidecar.workers import Workers

_log = logging.getLogger(__name__)

#: How often metric files are read on.
_TAIL_S: Final = 1.0
#: The longest time between two passes; /healthz counts on it.
LONGEST_PAUSE_S: Final = 10.0
#: With so long a pause before it a pass has time, and after so many files there is memory to give back.
_REST_S: Final = 0.5
_BURST_FILES: Final = 1000
#: After this share of the drain time nobody waits any more for what may never come: the word on how the writers ended,
#: a copy that can't be read.
_PATIENT_SHARE: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside the sidecar, each behind its seam."""

    volume: Volume
    watcher: Watcher
    disk: Disk
    store: MultipartStore | ApiFiles
    api: Api
    clock: Clock
    rng: random.Random
    crash: Crash
    #: Makes workers: how many, and a name for them.
    workers: Callable[[int, str], Workers[Any]]
    #: When the store's credentials end, in seconds since the epoch; None: never, as far as is known.
    credentials_expire_at: Callable[[], float | None] = lambda: None
    #: Gives memory back to the system that nobody uses any more.
    give_back: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Drain:
    deadline: float
    patient_until: float


class Sidecar:
    """Made from settings, the world and an open journal; `ship_once` is one pass, `run` all of them."""

    def __init__(
        self,
        settings: SidecarSettings,
        tuning: Tuning,
        store_settings: StoreSettings,
        world: World,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._clock = clock = world.clock
        self._journal = journal
        problems = Problems()
        self._copy_workers: Workers[tuple[CopyAnswer, ...]] = world.workers(tuning.copy_threads, "copy")
        self._store_workers: Workers[tuple[Answer, ...]] = world.workers(tuning.upload_threads, "store")
        self._api_workers: Workers[ApiAnswer] = world.workers(1, "api")
        journal.files.forget_uncopied()
        buffer = Buffer(files_folder(settings), settings.buffer_limit_bytes, world.disk, tuning.buffered_files)
        self._adoption = Adoption(buffer, journal, settings.iteration_id, problems, clock=clock, rng=world.rng)
        self._sweeper = Sweeper(buffer, world.workers(1, "sweep"))
        self._intake = Intake(
            settings,
            volume=world.volume,
            watcher=world.watcher,
            known=journal.files.known,
            promises=journal.sets.promises,
            unread=journal.sets.unread,
            is_late=self._is_late,
            clock=clock,
            places=tuning.watched_files,
            much_bytes=tuning.much_bytes,
        )
        self._copier = Copier(
            iteration_id=settings.iteration_id,
            tuning=tuning,
            compression=Compression(
                level=settings.zstd_level, least_bytes=tuning.compress_bytes, metrics_files=settings.metrics_files
            ),
            intake=self._intake,
            volume=world.volume,
            buffer=buffer,
            journal=journal,
            workers=self._copy_workers,
            stuck=self._stuck,
            problems=problems,
            clock=clock,
            rng=world.rng,
            crash=world.crash,
        )
        self._sets = Sets(
            iteration_id=settings.iteration_id,
            journal=journal,
            buffer=buffer,
            volume=world.volume,
            intake=self._intake,
            copy_again=self._copier.copy_again,
            problems=problems,
            clock=clock,
            rng=world.rng,
        )
        self._sharing = Sharing(
            ask=lambda query: world.api.recorded_contents(settings.iteration_id, query),
            workers=world.workers(1, "sharing"),
            endpoint=store_settings.endpoint,
            bucket=store_settings.bucket,
            least_bytes=tuning.share_bytes if settings.deduplicate else 0,
            clock=clock,
            rng=world.rng,
        )
        self._shipper = Shipper(
            journal=journal,
            store_calls=_carrier(world, buffer, store_settings),
            workers=self._store_workers,
            prefix=store_settings.prefix,
            lost_copies=LostCopies(
                journal=journal,
                volume=world.volume,
                intake=self._intake,
                copier=self._copier,
                is_late=self._is_late,
            ),
            problems=problems,
            clock=clock,
            rng=world.rng,
            crash=world.crash,
            look_at_everything=journal.begun_anew,
            sharing=self._sharing,
            whole_bytes=tuning.whole_bytes,
        )
        self._registrar = Registrar(
            api_calls=ApiCalls(world.api, settings.iteration_id, settings.pod_uid, store_settings),
            workers=self._api_workers,
            journal=journal,
            sweeper=self._sweeper,
            send_alone=self._shipper.send_alone,
            problems=problems,
            clock=clock,
            rng=world.rng,
            crash=world.crash,
        )
        self._describer = Describer(world.volume)
        self._tailer = Tailer(world.volume, journal, settings.pod_uid, world.crash)
        self._give_back = world.give_back
        #: The last file of the journal when memory was given back.
        self._rested_at = journal.files.last_id()
        self._tails_done = self._tails_behind = False
        self._tailed_at = -_TAIL_S
        self._drain: _Drain | None = None
        self._reporter = Reporter(
            iteration_id=settings.iteration_id,
            pod_uid=settings.pod_uid,
            injected=settings.injected,
            journal=journal,
            intake=self._intake,
            tailer=self._tailer,
            shipper=self._shipper,
            registrar=self._registrar,
            buffer=buffer,
            adoption=self._adoption,
            watcher=world.watcher,
            problems=problems,
            clock=clock,
            store_bandwidth_limit=store_settings.bandwidth_bytes_per_second,
            credentials_expire_at=world.credentials_expire_at,
        )

    # --- the loop

    def run(self, bell: Bell, ended: Callable[[], float | None]) -> PodReport:
        """Pass after pass until the work is done or the drain's time is up; returns the last report.

        `ended` says when we were told that the pod's writers have ended, in seconds since the epoch; None before that.
        `bell` rings when there is something to do.
        """
        while True:
            if self._drain is None and (told_at := ended()) is not None:
                self.begin_drain(told_at)
            pause = self.ship_once()
            if self._reporter.final is not None:
                _log.info("everything is recorded")
                return self._reporter.final
            if self._drain is not None and self._clock.monotonic() >= self._drain.deadline:
                _log.warning("the drain's time is up", extra={"seconds": self._settings.drain_timeout_seconds})
                return self.report()
            self._clock.wait(bell, pause)

    def drain_copies(self, bell: Bell) -> PodReport:
        """Pass after pass until every copy in the buffer is recorded or the drain's time is up.

        The report says nothing about a volume or an end, so it is never final.
        """
        deadline = self._clock.monotonic() + self._settings.drain_timeout_seconds
        while True:
            pause = self.ship_once()
            if self._only_sets_left():
                self._sets.give_up(on_volume=False)
            left = deadline - self._clock.monotonic()
            if left <= 0 or not (self._copies_left() or self._sweeper.busy):
                return self.report()
            self._clock.wait(bell, min(pause, left))

    def begin_drain(self, since: float | None = None) -> None:
        """The pod's writers have ended, as far as we know: ship what there is, then finish.

        `since` is when they had ended at the latest, in seconds since the epoch; now without one.
        """
        now, seconds = self._clock.monotonic(), self._settings.drain_timeout_seconds
        self._drain = _Drain(deadline=now + seconds, patient_until=now + seconds * _PATIENT_SHARE)
        self._intake.end(Ending(at=self._clock.now() if since is None else since))
        self._registrar.ask_for_writers()
        _log.info("draining", extra={"seconds": seconds})

    @property
    def status(self) -> Status:
        """What the loop last said about itself; for any thread."""
        return self._reporter.status

    def report(self) -> PodReport:
        """Where everything stands now; never final, because only the API's acknowledgement makes it so."""
        return self._reporter.report()

    # --- one pass

    def ship_once(self) -> float:
        """Do all that can be done now without waiting; returns in how many seconds at most to come again."""
        self._copier.collect()
        self._sharing.collect()
        self._shipper.collect()
        self._registrar.collect()
        self._sweeper.collect()
        self._adoption.advance()
        self._sets.advance()
        self._hear_verdict()
        if self._intake.due_in() <= 0:
            self._intake.look()
        self._tail()
        self._copier.submit()
        self._shipper.submit()
        self._sharing.submit()
        if self._nothing_comes() and self._only_sets_left():
            self._sets.give_up(on_volume=True)
        if self._done():
            self._reporter.hand_in_final()
        else:
            self._reporter.hand_in()
        self._registrar.submit()
        self._reporter.publish()
        pause = self._pause()
        if pause > _REST_S:
            self._rest()
        return pause

    def _rest(self) -> None:
        last = self._journal.files.last_id()
        if last - self._rested_at >= _BURST_FILES and not self._copies_left():
            self._rested_at = last
            self._give_back()

    def _stuck(self) -> set[int]:
        return self._shipper.unreadable()

    def _is_late(self) -> bool:
        return self._drain is not None and self._clock.monotonic() >= self._drain.patient_until

    def _hear_verdict(self) -> None:
        ending, verdict = self._intake.ending, self._registrar.writers
        if self._drain is None or ending is None or not writers_may_write(ending):
            return
        if verdict is None and self._is_late():
            verdict = WriterEnd.UNKNOWN
        if verdict is not None and verdict is not ending.writers:
            _log.info("writers have ended", extra={"how": verdict})
            self._intake.end(replace(ending, writers=verdict))

    def _tail(self) -> None:
        now = self._clock.monotonic()
        at_end = not writers_may_write(self._intake.ending)
        if now - self._tailed_at < _TAIL_S and not (at_end or self._tails_behind):
            return
        self._tailed_at = now
        self._registrar.describe(self._describer.read())
        self._tails_behind = self._tailer.read(self._intake.metric_files, at_end=at_end) or self._describer.is_behind
        self._tails_done = at_end and not self._tails_behind

    def _nothing_comes(self) -> bool:
        """Whether the writers have ended, and all that they left has been copied."""
        if writers_may_write(self._intake.ending):
            return False  # the usual case, in every pass: it must not cost a look at every file
        states = self._intake.states()
        return (
            self._intake.looked_since_end()
            and not self._intake.unreadable
            and (self._is_late() or not self._adoption.awaits)
            and not any(states[state] for state in DUTIES if state in states)
            and not (self._copy_workers.busy or self._store_workers.busy)
        )

    def _done(self) -> bool:
        """Whether nothing is left: the writers have ended, and all there was is where it belongs."""
        return (
            self._nothing_comes()
            and self._tails_done
            and not (self._copies_left() or self._registrar.describes or self._sweeper.busy)
        )

    def _only_sets_left(self) -> bool:
        """Whether all files on their way are manifests that wait for files which are not."""
        held = self._sets.held()
        return (
            held > 0
            and not self._registrar.learns
            and held == sum(self._journal.files.count(state) for state in DUTIES)
        )

    def _copies_left(self) -> bool:
        """Whether the journal holds anything that the API has not acknowledged."""
        files = self._journal.files
        return any(files.count(state) for state in DUTIES) or bool(self._journal.metrics.totals().unsent)

    def _pause(self) -> float:
        pauses = [LONGEST_PAUSE_S, self._intake.due_in()]
        parts = (
            self._adoption,
            self._copier,
            self._sets,
            self._sharing,
            self._shipper,
            self._registrar,
            self._reporter,
        )
        pauses += [pause for part in parts if (pause := part.due_in()) is not None]
        if self._intake.metric_files:
            pauses.append(0.0 if self._tails_behind else _TAIL_S)
        if self._drain is not None:
            pauses.append(self._drain.deadline - self._clock.monotonic())
        return max(0.0, min(pauses))


def files_folder(settings: SidecarSettings) -> Path:
    """Where in the buffer the copies lie; the journal lies beside it."""
    return Path(settings.buffer_dir) / "files"


def _carrier(world: World, buffer: Buffer, settings: StoreSettings) -> Carrier:
    if isinstance(world.store, ApiFiles):
        return UploadCalls(world.store, buffer, world.crash, world.clock.monotonic)
    return StoreCalls(world.store, buffer, world.crash, world.clock.monotonic, read_back=settings.read_back)
