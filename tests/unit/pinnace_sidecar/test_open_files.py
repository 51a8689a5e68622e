"""Files that somebody has open for writing are not complete, however quiet they are; real files, real leases."""

import errno
import fcntl
import mmap
import os
from pathlib import Path

import pytest

from pinnace_sidecar.completeness import Writer
from pinnace_sidecar.files import LocalVolume
from support.pod import Pod, paths


def writer(path: Path) -> Writer:
    return LocalVolume(str(path.parent)).writer(path.name)


@pytest.fixture
def file(pod: Pod) -> Path:
    file = pod.write("file", b"x" * 8192)
    if writer(file) is Writer.UNKNOWN:  # pragma: no cover - a file system without leases
        descriptor = os.open(file, os.O_RDONLY)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        pytest.fail("this file system gives no leases: put the temporary folder on one that does")
    return file


def test_a_writer_is_seen_and_a_reader_is_none(file: Path) -> None:
    assert writer(file) is Writer.NONE
    with file.open("rb"):
        assert writer(file) is Writer.NONE
    with file.open("ab"):
        assert writer(file) is Writer.OPEN
    assert writer(file) is Writer.NONE


def test_what_can_not_be_asked_is_unknown(tmp_path: Path) -> None:
    assert writer(tmp_path / "gone") is Writer.UNKNOWN
    (tmp_path / "folder").mkdir()
    assert writer(tmp_path / "folder") is Writer.UNKNOWN


def test_a_lease_leaves_no_trace(file: Path) -> None:
    before = file.stat()
    assert writer(file) is Writer.NONE
    with file.open("r+b") as opened:
        opened.write(b"y")
    assert file.stat().st_ino == before.st_ino
    assert writer(file) is Writer.NONE


def test_a_file_mapped_for_writing_waits_until_it_is_unmapped(pod: Pod, file: Path) -> None:
    with file.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    pod.start()
    pod.run_for(60)
    assert paths(pod) == []
    mapped[:5] = b"later"
    mapped.close()
    pod.run_for(60)
    assert paths(pod) == ["file"]
    assert pod.store.contents()[pod.key("file", file.read_bytes())].startswith(b"later")


def test_waiting_for_a_writer_costs_no_more_looks_than_waiting_for_nothing(pod: Pod, file: Path) -> None:
    with file.open("ab"):
        pod.start()
        pod.run_for(10)
        before = pod.sidecar.status.rescans
        pod.run_for(60)
        assert pod.sidecar.status.rescans - before <= 31  # one every two seconds, as without inotify
    pod.run_for(5)
    assert paths(pod) == ["file"]


def test_an_open_file_is_shipped_when_its_writer_has_ended(pod: Pod, file: Path) -> None:
    with file.open("ab"):
        pod.start()
        pod.run_for(20)
        assert pod.drain().final
    assert paths(pod) == ["file"]
