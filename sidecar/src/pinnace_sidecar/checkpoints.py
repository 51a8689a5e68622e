"""Which checkpoint comes back, and which of its files to which worker. Pure.

A set is a whole checkpoint, unless its manifest says that it is the shard of one worker. Then the checkpoint is made by
the sets of all workers whose manifests lie in the same folder, each on its own volume, and say the same `of` and the
same number of workers: one set of each worker, no more and no less. Where a worker has two, somebody wrote that
checkpoint twice, and nobody can tell which shards belong together.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pinnace.errors import PinnaceError
from pinnace.records import Artifact
from pinnace_sidecar.files import folder_of, local_path
from pinnace_sidecar.manifest import Named

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)


class NotRestored(PinnaceError):
    """The checkpoint could not be brought back whole; what is there of it is right as far as it goes."""


class Shards(StrEnum):
    """Of a checkpoint that several workers wrote, what each gets back."""

    #: Its own shard, and what the others' manifests call shared.
    OWN = "Own"
    #: Everything, whoever wrote it.
    ALL = "All"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Who restores: the worker of this number, of so many."""

    worker: int = 0
    workers: int = 1
    shards: Shards = Shards.OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One set of a checkpoint."""

    manifest: Artifact
    named: Named

    @property
    def worker(self) -> int | None:
        """Who wrote it; None where the set is the whole checkpoint."""
        return None if self.named.shard is None else self.named.shard.worker


#: The parts of a whole one, by worker.
Checkpoint = tuple[Part, ...]
_Key = tuple[str, str, int]


def whole(manifests: Iterable[Artifact], read: Callable[[Artifact], Named | None]) -> Iterator[Checkpoint]:
    """The checkpoints of which every worker's part is there, the last first: a part's recording completes them.

    `manifests` are those of complete sets, in any order; `read` tells what one says, None: nothing about a set. It is
    asked for no more of them than it takes, each once.
    """
    newest_first = sorted(manifests, key=_age, reverse=True)
    of_path: dict[str, list[Artifact]] = defaultdict(list)
    for manifest in newest_first:
        of_path[manifest.path].append(manifest)
    known: dict[UUID, Named | None] = {}

    def part(manifest: Artifact) -> Part | None:
        if manifest.id not in known:
            known[manifest.id] = read(manifest)
        said = known[manifest.id]
        return None if said is None else Part(manifest=manifest, named=said)

    judged: set[_Key] = set()
    for manifest in newest_first:
        found = part(manifest)
        if found is None:
            continue
        key = _key(found)
        if key is None:
            yield (found,)
        elif key not in judged:
            judged.add(key)
            parts = [each for other in of_path[manifest.path] if (each := part(other)) and _key(each) == key]
            if why := _why_not(parts, workers=key[2]):
                _log.warning("a checkpoint is passed over", extra={"manifest": manifest.path, "of": key[1], "why": why})
            else:
                yield tuple(sorted(parts, key=lambda each: each.worker or 0))


def files(checkpoint: Checkpoint, contents: Mapping[UUID, Sequence[Artifact]], seat: Seat) -> tuple[Artifact, ...]:
    """What comes back to the one at `seat`, a manifest last. `contents` are the files of each part, by its manifest.

    Of a path that several parts have it is the seat's own content, otherwise that of the lowest worker. Raises
    NotRestored where a seat has no shard of its own because the number of workers is another one.
    """
    own = next((part for part in checkpoint if part.worker in (None, seat.worker)), None)
    shard = checkpoint[0].named.shard
    if seat.shards is Shards.OWN and shard is not None and shard.workers != seat.workers:
        raise NotRestored(
            f"the last checkpoint, {folder_of(checkpoint[0].manifest.path) or 'that of the volume'}, was written by"
            f" {shard.workers} workers, and there are {seat.workers} now",
            hint="set spec.restore.shards to All if the program can load it so, or spec.restore.enabled to false",
        )
    found: dict[str, Artifact] = {}
    for part in sorted(checkpoint, key=lambda each: (each is own, -(each.worker or 0))):
        shared = {member.path for member in part.named.members if member.shared}
        for artifact in contents[part.manifest.id]:
            if part is own or seat.shards is Shards.ALL or local_path(artifact.path) in shared:
                found[artifact.path] = artifact
    manifest = [] if own is None else [own.manifest]
    return (*found.values(), *manifest)


def _key(part: Part) -> _Key | None:
    """What the parts of one checkpoint have in common; None for one that is whole without others."""
    shard = part.named.shard
    return None if shard is None else (part.manifest.path, shard.of, shard.workers)


def _why_not(parts: Sequence[Part], *, workers: int) -> str:
    """Why these are no checkpoint of so many workers; empty when they are one."""
    there = sorted(part.worker for part in parts if part.worker is not None)
    if twice := sorted({worker for worker in there if there.count(worker) > 1}):
        return f"worker {twice[0]} wrote it more than once, so which shards belong together can't be told"
    if missing := sorted(set(range(workers)) - set(there)):
        return f"the shard of worker {missing[0]} is not recorded ({len(missing)} of {workers} are missing)"
    return ""


def _age(manifest: Artifact) -> tuple[datetime, datetime, str]:
    """Rows of one request are recorded at one moment."""
    return manifest.recorded_at or _EARLIEST, manifest.modified_at, manifest.path
