"""What training code does to its files: rewritten, appended to, cut, renamed, removed, holes, folders come and gone."""

import os
import shutil
from pathlib import Path

from pinnace.records import FileState
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.inotify import InotifyWatcher
from support.eventually import eventually
from support.pod import Pod, paths


def contents(pod: Pod, path: str) -> list[bytes]:
    """What the store holds of a path, oldest version first."""
    stored = pod.store.contents()
    return [stored[row.location.key] for row in pod.api.rows.values() if row.path == path]


def test_each_completed_content_of_a_rewritten_file_is_a_version(pod: Pod) -> None:
    pod.start()
    for version in (b"one", b"two", b"one again"):
        pod.write("model", version)
        pod.run_for(10)
    assert contents(pod, "model") == [b"one", b"two", b"one again"]
    assert pod.drain().files == {FileState.RECORDED: 3}


def test_a_log_that_is_appended_to_is_versions_that_begin_alike_and_ends_whole(pod: Pod) -> None:
    pod.start()
    for number in range(3):
        with (pod.volume / "log").open("ab") as log:
            log.write(b"line %d\n" % number)
        pod.run_for(10)
    with (pod.volume / "log").open("ab") as log:
        log.write(b"last line")
    pod.drain()
    found = contents(pod, "log")
    assert found[-1] == b"line 0\nline 1\nline 2\nlast line"
    assert all(found[-1].startswith(version) for version in found)


def test_a_log_that_never_rests_makes_no_version_before_the_end(pod: Pod) -> None:
    pod.start()
    for number in range(20):
        with (pod.volume / "log").open("ab") as log:
            log.write(b"line %d\n" % number)
        pod.run_for(2)
    assert paths(pod) == []
    pod.drain()
    assert len(contents(pod, "log")) == 1


def test_other_bytes_of_the_same_size_and_time_are_another_version(pod: Pod) -> None:
    file = pod.write("model", b"one")
    before = file.stat()
    pod.start()
    pod.run_for(10)
    with file.open("r+b") as rewritten:
        rewritten.truncate(0)
        rewritten.write(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    pod.run_for(10)
    assert contents(pod, "model") == [b"one", b"two"]


def test_a_file_with_holes_arrives_with_zeros(pod: Pod) -> None:
    with (pod.volume / "sparse").open("wb") as sparse:
        sparse.seek(25_000)
        sparse.write(b"end")
    pod.start()
    pod.drain()
    assert contents(pod, "sparse") == [b"\0" * 25_000 + b"end"]


def test_a_file_deleted_before_it_was_shipped_is_ashore_once_it_was_copied(pod: Pod) -> None:
    pod.store.fail_next(StoreUnreachable("away"), times=3)
    file = pod.write("rotated", b"only here")
    pod.start()
    pod.run_until(lambda: len(pod.copies()) == 1)
    file.unlink()
    pod.run_for(120)
    assert contents(pod, "rotated") == [b"only here"]


def test_a_file_deleted_before_it_was_complete_is_no_file_any_more(pod: Pod) -> None:
    file = pod.write("gone", b"1")
    pod.start()
    pod.run_for(1)
    file.unlink()
    assert pod.drain().files == {}


def test_a_renamed_folder_holds_other_files_and_loses_none(pod: Pod) -> None:
    pod.write("run/model", b"1")
    pod.start()
    pod.run_for(10)
    (pod.volume / "run").rename(pod.volume / "best")
    pod.run_for(10)
    assert paths(pod) == ["best/model", "run/model"]


def test_a_folder_moved_away_and_back_changes_nothing(pod: Pod, tmp_path: Path) -> None:
    pod.write("run/model", b"1")
    pod.start()
    pod.run_for(10)
    (pod.volume / "run").rename(tmp_path / "elsewhere")
    pod.run_for(10)
    (tmp_path / "elsewhere").rename(pod.volume / "run")
    pod.run_for(10)
    assert paths(pod) == ["run/model"]
    assert pod.drain().final


def test_a_root_deleted_and_made_again_is_watched_again(pod: Pod) -> None:
    pod.watcher = watcher = InotifyWatcher(str(pod.volume), pod.bell.set)
    try:
        pod.write("before", b"1")
        pod.start()
        pod.run_for(10)
        pod.bell.clear()
        shutil.rmtree(pod.volume)
        eventually(pod.bell.is_set, what="the end of the root wakes the sidecar")
        pod.run_for(5)
        assert [problem.reason for problem in pod.sidecar.report().problems] == ["VolumeUnreadable"]
        pod.volume.mkdir()
        pod.write("after", b"2")
        pod.run_for(20)
        assert paths(pod) == ["after", "before"]
        pod.bell.clear()
        pod.write("later", b"3")
        eventually(pod.bell.is_set, what="the new root wakes the sidecar")
    finally:
        watcher.close()
