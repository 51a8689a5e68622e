"""One seed's world: who lives in it, what goes wrong and when, and the run from the first file to the last word."""

import errno
import math
import random
import sqlite3
import traceback
from dataclasses import dataclass
from threading import Event
from uuid import UUID

import msgspec

from pinnace.records import FileState, PodReport, WriterEnd
from pinnace.settings import SidecarSettings, StoreSettings
from pinnace_sidecar.crash import CrashPoint
from pinnace_sidecar.intake import LONGEST_IDLE_S
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.journal.database import Database
from pinnace_sidecar.settings import Tuning
from pinnace_sidecar.sidecar import Sidecar
from pinnace_sidecar.sidecar import World as Surroundings
from support.simulation.api import ApiFaults, SimulatedApi
from support.simulation.disk import FOLDER, SimulatedDisk
from support.simulation.filesystem import FileSystem
from support.simulation.journal import SimulatedPlace, damage
from support.simulation.machine import End, Killed, Machine, SimulatedWorkers
from support.simulation.oracle import Oracle
from support.simulation.sqlite_vfs import JournalDisk
from support.simulation.store import SimulatedStore, StoreFaults
from support.simulation.training import Training
from support.simulation.volume import ROOT, SimulatedVolume, SimulatedWatcher

_STORE = StoreSettings(endpoint="http://store.test", bucket="artifacts", prefix="runs")
_PART_BYTES = 64
#: Few for some: then files wait for each other.
_WATCHED_FILES = (1000, 1, 1000, 3)
_MAX_PROCESSES = 20
#: While the disk is away, none lives for long.
_MAX_PROCESSES_OF_OUTAGE = 200
#: So many worlds have one.
_OUTAGES = 0.1
#: How long nothing may fail before everything must have been recorded. A file whose events were lost is found by the
#: next look without a reason.
_QUIET_S = LONGEST_IDLE_S + 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a seed. `violations` is empty when every promise was kept."""

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    seconds: float
    steps: int
    processes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Outage:
    """The buffer's disk is away for a while, as one behind a network: all of it, or all but what the journal holds."""

    at: float
    seconds: float
    journal_too: bool = False


class World:
    """Made of a seed; `run` once."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.seed = seed
        self.has_sets = seed % 4 == 2
        self.machine = machine = Machine(seed, tracing=tracing)
        rng = machine.rng
        machine.interleaving = rng.choice([0.0, 0.02, 0.1, 0.3])
        self.settle = rng.choice([1.0, 2.0, 5.0])
        limit = rng.choice([1200, 3000, 2**30])
        self.settings = SidecarSettings(
            iteration_id=UUID(int=rng.getrandbits(128)),
            pod_uid="pod-1",
            artifacts_dir=ROOT,
            buffer_dir=FOLDER,
            buffer_limit_bytes=limit,
            settle_seconds=self.settle,
            drain_timeout_seconds=600.0,
            api_url="http://api.test",
            deduplicate=rng.random() < 0.5,
            zstd_level=3 if seed % 3 == 2 else 0,
        )
        self.buffer, self.volume_files = FileSystem(), FileSystem()
        self.oracle = Oracle(
            machine, self.buffer, iteration=self.settings.iteration_id, prefix=_STORE.prefix, limit=limit
        )
        # Another process may compress otherwise: it may be of another release.
        self.oracle.recompressing = seed % 6 == 5
        self.store = SimulatedStore(
            machine,
            self.oracle,
            checksums=rng.random() < 0.6,
            conditional=rng.random() < 0.6,
            md5=rng.random() < 0.5,
            hashes_parts=rng.random() < 0.3,
        )
        self.api = SimulatedApi(machine, self.oracle.told, self.oracle.reported)
        self.disk = SimulatedDisk(machine, self.buffer, clones=rng.random() < 0.3, grew=self.oracle.grew)
        self.journal_disk = JournalDisk(machine, self.buffer)
        self.training = Training(machine, self.volume_files, self._stirred, settle=self.settle)
        self.training.meddling = rng.choice([0.0, 0.0, 0.05])
        self.volume = SimulatedVolume(
            machine, self.volume_files, self.training.meddle, self.training.is_open, leases=rng.random() < 0.5
        )
        self.oracle.store, self.oracle.api, self.oracle.training = self.store, self.api, self.training
        self.oracle.rotten = self.disk.rotten
        self.api.truth.ended = WriterEnd.RUNNING
        self.verdict = rng.choice([WriterEnd.CLEAN, WriterEnd.CLEAN, WriterEnd.FAILED, WriterEnd.UNKNOWN])
        self.watcher: SimulatedWatcher | None = None
        self.watches, self.loses = rng.random() < 0.7, rng.choice([0.0, 0.0, 0.3])
        self.slowness = rng.choice([0.0, 0.01, 0.3])
        self.calm = False
        self.quiet = rng.random() < 0.5
        # Worlds with sets are one fourth: they take turns, too.
        self.watched_files = _WATCHED_FILES[(seed // 4 if self.has_sets else seed) % len(_WATCHED_FILES)]
        self.clock_jumps = False
        self.restarted_at = 0.0
        self.ends_left = 0
        self.journal_is_damaged = False
        self.journal: Journal
        self._plan()

    def _plan(self) -> None:
        """What will happen."""
        rng = self.machine.rng
        self.ends_left = rng.choice([0, 1, 1, 2, 3, 5])
        self.journal_is_damaged = rng.random() < 0.1
        # Without its journal the sidecar can't know a torn object for its own, and does not touch it.
        self.store.truncates = not self.journal_is_damaged
        span = rng.uniform(2.0, 25.0)
        self.training.begin(
            files=rng.randrange(1, 9),
            metrics=rng.random() < 0.4,
            sets=self.has_sets,
            span=span,
            synced_lines=self.ends_left > 0,
        )
        self._plan_faults(rng.choice([0.0, 0.0, 0.01, 0.05, 0.15]))
        self.outage = self._outage(span)
        if rng.random() < 0.15:
            self.clock_jumps = True
            self.machine.later(rng.uniform(0, span), "the wall clock jumps", self._jump)
        if self.verdict is WriterEnd.CLEAN or self.quiet:
            self.machine.later(span, "writers done?", self._await_writers)
        else:
            self.machine.later(rng.uniform(0.5, 1.5) * span, "writers killed", self._writers_end)

    def _plan_faults(self, rate: float) -> None:
        rng = self.machine.rng

        def some() -> float:
            return rate * rng.choice([0, 1, 2])

        self.store.faults = StoreFaults(
            before=some(), after=some(), late=some(), corrupt=some() / 2, lose=some(), forget=some()
        )
        self.api.faults = ApiFaults(before=some(), after=some(), late=some())
        self.volume.fault_rate = some() / 4
        if rng.random() < 0.4:
            self.disk.fault_rate = some() / 4
        if rng.random() < 0.1:
            self.disk.rot_rate = rng.choice([0.05, 0.3])
        if rng.random() < 0.3:
            self.journal_disk.fault_rate = some() / 20
        if rng.random() < 0.2:
            self.api.exists_from = rng.uniform(0, 30)
        if rate and rng.random() < 0.3:
            code = rng.choice(["AccessDenied", "ExpiredToken", "NoSuchBucket"])
            at, seconds = rng.uniform(0, 20), rng.uniform(1, 60)

            def refuse() -> None:
                if not self.calm:
                    self.store.refused = (self.machine.elapsed + seconds, code)

            self.machine.later(at, code, refuse)

    def _outage(self, span: float) -> Outage | None:
        """Of chances of its own, so that the worlds without one stay as they are."""
        chances = random.Random(f"outage {self.seed}")
        if chances.random() > _OUTAGES:
            return None
        return Outage(chances.uniform(0, 1.5 * span), chances.uniform(1, 120), chances.random() < 0.5)

    def _disk_is_away(self) -> None:
        if self.outage is not None and not self.calm:
            self.machine.note("--- the disk is away for", self.outage.seconds)
            until = self.machine.elapsed + self.outage.seconds
            self.disk.away_until = until
            self.journal_disk.away_until = until if self.outage.journal_too else 0.0

    # --- what happens by itself

    def _jump(self) -> None:
        self.machine.wall_offset += self.machine.rng.choice([-3600.0, -10.0, -0.5, 10.0, 3600.0])
        self.machine.note("--- the wall clock jumps to", self.machine.wall_offset)

    def _await_writers(self) -> None:
        if self.training.running:
            self.machine.later(1.0, "writers done?", self._await_writers)
        elif self.quiet:
            self._become_calm()
            self.machine.later(_QUIET_S, "quiet is over", self._quiet_is_over)
        else:
            self._writers_end()

    def _quiet_is_over(self) -> None:
        self.oracle.settled()
        self._writers_end()

    def _writers_end(self) -> None:
        self.training.stop()
        self.api.truth.ended = self.verdict
        self.machine.later(self.machine.rng.uniform(0, 100), "calm", self._become_calm)

    def _become_calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.machine.note("--- calm")
        self.calm = True
        self.store.faults, self.api.faults = StoreFaults(), ApiFaults()
        self.store.refused, self.api.exists_from = (0.0, ""), 0.0
        self.disk.rot_rate = self.volume.fault_rate = self.disk.fault_rate = self.journal_disk.fault_rate = 0.0
        self.disk.away_until = self.journal_disk.away_until = 0.0
        self.ends_left, self.machine.planned_end = 0, None

    def _stirred(self, path: str, moved_from: str) -> None:
        if self.watcher is not None and self.machine.alive:
            self.watcher.happened(path, moved_from)

    def _delay(self) -> float:
        rng = self.machine.rng
        if self.slowness and rng.random() < 0.02 and not self.calm:
            return rng.uniform(5, 40)
        return rng.expovariate(1 / self.slowness) if self.slowness else 0.0

    # --- the run

    def run(self) -> Outcome:
        """From the first file to the last word."""
        if self.outage is not None:
            self.machine.later(self.outage.at, "the disk is away", self._disk_is_away)
        processes = 0
        report: PodReport | None = None
        while not (report and report.final) and not self.oracle.violations:
            processes += 1
            began_calm = self.calm
            report = self._live()
            if began_calm and not self.oracle.violations and not (report and report.final):
                self.oracle.violated("nothing fails any more, and it does not come to its end")
            if self.journal_is_damaged and not self.calm:
                self.journal_is_damaged = False
                self.oracle.journal_was_damaged = True
                damage(self.journal_disk)
            if processes > (_MAX_PROCESSES_OF_OUTAGE if self.outage else _MAX_PROCESSES):
                self.oracle.violated("it was started too often")
            self.machine.pass_time(self.machine.rng.choice([0.1, 1.0, 10.0, 30.0]))
        if not self.oracle.violations:
            self.machine.run_out()
            self.oracle.ended()
            self._check_suspects()
        self.oracle.violations += [f"the simulation itself: {error!r}" for error in self.machine.broken]
        return Outcome(
            seed=self.seed,
            violations=tuple(self.oracle.violations),
            trace=tuple(f"{at:9.3f}  {words}" for at, words in self.machine.trace),
            seconds=self.machine.elapsed,
            steps=self.machine.steps,
            processes=processes,
            rows=len(self.api.truth.rows),
        )

    def _check_suspects(self) -> None:
        over_at = self.training.over_at
        assert over_at is not None
        if self.clock_jumps or self.restarted_at > over_at - self.settle:
            return
        if self.verdict is WriterEnd.CLEAN and self.calm:
            return
        self.oracle.suspects(since=over_at - 0.9 * self.settle, clean=self.verdict is WriterEnd.CLEAN)

    def _live(self) -> PodReport | None:
        """One process, from its start to its end; the last report when it came to that."""
        machine, rng = self.machine, self.machine.rng
        machine.begin_process()
        self.journal_disk.failed = False
        self.restarted_at = machine.elapsed
        if self.ends_left:
            self.ends_left -= 1
            end = End.KILL if rng.random() < 0.5 else End.POWER_CUT
            machine.planned_end = machine.steps + int(math.exp(rng.uniform(0, math.log(2500)))), end
        drain_s = 600.0 if self.calm else rng.choice([15.0, 60.0, 600.0])
        if self.outage:
            drain_s = 600.0  # an only copy is given up when three quarters of it are over
        settings = msgspec.structs.replace(self.settings, drain_timeout_seconds=drain_s)
        listening_since = machine.now()
        if self.oracle.recompressing:
            settings = msgspec.structs.replace(settings, zstd_level=rng.choice([0, 1, 3, 19]))
        journal: Journal | None = None
        report: PodReport | None = None
        try:
            journal = self.journal = Journal(Database.open(SimulatedPlace(self.journal_disk), machine.now))
            bell = Event()
            sidecar = self._sidecar(settings, bell)
            self.oracle.journaled(journal.files.in_state(FileState.BUFFERED, limit=1000))
            report = sidecar.run(bell, lambda: self._told_at(listening_since))
            if report.final:
                machine.planned_end = None
            self.journal.close()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - judged here
            self._judge_death(error)
        finally:
            machine.end_process()
            if journal is not None:
                journal.close()
        if machine.end is End.POWER_CUT:
            self.buffer.cut(rng)
            self.volume_files.cut(rng)
            self.training.power_cut()
        return report

    def _told_at(self, listening_since: float) -> float | None:
        """When the signal came that says so: at the writers' end, or at once to a process that began after it."""
        over_at = self.training.over_at
        return None if over_at is None else max(listening_since, self.machine.wall_clock(over_at))

    def _judge_death(self, error: Exception) -> None:
        if self.machine.end is not None:
            return  # SQLite was told of the kill as of an I/O error.
        if isinstance(error, sqlite3.OperationalError) and self.journal_disk.failed:
            self.machine.note("--- it ended by its journal's disk:", error)
            return
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ENOSPC):
            self.machine.note("--- it ended by its disk:", error)
            return
        frames = traceback.format_exception(error)
        self.oracle.violated(f"it died of {error!r}\n{''.join(frames[-4:])}")

    def _sidecar(self, settings: SidecarSettings, bell: Event) -> Sidecar:
        self.watcher = SimulatedWatcher(self.machine, bell, works=self.watches, loses=self.loses)
        surroundings = Surroundings(
            volume=self.volume,
            watcher=self.watcher,
            disk=self.disk,
            store=self.store,
            api=self.api,
            clock=self.machine,
            rng=self.machine.rng,
            crash=self._pass,
            workers=lambda size, name: SimulatedWorkers(self.machine, bell, size, name, self._delay),
        )
        tuning = Tuning(
            multipart_bytes=_PART_BYTES,
            part_bytes=_PART_BYTES,
            share_bytes=1,
            compress_bytes=1,
            watched_files=self.watched_files,
            much_bytes=_PART_BYTES,
        )
        return Sidecar(settings, tuning, _STORE, surroundings, self.journal)

    def _pass(self, point: CrashPoint) -> None:
        if point is CrashPoint.COPY_JOURNALED:
            self.oracle.journaled(self.journal.files.in_state(FileState.BUFFERED, limit=1000))
        elif point is CrashPoint.STORED_JOURNALED:
            for file in self.journal.files.in_state(FileState.UPLOADED, limit=1000):
                self.store.trusted(file.key(_STORE.prefix))
        self.machine.seam("passes", point)


def simulate(seed: int, *, tracing: bool = False) -> Outcome:
    """Run the world of a seed. The same seed is the same run."""
    return World(seed, tracing=tracing).run()
