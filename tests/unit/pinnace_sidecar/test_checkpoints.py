"""Which shards make a checkpoint: all of one write, of all workers, or none."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pinnace.naming import MANIFEST_NAME
from pinnace.records import Artifact
from pinnace_sidecar.checkpoints import Checkpoint, Seat, Shards, files, whole
from pinnace_sidecar.manifest import Member, Named, Shard
from support.samples import artifact

ITERATION = UUID(int=1)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a worker wrote in one go; `try_` tells goes of one step apart, which the manifests don't."""

    step: int
    worker: int
    workers: int
    of: str
    try_: int

    @property
    def content(self) -> bytes:
        return f"{self.step} {self.worker} {self.workers} {self.of} {self.try_}".encode()


_WRITTEN = st.builds(
    Written,
    step=st.integers(1, 2),
    worker=st.integers(0, 2),
    workers=st.integers(1, 3),
    of=st.sampled_from(["", "x"]),
    try_=st.integers(0, 1),
).filter(lambda each: each.worker < each.workers)


class Recorded:
    """Sets in the order of recording."""

    def __init__(self, written: Sequence[Written]) -> None:
        self.by_id: dict[UUID, Written] = {}
        self.manifests: list[Artifact] = []
        for number, each in enumerate(written):
            row = artifact(ITERATION, f"step-{each.step}/{MANIFEST_NAME}", each.content)
            if row.id not in self.by_id:
                row = msgspec.structs.replace(row, recorded_at=BEGUN + timedelta(seconds=number))
                self.manifests.append(row)
            self.by_id[row.id] = each

    def read(self, manifest: Artifact) -> Named:
        each = self.by_id[manifest.id]
        own, shared = (f"step-{each.step}/{name}" for name in (f"rank-{each.worker}", f"meta-{each.worker}"))
        return Named(
            members=(Member(path=own), Member(path=shared, shared=True), Member(path=f"step-{each.step}/common")),
            shard=Shard(worker=each.worker, workers=each.workers, of=each.of),
        )

    def wholes(self) -> list[Checkpoint]:
        mixed = list(self.manifests)
        random.Random(1).shuffle(mixed)
        return list(whole(mixed, self.read))

    def written(self, checkpoint: Checkpoint) -> list[Written]:
        return [self.by_id[part.manifest.id] for part in checkpoint]


@given(st.lists(_WRITTEN, max_size=14))
def test_a_checkpoint_has_one_shard_of_each_worker_and_never_of_two_writes(written: list[Written]) -> None:
    recorded = Recorded(written)
    found = [recorded.written(checkpoint) for checkpoint in recorded.wholes()]
    for parts in found:
        assert [each.worker for each in parts] == list(range(parts[0].workers))
        assert len({(each.step, each.of, each.workers) for each in parts}) == 1
        same = [each for each in set(written) if each.step == parts[0].step and each.of == parts[0].of]
        assert len([each for each in same if each.workers == parts[0].workers]) == len(parts)
    # And none that could be told is left out.
    groups = {(each.step, each.of, each.workers) for each in written}
    told = {
        (step, of, workers)
        for step, of, workers in groups
        if sorted(each.worker for each in set(written) if (each.step, each.of, each.workers) == (step, of, workers))
        == list(range(workers))
    }
    assert {(parts[0].step, parts[0].of, parts[0].workers) for parts in found} == told
    # The last first: what was recorded last decides.
    at = {manifest.id: manifest.recorded_at for manifest in recorded.manifests}
    ends = [max(at[part.manifest.id] or BEGUN for part in checkpoint) for checkpoint in recorded.wholes()]
    assert ends == sorted(ends, reverse=True)


@given(st.integers(1, 4), st.integers(0, 3), st.sampled_from(Shards))
def test_a_seat_gets_its_own_files_the_shared_ones_and_no_others(workers: int, worker: int, shards: Shards) -> None:
    recorded = Recorded([Written(step=1, worker=each, workers=workers, of="", try_=0) for each in range(workers)])
    (checkpoint,) = recorded.wholes()
    contents = {
        part.manifest.id: [artifact(ITERATION, each.path, f"{part.worker}".encode()) for each in part.named.members]
        for part in checkpoint
    }
    seat = Seat(worker=worker % workers, workers=workers, shards=shards)
    *found, manifest = files(checkpoint, contents, seat)
    assert recorded.by_id[manifest.id].worker == seat.worker
    ranks = set(range(workers)) if shards is Shards.ALL else {seat.worker}
    assert {each.path for each in found} == {
        "step-1/common",
        *(f"step-1/rank-{rank}" for rank in ranks),
        *(f"step-1/meta-{rank}" for rank in range(workers)),
    }
    (common,) = [each for each in found if each.path == "step-1/common"]
    assert common == artifact(ITERATION, "step-1/common", f"{seat.worker}".encode())
    stranger = files(checkpoint, contents, Seat(worker=workers, workers=workers + 1, shards=Shards.ALL))
    assert artifact(ITERATION, "step-1/common", b"0") in stranger


def test_manifests_are_read_only_as_far_as_it_takes() -> None:
    recorded = Recorded([Written(step=step, worker=w, workers=2, of="", try_=0) for step in (1, 2) for w in (0, 1)])
    asked: list[str] = []

    def read(manifest: Artifact) -> Named:
        asked.append(manifest.path)
        return recorded.read(manifest)

    next(whole(recorded.manifests, read))
    assert asked == [f"step-2/{MANIFEST_NAME}"] * 2
