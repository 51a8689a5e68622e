"""What wakes us, and what doesn't: the kernel's own behaviour."""

import ctypes
import errno
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace_sidecar import inotify
from pinnace_sidecar.inotify import InotifyWatcher, Move, NoWatcher, events_in, watcher_for
from support.eventually import eventually


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[InotifyWatcher]:
    watcher = InotifyWatcher(str(tmp_path), lambda: None)
    watcher.enter("")
    yield watcher
    watcher.close()


def moves(watcher: InotifyWatcher, count: int) -> list[Move]:
    found: list[Move] = []

    def enough() -> bool:
        found.extend(watcher.take_moves())
        return len(found) >= count

    eventually(enough, what=f"{count} renames")
    return found


def test_it_rings_when_a_file_is_closed_after_writing(tmp_path: Path) -> None:
    rung: list[bool] = []
    watcher = InotifyWatcher(str(tmp_path), lambda: rung.append(True))
    watcher.enter("")
    assert not watcher.stirred
    (tmp_path / "file").write_bytes(b"x")
    eventually(lambda: rung and watcher.stirred, what="woken")
    watcher.close()


def test_taking_the_moves_ends_the_stir(tmp_path: Path, watcher: InotifyWatcher) -> None:
    (tmp_path / "file").touch()
    eventually(lambda: watcher.stirred, what="woken")
    eventually(lambda: not watcher.take_moves() and not watcher.stirred, what="calm again")


def test_it_rings_once_until_somebody_looks(tmp_path: Path) -> None:
    rung: list[bool] = []
    watcher = InotifyWatcher(str(tmp_path), lambda: rung.append(True))
    watcher.enter("")
    for number in range(20):
        (tmp_path / f"{number}").touch()
    (tmp_path / "a").touch()
    (tmp_path / "a").rename(tmp_path / "b")
    found: list[Move] = []
    eventually(lambda: rung, what="woken")
    eventually(lambda: watcher._moves, what="the last of it is read")
    assert rung == [True]
    found += watcher.take_moves()
    assert found == [Move("a", "b")]
    (tmp_path / "c").touch()
    eventually(lambda: len(rung) == 2, what="woken again")
    watcher.close()


def test_a_rename_is_told_with_both_names(tmp_path: Path, watcher: InotifyWatcher) -> None:
    (tmp_path / "sub").mkdir()
    watcher.enter("sub")
    (tmp_path / "model.tmp").write_bytes(b"x")
    (tmp_path / "model.tmp").rename(tmp_path / "sub/model")
    assert moves(watcher, 1) == [Move("model.tmp", "sub/model")]


def test_a_renamed_folder_is_followed_under_its_new_name(tmp_path: Path, watcher: InotifyWatcher) -> None:
    (tmp_path / "old").mkdir()
    watcher.enter("old")
    (tmp_path / "old").rename(tmp_path / "new")
    watcher.enter("new")
    (tmp_path / "new/a.tmp").touch()
    (tmp_path / "new/a.tmp").rename(tmp_path / "new/a")
    assert moves(watcher, 1) == [Move("new/a.tmp", "new/a")]


def test_a_folder_made_again_is_watched_again(tmp_path: Path, watcher: InotifyWatcher) -> None:
    for _ in range(2):
        (tmp_path / "sub").mkdir()
        watcher.enter("sub")
        (tmp_path / "sub/a.tmp").touch()
        (tmp_path / "sub/a.tmp").rename(tmp_path / "sub/a")
        assert moves(watcher, 1) == [Move("sub/a.tmp", "sub/a")]
        (tmp_path / "sub/a").unlink()
        (tmp_path / "sub").rmdir()


def test_a_folder_that_is_gone_is_no_mistake(watcher: InotifyWatcher) -> None:
    watcher.enter("missing")
    assert watcher.works


def test_an_overflow_is_counted_and_wakes(watcher: InotifyWatcher) -> None:
    watcher._take(events_in(struct.pack("iIII", -1, inotify.IN_Q_OVERFLOW, 0, 0)))
    assert watcher.overflows == 1
    assert watcher.stirred


def test_records_are_read_as_the_kernel_writes_them() -> None:
    data = struct.pack("iIII", 1, inotify.IN_CREATE, 0, 8) + b"a\xff".ljust(8, b"\0")
    data += struct.pack("iIII", 2, inotify.IN_DELETE, 5, 0)
    assert [(event.watch, event.mask, event.cookie, event.name) for event in events_in(data)] == [
        (1, inotify.IN_CREATE, 0, "a\udcff"),
        (2, inotify.IN_DELETE, 5, ""),
    ]


def test_without_a_watch_left_it_says_that_it_does_not_work(
    watcher: InotifyWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    watcher._libc = _Refusing()  # type: ignore[assignment]
    watcher.enter("sub")
    watcher.enter("sub2")
    assert not watcher.works
    assert len(caplog.records) == 1


def test_without_an_instance_left_there_is_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: InotifyWatcher, root: str, ring: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(InotifyWatcher, "__init__", none_left)
    assert isinstance(watcher_for(str(tmp_path), lambda: None), NoWatcher)


class _Refusing:
    def inotify_add_watch(self, descriptor: int, path: bytes, mask: int) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1
