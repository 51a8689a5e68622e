"""Are status, metadata API and store of one mind about an Experiment? Each pair is compared; nothing is changed.

status ↔ API     the condition ArtifactsSynced, and how many artifacts it counts
pods   ↔ API     each final report's manifest with the one that the API makes of the rows of that pod
API    ↔ store   each row with what lies under its key: the size and, where the store tells it, the CRC32C; with
                 `download` the SHA-256 of the bytes themselves
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Final
from uuid import UUID

from pinnace.client import Client, NotFound
from pinnace.kubectl.objects import Experiment, Pod
from pinnace.records import Artifact, Backend, PodStanding
from pinnace.records.record import Record
from pinnace.stores.store import Store

#: Objects that are asked for at the same time.
AT_ONCE: Final = 8


class Check(StrEnum):
    #: Everything that pods wrote is said to be ashore, and it is what the API holds.
    PROMISE = "promise"
    #: The rows of a pod are those that its sidecar says it recorded.
    ROWS = "rows"
    #: The store holds what a row says.
    BYTES = "bytes"


class Contradiction(Record, frozen=True, kw_only=True):
    check: Check
    #: What it is about: the Experiment, a pod, or an artifact's id.
    about: str
    message: str


class Verified(Record, frozen=True, kw_only=True):
    """What was compared. `skipped` rows have no object to look at: their bytes are in the API, or were removed."""

    pods: int
    artifacts: int
    bytes: int
    skipped: int
    contradictions: tuple[Contradiction, ...]


#: Looks at one row's object: what is wrong with it, or nothing. Raises StoreError.
Look = Callable[[Artifact], str]


def verify(experiment: Experiment, pods: Iterable[Pod], api: Client, look: Look | None) -> Verified:
    """Raises ApiError, StoreError. Memory grows with the number of artifacts; bytes are not kept."""
    identity = experiment.id
    try:
        standings = tuple(api.pods(identity))
    except NotFound:
        standings = ()
    found = [*_promise(experiment, standings)]
    rows: dict[UUID, Artifact] = {}
    for each in standings:
        rows.update((row.id, row) for row in api.pod_artifacts(each.iteration_id, each.pod_uid))
        found += _rows(each, pods)
    objects = [row for row in rows.values() if row.location.backend is Backend.S3 and row.removed is None]
    if look is not None:
        found += _bytes(objects, look)
    return Verified(
        pods=len(standings),
        artifacts=len(objects) if look is not None else 0,
        bytes=sum(row.size for row in objects) if look is not None else 0,
        skipped=len(rows) - len(objects) if look is not None else len(rows),
        contradictions=tuple(found),
    )


def head(store: Callable[[Artifact], Store]) -> Look:
    """Compares what the store says it holds."""

    def look(row: Artifact) -> str:
        info = store(row).head(row.location.key)
        size, crc32c = (row.stored.size, row.stored.crc32c) if row.stored else (row.size, row.crc32c)
        if info is None:
            return f"nothing lies under {row.location.key}"
        if info.size != size:
            return f"the store holds {info.size} bytes, not {size}"
        if info.crc32c is not None and info.crc32c != crc32c:
            return f"the store holds content of CRC32C {info.crc32c}, not {crc32c}"
        return ""

    return look


def _promise(experiment: Experiment, standings: Sequence[PodStanding]) -> Iterator[Contradiction]:
    def against(message: str) -> Contradiction:
        return Contradiction(check=Check.PROMISE, about=experiment.metadata.name, message=message)

    synced = experiment.synced
    if synced is None or synced.status != "True":
        why = f"{synced.reason}: {synced.message}" if synced else "no operator has looked at it"
        yield against(f"ArtifactsSynced is not True: {why}")
    counted = sum(each.recorded.count for each in standings)
    said = experiment.status.artifacts.recorded
    if synced is not None and synced.status == "True" and counted != said:
        yield against(f"its status counts {said} artifacts, and the metadata API {counted}")


def _rows(standing: PodStanding, pods: Iterable[Pod]) -> Iterator[Contradiction]:
    held = standing.recorded
    last_words = next((pod.report for pod in pods if pod.metadata.uid == standing.pod_uid), None)
    for report, whose in ((last_words, "its termination message"), (standing.report, "its report to the API")):
        if report is not None and report.final and report.manifest != held:
            yield Contradiction(
                check=Check.ROWS,
                about=f"pod {standing.pod_uid}",
                message=f"{whose} names {report.manifest.count} artifacts ({report.manifest.sha256[:12]}), and the API "
                f"holds {held.count} ({held.sha256[:12]})",
            )


def _bytes(rows: Sequence[Artifact], look: Look) -> Iterator[Contradiction]:
    threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verify")
    try:
        for row, wrong in zip(rows, threads.map(look, rows), strict=True):
            if wrong:
                yield Contradiction(check=Check.BYTES, about=str(row.id), message=f"{row.path}: {wrong}")
    finally:
        # After a store's refusal nothing is asked any more.
        threads.shutdown(cancel_futures=True)
