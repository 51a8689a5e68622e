"""Before a training starts: what comes back to its volume, and what is left alone."""

import hashlib
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.client import NotFound, Unreachable
from pinnace.records import Artifact, Location, Removal
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.restore import NotRestored, RestoreSettings, Restoring, chosen
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
        )
        put_bytes(self.store, key, content)
        self.rows.append(row)
        return row

    def record_set(self, folder: str, files: dict[str, bytes], *, minutes: int = 0, **named: object) -> Artifact:
        for name, content in files.items():
            self.record(f"{folder}/{name}", content, minutes=minutes)
        text = msgspec.json.encode({"files": [{"path": name, **named} for name in files]})
        return self.record(f"{folder}/pinnace-manifest.json", text, minutes=minutes)

    def text(self, manifest: Artifact) -> bytes:
        return self.store.contents()[manifest.location.key]

    def iteration_artifacts(self, iteration_id: UUID, /) -> Iterable[Artifact]:
        self._answer(iteration_id)
        return self.rows

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


def restore(recorded: Recorded, volume: Path, clock: ManualClock, *include: str) -> int:
    settings = RestoreSettings(include=include, timeout_seconds=600)
    return Restoring(
        iteration=ITERATION, settings=settings, volume=volume, api=recorded, store=lambda _: recorded.store, clock=clock
    ).run()


def on(volume: Path) -> dict[str, bytes]:
    return {str(file.relative_to(volume)): file.read_bytes() for file in volume.rglob("*") if file.is_file()}


def paths(recorded: Recorded, *include: str) -> list[str]:
    return [artifact.path for artifact in chosen(recorded, ITERATION, include, recorded.text)]


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
    assert [(a.path, a.size) for a in chosen(recorded, ITERATION, ("*.pt",), recorded.text)] == [("last.pt", 6)]
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
    recorded.rows.clear()
    recorded.record("pinnace-manifest.json", b"no manifest")
    recorded.record("other/pinnace-manifest.json", b'{"files": [{"path": "never recorded"}]}')
    assert paths(recorded) == []


def test_a_path_that_was_written_again_comes_back_as_the_set_means_it(recorded: Recorded) -> None:
    recorded.record_set("last", {"w": b"first"}, minutes=1)
    recorded.record("last/w", b"newer than the set", minutes=2)
    assert [artifact.size for artifact in chosen(recorded, ITERATION, (), recorded.text)][:1] == [5]
    digest = hashlib.sha256(b"second").hexdigest()
    recorded.record_set("last", {"w": b"second"}, minutes=3, sha256=digest)
    recorded.record("last/w", b"third", minutes=3)
    assert [artifact.sha256 for artifact in chosen(recorded, ITERATION, (), recorded.text)][:1] == [digest]


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
