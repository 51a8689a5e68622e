"""Before a training starts: what comes back to its volume, and what is left alone."""

import hashlib
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.client import NotFound, Unreachable
from pinnace.records import Artifact, ArtifactSet, Backend, Location, Removal
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.checkpoints import NotRestored, Seat, Shards
from pinnace_sidecar.restore import RestoreSettings, Restoring, chosen
from support.pod import ManualClock
from support.store_content import put_bytes

ITERATION = uuid4()
WRITTEN = datetime(2026, 1, 31, 12, tzinfo=UTC)
GONE = Unreachable("no answer")


class Recorded:
    """The API and the store, as the earlier pods of the iteration left them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.rows: list[Artifact] = []
        self.sets: dict[UUID, list[UUID]] = {}
        self.fails: list[Exception] = []
        self.known = True

    def record(self, path: str, content: bytes, *, suspect: bool = False, minutes: int = 0) -> Artifact:
        sha256 = hashlib.sha256(content).hexdigest()
        id_ = ids.artifact_id(ITERATION, path, sha256)
        key = ids.object_key("", id_)
        row = Artifact(
            id=id_,
            iteration_id=ITERATION,
            path=path,
            size=len(content),
            sha256=sha256,
            crc32c="00000000",
            location=Location(endpoint="http://store.test", region="us-east-1", bucket="artifacts", key=key),
            modified_at=WRITTEN + timedelta(minutes=minutes),
            suspect=suspect,
            recorded_at=WRITTEN + timedelta(seconds=len(self.rows)),
        )
        put_bytes(self.store, key, content)
        self.rows.append(row)
        return row

    def record_set(self, folder: str, files: dict[str, bytes], *, minutes: int = 0, **named: object) -> Artifact:
        made = [self.record(f"{folder}/{name}", content, minutes=minutes) for name, content in files.items()]
        text = msgspec.json.encode({"files": [{"path": name, **named} for name in files]})
        return self.name(self.record(f"{folder}/pinnace-manifest.json", text, minutes=minutes), made)

    def record_shard(self, folder: str, worker: int, workers: int, of: str = "", *shared: str, **files: bytes) -> None:
        """What a worker's pod shipped: its files and its manifest."""
        made = [self.record(f"{folder}/{name}", content) for name, content in files.items()]
        named = [{"path": name, "shared": name in shared} for name in files]
        shard = {"worker": worker, "workers": workers, "of": of}
        text = msgspec.json.encode({"files": named, "shard": shard, "written": str(len(self.rows))})
        self.name(self.record(f"{folder}/pinnace-manifest.json", text), made)

    def name(self, manifest: Artifact, files: list[Artifact]) -> Artifact:
        self.sets[manifest.id] = [file.id for file in files]
        return manifest

    def text(self, manifest: Artifact) -> bytes:
        return self.store.contents()[manifest.location.key]

    def artifact_sets(self, iteration_id: UUID, /) -> Iterable[ArtifactSet]:
        self._answer(iteration_id)
        return [ArtifactSet(manifest=row, files=0, bytes=0) for row in self.rows if row.id in self.sets]

    def iteration_artifacts(self, iteration_id: UUID, /, *, manifest: UUID | None = None) -> Iterable[Artifact]:
        self._answer(iteration_id)
        return [row for row in self.rows if manifest is None or row.id in self.sets[manifest]]

    def _answer(self, iteration: UUID) -> None:
        assert iteration == ITERATION
        if self.fails:
            raise self.fails.pop(0)
        if not self.known:
            raise NotFound("no such iteration", status=404, code="iteration-not-found")


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def restore(recorded: Recorded, volume: Path, clock: ManualClock, *include: str, **seat: Any) -> int:
    settings = RestoreSettings(include=include, timeout_seconds=600, **seat)
    return Restoring(
        iteration=ITERATION, settings=settings, volume=volume, api=recorded, store=lambda _: recorded.store, clock=clock
    ).run()


def on(volume: Path) -> dict[str, bytes]:
    return {str(file.relative_to(volume)): file.read_bytes() for file in volume.rglob("*") if file.is_file()}


def paths(recorded: Recorded, *include: str) -> list[str]:
    return [artifact.path for artifact in found(recorded, *include)]


def found(recorded: Recorded, *include: str) -> tuple[Artifact, ...]:
    return chosen(recorded, ITERATION, include, Seat(), recorded.text)


def test_a_first_pod_finds_nothing_to_restore(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    assert restore(recorded, tmp_path, clock) == 0
    recorded.known = False
    assert restore(recorded, tmp_path, clock, "**") == 0
    assert (on(tmp_path), clock.monotonic()) == ({}, 0)


def test_the_last_set_comes_back_whole_with_its_times(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    recorded.record_set("step-1", {"a": b"1", "b": b"2"})
    recorded.record_set("step-2", {"a": b"3", "sub/b": b"4" * 5000})
    recorded.record("log", b"text")
    assert restore(recorded, tmp_path, clock) == 3
    assert on(tmp_path) == {
        "step-2/a": b"3",
        "step-2/sub/b": b"4" * 5000,
        "step-2/pinnace-manifest.json": b'{"files":[{"path":"a"},{"path":"sub/b"}]}',
    }
    assert {(tmp_path / path).stat().st_mtime for path in on(tmp_path)} == {WRITTEN.timestamp()}


def test_globs_choose_among_sets_and_else_the_newest_complete_contents(recorded: Recorded) -> None:
    recorded.record_set("models/1", {"a": b"1"})
    recorded.record_set("samples/1", {"a": b"2"})
    assert paths(recorded, "models/**") == ["models/1/a", "models/1/pinnace-manifest.json"]
    recorded.record("last.pt", b"newest", minutes=2)
    recorded.record("last.pt", b"old", minutes=1)
    recorded.record("last.pt", b"torn", minutes=3, suspect=True)
    recorded.record("other", b"")
    assert [(a.path, a.size) for a in found(recorded, "*.pt")] == [("last.pt", 6)]
    assert paths(recorded, "nothing/**") == []


def test_without_globs_loose_files_stay_where_they_are(recorded: Recorded) -> None:
    recorded.record("last.pt", b"1")
    assert paths(recorded) == []


def test_a_set_of_which_something_was_removed_gives_way_to_the_one_before(recorded: Recorded) -> None:
    recorded.record_set("step-1", {"a": b"1"})
    recorded.record_set("step-2", {"a": b"2"})
    gone = Removal(at=WRITTEN, by="policy", policy="old")
    recorded.rows[2] = msgspec.structs.replace(recorded.rows[2], removed=gone)
    assert paths(recorded) == ["step-1/a", "step-1/pinnace-manifest.json"]
    assert paths(recorded, "step-2/**") == []  # and never pieces of it
    recorded.rows.clear()
    recorded.record("pinnace-manifest.json", b"no manifest")
    recorded.name(recorded.record("bad/pinnace-manifest.json", b"no manifest"), [])
    recorded.name(recorded.record("other/pinnace-manifest.json", b'{"files": [{"path": "not there"}]}'), [])
    assert paths(recorded) == []


def test_sets_that_were_recorded_in_one_request_come_in_the_order_of_writing(recorded: Recorded) -> None:
    for step in range(9):
        recorded.record_set(f"step-{step}", {"a": b"1"}, minutes=step)
    recorded.rows = [msgspec.structs.replace(row, recorded_at=WRITTEN) for row in recorded.rows]
    assert paths(recorded)[0] == "step-8/a"


def shards(recorded: Recorded, step: int, *workers: int, of: int = 2, name: str = "") -> None:
    for worker in workers:
        content = f"{step}{worker}{name}".encode()
        meta = {"meta": f"{step}".encode()} if worker == 0 else {}
        recorded.record_shard(f"step-{step}", worker, of, name, "meta", **{f"rank-{worker}": content}, **meta)


def test_each_worker_gets_its_own_shard_of_the_last_checkpoint_of_all_and_what_is_shared(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    shards(recorded, 1, 0, 1)
    shards(recorded, 2, 1)  # worker 0 did not come so far
    for worker, files in enumerate(({"rank-0": b"10"}, {"rank-1": b"11"})):
        volume = tmp_path / str(worker)
        volume.mkdir()
        assert restore(recorded, volume, clock, worker=worker, workers=2) == 3
        manifest = on(volume).pop("step-1/pinnace-manifest.json")
        assert msgspec.json.decode(manifest)["shard"]["worker"] == worker
        assert {path: data for path, data in on(volume).items() if data != manifest} == {
            "step-1/meta": b"1",
            **{f"step-1/{name}": data for name, data in files.items()},
        }


def test_all_shards_come_back_where_they_are_wanted_whatever_the_number_of_workers(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    shards(recorded, 1, 0, 1, 2, of=3)
    for worker in range(4):
        volume = tmp_path / str(worker)
        volume.mkdir()
        restore(recorded, volume, clock, worker=worker, workers=4, shards=Shards.ALL)
        data = {path: data for path, data in on(volume).items() if len(data) < 3}
        assert data == {"step-1/meta": b"1", "step-1/rank-0": b"10", "step-1/rank-1": b"11", "step-1/rank-2": b"12"}
        assert len(on(volume)) == (5 if worker < 3 else 4)


def test_another_number_of_workers_is_refused_at_once_with_what_to_do(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    shards(recorded, 1, 0, 1)
    with pytest.raises(NotRestored) as caught:
        restore(recorded, tmp_path, clock, worker=0, workers=3)
    assert "step-1, was written by 2 workers, and there are 3 now" in str(caught.value)
    assert "spec.restore.shards to All" in str(caught.value)
    assert (on(tmp_path), clock.monotonic()) == ({}, 0)


def test_what_lies_in_no_store_any_more_is_said_at_once(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    recorded.record("last.pt", b"weights")
    moved = Location(backend=Backend.FILESYSTEM, endpoint="", region="", bucket="", key="aa/1")
    recorded.rows = [msgspec.structs.replace(row, location=moved) for row in recorded.rows]
    with pytest.raises(NotRestored, match=r"last\.pt .* was moved out of its store.*--to s3"):
        restore(recorded, tmp_path, clock, "*.pt")
    assert (on(tmp_path), clock.monotonic()) == ({}, 0)


def test_a_set_without_shard_is_whole_for_every_worker(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    shards(recorded, 1, 0, 1)
    recorded.record_set("step-2", {"all": b"2"})
    assert restore(recorded, tmp_path, clock, worker=1, workers=2) == 2
    assert on(tmp_path)["step-2/all"] == b"2"


def test_shards_of_one_worker_alone_never_come_back_as_loose_files(recorded: Recorded) -> None:
    shards(recorded, 1, 1)
    assert paths(recorded, "step-1/**") == []


def test_a_shard_of_which_something_was_removed_makes_way_for_the_checkpoint_before(recorded: Recorded) -> None:
    shards(recorded, 1, 0, 1)
    shards(recorded, 2, 0, 1)
    gone = Removal(at=WRITTEN, by="policy", policy="old")
    recorded.rows = [
        msgspec.structs.replace(row, removed=gone) if row.path == "step-2/rank-1" else row for row in recorded.rows
    ]
    found = chosen(recorded, ITERATION, (), Seat(worker=0, workers=2), recorded.text)
    assert {artifact.path.partition("/")[0] for artifact in found} == {"step-1"}


def test_a_path_that_was_written_again_comes_back_as_the_set_means_it(recorded: Recorded) -> None:
    recorded.record_set("last", {"w": b"first"}, minutes=1)
    recorded.record("last/w", b"newer than the set", minutes=2)
    assert [artifact.size for artifact in found(recorded)][:1] == [5]
    digest = hashlib.sha256(b"second").hexdigest()
    recorded.record_set("last", {"w": b"second"}, minutes=3, sha256=digest)
    recorded.record("last/w", b"third", minutes=3)
    assert [artifact.sha256 for artifact in found(recorded)][:1] == [digest]


def test_whoever_trains_may_overwrite_what_came_back(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    recorded.record("run/last.pt", b"1")
    before = os.umask(0)
    try:
        restore(recorded, tmp_path, clock, "*.pt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "run/last.pt").stat().st_mode) == 0o666


def test_a_volume_that_has_been_written_to_is_left_alone(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    """A container that is started again, or a whole pod after its node was: the training's files are newer."""
    recorded.record_set("step", {"a": b"1", "b": b"2"})
    (tmp_path / "step").mkdir()
    (tmp_path / "step/a").write_bytes(b"!")
    assert restore(recorded, tmp_path, clock) == 0
    assert on(tmp_path) == {"step/a": b"!"}
    (tmp_path / "step/a").write_bytes(b"1")
    (tmp_path / "mine").symlink_to("/etc/passwd")
    assert restore(recorded, tmp_path, clock) == 0
    assert not (tmp_path / "step/b").exists()


def test_a_restore_that_broke_off_is_completed(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    recorded.record_set("step", {"a": b"1", "b": b"2"})
    (tmp_path / "step").mkdir()
    (tmp_path / "step/a").write_bytes(b"1")
    (tmp_path / "step/.pinnace-0123456789abcdef.part").write_bytes(b"half")
    assert restore(recorded, tmp_path, clock) == 3
    assert {path: data for path, data in on(tmp_path).items() if len(data) == 1} == {"step/a": b"1", "step/b": b"2"}
    assert len(on(tmp_path)) == 3


def test_store_and_api_are_waited_for(recorded: Recorded, clock: ManualClock, tmp_path: Path) -> None:
    recorded.record("last.pt", b"1")
    recorded.fails = [GONE] * 3
    recorded.store.fail_next(StoreUnreachable("away"), times=3)
    assert restore(recorded, tmp_path, clock, "*.pt") == 1
    assert 0 < clock.monotonic() < 120


def test_after_its_time_it_is_given_up_with_the_reason_and_what_to_do(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    recorded.fails = [GONE] * 10_000
    with pytest.raises(NotRestored) as caught:
        restore(recorded, tmp_path, clock)
    assert "no answer" in str(caught.value)
    assert "spec.restore.enabled" in str(caught.value)
    assert clock.monotonic() == pytest.approx(600)
    assert len(recorded.fails) > 9_900


def test_bytes_that_are_not_the_recorded_ones_are_never_put_on_the_volume(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    row = recorded.record("last.pt", b"right")
    recorded.store.delete(row.location.key)
    put_bytes(recorded.store, row.location.key, b"wrong")
    with pytest.raises(NotRestored, match="SHA-256"):
        restore(recorded, tmp_path, clock, "*.pt")
    assert on(tmp_path) == {}
    assert clock.monotonic() < 60


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/passwd", "a//b", "a/./b"])
def test_no_path_leads_out_of_the_volume(recorded: Recorded, clock: ManualClock, tmp_path: Path, path: str) -> None:
    recorded.rows = [msgspec.structs.replace(recorded.record("a", b"1"), path=path)]
    (tmp_path / "volume").mkdir()
    with pytest.raises(NotRestored, match="leads out"):
        restore(recorded, tmp_path / "volume", clock, "**")
    assert on(tmp_path) == {}


def test_names_that_are_not_utf_8_come_back_as_they_were(
    recorded: Recorded, clock: ManualClock, tmp_path: Path
) -> None:
    recorded.record("caf%E9/100%25 %25", b"1")
    assert restore(recorded, tmp_path, clock, "**") == 1
    [folder] = tmp_path.iterdir()
    assert [os.fsencode(entry.name) for entry in (folder, *folder.iterdir())] == [b"caf\xe9", b"100% %"]
