"""Failure scenarios of the sidecar's own process and disk. docs/operations/failure-scenarios.md lists all of them."""

import contextlib
from pathlib import Path

import msgspec

from pinnace.records import FileState
from pinnace_sidecar.crash import CrashPoint
from support.eventually import eventually
from support.s3_server import Fault, Misbehaviour
from support.scenario import Scenario
from support.small_disk import small_disk

MIB = 2**20


def peak_memory(pid: int) -> int:
    """The most that a process ever had in memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_b02_memory_does_not_grow_with_the_file(pod: Scenario) -> None:
    pod.write("small", b"1")
    pod.sidecar.start()
    pod.wait_for_rows(1)
    small = peak_memory(pod.sidecar.pid)
    big = pod.sidecar.volume / "big"
    with big.open("wb") as file:
        file.truncate(80 * MIB)
    pod.wait_for_rows(2)
    # Buffers of the copy and of what is being sent, whatever the file's size.
    assert peak_memory(pod.sidecar.pid) < small + 40 * MIB


def test_b04_killed_between_complete_and_commit(pod: Scenario) -> None:
    files = {"large": pod.write("large", 11 * MIB)}
    pod.sidecar.start(PINNACE_CRASH_AT=CrashPoint.UPLOAD_COMPLETED)
    assert pod.sidecar.wait() == 137
    sent = pod.store.bytes_received
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)
    # It was found by looking: not one byte was sent again.
    assert list(pod.store.writes.values()) == [1]
    assert pod.store.bytes_received == sent


def test_b08_two_sidecars_on_one_buffer(pod: Scenario) -> None:
    files = {"file": pod.write("file", 1000)}
    pod.sidecar.start()
    second = pod.sidecar.twin()
    second.start()
    assert second.wait() == 1
    assert "in use by another sidecar" in second.log()
    pod.end()
    pod.assert_ashore(files)
    # The first has ended: now the buffer is free.
    files["later"] = pod.write("later", 10)
    second.start()
    second.end_writers()
    assert second.wait() == 0, second.log()
    pod.assert_ashore(files)


def test_b10_the_training_ends_at_once_and_writes_until_its_last_moment(pod: Scenario) -> None:
    pod.sidecar.start()
    files = {"last": pod.write("last", 5000)}
    pod.end()
    pod.assert_ashore(files)


def test_b10_told_to_end_before_it_serves(pod: Scenario) -> None:
    files = {"last": pod.write("last", 5000)}
    pod.sidecar.begin()
    eventually(pod.sidecar.blocks_sigterm, what="its first statement", interval=0.001)
    pod.end()
    pod.assert_ashore(files)


def test_b38_the_buffers_disk_is_full(pod: Scenario) -> None:
    """Its limit claims more than there is."""
    with small_disk(Path(pod.sidecar.settings.buffer_dir), "size=3m"):
        pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, operation="Put", times=1000))
        files = {f"file-{number}": pod.write(f"file-{number}", MIB) for number in range(6)}
        pod.sidecar.start()
        eventually(lambda: "BufferFull" in pod.sidecar.log(), what="a full buffer")
        assert sorted(path.name for path in pod.sidecar.volume.iterdir()) == sorted(files)
        pod.store.faults.clear()
        report = pod.end()
        assert report.files == {FileState.RECORDED: 6}
        pod.assert_ashore(files)


def test_b38_the_buffers_disk_is_full_to_the_last_byte_while_the_pod_is_about_to_go(pod: Scenario) -> None:
    """Not even the journal can be written, and no kubelet starts another process."""
    buffer = Path(pod.sidecar.settings.buffer_dir)
    with small_disk(buffer, "size=8m"):
        pod.sidecar.start()
        files = {f"file-{number}": pod.write(f"file-{number}", 1000) for number in range(20)}
        pod.wait_for_rows(20)
        filler = buffer / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        metrics = b"".join(b'{"step": %d, "loss": 0.5}\n' % step for step in range(2_000))
        (pod.sidecar.volume / "metrics.jsonl").write_bytes(metrics)
        files["metrics.jsonl"] = metrics
        pod.sidecar.end_writers()
        eventually(lambda: "begins anew" in pod.sidecar.log(), what="a new beginning")
        filler.unlink()
        pod.end()
        pod.assert_ashore(files)


def test_b38_the_buffers_disk_has_no_inode_left(pod: Scenario) -> None:
    with small_disk(Path(pod.sidecar.settings.buffer_dir), "nr_inodes=12"):
        pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, operation="Put", times=1000))
        # Too large to share a file of the buffer: each takes an inode.
        files = {f"file-{number}": pod.write(f"file-{number}", 70_000) for number in range(20)}
        pod.sidecar.start()
        eventually(lambda: "BufferFull" in pod.sidecar.log(), what="a full buffer")
        pod.store.faults.clear()
        pod.end()
        pod.assert_ashore(files)


def test_b39_checkpoints_rotated_faster_than_they_are_sent(pod: Scenario) -> None:
    pod.store.faults.append(Fault(kind=Misbehaviour.SLOW, operation="Put", seconds=0.5, times=1000))
    pod.sidecar.start(PINNACE_TUNING_UPLOAD_THREADS="1")
    files: dict[str, bytes] = {}
    for number in range(8):
        path = f"checkpoint-{number}"
        data = pod.write(f"{path}.tmp", 10_000)
        (pod.sidecar.volume / f"{path}.tmp").rename(pod.sidecar.volume / path)
        files[path] = data
        copy = pod.copies / pod.name(path, data)
        eventually(copy.exists, interval=0.002, what="a copy in the buffer")
        if number >= 2:
            (pod.sidecar.volume / f"checkpoint-{number - 2}").unlink()
    pod.end()
    pod.assert_ashore(files)


def test_b42_folders_made_renamed_and_moved_in(pod: Scenario) -> None:
    pod.sidecar.start()
    volume, outside = pod.sidecar.volume, pod.sidecar.folder / "outside"
    deep = pod.write("a/b/c/deep", 10)
    pod.wait_for_rows(1)
    (volume / "a").rename(volume / "renamed")
    (volume / "renamed" / "b").rename(outside)
    moved = {"inside/c/deep": deep, "inside/c/more": b"more"}
    (outside / "c" / "more").write_bytes(b"more")
    outside.rename(volume / "inside")
    later = pod.write("renamed/later", 20)
    pod.end()
    pod.assert_ashore({"a/b/c/deep": deep, "renamed/later": later, **moved})


def test_b44_sizes_around_a_part(pod: Scenario) -> None:
    sizes = [5 * MIB + step for step in (-1, 0, 1)] + [10 * MIB + step for step in (-1, 0, 1)]
    files = {str(size): pod.write(str(size), size) for size in sizes}
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)
    # 5 MiB and what is smaller go in one piece.
    assert (pod.store.counts["Put"], pod.store.counts["Complete"]) == (2, 4)


def test_a_damaged_journal_is_told_and_costs_nothing(pod: Scenario) -> None:
    """B.6 with real processes: rubbish in the journal, copies whose files are gone, rows of files that are gone."""
    recorded = pod.write("recorded", 100)
    pod.sidecar.start()
    pod.wait_for_rows(1)
    pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, operation="Put", times=1000))
    waiting = pod.write("waiting", 200)
    eventually((pod.copies / pod.name("waiting", waiting)).exists, what="a copy in the buffer")
    pod.sidecar.kill()
    for path in ("recorded", "waiting"):
        (pod.sidecar.volume / path).unlink()
    journal = Path(pod.sidecar.settings.buffer_dir) / "journal.db"
    whole = bytearray(journal.read_bytes())
    whole[len(whole) // 2 :] = b"\0" * (len(whole) - len(whole) // 2)
    journal.write_bytes(whole)
    Path(f"{journal}-wal").unlink(missing_ok=True)
    pod.store.faults.clear()
    pod.sidecar.start()
    report = pod.end()
    assert [problem.reason for problem in report.problems] == ["JournalLost"]
    assert "JournalLost" in pod.sidecar.log()
    assert report.manifest.count == 2
    pod.assert_ashore({"recorded": recorded, "waiting": waiting})
    (standing,) = pod.api.admin().pods(pod.api.admin().iteration(report.iteration_id).experiment_id)
    assert standing.recorded == report.manifest
    assert msgspec.structs.replace(standing.report or report, sequence=0) == msgspec.structs.replace(report, sequence=0)
