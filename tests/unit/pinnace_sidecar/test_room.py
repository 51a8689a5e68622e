"""Room in the buffer: what takes it, what gives it back, and what is left to others on the same disk."""

import errno
import hashlib
import os
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest

from pinnace.ids import artifact_id
from pinnace.records import FileState
from pinnace.stores.store import StoreUnreachable, TerminalStoreError
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import LocalVolume, OpenFile
from pinnace_sidecar.sidecar import files_folder
from support.pod import Pod, paths

TOO_LONG = TerminalStoreError("the key is too long", code="InvalidKey")


class Disk(LocalDisk):
    """A disk with as much room as the test says, whose files may turn out to be unreadable."""

    def __init__(self) -> None:
        super().__init__()
        self.free = self.total = 10 * 2**30
        self.unreadable = self.unwritable = False

    def create(self, path: Path) -> BinaryIO:
        if self.unwritable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().create(path)

    def space(self, folder: Path) -> tuple[int, int]:
        return self.free, self.total

    def open(self, path: Path) -> BinaryIO:
        if self.unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().open(path)


@pytest.fixture
def disk(pod: Pod) -> Disk:
    pod.disk = disk = Disk()
    return disk


def reasons(pod: Pod) -> list[str]:
    return [problem.reason for problem in pod.sidecar.report().problems]


def quarantine(pod: Pod, path: str, size: int) -> Path:
    pod.store.fail_next(TOO_LONG)
    file = pod.write(path, path[:1].encode() * size)
    pod.run_for(10)
    assert pod.sidecar.report().files[FileState.QUARANTINED] == 1
    return file


def test_a_quarantined_copy_gives_way_while_its_file_is_on_the_volume(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    quarantine(pod, "refused", 4000)
    assert len(pod.copies()) == 1
    pod.write("good", b"x" * 4000)
    pod.run_for(10)
    assert paths(pod) == ["good"]
    assert pod.copies() == []
    assert pod.sidecar.report().files == {FileState.QUARANTINED: 1, FileState.RECORDED: 1}


def test_the_only_copy_of_a_quarantined_file_is_kept(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    quarantine(pod, "refused", 4000).unlink()
    pod.write("good", b"x" * 4000)
    pod.run_for(10)
    assert paths(pod) == []
    assert "BufferFull" in reasons(pod)
    assert len(pod.copies()) == 1


def test_a_copy_known_to_be_damaged_gives_way_when_nothing_else_will(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    file = pod.write("damaged", b"d" * 4000)
    pod.store.fail_next(StoreUnreachable("no answer"))
    pod.start()
    pod.run_until(pod.copies)
    (files_folder(pod.settings) / pod.copies()[0]).write_bytes(b"D" * 4000)
    file.unlink()
    pod.run_for(60)
    assert pod.sidecar.report().files == {FileState.QUARANTINED: 1}
    assert len(pod.copies()) == 1
    pod.write("good", b"x" * 4000)
    pod.run_for(10)
    assert paths(pod) == ["good"]
    assert pod.copies() == []


@pytest.mark.parametrize("name", [str(UUID(int=7)), "pack-7"])
def test_a_copy_that_does_not_say_what_it_is_gives_way_when_nothing_else_will(pod: Pod, name: str) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    pod.stop()
    unknown = files_folder(pod.settings) / name
    unknown.write_bytes(b"?" * 4000)
    pod.start()
    assert reasons(pod) == ["CopiesUnknown"]
    pod.write("good", b"x" * 4000)
    pod.run_for(10)
    assert paths(pod) == ["good"]
    assert unknown.stat().st_size == 0
    assert reasons(pod) == ["CopiesGivenUp"]
    assert pod.sidecar.report().files == {FileState.QUARANTINED: 1, FileState.RECORDED: 1}


@pytest.mark.parametrize("name", [str(UUID(int=7)), "pack-7"])
def test_that_a_copy_was_given_up_is_known_for_good(pod: Pod, name: str) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    pod.stop()
    (files_folder(pod.settings) / name).write_bytes(b"?" * 4000)
    pod.start()
    for number in range(3):
        pod.write(f"good-{number}", bytes([number]) * 4000)
        pod.run_for(10)
        pod.stop()
        pod.start()
    report = pod.drain()
    assert report.final
    assert report.files == {FileState.QUARANTINED: 1, FileState.RECORDED: 3}
    assert pod.copies() == [name]


def test_a_copy_that_was_given_up_and_is_made_again_is_missed_by_nobody(pod: Pod) -> None:
    content = b"x" * 4000
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    pod.stop()
    artifact = artifact_id(pod.settings.iteration_id, "good", hashlib.sha256(content).hexdigest())
    (files_folder(pod.settings) / str(artifact)).write_bytes(b"?" * 4000)
    pod.start()
    pod.write("good", content)
    pod.run_for(10)
    assert pod.sidecar.status.buffer_bytes == 0
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 1}
    assert report.problems == ()
    assert pod.copies() == []


@pytest.mark.parametrize("name", [str(UUID(int=7)), "pack-7"])
def test_a_copy_that_can_not_say_what_it_is_gives_way_when_that_lasts(pod: Pod, disk: Disk, name: str) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.start()
    pod.stop()
    (files_folder(pod.settings) / name).write_bytes(b"?" * 4000)
    disk.unreadable = True
    pod.start()
    pod.write("good", b"x" * 4000)
    pod.run_for(100)
    assert len(pod.copies()) == 1
    pod.run_for(300)
    disk.unreadable = False
    pod.run_for(60)
    assert paths(pod) == ["good"]
    assert pod.sidecar.report().files == {FileState.QUARANTINED: 1, FileState.RECORDED: 1}


def test_a_damaged_copy_makes_room_for_the_one_that_is_made_again(pod: Pod) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    pod.write("file", b"x" * 4000)
    pod.store.fail_next(StoreUnreachable("no answer"))
    pod.start()
    pod.run_until(pod.copies)
    (files_folder(pod.settings) / pod.copies()[0]).write_bytes(b"X" * 4000)
    pod.run_for(60)
    assert paths(pod) == ["file"]


def test_a_disk_that_is_nearly_full_holds_files_back_until_there_is_room(pod: Pod, disk: Disk) -> None:
    pod.store.fail_next(StoreUnreachable("no answer"), times=1000)
    pod.write("on-its-way", b"x")
    pod.start()
    pod.run_until(pod.copies)
    disk.free = 200 * 2**20
    pod.write("file", b"x")
    pod.run_for(20)
    assert len(pod.copies()) == 1
    assert "DiskNearlyFull" in reasons(pod)
    disk.free = 300 * 2**20
    pod.run_for(120)
    assert len(pod.copies()) == 2
    assert "DiskNearlyFull" not in reasons(pod)


def test_a_quarantined_copy_is_nothing_to_wait_for_on_a_disk_that_is_nearly_full(pod: Pod, disk: Disk) -> None:
    pod.start()
    quarantine(pod, "refused", 100)
    disk.free = 200 * 2**20
    pod.write("file", b"x")
    pod.run_for(20)
    assert paths(pod) == ["file"]


def test_with_nothing_in_the_buffer_one_file_at_a_time_goes_on(pod: Pod, disk: Disk) -> None:
    disk.free = 0
    for number in range(3):
        pod.write(f"large-{number}", b"x" * 2 * 2**20)
    pod.start()
    assert pod.drain().files == {FileState.RECORDED: 3}


def test_a_small_disk_is_left_a_share_not_a_fixed_size(pod: Pod, disk: Disk) -> None:
    disk.total, disk.free = 100 * 2**20, 10 * 2**20
    pod.start()
    quarantine(pod, "refused", 100)
    pod.write("file", b"x")
    pod.run_for(10)
    assert paths(pod) == ["file"]


class CountingVolume(LocalVolume):
    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def open(self, path: str) -> OpenFile:
        self.opened.append(path)
        return super().open(path)


def test_a_file_that_settles_again_while_the_buffers_disk_is_given_time_is_copied_once(pod: Pod, disk: Disk) -> None:
    pod.seen_volume = volume = CountingVolume(str(pod.volume))
    pod.start()
    disk.unwritable = True
    for content in (b"1", b"2"):
        pod.write("file", content)
        pod.write("file.done", b"")
        pod.run_for(20)
    disk.unwritable = False
    pod.run_for(300)
    assert volume.opened == ["file"]
    assert paths(pod) == ["file"]


def test_a_copy_that_can_not_be_read_is_made_again(pod: Pod, disk: Disk) -> None:
    pod.write("file", b"x")
    disk.unreadable = True
    pod.start()
    pod.run_for(8)
    assert paths(pod) == []
    disk.unreadable = False
    pod.run_for(60)
    assert paths(pod) == ["file"]


def only_copy_can_not_be_read(pod: Pod, disk: Disk, path: str, content: bytes) -> None:
    file = pod.write(path, content)
    disk.unreadable = True
    pod.start()
    pod.run_until(lambda: len(pod.copies()) == 1)
    file.unlink()
    pod.run_for(300)
    assert reasons(pod) == ["CopyUnreadable"]


def test_the_only_copy_is_shipped_when_it_can_be_read_again(pod: Pod, disk: Disk) -> None:
    only_copy_can_not_be_read(pod, disk, "file", b"x")
    disk.unreadable = False
    pod.run_for(60)
    assert paths(pod) == ["file"]
    assert pod.api.report.files == {FileState.RECORDED: 1}
    assert pod.api.report.problems == ()


def test_the_only_copy_is_read_again_while_the_end_can_wait_for_it(pod: Pod, disk: Disk) -> None:
    only_copy_can_not_be_read(pod, disk, "file", b"x")
    told_at = pod.clock.now()
    pod.run_for(1)
    pod.sidecar.begin_drain(told_at)
    pod.run_for(400)
    disk.unreadable = False
    pod.run_for(60)
    assert pod.api.report.final
    assert pod.api.report.files == {FileState.RECORDED: 1}


def test_the_last_words_name_a_copy_that_could_not_be_read_to_the_end(pod: Pod, disk: Disk) -> None:
    only_copy_can_not_be_read(pod, disk, "file", b"x")
    report = pod.drain()
    assert report.final
    assert report.files == {FileState.QUARANTINED: 1}
    assert "gone from the volume" in report.problems[0].message


def test_a_copy_that_can_not_be_read_gives_way_when_nothing_else_will(pod: Pod, disk: Disk) -> None:
    pod.change_settings(buffer_limit_bytes=5000)
    only_copy_can_not_be_read(pod, disk, "file", b"f" * 4000)
    pod.write("good", b"x" * 4000)
    pod.run_until(lambda: pod.sidecar.report().files.get(FileState.QUARANTINED))
    disk.unreadable = False
    pod.run_for(10)
    assert paths(pod) == ["good"]
    assert pod.copies() == []
