"""From a file on the volume to a row: the whole way in one process."""

import hashlib
from pathlib import Path

import pytest

from pinnace.records import FileState
from support.pod import Pod, paths


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_a_settled_file_ends_as_bytes_in_the_store_and_one_row(pod: Pod) -> None:
    pod.write("model.bin", b"weights")
    pod.start()
    pod.run_for(30)
    (row,) = pod.api.rows.values()
    assert (row.path, row.size, row.sha256) == ("model.bin", 7, hashlib.sha256(b"weights").hexdigest())
    assert pod.store.contents() == {row.location.key: b"weights"}
    assert pod.api.report.files == {FileState.RECORDED: 1}
    assert pod.api.report.manifest.count == 1
    assert pod.copies() == []


def test_draining_ends_with_a_final_report(pod: Pod) -> None:
    pod.start()
    pod.write("a", b"1")
    pod.write("sub/b", b"2")
    report = pod.drain()
    assert report.final
    assert paths(pod) == ["a", "sub/b"]
    assert pod.api.report == report
