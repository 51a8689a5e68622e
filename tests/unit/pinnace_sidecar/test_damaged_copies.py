"""Copies that are gone, damaged or can't be read: made again where that is possible, told of where it is not."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from pinnace.digests import PartDigest
from pinnace.records import FileState
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import Source, Stored, StoreUnreachable
from pinnace_sidecar import shipper
from pinnace_sidecar.crash import CrashPoint, never
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import Fingerprint, Folder, LocalVolume
from pinnace_sidecar.sidecar import files_folder
from support.pod import PART_BYTES, Crashed, FailingDisk, Pod, paths
from support.store_content import put_bytes

UNREACHABLE = StoreUnreachable("no answer")


def assert_ashore(pod: Pod, path: str, content: bytes) -> None:
    """This one file, and nothing left behind."""
    assert paths(pod) == [path]
    assert pod.store.contents() == {pod.key(path, content): content}
    assert pod.store.uploads() == []
    assert pod.copies() == []


def test_a_damaged_copy_is_made_again(pod: Pod) -> None:
    pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(pod.copies)
    (Path(pod.settings.buffer_dir) / "files" / pod.copies()[0]).write_bytes(b"rubbish!")
    pod.run_for(120)
    assert_ashore(pod, "a", b"precious")


class ForgetfulStore(MemoryStore):
    """Keeps a byte less of the first object than it acknowledges."""

    def __init__(self) -> None:
        super().__init__(min_part_bytes=1)
        self.spoilt: set[str] = set()

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        stored = super().put(key, source, digest, replace=replace)
        if not self.spoilt:
            self.spoilt.add(key)
            put_bytes(self, key, b"preciou")
            return msgspec.structs.replace(stored, crc32c=None)  # says too little to be believed without a look
        return stored


def test_an_object_that_the_store_spoilt_is_replaced_by_the_copy_that_was_made_again(pod: Pod) -> None:
    store = pod.other_store = ForgetfulStore()
    pod.write("a", b"precious")
    pod.start()
    pod.run_until(lambda: store.spoilt)
    (files_folder(pod.settings) / pod.copies()[0]).write_bytes(b"rubbish!")
    pod.run_for(300)
    assert paths(pod) == ["a"]
    assert store.contents() == {pod.key("a", b"precious"): b"precious"}
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_a_file_that_goes_before_its_lost_copy_could_be_made_again_is_told(pod: Pod) -> None:
    file = pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(lambda: pod.journal.files.count(FileState.BUFFERED))
    (files_folder(pod.settings) / pod.copies()[0]).unlink()
    pod.run_until(lambda: not pod.journal.files.count(FileState.BUFFERED))
    file.unlink()
    pod.run_for(120)
    assert pod.api.report.files == {FileState.QUARANTINED: 1}
    assert "it was to be copied again" in pod.api.report.problems[0].message


def test_a_lost_copy_of_a_file_that_is_gone_is_told(pod: Pod) -> None:
    file = pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(pod.copies)
    (Path(pod.settings.buffer_dir) / "files" / pod.copies()[0]).unlink()
    file.unlink()
    pod.run_for(120)
    report = pod.api.report
    assert report.files == {FileState.QUARANTINED: 1}
    assert "gone from the volume" in report.problems[0].message


def test_a_quarantined_content_that_comes_back_to_the_volume_is_shipped(pod: Pod) -> None:
    file = pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(pod.copies)
    (Path(pod.settings.buffer_dir) / "files" / pod.copies()[0]).unlink()
    file.unlink()
    pod.run_for(120)
    pod.write("a", b"precious")
    pod.run_for(60)
    assert_ashore(pod, "a", b"precious")
    assert pod.api.report.files == {FileState.RECORDED: 1}


class EmptiedVolume(LocalVolume):
    """Without its files, for as long as somebody says so."""

    is_empty = False

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        for folder in super().scan(enter):
            yield Folder(folder.path) if self.is_empty else folder

    def fingerprint(self, path: str) -> Fingerprint | None:
        return None if self.is_empty else super().fingerprint(path)


def test_a_quarantined_file_that_comes_back_as_it_was_is_shipped(pod: Pod) -> None:
    # A power cut takes back what was not synced of a volume: a deletion, say.
    pod.seen_volume = volume = EmptiedVolume(str(pod.volume))
    pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(pod.copies)
    (Path(pod.settings.buffer_dir) / "files" / pod.copies()[0]).unlink()
    volume.is_empty = True
    pod.run_for(120)
    assert pod.api.report.files == {FileState.QUARANTINED: 1}
    volume.is_empty = False
    pod.run_for(120)
    assert_ashore(pod, "a", b"precious")
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_a_copy_that_can_not_be_read_for_a_moment_is_not_given_up(pod: Pod) -> None:
    pod.disk = FailingDisk(4)
    file = pod.write("a", b"precious")
    pod.start()
    pod.run_until(pod.copies)
    file.unlink()
    pod.run_for(120)
    assert_ashore(pod, "a", b"precious")


def test_a_copy_that_can_not_be_read_is_made_again_after_some_tries(pod: Pod) -> None:
    pod.disk = FailingDisk(6)
    pod.write("a", b"precious")
    pod.start()
    pod.run_for(120)
    assert_ashore(pod, "a", b"precious")
    assert pod.sidecar.status.upload_failures["CopyUnreadable"] == 6


class BadSectors(LocalDisk):
    """Can't read some files, until they are made anew."""

    def __init__(self) -> None:
        self.inodes: set[int] = set()

    def spoil(self, folder: Path) -> None:
        self.inodes |= {path.stat().st_ino for path in folder.iterdir()}

    def open(self, path: Path) -> BinaryIO:
        file = super().open(path)
        if os.fstat(file.fileno()).st_ino in self.inodes:
            file.close()
            raise OSError(errno.EIO, "input/output error")
        return file


def test_a_copy_that_can_not_be_read_stays_until_there_is_another(pod: Pod) -> None:
    pod.disk = disk = BadSectors()
    file = pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(pod.copies)
    disk.spoil(files_folder(pod.settings))
    pod.run_until(lambda: pod.sidecar.status.upload_failures.get("CopyUnreadable") == 5)
    file.unlink()
    pod.run_for(300)
    disk.inodes.clear()
    pod.run_for(60)
    assert_ashore(pod, "a", b"precious")
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_parts_that_can_not_be_read_together_are_one_failure(pod: Pod) -> None:
    pod.disk = disk = BadSectors()
    content = os.urandom(8 * PART_BYTES)
    file = pod.write("big", content)
    pod.start()
    pod.run_until(pod.store.uploads)
    disk.spoil(files_folder(pod.settings))
    file.unlink()
    pod.run_for(4)
    assert pod.sidecar.status.upload_failures["CopyUnreadable"] > 5
    pod.sidecar.begin_drain()
    pod.clock.advance(500)
    pod.sidecar.ship_once()
    disk.inodes.clear()
    pod.run_for(10)
    assert_ashore(pod, "big", content)


def test_a_copy_that_lies_in_the_way_of_another_is_removed(pod: Pod) -> None:
    # Compressed in another way, the one that is made again would not be called as the journal has it.
    pod.disk = disk = BadSectors()
    pod.change_settings(zstd_level=3)
    content = b"precious" * 10_000
    pod.write("a", content)
    pod.store.fail_next(UNREACHABLE)
    pod.start()
    pod.run_until(lambda: pod.journal.files.count(FileState.BUFFERED))
    pod.stop()
    pod.change_settings(zstd_level=0)
    disk.spoil(files_folder(pod.settings))
    pod.start()
    pod.run_for(600)
    assert_ashore(pod, "a", content)


def test_files_whose_copies_can_not_be_read_keep_no_places_from_others(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "_MAX_TRANSFERS", 2)
    pod.disk = disk = BadSectors()
    files = [pod.write(name, name.encode()) for name in "abc"]
    pod.store.fail_next(UNREACHABLE, times=3)
    pod.start()
    pod.run_until(pod.copies)
    disk.spoil(files_folder(pod.settings))
    for file in files:
        file.unlink()
    pod.run_for(120)
    pod.write("good", b"good")
    pod.run_for(120)
    assert paths(pod) == ["good"]
    assert pod.api.report.problems[0].reason == "CopyUnreadable"
    assert pod.api.report.files == {FileState.BUFFERED: 3, FileState.RECORDED: 1}


def copied_and_not_journaled(pod: Pod, point: CrashPoint = CrashPoint.COPY_WRITTEN) -> None:
    """The end of a process between the two, or right after them."""
    pod.crash_at(point, 1)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    pod.stop()
    pod.crash = never


class CarefulDisk(LocalDisk):
    """Knows what it was told to make durable."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[Path] = []

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.synced.append(folder)


def test_a_copy_found_at_a_start_is_journaled_when_its_name_is_durable(pod: Pod) -> None:
    pod.write("a", b"precious")
    copied_and_not_journaled(pod)
    pod.disk = disk = CarefulDisk()
    pod.start()
    assert disk.synced == [files_folder(pod.settings)]
    assert pod.journal.files.count(FileState.BUFFERED) == 1


def test_a_copy_that_can_not_be_read_for_a_moment_at_a_start_is_found_all_the_same(pod: Pod) -> None:
    file = pod.write("a", b"precious")
    copied_and_not_journaled(pod)
    file.unlink()
    pod.disk = FailingDisk(4)
    pod.start()
    pod.run_for(10)
    assert_ashore(pod, "a", b"precious")


@pytest.mark.parametrize("point", [CrashPoint.COPY_WRITTEN, CrashPoint.COPY_JOURNALED])
def test_a_pack_that_can_not_be_read_at_a_start_is_read_later(pod: Pod, point: CrashPoint) -> None:
    pod.disk = disk = BadSectors()
    for name in "abc":
        pod.write(name, name.encode())
    copied_and_not_journaled(pod, point)
    disk.spoil(files_folder(pod.settings))
    for name in "abc":
        (pod.volume / name).unlink()
    pod.start()
    pod.run_for(120)
    assert "CopiesUnknown" in {problem.reason for problem in pod.api.report.problems}
    disk.inodes.clear()
    pod.run_for(120)
    assert paths(pod) == ["a", "b", "c"]
    assert pod.copies() == []
    assert pod.api.report.files == {FileState.RECORDED: 3}
    assert pod.api.report.problems == ()


def test_the_end_waits_for_a_copy_that_may_say_later_what_it_is(pod: Pod) -> None:
    pod.disk = disk = BadSectors()
    file = pod.write("a", b"precious")
    copied_and_not_journaled(pod)
    disk.spoil(files_folder(pod.settings))
    file.unlink()
    pod.start()
    pod.sidecar.begin_drain()
    pod.run_for(300)
    assert not pod.api.report.final
    disk.inodes.clear()
    pod.run_for(60)
    assert pod.api.report.final
    assert_ashore(pod, "a", b"precious")


def test_an_upload_of_a_lost_copy_is_aborted_even_if_the_first_try_fails(pod: Pod) -> None:
    pod.write("big", os.urandom(2 * PART_BYTES))
    pod.start()
    pod.run_until(pod.store.uploads)
    pod.store.fail_next(UNREACHABLE)
    (Path(pod.settings.buffer_dir) / "files" / pod.copies()[0]).unlink()
    (pod.volume / "big").unlink()
    pod.sidecar.ship_once()
    pod.run_for(120)
    assert pod.store.uploads() == []
    assert pod.api.report.files == {FileState.QUARANTINED: 1}


def test_a_verdict_on_a_lost_copy_does_not_meet_the_one_that_was_made_meanwhile(pod: Pod) -> None:
    content = os.urandom(2 * PART_BYTES)
    pod.write("big", content)
    pod.start()
    pod.run_until(pod.store.uploads)
    (files_folder(pod.settings) / pod.copies()[0]).unlink()
    (pod.volume / "big").unlink()
    pod.store.fail_next(UNREACHABLE, times=6)  # the upload can't be aborted for a while
    pod.run_for(1)
    pod.write("big", content)
    pod.run_until(pod.copies)
    (pod.volume / "big").unlink()
    pod.run_for(200)
    assert_ashore(pod, "big", content)
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_a_file_touched_since_its_copy_was_lost_still_lies_there(pod: Pod) -> None:
    file = pod.write("a", b"precious")
    pod.store.fail_next(UNREACHABLE, times=8)
    pod.start()
    pod.run_until(pod.copies)
    os.utime(file, (pod.clock.now() - 60, pod.clock.now() - 60))
    pod.run_for(10)
    (files_folder(pod.settings) / pod.copies()[0]).unlink()
    pod.run_for(200)
    assert_ashore(pod, "a", b"precious")
    assert pod.api.report.files == {FileState.RECORDED: 1}
