"""Tables `api-…`: our API beside other tracking servers, asked the same; writing and reading on two databases."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from bench import process_tree, tracker_servers
from bench.harness import Cost, Failed, Row, say
from bench.sets import GIB, KIB
from bench.table import Table, Wishes
from bench.tracker_servers import Databases, TrackingServer
from bench.trackers import BATCH, Tracker

_CLIENTS = 4
_SAMPLE_S = 0.25
#: A peer may take seconds for one.
_READS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`do` asks one server for `pieces` of them on the connections that it is given."""

    name: str
    pieces: int
    do: Callable[[Sequence[Tracker]], None]
    size: int = 0
    #: Whether it is done once before it counts, so that nobody's first time does.
    warm: bool = True
    #: What is done once before, for each server.
    prepare: Callable[[Tracker], object] = lambda _: None


def writes(wishes: Wishes, on: Databases = Databases.SQLITE) -> list[Row]:
    calls = 40 if wishes.quick else 100
    batches = 4 if wishes.quick else 20
    steps = count()

    def create(trackers: Sequence[Tracker]) -> None:
        for _ in range(calls):
            trackers[0].create()

    def create_together(trackers: Sequence[Tracker]) -> None:
        _together([_repeated(tracker.create, calls // _CLIENTS) for tracker in trackers])

    def log(trackers: Sequence[Tracker]) -> None:
        run = trackers[0].create()
        for _ in range(calls):
            trackers[0].log(run, next(steps), 1)

    def log_together(trackers: Sequence[Tracker]) -> None:
        _together([_logging(tracker, calls // _CLIENTS) for tracker in trackers])

    def log_batches(trackers: Sequence[Tracker]) -> None:
        run = trackers[0].create()
        for number in range(batches):
            trackers[0].log(run, number * BATCH, BATCH)

    return _measured(
        f"api-writes{on.value}",
        [
            Work(name="create runs, 1 client", pieces=calls, do=create),
            Work(name=f"create runs, {_CLIENTS} clients", pieces=calls, do=create_together),
            Work(name="log metrics one by one, 1 client", pieces=calls, do=log),
            Work(name=f"log metrics one by one, {_CLIENTS} clients", pieces=calls, do=log_together),
            Work(name=f"log metrics, {BATCH:,} a request", pieces=batches * BATCH, do=log_batches),
        ],
        wishes,
        on,
    )


def reads(wishes: Wishes, on: Databases = Databases.SQLITE) -> list[Row]:
    runs = 2_000 if wishes.quick else 10_000
    points = 100_000 if wishes.quick else 1_000_000

    def find(trackers: Sequence[Tracker]) -> None:
        for _ in range(_READS):
            trackers[0].find(100)

    def curve(trackers: Sequence[Tracker]) -> None:
        for _ in range(_READS):
            trackers[0].curve(1000)

    return _measured(
        f"api-reads{on.value}",
        [
            Work(
                name=f"the best 100 of {runs:,} runs with a metric above a half",
                pieces=_READS,
                do=find,
                prepare=lambda tracker: tracker.fill_runs(runs),
            ),
            Work(
                name=f"a series of {points:,} points as 1,000",
                pieces=_READS,
                do=curve,
                prepare=lambda tracker: tracker.fill_series(points),
            ),
        ],
        wishes,
        on,
    )


def artifacts(wishes: Wishes) -> list[Row]:
    large, small = wishes.scratch / "large", wishes.scratch / "small"
    size, files = (GIB // 16, 50) if wishes.quick else (GIB, 1000)
    _fill(large, size)
    _fill(small, 4 * KIB)
    names = count()
    # Where the run lies that holds each server's files for the downloads.
    homes: dict[int, str] = {}

    def home(tracker: Tracker) -> str:
        return homes.setdefault(id(tracker), tracker.create())

    def upload(trackers: Sequence[Tracker]) -> None:
        # A new name and a new first byte, or a server may know the content already.
        _touch(large)
        trackers[0].upload(home(trackers[0]), f"large-{next(names)}", large)

    def upload_many(trackers: Sequence[Tracker]) -> None:
        turn = next(names)
        for number in range(files):
            _touch(small)
            trackers[0].upload(home(trackers[0]), f"small-{turn}/{number}", small)

    def download(trackers: Sequence[Tracker]) -> None:
        trackers[0].download(home(trackers[0]), "kept", size)

    def download_many(trackers: Sequence[Tracker]) -> None:
        for _ in range(files):
            trackers[0].download(home(trackers[0]), "kept-small", 4 * KIB)

    mib = size // 2**20
    return _measured(
        "api-artifacts",
        [
            Work(name=f"upload a file of {mib:,} MiB", pieces=1, size=size, do=upload, warm=False),
            Work(
                name=f"download a file of {mib:,} MiB",
                pieces=1,
                size=size,
                do=download,
                warm=False,
                prepare=lambda tracker: tracker.upload(home(tracker), "kept", large),
            ),
            Work(name=f"upload {files:,} files of 4 KiB, 1 client", pieces=files, do=upload_many, warm=False),
            Work(
                name=f"download {files:,} files of 4 KiB, 1 client",
                pieces=files,
                do=download_many,
                warm=False,
                prepare=lambda tracker: tracker.upload(home(tracker), "kept-small", small),
            ),
        ],
        wishes,
    )


def _measured(table: str, works: Sequence[Work], wishes: Wishes, on: Databases = Databases.SQLITE) -> list[Row]:
    rows: list[Row] = []
    with tracker_servers.everyone(wishes.scratch, quick=wishes.quick, on=on) as servers:
        connections = [[server.connect() for _ in range(_CLIENTS)] for server in servers]
        for work in works:
            here = [
                Row(table=table, group=work.name, name=server.name, files=work.pieces, size=work.size)
                for server in servers
            ]
            for trackers in connections:
                work.prepare(trackers[0])
                if work.warm:
                    work.do(trackers)
            for turn in range(wishes.rounds):
                for row, server, trackers in zip(here, servers, connections, strict=True):
                    if row.failure:
                        continue
                    try:
                        row.costs.append(_cost(server, work, trackers))
                    except Failed as error:
                        row.failure = str(error)
                        row.costs.clear()
                    say(f"round {turn + 1}/{wishes.rounds} {work.name}: {row.name}: {_short(row)}")
            rows += here
    return rows


def _cost(server: TrackingServer, work: Work, trackers: Sequence[Tracker]) -> Cost:
    """What it takes until all answers are there: its wall time, and the server's CPU and memory."""
    with _watched(server.process) as peak:
        user, system = process_tree.cpu(server.process)
        began = time.perf_counter()
        work.do(trackers)
        wall = time.perf_counter() - began
        user_after, system_after = process_tree.cpu(server.process)
    return Cost(wall=wall, user=user_after - user, system=system_after - system, peak_kib=max(peak))


@contextmanager
def _watched(process: int) -> Iterator[list[int]]:
    """Samples of the server's memory while the block runs, and one at its end."""
    found: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_S):
            found.append(process_tree.resident_kib(process))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield found
    finally:
        ended.set()
        sampler.join()
        found.append(process_tree.resident_kib(process))


def _together(tasks: Iterable[Callable[[], object]]) -> None:
    """Each on a thread of its own. The first one's Failed, if there is one."""
    with ThreadPoolExecutor(_CLIENTS) as threads:
        for future in [threads.submit(task) for task in tasks]:
            future.result()


def _repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(times):
            call()

    return repeat


def _logging(tracker: Tracker, times: int) -> Callable[[], None]:
    def log() -> None:
        run = tracker.create()
        for step in range(times):
            tracker.log(run, step, 1)

    return log


def _fill(file: Path, size: int) -> None:
    with file.open("wb") as content:
        for _ in range(max(1, size // 2**20)):
            content.write(os.urandom(min(size, 2**20)))


def _touch(file: Path) -> None:
    with file.open("r+b") as content:
        content.write(os.urandom(16))


def _short(row: Row) -> str:
    if row.failure:
        return f"failed: {row.failure}"
    last = row.costs[-1]
    return f"{last.wall:.2f} s, the server {last.cpu:.2f} CPU-s, {last.peak_kib / 1024:.0f} MiB"


TABLES = (
    Table("api-writes", writes),
    Table("api-writes-postgresql", partial(writes, on=Databases.POSTGRESQL)),
    Table("api-reads", reads),
    Table("api-reads-postgresql", partial(reads, on=Databases.POSTGRESQL)),
    Table("api-artifacts", artifacts),
)
