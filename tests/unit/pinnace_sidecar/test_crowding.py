"""More files on the volume than memory is to hold: each gets its turn, and all keep what is promised of them."""

import os
from collections.abc import Iterator

import msgspec
import pytest

from pinnace import artifacts
from pinnace.records import FileState
from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.completeness import Writer
from pinnace_sidecar.files import Folder, LocalVolume
from support.pod import Pod, paths

PLACES = 8


@pytest.fixture
def crowded(pod: Pod) -> Pod:
    pod.tuning = msgspec.structs.replace(pod.tuning, watched_files=PLACES)
    return pod


class PiecewiseVolume(LocalVolume):
    """Every folder comes one name at a time."""

    def scan(self, enter) -> Iterator[Folder]:  # type: ignore[no-untyped-def]
        for folder in super().scan(enter):
            yield from (Folder(folder.path, (entry,), whole=False) for entry in folder.entries)


def held(pod: Pod) -> int:
    return len(pod.sidecar._intake._sightings)


def names(number: int) -> list[str]:
    return [f"{index:03}" for index in range(number)]


def test_many_files_are_shipped_with_few_places(crowded: Pod) -> None:
    for name in names(10 * PLACES):
        crowded.write(name, name.encode())
    crowded.start()
    most = 0

    def all_recorded() -> bool:
        nonlocal most
        most = max(most, held(crowded))
        return len(paths(crowded)) == 10 * PLACES

    crowded.run_until(all_recorded)
    assert most == PLACES
    # Ten rounds of five seconds, and not ten times the pause between idle looks.
    assert crowded.clock.monotonic() < 10 * crowded.settings.settle_seconds + 30


def test_files_that_wait_for_a_place_are_counted_as_seen(crowded: Pod) -> None:
    for name in names(3 * PLACES):
        crowded.write(name, b"x")
    crowded.start().ship_once()
    assert crowded.sidecar.report().files[FileState.SEEN] == 3 * PLACES


def test_the_end_comes_only_when_no_file_waits_for_a_place(crowded: Pod) -> None:
    for name in names(10 * PLACES):
        crowded.write(name, name.encode())
    crowded.start()
    assert crowded.drain().final
    assert paths(crowded) == names(10 * PLACES)


def test_files_that_can_not_settle_give_way_to_those_that_can(crowded: Pod) -> None:
    """As many logs as there are places, written to all the time, and then a file that is complete."""
    logs = [crowded.write(f"log-{index}", b"") for index in range(PLACES)]
    crowded.start()
    crowded.run_for(1)
    model = crowded.write("model", b"complete")
    for turn in range(20):
        for log in logs:
            log.write_bytes(b"%d" % turn)
        crowded.run_for(2)
    assert paths(crowded) == ["model"]
    assert model.exists()


def test_files_that_are_open_for_writing_give_way(crowded: Pod) -> None:
    class Volume(LocalVolume):
        def writer(self, path: str) -> Writer:
            return Writer.OPEN if path.startswith("open") else Writer.NONE

    crowded.seen_volume = Volume(str(crowded.volume))
    for index in range(PLACES):
        crowded.write(f"open-{index}", b"x")
    crowded.start()
    crowded.run_for(10)
    crowded.write("model", b"complete")
    crowded.run_for(200)
    assert paths(crowded) == ["model"]


def test_a_file_that_lost_its_place_settles_over_two_looks_again(crowded: Pod) -> None:
    """Its writer was quiet before it came back, but nobody saw that."""
    crowded.tuning = msgspec.structs.replace(crowded.tuning, watched_files=1)
    busy = crowded.write("busy", b"1")
    crowded.start()
    crowded.run_for(1)
    crowded.write("quiet", b"2")
    crowded.run_for(3)
    busy.write_bytes(b"3")
    crowded.run_until(lambda: paths(crowded))
    assert paths(crowded) == ["quiet"]
    crowded.run_for(crowded.settings.settle_seconds - 0.5)
    assert paths(crowded) == ["quiet"]
    crowded.run_for(3)
    assert paths(crowded) == ["busy", "quiet"]


def test_a_place_of_a_file_that_can_not_settle_is_given_away_at_once(pod: Pod) -> None:
    pod.tuning = msgspec.structs.replace(pod.tuning, watched_files=1)
    pod.write("metrics.jsonl", b"")
    pod.write("model", b"complete")
    pod.start()
    pod.run_for(pod.settings.settle_seconds + 1)
    assert paths(pod) == ["model"]


def test_a_marker_counts_wherever_in_a_large_folder_it_comes(pod: Pod) -> None:
    pod.seen_volume = PiecewiseVolume(str(pod.volume))
    for name in names(5):
        artifacts.complete(pod.write(name, b"x"))
    (pod.volume / "stale.done").touch()
    os.utime(pod.volume / "stale.done", (1, 1))
    pod.write("stale", b"written after its marker")
    pod.start()
    pod.run_for(1)
    assert paths(pod) == names(5)


def test_few_copies_are_held_while_the_store_is_away_and_all_files_come_ashore(pod: Pod) -> None:
    """Their names are in memory; the files wait on the volume, and it is said."""
    pod.tuning = msgspec.structs.replace(pod.tuning, buffered_files=3)
    for name in names(20):
        pod.write(name, name.encode())
    pod.store.fail_next(StoreUnreachable("away"), times=10**6)
    pod.start()
    pod.run_for(30)
    assert pod.copies() == ["pack-1"]
    (problem,) = [problem for problem in pod.sidecar.report().problems if problem.reason == "BufferFull"]
    assert "3 of 3" in problem.message
    pod.store.mend()
    pod.run_until(lambda: len(paths(pod)) == 20)
