"""A manifest is recorded after all files of its set, or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.records import FileState, Problem, WriterEnd
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.crash import CrashPoint, never
from pinnace_sidecar.files import LocalVolume, OpenFile
from pinnace_sidecar.sidecar import files_folder
from support.examples import examples
from support.pod import Crashed, FailingDisk, Pod, paths

MANIFEST = "ckpt/pinnace-manifest.json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def text(files: dict[str, bytes], **more: Any) -> bytes:
    """A manifest with sizes and digests."""
    listed = [{"path": path, "size": len(content), "sha256": sha256(content)} for path, content in files.items()]
    return json.dumps({"files": listed, **more}).encode()


def names(*files: str) -> bytes:
    """A manifest with names only."""
    return json.dumps({"files": [{"path": path} for path in files]}).encode()


def write_manifest(pod: Pod, content: bytes, path: str = MANIFEST) -> Path:
    """The last file of a set, complete at once."""
    file = pod.write(path, content)
    pod.write(f"{path}.done", b"")
    return file


def just_written(pod: Pod, *files: Path) -> None:
    """By the pod's clock, these and the manifest's marker, if it has one: none has settled."""
    now = pod.clock.now()
    for file in (*files, *pod.volume.glob(f"{MANIFEST}.done")):
        os.utime(file, (now, now))


def fail_with_a_set(pod: Pod) -> None:
    """Start, and have a training fail right after it wrote a file and the manifest that names it."""
    pod.api.ended = WriterEnd.FAILED
    pod.start()
    now = pod.clock.now()
    for file in (pod.write("ckpt/a", b"1"), write_manifest(pod, names("a"))):
        os.utime(file, (now, now))


def recorded(pod: Pod) -> list[str]:
    """The paths of the rows in the order in which the API got them."""
    return [row.path for row in pod.api.rows.values()]


def problems(pod: Pod) -> list[Problem]:
    return list(pod.sidecar.report().problems)


def states(pod: Pod) -> dict[FileState, int]:
    return pod.sidecar.report().files


def test_a_set_is_complete_when_its_manifest_is_and_the_manifest_comes_last(pod: Pod) -> None:
    files = {f"rank-{rank}/shard.bin": os.urandom(30_000) for rank in range(5)}
    for path, content in files.items():
        pod.write(f"ckpt/{path}", content)
    write_manifest(pod, text(files))
    pod.start()
    pod.run_for(3)  # less than the settle time
    assert sorted(recorded(pod)[:-1]) == sorted(f"ckpt/{path}" for path in files)
    assert recorded(pod)[-1] == MANIFEST
    assert problems(pod) == []


def test_a_manifest_that_settles_promises_its_files_too(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    pod.write(MANIFEST, names("a"))
    pod.start()
    pod.run_for(8)
    assert recorded(pod) == ["ckpt/a", MANIFEST]


def test_a_set_at_the_root_of_the_volume_is_one_too(pod: Pod) -> None:
    pod.write("a", b"1")
    write_manifest(pod, names("a"), "pinnace-manifest.json")
    pod.start()
    pod.run_for(3)
    assert recorded(pod) == ["a", "pinnace-manifest.json"]


def test_files_that_were_recorded_before_count(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    pod.write("ckpt/b", b"2")
    pod.start()
    pod.run_for(10)
    write_manifest(pod, text({"a": b"1"}))
    write_manifest(pod, names("b"), "ckpt/pinnace-manifest.json")
    pod.run_for(5)
    assert recorded(pod)[-1] == MANIFEST


def test_a_file_touched_after_the_manifest_is_not_promised(pod: Pod) -> None:
    write_manifest(pod, names("a"))
    late = pod.write("ckpt/a", b"still being written")
    os.utime(late, (pod.clock.now() + 100, pod.clock.now() + 100))
    pod.start()
    pod.run_for(3)
    assert paths(pod) == []
    pod.run_for(5)
    assert recorded(pod) == ["ckpt/a", MANIFEST]


def test_a_file_of_another_size_is_not_promised_and_is_named(pod: Pod) -> None:
    pod.write("ckpt/a", b"half")
    write_manifest(pod, text({"a": b"half and half"}))
    pod.start()
    pod.run_for(4)
    assert paths(pod) == []
    assert [problem.reason for problem in problems(pod)] == ["SetIncomplete"]
    assert problems(pod)[0].message == f"{MANIFEST} waits: ckpt/a has 4 bytes, and the manifest says 13"


def test_a_missing_shard_is_named_and_holds_the_manifest_back(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a", "b"))
    pod.start()
    pod.run_for(30)
    assert recorded(pod) == ["ckpt/a"]
    assert problems(pod)[0].message == f"{MANIFEST} waits: ckpt/b is not there"
    assert pod.key(MANIFEST, names("a", "b")) not in pod.store.contents()
    pod.write("ckpt/b", b"2")
    pod.run_for(10)
    assert recorded(pod) == ["ckpt/a", "ckpt/b", MANIFEST]
    assert problems(pod) == []


def test_a_shard_with_other_bytes_holds_the_manifest_back_until_the_right_ones_come(pod: Pod) -> None:
    pod.write("ckpt/a", b"wrong")
    write_manifest(pod, text({"a": b"right"}))
    pod.start()
    pod.run_for(10)
    assert recorded(pod) == ["ckpt/a"]
    assert problems(pod)[0].message == f"{MANIFEST} waits: ckpt/a is not what the manifest names"
    pod.write("ckpt/a", b"right")
    pod.run_for(10)
    assert recorded(pod) == ["ckpt/a", "ckpt/a", MANIFEST]


def test_at_the_end_a_set_with_a_missing_shard_is_quarantined(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a", "b"))
    pod.start()
    report = pod.drain()
    assert report.final
    assert (report.files[FileState.RECORDED], report.files[FileState.QUARANTINED]) == (1, 1)
    assert recorded(pod) == ["ckpt/a"]
    assert (
        "SetIncomplete: ckpt/pinnace-manifest.json is not recorded: ckpt/b is not there" in report.problems[0].message
    )


def test_at_the_end_a_whole_set_is_recorded_whatever_became_of_the_writer(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    pod.write("ckpt/a", b"1")
    pod.start()
    write_manifest(pod, names("a"))
    assert pod.drain().files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}
    assert [row.suspect for row in pod.api.rows.values()] == [False, False]


@pytest.mark.parametrize("manifest", [names("a", "b"), text({"a": b"1", "b": b"2"})], ids=["names", "digests"])
def test_a_manifest_seen_together_with_its_fresh_files_promises_them_all_the_same(pod: Pod, manifest: bytes) -> None:
    # A training that fails right after its checkpoint: one look finds everything, and nothing has settled.
    pod.api.ended = WriterEnd.FAILED
    pod.start()
    pod.run_for(10)
    just_written(pod, pod.write("ckpt/a", b"1"), pod.write("ckpt/b", b"2"), write_manifest(pod, manifest))
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 3, FileState.EXCLUDED: 1}
    assert report.problems == ()
    assert recorded(pod)[-1] == MANIFEST
    assert [row.suspect for row in pod.api.rows.values()] == [False] * 3
    assert pod.copies() == []


@pytest.mark.parametrize("writer", [WriterEnd.FAILED, WriterEnd.UNKNOWN, None])
def test_a_manifest_of_which_nobody_saw_how_it_came_is_complete_when_it_can_be_read(
    pod: Pod, writer: WriterEnd | None
) -> None:
    # Into a folder made in the same moment, where inotify was not told of the rename.
    if writer is None:  # nobody tells before time is short
        pod.api.broken.add("writers")
    else:
        pod.api.ended = writer
    pod.start()
    pod.run_for(10)
    just_written(pod, pod.write("ckpt/a", b"1"), pod.write(MANIFEST, names("a")))
    assert pod.drain().files == {FileState.RECORDED: 2}
    assert [row.suspect for row in pod.api.rows.values()] == [False] * 2


def test_a_torn_shard_makes_no_whole_set_and_a_digest_proves_it_whole(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    now = pod.clock.now() + 60
    for folder, manifest in (("torn", names("a")), ("proven", text({"a": b"1"}))):
        os.utime(pod.write(f"{folder}/a", b"1"), (now, now))
        write_manifest(pod, manifest, f"{folder}/pinnace-manifest.json")
    pod.start()
    report = pod.drain()
    assert (report.files[FileState.SUSPECT], report.files[FileState.QUARANTINED]) == (2, 1)
    assert recorded(pod)[-1] == "proven/pinnace-manifest.json"
    assert "torn/a is not as it was or is suspect" in report.problems[0].message


def test_a_manifest_torn_by_its_killed_writer_is_suspect_and_speaks_for_nothing(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    pod.write("ckpt/a", b"1")
    pod.write(MANIFEST, names("a", "b")[:-5])
    pod.start()
    report = pod.drain()
    assert report.files == {FileState.SUSPECT: 2}
    assert report.problems == ()


def test_an_invalid_manifest_is_said_and_waits_to_be_written_again(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a")[:-5])
    pod.start()
    pod.run_for(10)
    assert recorded(pod) == ["ckpt/a"]
    assert [problem.reason for problem in problems(pod)] == ["ManifestInvalid"]
    write_manifest(pod, names("a"))
    pod.run_for(10)
    assert recorded(pod) == ["ckpt/a", MANIFEST]
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}
    assert report.problems == ()
    assert pod.copies() == []


def test_at_the_end_an_invalid_manifest_is_quarantined_with_its_mistake(pod: Pod) -> None:
    write_manifest(pod, names("../../etc/passwd"))
    pod.start()
    report = pod.drain()
    assert report.files[FileState.QUARANTINED] == 1
    assert "ManifestInvalid: ckpt/pinnace-manifest.json: files[0].path must be relative" in report.problems[0].message


def test_a_set_that_was_taken_off_the_volume_before_it_was_whole_is_forgotten(pod: Pod) -> None:
    manifest = write_manifest(pod, names("a"))
    pod.start()
    pod.run_for(5)
    manifest.unlink()
    report = pod.drain()
    assert (report.files, report.problems) == ({FileState.EXCLUDED: 1}, ())
    assert (paths(pod), pod.copies(), pod.store.contents()) == ([], [], {})


def test_a_checkpoint_written_over_and_over_has_a_manifest_for_each_whole_version(pod: Pod) -> None:
    pod.start()
    for version in (b"1", b"2", b"3"):
        pod.write("ckpt/a", version)
        write_manifest(pod, text({"a": version}))
        pod.run_for(6)
    assert recorded(pod) == ["ckpt/a", MANIFEST] * 3


def test_equal_manifests_of_names_are_one_row_and_the_log_says_so(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    pod.start()
    for version in (b"1", b"2"):
        pod.write("ckpt/a", version)
        write_manifest(pod, names("a"))
        pod.run_for(10)
    assert recorded(pod) == ["ckpt/a", MANIFEST, "ckpt/a"]
    [said] = [record.message for record in caplog.records if "adds no set" in record.message]
    assert "written" in said


def test_a_manifest_written_again_with_the_same_words_means_the_files_that_lie_there_now(pod: Pod) -> None:
    pod.start()
    pod.run_for(1)
    pod.write("ckpt/a", b"first")
    write_manifest(pod, names("a"))
    pod.store.fail_next(StoreUnreachable("no answer"), times=3)
    pod.run_until(pod.journal.sets.held)
    pod.write("ckpt/a", b"second, larger")
    write_manifest(pod, names("a"))
    pod.run_for(120)
    assert recorded(pod)[-2:] == ["ckpt/a", MANIFEST]
    assert [row.size for row in pod.api.rows.values() if row.path == "ckpt/a"][-1] == len(b"second, larger")
    assert problems(pod) == []


def test_a_set_of_more_files_than_memory_holds_is_whole_although_its_writer_failed(pod: Pod) -> None:
    pod.tuning = msgspec.structs.replace(pod.tuning, watched_files=2)
    pod.api.ended = WriterEnd.FAILED
    pod.start()
    pod.run_for(10)
    shards = [f"a-{number}" for number in range(9)]
    just_written(pod, *(pod.write(f"ckpt/{name}", b"1") for name in shards), write_manifest(pod, names(*shards)))
    assert pod.drain().files == {FileState.RECORDED: 10, FileState.EXCLUDED: 1}
    assert recorded(pod)[-1] == MANIFEST


@pytest.mark.parametrize("failures", [1, 4])
def test_a_manifest_that_can_not_be_read_for_a_moment_speaks_for_its_set_all_the_same(pod: Pod, failures: int) -> None:
    pod.disk = FailingDisk(failures)
    fail_with_a_set(pod)
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}
    assert [len(members) for members in pod.api.sets.values()] == [1]


class UnreadableManifest(LocalVolume):
    failures = 1_000_000

    def open(self, path: str) -> OpenFile:
        if path == MANIFEST and self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "input/output error")
        return super().open(path)


def test_a_manifest_on_a_volume_that_is_away_for_a_minute_speaks_for_its_set_all_the_same(pod: Pod) -> None:
    pod.seen_volume = volume = UnreadableManifest(str(pod.volume))
    volume.failures = 7
    fail_with_a_set(pod)
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}
    assert [len(members) for members in pod.api.sets.values()] == [1]


@pytest.mark.parametrize("seconds", [20, 600])
def test_a_manifest_that_can_never_be_read_holds_up_no_other_file(pod: Pod, seconds: int) -> None:
    pod.change_settings(drain_timeout_seconds=seconds)
    pod.seen_volume = UnreadableManifest(str(pod.volume))
    fail_with_a_set(pod)
    report = pod.drain()
    assert not report.final
    assert paths(pod) == ["ckpt/a"]
    assert report.files[FileState.SUSPECT] == 1


def test_a_manifest_whose_copy_rots_before_it_is_read_is_copied_again(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a"))
    pod.crash_at(CrashPoint.COPY_JOURNALED)
    pod.start()
    with contextlib.suppress(Crashed):
        pod.run_for(10)
    pod.stop()
    [pack] = files_folder(pod.settings).iterdir()
    pack.write_bytes(pack.read_bytes().replace(b'"path"', b'"Path"'))
    pod.crash = never
    pod.start()
    pod.run_for(300)
    assert recorded(pod)[-1] == MANIFEST
    assert [len(members) for members in pod.api.sets.values()] == [1]
    assert problems(pod) == []


def test_a_manifest_whose_copy_can_not_be_read_any_more_is_copied_again_before_its_files_count_as_torn(
    pod: Pod,
) -> None:
    pod.api.ended = WriterEnd.FAILED
    pod.start()
    pod.run_for(10)
    pod.disk = FailingDisk(5)
    pod.stop()
    pod.start()
    just_written(pod, pod.write("ckpt/a", b"1"), write_manifest(pod, names("a")))
    assert pod.drain().files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}
    assert [len(members) for members in pod.api.sets.values()] == [1]


def test_manifests_that_wait_leave_their_room_to_the_files_that_they_wait_for(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=4096)
    manifests = {f"set-{number}": json.dumps({"files": [{"path": "a"}], "written": "x" * 500}) for number in range(10)}
    for folder, manifest in manifests.items():
        write_manifest(pod, manifest.encode(), f"{folder}/pinnace-manifest.json")
    pod.start()
    pod.run_for(30)
    assert paths(pod) == []
    for folder in manifests:
        pod.write(f"{folder}/a", os.urandom(1000))
    pod.run_for(300)
    assert len(recorded(pod)) == 2 * len(manifests)
    assert problems(pod) == []
    assert pod.copies() == []


def test_a_file_that_is_left_out_is_named_as_the_reason(pod: Pod) -> None:
    pod.write("ckpt/a.tmp", b"1")
    write_manifest(pod, names("a.tmp"))
    pod.start()
    pod.run_for(5)
    assert problems(pod)[0].message.endswith("ckpt/a.tmp is left out by the patterns of what to ship")


def test_files_deleted_after_they_were_copied_complete_their_set(pod: Pod) -> None:
    shard = pod.write("ckpt/a", b"1")
    manifest = write_manifest(pod, names("a"))
    pod.store.fail_next(StoreUnreachable("away"), times=3)
    pod.start()
    pod.run_until(lambda: len(pod.copies()) == 2)
    shard.unlink()
    manifest.unlink()
    pod.run_for(60)
    assert recorded(pod) == ["ckpt/a", MANIFEST]


def test_a_set_in_a_set_comes_before_the_outer_one(pod: Pod) -> None:
    pod.write("ckpt/rank/a", b"1")
    inner = names("a")
    write_manifest(pod, text({"rank/pinnace-manifest.json": inner}))
    write_manifest(pod, inner, "ckpt/rank/pinnace-manifest.json")
    pod.start()
    pod.run_for(5)
    assert recorded(pod) == ["ckpt/rank/a", "ckpt/rank/pinnace-manifest.json", MANIFEST]


def told(pod: Pod) -> dict[str, set[str]]:
    """The sets that the API was told of: path and content of the files, by the manifest's folder."""
    rows = pod.api.rows
    return {
        rows[manifest].path.rpartition("/")[0]: {f"{rows[id_].path} {rows[id_].size}" for id_ in members}
        for manifest, members in pod.api.sets.items()
    }


def test_the_api_is_told_which_contents_make_the_set(pod: Pod) -> None:
    pod.write("ckpt/b", b"old")
    pod.start()
    pod.run_for(10)
    pod.write("ckpt/a", b"1")
    pod.write("ckpt/b", b"22")
    write_manifest(pod, text({"a": b"1", "b": b"22"}))
    pod.write("bare/c", b"333")
    write_manifest(pod, names("c"), "bare/pinnace-manifest.json")
    pod.run_for(5)
    pod.write("bare/c", b"4444")
    pod.drain()
    assert told(pod) == {"ckpt": {"ckpt/a 1", "ckpt/b 2"}, "bare": {"bare/c 3"}}


def test_a_file_younger_than_a_manifest_without_digests_is_of_its_set(pod: Pod) -> None:
    write_manifest(pod, names("a"))
    late = pod.write("ckpt/a", b"12")
    os.utime(late, (pod.clock.now() + 100, pod.clock.now() + 100))
    pod.start()
    pod.run_for(10)
    assert told(pod) == {"ckpt": {"ckpt/a 2"}}


@pytest.mark.parametrize("passing", [1, 2, 3])
def test_a_set_whose_answer_was_lost_is_told_again_and_stays_one(pod: Pod, passing: int) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a"))
    for point in (CrashPoint.ROW_SENT, CrashPoint.ROW_JOURNALED):
        pod.crash_at(point, passing)
        pod.start()
        with contextlib.suppress(Crashed):
            pod.run_for(20)
        pod.stop()
    pod.start()
    pod.run_for(20)
    assert told(pod) == {"ckpt": {"ckpt/a 1"}}


def test_a_manifest_whose_set_is_refused_is_recorded_all_the_same(pod: Pod) -> None:
    """By an API that does not know of sets, or of a set with other files."""
    pod.api.knows_sets = False
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a"))
    pod.write("loose", b"2")
    pod.start()
    report = pod.drain()
    assert report.final
    assert (report.files, report.problems) == ({FileState.RECORDED: 3, FileState.EXCLUDED: 1}, ())
    assert told(pod) == {}


def test_another_pod_with_the_same_manifest_for_other_bytes_changes_no_set(pod: Pod) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, names("a"))
    pod.start()
    pod.run_for(5)
    before = told(pod)
    [manifest] = pod.api.sets
    pod.api.sets[manifest] = (uuid4(),)
    pod.stop()
    shutil.rmtree(pod.settings.buffer_dir)
    pod.start()
    report = pod.drain()
    assert report.final
    assert (report.files[FileState.RECORDED], report.problems) == (2, ())
    assert len(before) == len(pod.api.sets) == 1


def test_a_manifest_that_speaks_for_no_set_names_none(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    pod.write("ckpt/a", b"1")
    pod.write(MANIFEST, names("a", "b")[:-5])
    pod.start()
    pod.drain()
    assert (len(pod.api.rows), pod.api.sets) == (2, {})


@pytest.mark.parametrize("point", [CrashPoint.COPY_WRITTEN, CrashPoint.COPY_JOURNALED, CrashPoint.ROW_SENT])
@pytest.mark.parametrize("passing", [1, 2])
def test_a_restart_holds_the_manifest_back_as_before(pod: Pod, point: CrashPoint, passing: int) -> None:
    pod.write("ckpt/a", b"1")
    write_manifest(pod, text({"a": b"1"}))
    pod.crash_at(point, passing)
    pod.start()
    with pytest.raises(Crashed):
        pod.run_for(20)
    assert recorded(pod) in ([], ["ckpt/a"], ["ckpt/a", MANIFEST])
    pod.stop()
    pod.start()
    pod.run_for(20)
    assert recorded(pod) == ["ckpt/a", MANIFEST]


_SHARDS = ("a", "b", "sub/c")
_STEP = st.sampled_from(["write", "delete", "manifest", "bare manifest", "wait", "restart"])


@given(st.lists(st.tuples(_STEP, st.sampled_from(_SHARDS), st.integers(0, 2)), max_size=14))
@settings(max_examples=examples(60), deadline=None)
def test_whatever_happens_no_manifest_with_digests_is_recorded_before_its_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    pod = Pod(tmp_path_factory.mktemp("pod"), settle_seconds=0.5)
    try:
        _follow(pod, steps)
    finally:
        pod.stop()


def _follow(pod: Pod, steps: list[tuple[str, str, int]]) -> None:
    pod.start()
    shards: dict[str, bytes] = {}
    promised: dict[bytes, dict[str, bytes]] = {}
    for step, name, number in steps:
        if step == "write":
            shards[name] = b"x" * number + b"y"
            pod.write(f"ckpt/{name}", shards[name])
        elif step == "delete" and name in shards:
            del shards[name]
            (pod.volume / "ckpt" / name).unlink()
        elif step in ("manifest", "bare manifest") and shards:
            content = text(shards) if step == "manifest" else names(*shards)
            promised[content] = dict(shards) if step == "manifest" else {}
            write_manifest(pod, content)
        elif step == "wait":
            pod.run_for(number * 0.4)
        elif step == "restart":
            pod.stop()
            pod.start()
    report = pod.drain()
    assert report.final
    order = [(row.path, row.sha256) for row in pod.api.rows.values()]
    for content, files in promised.items():
        if (MANIFEST, sha256(content)) in order:
            before = order[: order.index((MANIFEST, sha256(content)))]
            assert {(f"ckpt/{path}", sha256(shard)) for path, shard in files.items()} <= set(before)
            named = [pod.api.rows[id_] for id_ in pod.api.sets[pod.artifact(MANIFEST, content)]]
            assert {f"ckpt/{each['path']}" for each in json.loads(content)["files"]} == {row.path for row in named}
            assert {(row.path, row.sha256) for row in named} <= set(before)
            assert not files or {(f"ckpt/{path}", sha256(shard)) for path, shard in files.items()} == {
                (row.path, row.sha256) for row in named
            }
    assert len(pod.store.contents()) == len(order)
