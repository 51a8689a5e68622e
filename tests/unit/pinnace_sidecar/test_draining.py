"""The end: what is complete when the writers have ended, and when the report may say final."""

import os
from collections.abc import Callable, Iterator

import msgspec
import pytest

from pinnace.client import Unreachable
from pinnace.records import FileState, PodReport, Problem, WriterEnd
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar import summary
from pinnace_sidecar.files import Folder, LocalVolume
from pinnace_sidecar.sidecar import files_folder
from support.pod import Pod, paths

GONE = Unreachable("no answer")


def age(pod: Pod, path: str, seconds: float) -> None:
    """Let a file look as if it was written so long ago."""
    at = pod.clock.now() - seconds
    os.utime(pod.volume / path, (at, at))


def test_clean_writers_left_what_they_wanted_to_write(pod: Pod) -> None:
    pod.write("fresh", b"1")
    pod.write("sub/metrics.jsonl", b'{"loss": 1}\n{"loss": 2}')
    pod.start()
    report = pod.drain()
    assert report.final
    assert paths(pod) == ["fresh", "sub/metrics.jsonl"]
    assert report.files == {FileState.RECORDED: 2}
    assert report.metric_points == 2
    assert pod.api.report == report
    assert pod.clock.monotonic() < 2


@pytest.mark.parametrize("ended", [WriterEnd.FAILED, WriterEnd.UNKNOWN])
def test_what_a_dead_writer_touched_last_is_suspect(pod: Pod, ended: WriterEnd) -> None:
    pod.api.ended = ended
    pod.write("fresh", b"1")
    pod.write("old", b"2")
    age(pod, "old", 60)
    pod.write("marked", b"3")
    pod.write("marked.done", b"")
    pod.start()
    report = pod.drain()
    assert {row.path: row.suspect for row in pod.api.rows.values()} == {"fresh": True, "old": False, "marked": False}
    assert report.final
    assert report.files == {FileState.RECORDED: 2, FileState.SUSPECT: 1, FileState.EXCLUDED: 1}
    assert report.manifest.count == 3


def test_while_writers_are_still_running_fresh_files_wait_for_the_verdict(pod: Pod) -> None:
    pod.api.ended = WriterEnd.RUNNING
    pod.write("fresh", b"1")
    pod.start()
    pod.sidecar.begin_drain()
    pod.run_for(60)
    assert paths(pod) == []
    pod.api.ended = WriterEnd.FAILED
    pod.run_for(10)
    assert {row.path: row.suspect for row in pod.api.rows.values()} == {"fresh": True}


def test_with_writers_running_all_the_time_the_drain_ends_without_a_proof(pod: Pod) -> None:
    pod.api.ended = WriterEnd.RUNNING
    pod.write("settled", b"1")
    age(pod, "settled", 60)
    pod.start()
    report = pod.drain()
    assert not report.final
    assert paths(pod) == ["settled"]
    assert pod.clock.monotonic() == pytest.approx(pod.settings.drain_timeout_seconds)
    assert pod.api.requests.count("writers") > 100


def test_an_api_that_is_away_can_not_tell_so_the_end_is_unknown(pod: Pod) -> None:
    pod.write("fresh", b"1")
    pod.api.fail_next(GONE, times=100_000)
    pod.start()
    report = pod.drain()
    assert not report.final
    assert report.files == {FileState.VERIFIED: 1}
    assert list(pod.store.contents().values()) == [b"1"]
    assert [problem.reason for problem in report.problems] == ["ApiUnreachable"]


def test_a_report_is_final_only_when_the_api_has_it(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.write("a.done", b"")
    pod.start()
    pod.run_for(10)
    pod.sidecar.begin_drain()
    pod.api.fail_next(GONE, times=5)
    report = pod.drain()
    assert report.final
    assert pod.api.report == report


def test_the_drain_ends_in_time_when_the_store_is_away(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.store.fail_next(StoreUnreachable("no answer"), times=100_000)
    pod.start()
    report = pod.drain()
    assert not report.final
    assert report.files == {FileState.BUFFERED: 1}
    assert [problem.reason for problem in report.problems] == ["StoreUnreachable"]
    assert pod.clock.monotonic() == pytest.approx(pod.settings.drain_timeout_seconds)


def test_a_metric_file_is_shipped_once_when_its_writer_has_ended(pod: Pod) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    for _ in range(3):
        pod.run_for(60)
        with file.open("ab") as more:
            more.write(b'{"loss": 1}\n')
    assert paths(pod) == []
    report = pod.drain()
    assert report.final
    assert paths(pod) == ["metrics.jsonl"]
    assert list(pod.store.contents().values()) == [b'{"loss": 1}\n' * 4]
    assert len(pod.api.points) == 4


def test_an_empty_pod_ends_at_once_with_an_empty_manifest(pod: Pod) -> None:
    pod.start()
    report = pod.drain()
    assert (report.final, report.files, report.manifest.count) == (True, {}, 0)


def test_a_folder_that_can_not_be_read_proves_nothing(pod: Pod) -> None:
    pod.volume.rmdir()
    pod.start()
    report = pod.drain()
    assert not report.final
    assert [problem.reason for problem in report.problems] == ["VolumeUnreadable"]


def test_a_file_that_can_not_be_shipped_does_not_keep_the_others_from_a_final_report(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=5)
    pod.write("too-large", b"123456")
    pod.write("small", b"1")
    pod.start()
    report = pod.drain()
    assert report.final
    assert report.files == {FileState.RECORDED: 1, FileState.QUARANTINED: 1}
    assert report.problems[0].reason == "FilesQuarantined"


def test_after_the_end_a_restart_says_the_same_again(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.start()
    first = pod.drain()
    pod.stop()
    pod.start()
    again = pod.drain()
    assert again.sequence > first.sequence
    assert msgspec.structs.replace(again, sequence=first.sequence) == first
    assert pod.api.requests.count("artifacts") == 1


def test_a_copy_lost_while_draining_is_made_again_before_the_end(pod: Pod) -> None:
    pod.store.fail_next(StoreUnreachable("no answer"), times=3)
    pod.write("a", b"precious")
    pod.start()
    pod.sidecar.begin_drain()
    pod.run_until(pod.copies)
    (files_folder(pod.settings) / pod.copies()[0]).unlink()
    report = pod.drain()
    assert report.final
    assert report.files == {FileState.RECORDED: 1}
    assert paths(pod) == ["a"]


def test_what_was_written_before_a_signal_that_came_during_a_long_pass_may_be_torn(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    told_at: float | None = None

    class SlowVolume(LocalVolume):
        def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
            nonlocal told_at
            if told_at is None:
                pod.write("torn", b"1")
                age(pod, "torn", 0)
                told_at = pod.clock.now()
                pod.clock.advance(10 * pod.settings.settle_seconds)
            return super().scan(enter)

    pod.seen_volume = SlowVolume(str(pod.volume))
    pod.start()
    report = pod.sidecar.run(pod.bell, lambda: told_at)
    assert report.final
    assert {row.path: row.suspect for row in pod.api.rows.values()} == {"torn": True}


def test_what_was_written_before_a_signal_that_came_during_a_long_start_may_be_torn(pod: Pod) -> None:
    pod.api.ended = WriterEnd.FAILED
    pod.write("torn", b"1")
    age(pod, "torn", 0)
    told_at = pod.clock.now()
    pod.clock.advance(10 * pod.settings.settle_seconds)
    pod.start()
    assert pod.sidecar.run(pod.bell, lambda: told_at).final
    assert {row.path: row.suspect for row in pod.api.rows.values()} == {"torn": True}


def test_a_volume_that_was_slow_once_does_not_put_off_the_last_look(pod: Pod) -> None:
    slow = True

    class SlowVolume(LocalVolume):
        def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
            nonlocal slow
            if slow:
                slow = False
                pod.clock.advance(60)
            return super().scan(enter)

    pod.seen_volume = SlowVolume(str(pod.volume))
    pod.start()
    pod.sidecar.ship_once()
    pod.write("late", b"1")
    report = pod.drain()
    assert report.final
    assert paths(pod) == ["late"]


def test_a_buffer_that_was_found_is_drained_without_its_volume(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.store.fail_next(StoreUnreachable("no answer"), times=3)
    pod.start()
    pod.run_for(6)
    pod.stop()
    (pod.volume / "a").unlink()
    pod.start()
    report = pod.sidecar.drain_copies(pod.bell)
    assert (report.final, report.pending) == (False, 0)
    assert paths(pod) == ["a"]


def test_the_last_words_fit_whatever_went_wrong(pod: Pod) -> None:
    pod.start()
    report = pod.drain()
    for length in (0, 100, 1000):
        problems = tuple(
            msgspec.convert({"reason": f"Reason{n}", "message": "ü" * length, "files": n}, type=Problem)
            for n in range(8)
        )
        words = summary.last_words(msgspec.structs.replace(report, problems=problems))
        assert len(words) <= 4000
        read = msgspec.json.decode(words, type=PodReport)
        assert [problem.reason for problem in read.problems] == [f"Reason{n}" for n in range(8)]
        assert msgspec.structs.replace(read, problems=()) == report
