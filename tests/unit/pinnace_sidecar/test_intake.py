"""When the volume is looked at, and what a look finds besides settle time."""

import errno
from collections.abc import Callable, Iterator

import pytest

from pinnace import artifacts
from pinnace.records import FileState
from pinnace_sidecar.files import Folder, LocalVolume
from pinnace_sidecar.inotify import InotifyWatcher, Move
from pinnace_sidecar.intake import IDLE_S, LONGEST_IDLE_S, POLL_S
from support.eventually import eventually
from support.pod import Pod, paths


class Watcher:
    """Tells what the test wants it to."""

    works = True
    overflows = 0
    stirred = False

    def __init__(self) -> None:
        self.moves: list[Move] = []
        self.entered: set[str] = set()

    def enter(self, path: str) -> None:
        self.entered.add(path)

    def take_moves(self) -> list[Move]:
        moves, self.moves = self.moves, []
        self.stirred = False
        return moves

    def close(self) -> None: ...


@pytest.fixture
def watcher(pod: Pod) -> Watcher:
    watcher = Watcher()
    pod.watcher = watcher
    return watcher


def looks(pod: Pod) -> int:
    return pod.sidecar.status.rescans


def test_a_rename_out_of_an_excluded_name_completes_a_file_at_once(pod: Pod, watcher: Watcher) -> None:
    pod.write("model", b"1")
    watcher.moves = [Move("model.tmp", "model")]
    pod.start()
    pod.run_for(1)
    assert paths(pod) == ["model"]


def test_a_file_that_its_writer_calls_complete_ships_at_once(pod: Pod, watcher: Watcher) -> None:
    artifacts.complete(pod.write("model", b"1"))
    pod.start()
    pod.run_for(1)
    assert paths(pod) == ["model"]


def test_a_rename_of_another_file_completes_nothing(pod: Pod, watcher: Watcher) -> None:
    pod.write("log.1", b"still written to under its new name")
    watcher.moves = [Move("log", "log.1")]
    pod.start()
    pod.run_for(4)
    assert paths(pod) == []


def test_a_rename_told_before_the_file_is_found_still_counts(pod: Pod, watcher: Watcher) -> None:
    pod.start()
    pod.run_for(1)
    watcher.moves = [Move("a.tmp", "a")]
    watcher.stirred = True
    pod.run_for(0.5)
    pod.write("a", b"1")
    watcher.stirred = True
    pod.run_for(0.5)
    assert paths(pod) == ["a"]


def test_every_folder_is_watched(pod: Pod, watcher: Watcher) -> None:
    pod.write("a/b/c/file", b"1")
    pod.start()
    pod.run_for(1)
    assert watcher.entered == {"", "a", "a/b", "a/b/c"}


def test_with_nothing_going_on_looks_are_rare(pod: Pod, watcher: Watcher) -> None:
    pod.write("a", b"1")
    pod.start()
    pod.run_for(30)
    before = looks(pod)
    pod.run_for(10 * IDLE_S)
    assert looks(pod) - before == 10


@pytest.mark.parametrize(("seconds", "apart"), [(0.01, IDLE_S), (0.2, 200.0), (5.0, LONGEST_IDLE_S)])
def test_the_longer_a_look_takes_the_rarer_are_those_without_a_reason(
    pod: Pod, watcher: Watcher, seconds: float, apart: float
) -> None:
    class Slow(LocalVolume):
        def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
            pod.clock.advance(seconds)
            return super().scan(enter)

    pod.seen_volume = Slow(str(pod.volume))
    pod.start()
    pod.run_for(2 * LONGEST_IDLE_S)
    before = looks(pod)
    pod.run_for(10 * (apart + seconds))
    assert looks(pod) - before in (9, 10)


@pytest.mark.parametrize(("files", "put_off"), [(220, False), (20, True)])
def test_files_that_a_look_finds_pay_for_it(pod: Pod, watcher: Watcher, files: int, *, put_off: bool) -> None:
    class Slow(LocalVolume):
        def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
            pod.clock.advance(0.05)
            return super().scan(enter)

    pod.seen_volume = Slow(str(pod.volume))
    for number in range(files):
        pod.write(f"file-{number}", b"1")
    pod.start()
    pod.run_for(0.1)
    watcher.stirred = True
    pod.run_for(1.9)
    assert (looks(pod) == 1) is put_off


def test_without_inotify_looks_are_frequent(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.start()
    pod.run_for(30)
    before = looks(pod)
    pod.run_for(10 * POLL_S)
    assert looks(pod) - before == 10


def test_a_wake_brings_a_look_forward(pod: Pod, watcher: Watcher) -> None:
    pod.start()
    pod.run_for(30)
    pod.write("a", b"1")
    pod.write("a.done", b"")
    watcher.stirred = True
    pod.run_for(1)
    assert paths(pod) == ["a"]


def test_what_no_event_told_is_found_all_the_same(pod: Pod, watcher: Watcher) -> None:
    pod.start()
    pod.run_for(30)
    for number in range(5):
        pod.write(f"new/folder/{number}", b"1")
    pod.run_for(2 * IDLE_S)
    assert len(paths(pod)) == 5


def test_a_folder_that_fails_for_a_moment_makes_nothing_vanish(pod: Pod) -> None:
    class Flaky(LocalVolume):
        fails = False

        def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
            for folder in super().scan(enter):
                failed = self.fails and folder.path == "sub"
                yield Folder("sub", problem=OSError(errno.EIO, "Input/output error")) if failed else folder

    volume = Flaky(str(pod.volume))
    pod.seen_volume = volume
    pod.write("sub/a", b"1")
    pod.start()
    pod.run_for(1)
    volume.fails = True
    pod.run_for(10)
    assert pod.sidecar.status.files[FileState.SEEN] == 1
    (problem,) = pod.sidecar.report().problems
    assert problem.reason == "VolumeUnreadable"
    assert "sub: [Errno 5] Input/output error" in problem.message
    volume.fails = False
    pod.run_for(10)
    assert paths(pod) == ["sub/a"]
    assert pod.sidecar.report().problems == ()


@pytest.mark.timeout(60)
def test_with_the_kernels_own_events_a_marked_file_needs_no_time_at_all(pod: Pod) -> None:
    rung: list[bool] = []
    watcher = InotifyWatcher(str(pod.volume), lambda: rung.append(True))
    pod.watcher = watcher
    pod.start()
    pod.run_for(30)
    pod.write("deep/down/model.tmp", b"1")
    eventually(lambda: watcher.stirred, what="woken by a new folder")
    pod.run_for(0.2)
    rung.clear()
    (pod.volume / "deep/down/model.tmp").rename(pod.volume / "deep/down/model")
    eventually(lambda: rung, what="woken by the rename")
    pod.run_for(0.5)
    assert paths(pod) == ["deep/down/model"]
    watcher.close()
