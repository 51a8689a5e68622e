"""A pod in one process: a real volume and buffer in a temporary folder, a store and an API in memory, its own time.

Operations are done at once, in the loop's own thread, so a test decides what happens when, and every run is the same.
"""

import errno
import hashlib
import random
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, Generic, TypeVar
from uuid import UUID, uuid4

import msgspec

from pinnace.ids import artifact_id, object_key
from pinnace.records import Artifact, Location, PodReport
from pinnace.settings import SidecarSettings, StoreSettings
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import MultipartStore
from pinnace_sidecar.crash import Crash, CrashPoint, never
from pinnace_sidecar.disk import Disk, LocalDisk
from pinnace_sidecar.files import LocalVolume, Volume
from pinnace_sidecar.inotify import NoWatcher, Watcher
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.settings import Tuning
from pinnace_sidecar.sidecar import Sidecar, World, files_folder
from support.fake_api import FakeApi
from support.samples import artifact
from support.store_content import put_bytes

_T = TypeVar("_T")

STORE = StoreSettings(endpoint="http://store.test", bucket="artifacts", prefix="runs")
#: Files of this size and more go in parts of this size.
PART_BYTES = 10_000
#: Enough passes for anything in a test; a loop that needs more does not come to rest.
_MAX_PASSES = 3000


class ManualClock:
    """Starts at the machine's time, because files get their times from there, and goes on only by waiting."""

    def __init__(self) -> None:
        self._started = time.time()
        self._elapsed = 0.0

    def now(self) -> float:
        return self._started + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def wait(self, bell: Event, seconds: float) -> None:
        if not bell.is_set():
            self.advance(seconds)
        bell.clear()

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


class FailingDisk(LocalDisk):
    """Can't read copies for a while."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def open(self, path: Path) -> BinaryIO:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "input/output error")
        return super().open(path)


class InlineWorkers(Generic[_T]):
    """Does an operation when it is given."""

    def __init__(self, size: int, bell: Event) -> None:
        self.size = size
        self._bell = bell
        self._answers: list[_T] = []

    @property
    def busy(self) -> int:
        return len(self._answers)

    def submit(self, operation: Callable[[], _T]) -> None:
        self._answers.append(operation())
        self._bell.set()

    def collect(self) -> list[_T]:
        answers, self._answers = self._answers, []
        return answers


class Crashed(Exception):
    """The process is no more."""


class Pod:
    """`start` begins a sidecar (again, after `stop` or a crash); files are written by the test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.volume = folder / "volume"
        self.volume.mkdir()
        self.settings = SidecarSettings(
            **{
                "iteration_id": uuid4(),
                "pod_uid": "pod-1",
                "artifacts_dir": str(self.volume),
                "buffer_dir": str(folder / "buffer"),
                "buffer_limit_bytes": 2**30,
                "settle_seconds": 5.0,
                "api_url": "http://api.test",
                **settings,
            }
        )
        self.tuning = Tuning(multipart_bytes=PART_BYTES, part_bytes=PART_BYTES)
        self.store = MemoryStore(min_part_bytes=1)
        #: Where to ship to instead of `store`, and how it is spoken to.
        self.other_store: MultipartStore | None = None
        self.store_settings = STORE
        self.api = FakeApi()
        self.clock = ManualClock()
        self.disk: Disk = LocalDisk()
        self.watcher: Watcher = NoWatcher()
        self.seen_volume: Volume = LocalVolume(str(self.volume))
        self.crash: Crash = never
        self.sidecar: Sidecar
        self._journal: Journal | None = None
        self.bell = Event()
        #: How often memory was given back.
        self.gave_back = 0

    # --- the sidecar's life

    def start(self) -> Sidecar:
        files_folder(self.settings).mkdir(parents=True, exist_ok=True)
        self._journal = Journal.open(Path(self.settings.buffer_dir) / "journal.db")
        world = World(
            volume=self.seen_volume,
            watcher=self.watcher,
            disk=self.disk,
            store=self.other_store or self.store,
            api=self.api,
            clock=self.clock,
            rng=random.Random(1),
            crash=self._passes,
            workers=lambda size, name: InlineWorkers(size, self.bell),
            give_back=self._gives_back,
        )
        self.sidecar = Sidecar(self.settings, self.tuning, self.store_settings, world, self._journal)
        return self.sidecar

    def stop(self) -> None:
        """As SIGKILL would: nothing is finished, only the kernel's locks go."""
        if self._journal is not None:
            self._journal.close()

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def crash_at(self, wanted: CrashPoint, passing: int = 1) -> None:
        """End the process, as far as a test can, when it passes the point for the nth time."""
        passings = count(1)

        def crash(point: CrashPoint) -> None:
            if point is wanted and next(passings) == passing:
                raise Crashed(point)

        self.crash = crash

    def _gives_back(self) -> None:
        self.gave_back += 1

    def _passes(self, point: CrashPoint) -> None:
        self.crash(point)

    def run_until(self, condition: Callable[[], object]) -> None:
        """Passes, one after the other, until something holds."""
        for _ in range(_MAX_PASSES):
            if condition():
                return
            self.clock.wait(self.bell, min(self.sidecar.ship_once(), 1.0))
        raise AssertionError("it never came about")

    def run_for(self, seconds: float) -> None:
        """Passes until so much of the pod's time has gone by."""
        end = self.clock.monotonic() + seconds
        for _ in range(_MAX_PASSES):
            pause = self.sidecar.ship_once()
            if self.clock.monotonic() >= end and not self.bell.is_set():
                return
            self.clock.wait(self.bell, min(pause, end - self.clock.monotonic()))
        raise AssertionError("the sidecar does not come to rest")

    def drain(self) -> PodReport:
        """SIGTERM, and passes until the end."""
        told_at = self.clock.now()
        return self.sidecar.run(self.bell, lambda: told_at)

    # --- its world

    def write(self, path: str, content: bytes) -> Path:
        file = self.volume / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def key(self, path: str, content: bytes) -> str:
        return object_key(STORE.prefix, self.artifact(path, content))

    def artifact(self, path: str, content: bytes) -> UUID:
        return artifact_id(self.settings.iteration_id, path, hashlib.sha256(content).hexdigest())

    def copies(self) -> list[str]:
        """What lies in the buffer."""
        return sorted(path.name for path in files_folder(self.settings).iterdir())

    def record_elsewhere(self, content: bytes, path: str = "elsewhere") -> Artifact:
        """Have another iteration of the experiment ship this content; returns its row."""
        row = artifact(uuid4(), path, content)
        key = object_key(STORE.prefix, row.id)
        stored = put_bytes(self.store, key, content)
        location = Location(endpoint=STORE.endpoint, region=STORE.region, bucket=STORE.bucket, key=key)
        self.api.rows[row.id] = row = msgspec.structs.replace(row, location=location, etag=stored.etag)
        return row

    def change_settings(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)


def paths(pod: Pod) -> list[str]:
    """The paths that have rows."""
    return sorted(row.path for row in pod.api.rows.values())
