"""From a file on the volume to a row: the whole way in one process."""

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from pinnace.records import FileState
from pinnace.stores.store import (
    CorruptContent,
    Multipart,
    NoSuchMultipart,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    TerminalStoreError,
    TransientStoreError,
)
from pinnace_sidecar.crash import CrashPoint, never
from support.pod import PART_BYTES, Crashed, Pod, paths

UNREACHABLE = StoreUnreachable("no answer")
SLOW_DOWN = TransientStoreError("slow down", code="SlowDown")
DENIED = StoreRefused("denied", code="AccessDenied", hint="give the key its rights")
TOO_LARGE = TerminalStoreError("the request is too large", code="EntityTooLarge")
TOO_LONG = TerminalStoreError("the key is too long", code="InvalidKey")

BIG = os.urandom(2 * PART_BYTES + 17)


@pytest.fixture
def big(pod: Pod) -> Pod:
    """With a file of three parts."""
    pod.write("big", BIG)
    return pod


def assert_ashore(pod: Pod, files: dict[str, bytes]) -> None:
    """Each file once in the store and in the API, nothing else, and nothing left behind."""
    rows = pod.api.rows.values()
    assert sorted((row.path, row.sha256) for row in rows) == sorted(
        (path, hashlib.sha256(content).hexdigest()) for path, content in files.items()
    )
    assert pod.store.contents() == {pod.key(path, content): content for path, content in files.items()}
    assert {row.location.key for row in rows} == set(pod.store.contents())
    assert pod.store.uploads() == []
    assert pod.copies() == []


def test_a_settled_file_ends_as_bytes_in_the_store_and_one_row(pod: Pod) -> None:
    pod.write("sub/model.bin", b"weights")
    pod.start()
    pod.run_for(30)
    assert_ashore(pod, {"sub/model.bin": b"weights"})
    report = pod.api.report
    assert (report.files, report.bytes_recorded, report.pending) == ({FileState.RECORDED: 1}, 7, 0)
    assert report.manifest.count == 1
    assert not report.final


def test_nothing_is_shipped_before_it_has_settled(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.start()
    pod.run_for(4.9)
    assert pod.store.contents() == {}
    assert pod.sidecar.status.files[FileState.SEEN] == 1
    pod.run_for(3)
    assert_ashore(pod, {"a": b"1"})


def test_a_marker_makes_a_file_complete_at_once_and_is_none_itself(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.write("a.done", b"")
    pod.write("b", b"2")
    pod.start()
    pod.run_for(1)
    assert_ashore(pod, {"a": b"1"})
    pod.run_for(10)
    assert pod.api.report.files == {FileState.RECORDED: 2, FileState.EXCLUDED: 1}


def test_a_marker_older_than_its_file_says_nothing(pod: Pod) -> None:
    marker = pod.write("a.done", b"")
    file = pod.write("a", b"1")
    os.utime(marker, ns=(0, file.stat().st_mtime_ns - 1))
    pod.start()
    pod.run_for(4)
    assert paths(pod) == []


def test_patterns_leave_files_out(pod: Pod) -> None:
    pod.change_settings(include=("*.bin", "out/**"), exclude=("*.tmp",))
    for path in ("a.bin", "a.txt", "out/a.txt", "out/a.tmp"):
        pod.write(path, path.encode())
    (pod.volume / "link.bin").symlink_to("a.bin")
    pod.start()
    pod.run_for(10)
    assert paths(pod) == ["a.bin", "out/a.txt"]
    assert pod.api.report.files == {FileState.RECORDED: 2, FileState.EXCLUDED: 3}


def test_odd_names_arrive_spelled_as_the_api_has_them(pod: Pod) -> None:
    names = [b"new\nline", b"\xff\xfe", "é".encode(), b"50%", b"+ %2F~"]
    for name in names:
        Path(os.fsdecode(os.fsencode(pod.volume) + b"/" + name)).write_bytes(name)
    pod.start()
    pod.run_for(10)
    assert paths(pod) == sorted(["new\nline", "%FF%FE", "é", "50%", "+ %2F~"])


def test_a_large_file_goes_in_parts(big: Pod) -> None:
    big.start()
    big.run_for(10)
    assert_ashore(big, {"big": BIG})
    assert big.sidecar.status.uploaded_bytes == len(BIG)


def test_where_parts_are_hashed_once_more_a_large_file_goes_whole(big: Pod) -> None:
    big.store.hashes_parts = True
    big.crash_at(CrashPoint.OBJECT_SENT)
    big.start()
    with pytest.raises(Crashed):
        big.run_for(10)
    assert big.store.contents() == {big.key("big", BIG): BIG}
    assert big.store.uploads() == []
    assert big.api.rows == {}


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("error", [UNREACHABLE, SLOW_DOWN, TOO_LARGE])
def test_a_large_file_that_broke_off_when_sent_whole_goes_in_parts(
    big: Pod, error: StoreError, *, arrived: bool
) -> None:
    big.store.hashes_parts = True
    big.crash_at(CrashPoint.UPLOAD_OPENED)
    big.store.fail_next(error, after=arrived)
    big.start()
    if arrived:
        big.run_for(60)
        assert big.sidecar.status.uploaded_bytes == 0
    else:
        with pytest.raises(Crashed):
            big.run_for(60)
        big.stop()
        big.crash = never
        big.start()
        big.run_for(60)
    assert_ashore(big, {"big": BIG})


def test_a_large_file_that_an_earlier_process_may_have_begun_goes_in_parts(big: Pod) -> None:
    big.store.hashes_parts = True
    big.store.fail_next(UNREACHABLE, times=100)
    big.start()
    big.run_for(10)
    big.stop()
    big.store.mend()
    big.crash_at(CrashPoint.UPLOAD_JOURNALED)
    big.start()
    with pytest.raises(Crashed):
        big.run_for(60)
    big.stop()
    big.crash = never
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})


def test_a_file_larger_than_what_goes_whole_goes_in_parts(big: Pod) -> None:
    big.store.hashes_parts = True
    big.tuning = msgspec.structs.replace(big.tuning, whole_bytes=len(BIG) - 1)
    big.crash_at(CrashPoint.UPLOAD_OPENED)
    big.start()
    with pytest.raises(Crashed):
        big.run_for(10)


def test_a_rewritten_file_is_a_new_version_and_the_old_one_stays(pod: Pod) -> None:
    pod.write("a", b"first")
    pod.start()
    pod.run_for(10)
    pod.write("a", b"second")
    pod.run_for(10)
    assert sorted(row.sha256 for row in pod.api.rows.values()) == sorted(
        hashlib.sha256(content).hexdigest() for content in (b"first", b"second")
    )
    assert sorted(pod.store.contents().values()) == [b"first", b"second"]
    assert pod.api.report.manifest.count == 2


def test_a_file_rewritten_with_the_same_content_is_nothing_new(pod: Pod) -> None:
    pod.write("a", b"same")
    pod.start()
    pod.run_for(10)
    requests = len(pod.api.requests)
    rows = pod.api.requests.count("artifacts")
    pod.write("a", b"same")
    pod.run_for(100)
    assert len(pod.api.requests) > requests
    assert pod.api.requests.count("artifacts") == rows
    assert_ashore(pod, {"a": b"same"})


def test_a_restart_ships_nothing_twice(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.start()
    pod.run_for(10)
    pod.stop()
    pod.start()
    pod.run_for(100)
    assert pod.api.requests.count("artifacts") == 1
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_a_file_deleted_after_its_copy_was_made_still_arrives(pod: Pod) -> None:
    file = pod.write("a", b"rotated")
    pod.store.fail_next(UNREACHABLE, times=3)
    pod.start()
    pod.run_for(6)
    assert pod.copies() != []
    file.unlink()
    pod.run_for(60)
    assert_ashore(pod, {"a": b"rotated"})


def test_a_file_deleted_before_it_settled_is_forgotten(pod: Pod) -> None:
    file = pod.write("a", b"short-lived")
    pod.start()
    pod.run_for(1)
    file.unlink()
    pod.run_for(60)
    assert pod.api.report.files == {}
    assert pod.store.contents() == {}


@pytest.mark.parametrize("error", [UNREACHABLE, SLOW_DOWN, DENIED, CorruptContent("damaged", code="BadDigest")])
@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_fails_for_a_while_delays_and_loses_nothing(
    big: Pod, error: StoreError, times: int, after: bool
) -> None:
    big.write("small", b"1")
    big.store.fail_next(error, times=times, after=after)
    big.start()
    big.run_for(600)
    assert_ashore(big, {"big": BIG, "small": b"1"})
    assert big.sidecar.status.upload_failures == {error.code: times}
    assert big.api.report.problems == ()


def test_while_the_store_refuses_everything_one_operation_at_a_time_asks_again(pod: Pod) -> None:
    for number in range(50):
        pod.write(f"f{number}", b"%d" % number)
    pod.store.fail_next(DENIED, times=10_000)
    pod.start()
    pod.run_for(600)
    assert pod.sidecar.status.upload_failures["AccessDenied"] < 600 / 5
    (problem,) = pod.api.report.problems
    assert problem.reason == "AccessDenied"
    assert "give the key its rights" in problem.message
    assert pod.api.report.oldest_unshipped_seconds > 500
    assert pod.api.report.files == {FileState.BUFFERED: 50}


def test_an_answer_that_got_lost_is_found_out_by_looking(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.store.fail_next(UNREACHABLE, after=True)
    pod.start()
    pod.run_for(60)
    assert_ashore(pod, {"a": b"1"})
    assert pod.sidecar.status.uploaded_bytes == 0


def test_an_upload_whose_id_got_lost_is_taken_up(big: Pod) -> None:
    big.store.fail_next(UNREACHABLE, after=True)
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})


def test_a_restart_in_mid_upload_sends_only_the_parts_that_are_missing(big: Pod) -> None:
    big.crash_at(CrashPoint.PART_SENT, passing=2)
    big.start()
    with pytest.raises(Crashed):
        big.run_for(60)
    big.stop()
    big.crash = never
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})
    assert big.sidecar.status.uploaded_bytes == 17


def test_an_upload_that_the_store_forgot_is_begun_again(big: Pod) -> None:
    big.store.fail_next(NoSuchMultipart("gone", code="NoSuchUpload"), times=2)
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})


def test_uploads_of_others_are_left_alone(big: Pod) -> None:
    others = big.store.create_multipart("runs/other/object")
    big.store.fail_next(UNREACHABLE, times=3, after=True)
    big.start()
    big.run_for(60)
    assert big.store.uploads() == [others]


def test_a_file_that_the_store_can_not_hold_is_quarantined_with_its_reason(big: Pod) -> None:
    big.write("small", b"1")
    big.store.fail_next(TOO_LONG)
    big.start()
    big.run_for(60)
    assert len(big.api.rows) == 1
    assert big.store.uploads() == []
    report = big.api.report
    assert report.files == {FileState.RECORDED: 1, FileState.QUARANTINED: 1}
    (problem,) = report.problems
    assert problem.reason == "FilesQuarantined"
    assert "InvalidKey: the key is too long" in problem.message


def test_what_the_store_holds_is_compared_and_sent_again_when_it_differs(big: Pod) -> None:
    big.start()
    big.run_until(big.store.contents)
    key = big.key("big", BIG)
    big.store.delete(key)
    big.run_for(60)
    assert_ashore(big, {"big": BIG})
    assert big.sidecar.status.uploaded_bytes == 2 * len(BIG)


def test_files_wait_while_the_buffer_is_full_and_nothing_is_lost(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=250)
    files = {f"f{number}": bytes([number]) * 100 for number in range(9)}
    for path, content in files.items():
        pod.write(path, content)
    pod.store.fail_next(DENIED, times=8)
    pod.start()
    pod.run_for(10)
    assert pod.copies() == ["pack-1"]
    assert pod.sidecar.status.buffer_bytes == 200
    assert {problem.reason for problem in pod.api.report.problems} == {"BufferFull", "AccessDenied"}
    pod.run_for(600)
    assert_ashore(pod, files)
    assert pod.api.report.problems == ()


def test_a_file_larger_than_the_buffer_is_quarantined_until_there_is_a_larger_one(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=10)
    pod.write("big", b"x" * 11)
    pod.write("small", b"y")
    pod.start()
    pod.run_for(20)
    assert paths(pod) == ["small"]
    assert "raise spec.artifacts.buffer.sizeLimit" in pod.api.report.problems[0].message
    pod.stop()
    pod.change_settings(buffer_limit_bytes=100)
    pod.start()
    pod.run_for(20)
    assert_ashore(pod, {"big": b"x" * 11, "small": b"y"})


def test_many_files_make_few_requests(pod: Pod) -> None:
    for number in range(400):
        pod.write(f"{number % 7}/f{number}", b"%d" % number)
    pod.start()
    pod.run_for(60)
    assert len(pod.api.rows) == 400
    assert pod.api.requests.count("artifacts") < 120


def test_a_lost_journal_costs_time_and_nothing_else(big: Pod) -> None:
    big.write("small", b"1")
    big.start()
    big.run_for(60)
    big.stop()
    (Path(big.settings.buffer_dir) / "journal.db").write_bytes(b"rubbish" * 1000)
    big.start()
    big.run_for(60)
    assert big.sidecar.status.uploaded_bytes == 0
    assert sorted(row.path for row in big.api.rows.values()) == ["big", "small"]
    assert big.api.report.manifest.count == 2


def test_an_upload_under_way_when_the_journal_was_lost_is_taken_up(big: Pod) -> None:
    abandoned: Multipart = big.store.create_multipart(big.key("big", BIG))
    (Path(big.settings.buffer_dir)).mkdir()
    (Path(big.settings.buffer_dir) / "journal.db").write_bytes(b"rubbish" * 1000)
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})
    assert abandoned not in big.store.uploads()


def test_a_part_that_is_not_the_one_acknowledged_is_sent_again(big: Pod) -> None:
    big.crash_at(CrashPoint.PART_JOURNALED)
    big.start()
    with pytest.raises(Crashed):
        big.run_for(60)
    (upload,) = big.store.uploads()
    (file,) = big.journal.files.in_state(FileState.BUFFERED, limit=2)
    first = big.journal.files.parts(file.id)[0]
    big.journal.files.add_parts(file.id, [msgspec.structs.replace(first, etag="another's")])
    arrived = len(big.store.list_parts(upload))
    big.stop()
    big.crash = never
    big.start()
    big.run_for(60)
    assert_ashore(big, {"big": BIG})
    sizes = [part.size for part in file.digest.parts]
    assert big.sidecar.status.uploaded_bytes == first.size + sum(sizes[arrived:])
