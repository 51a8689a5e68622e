"""A journal that is not what was written: it is found out, set aside and begun anew, and nothing is lost with it."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pinnace.digests import Digester, Digests
from pinnace.records import FileState, MetricPoint
from pinnace.stores.store import Part, StoreUnreachable
from pinnace_sidecar.crash import CrashPoint, never
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Copy, Journal, Tail
from pinnace_sidecar.journal.schema import STEPS
from pinnace_sidecar.lifecycle import Event
from support.examples import examples
from support.pod import Crashed, Pod, paths

TABLES = ("files", "parts", "tails", "outbox", "counters")
SLOW = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])


def fill(path: Path) -> Journal:
    """A journal in mid-work; still open."""
    journal = Journal.open(path)
    journal.count_start()
    for number in range(1, 40):
        digester = Digester(4)
        digester.update(f"content {number}".encode())
        file = journal.files.add_copy(
            Copy(
                path=f"folder/{number}",
                fingerprint=Fingerprint(number, 5, number, number),
                suspect=number % 7 == 0,
                settled_at=1000.5 + number,
                name=str(UUID(int=number)),
                digests=Digests(content=digester.finish()),
            )
        )
        for event in (Event.STORED, Event.CONFIRMED, Event.REGISTERED)[: number % 4]:
            journal.files.apply(file.id, event, etag="etag")
        if number % 4 == 0:
            journal.files.set_upload(file.id, "upload")
            journal.files.add_parts(file.id, [Part(number=1, size=4, etag="part", crc32c=None)])
        points = (MetricPoint(key="loss", step=number, value=0.5, offset=number),)
        journal.metrics.advance(Tail(path="metrics.jsonl", inode=3, offset=number, lines=number), points)
    return journal


def content(journal: Journal) -> list[Any]:
    return [journal._database.rows(f"SELECT * FROM {table}") for table in TABLES]


@dataclass(frozen=True, slots=True)
class Written:
    """A folder with a journal that nobody holds, and what is in it."""

    folder: Path
    content: list[Any]

    def __repr__(self) -> str:
        return f"Written({self.folder})"

    @property
    def paths(self) -> set[bytes]:
        return {row[2] for row in self.content[0]}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Closed in order."""
    folder = tmp_path_factory.mktemp("written")
    journal = fill(folder / "journal.db")
    everything = content(journal)
    journal.close()
    return Written(folder, everything)


def opened_after(folder: Path, name: str, damaged: bytes) -> tuple[bool, list[Any]]:
    """Whether a journal with one file changed was begun anew, and what is in it."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "journal"
        shutil.copytree(folder, copy)
        (copy / name).write_bytes(damaged)
        journal = Journal.open(copy / "journal.db")
        try:
            journal.files.forget_uncopied()
            return journal.begun_anew, content(journal)
        finally:
            journal.close()


@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
@example(flips=[(0.0, 1)])
@SLOW
def test_flipped_bytes_are_found_out_or_mean_nothing(written: Written, flips: list[tuple[float, int]]) -> None:
    whole = bytearray((written.folder / "journal.db").read_bytes())
    for place, mask in flips:
        whole[int(place * len(whole))] ^= mask
    begun_anew, found = opened_after(written.folder, "journal.db", bytes(whole))
    assert begun_anew or found == written.content


def test_every_byte_of_the_header_may_flip(written: Written) -> None:
    whole = (written.folder / "journal.db").read_bytes()
    for at in range(100):
        flipped = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        begun_anew, found = opened_after(written.folder, "journal.db", flipped)
        assert begun_anew or found == written.content, at


@given(cut=st.integers(0, 3 * 4096))
@example(cut=0)
@example(cut=1)
@SLOW
def test_a_journal_that_ends_early_is_found_out(written: Written, cut: int) -> None:
    whole = (written.folder / "journal.db").read_bytes()
    for left in (whole[: len(whole) - cut], whole[:cut]):
        begun_anew, found = opened_after(written.folder, "journal.db", left)
        assert begun_anew or (found == written.content and left == whole)


def test_a_journal_that_is_gone_was_there(written: Written, tmp_path: Path) -> None:
    shutil.copytree(written.folder, tmp_path / "copy")
    (tmp_path / "copy/journal.db").unlink()
    for _ in range(2):
        journal = Journal.open(tmp_path / "copy/journal.db")
        assert journal.begun_anew
        # Newer than every start that the lost journal counted.
        assert journal.count_start() > 1_000_000
        journal.close()


def test_a_new_journal_that_was_not_finished_is_still_one_after_another(written: Written, tmp_path: Path) -> None:
    """Killed between the making of the tables and the first entry."""
    shutil.copytree(written.folder, tmp_path / "copy")
    (tmp_path / "copy/journal.db").unlink()
    with sqlite3.connect(tmp_path / "copy/journal.db") as half:
        half.executescript(f"{''.join(STEPS)} PRAGMA user_version = {len(STEPS)};")
    half.close()
    journal = Journal.open(tmp_path / "copy/journal.db")
    assert journal.begun_anew
    journal.close()


def test_a_value_that_changed_on_its_disk_is_found_out(written: Written) -> None:
    """SQLite itself says of such a file that it is well."""
    whole = (written.folder / "journal.db").read_bytes()
    assert b"folder/17" in whole
    begun_anew, _ = opened_after(written.folder, "journal.db", whole.replace(b"folder/17", b"folder/71"))
    assert begun_anew


@pytest.fixture(scope="module")
def in_mid_work(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Its process was killed."""
    live, dead = (tmp_path_factory.mktemp("work") / name for name in ("live", "dead"))
    live.mkdir()
    journal = fill(live / "journal.db")
    shutil.copytree(live, dead)
    killed = Written(dead, content(journal))
    journal.close()
    return killed


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@SLOW
def test_a_flip_in_the_log_leaves_an_earlier_state(in_mid_work: Written, place: float, mask: int) -> None:
    log = bytearray((in_mid_work.folder / "journal.db-wal").read_bytes())
    log[int(place * len(log))] ^= mask
    _, found = opened_after(in_mid_work.folder, "journal.db-wal", bytes(log))
    assert {row[2] for row in found[0]} <= in_mid_work.paths


def test_a_journal_without_seals_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as old:
        old.executescript(f"{STEPS[0]} PRAGMA user_version = 1; INSERT INTO counters VALUES ('starts', 3);")
    old.close()
    for start in (4, 5):
        journal = Journal.open(path)
        assert not journal.begun_anew
        assert journal.count_start() == start
        journal.close()


def test_damage_that_sqlite_can_not_even_spell_is_damage(written: Written) -> None:
    whole = (written.folder / "journal.db").read_bytes()
    begun_anew, _ = opened_after(written.folder, "journal.db", whole.replace(b"files_state", b"files\xc1state"))
    assert begun_anew


# --- what it means for the files


def damage(pod: Pod) -> None:
    pod.stop()
    journal = Path(pod.settings.buffer_dir) / "journal.db"
    journal.write_bytes(b"rubbish" * 1000)
    Path(f"{journal}-wal").unlink(missing_ok=True)


def spoil_records(pod: Pod) -> None:
    """What lies in the buffer does not say any more what it is."""
    for copy in (Path(pod.settings.buffer_dir) / "files").iterdir():
        copy.write_bytes(copy.read_bytes()[:-1] + b"?")


def test_copies_of_files_that_are_gone_survive_the_journal(pod: Pod) -> None:
    odd, content = "sub/odd\udcff\nname", b"the only copy"
    pod.store.fail_next(StoreUnreachable("away"), times=10_000)
    pod.write(odd, content)
    pod.start()
    pod.run_until(lambda: pod.journal.files.count(FileState.BUFFERED) == 1)
    (pod.volume / odd).unlink()
    damage(pod)
    # Killed again before anything could be shipped.
    pod.start()
    pod.run_for(1)
    pod.stop()
    pod.store.mend()
    pod.start()
    report = pod.drain()
    assert paths(pod) == ["sub/odd%FF\nname"]
    assert list(pod.store.contents().values()) == [content]
    assert report.final
    assert [problem.reason for problem in report.problems] == ["JournalLost"]
    assert pod.copies() == []


def test_rows_of_files_that_are_gone_are_learnt_from_the_api(pod: Pod) -> None:
    for name in ("gone", "stays", "sub/odd\udcff"):
        pod.write(name, name.encode(errors="surrogateescape"))
    pod.start()
    pod.run_until(lambda: len(pod.api.rows) == 3)
    (pod.volume / "gone").unlink()
    damage(pod)
    pod.start()
    report = pod.drain()
    assert report.final
    assert report.manifest.count == 3
    assert pod.api.put_pod_report(report).recorded == report.manifest
    assert pod.sidecar.status.uploaded_bytes == 0
    assert pod.api.report == report


def test_a_sound_journal_asks_for_nothing(pod: Pod) -> None:
    pod.write("file", b"1")
    pod.start()
    pod.drain()
    assert "pod artifacts" not in pod.api.requests


def test_a_copy_that_does_not_say_what_it_is_is_kept_and_told(pod: Pod) -> None:
    pod.start()
    pod.stop()
    (Path(pod.settings.buffer_dir) / "files" / "0000-unknown").write_bytes(b"whose is this?")
    for _ in range(2):
        pod.start()
        report = pod.drain()
        assert [(problem.reason, problem.files) for problem in report.problems] == [("CopiesUnknown", 1)]
        assert report.files == {FileState.QUARANTINED: 1}
        assert pod.copies() == ["0000-unknown"]
        pod.stop()


def test_the_only_copy_that_is_lost_with_the_journal_counts_as_one_that_can_not_be_shipped(pod: Pod) -> None:
    pod.store.fail_next(StoreUnreachable("away"), times=10_000)
    file = pod.write("file", b"the only copy")
    pod.start()
    pod.run_until(pod.copies)
    damage(pod)
    file.unlink()
    spoil_records(pod)
    pod.store.mend()
    pod.start()
    report = pod.drain()
    assert report.final
    assert report.files == {FileState.QUARANTINED: 1}


def test_an_unknown_copy_of_a_file_that_is_copied_again_is_missed_by_nobody(pod: Pod) -> None:
    pod.store.fail_next(StoreUnreachable("away"), times=10_000)
    pod.write("file", b"copied twice")
    pod.start()
    pod.run_until(pod.copies)
    damage(pod)
    spoil_records(pod)
    pod.store.mend()
    pod.start()
    assert pod.sidecar.report().files[FileState.QUARANTINED] == 1
    report = pod.drain()
    assert report.files == {FileState.RECORDED: 1}
    assert [problem.reason for problem in report.problems] == ["JournalLost"]
    assert pod.copies() == []


def test_a_copy_of_another_iteration_is_not_shipped_as_ours(pod: Pod) -> None:
    pod.store.fail_next(StoreUnreachable("away"), times=10_000)
    pod.write("file", b"1")
    pod.start()
    pod.run_until(pod.copies)
    damage(pod)
    (pod.volume / "file").unlink()
    pod.store.mend()
    pod.change_settings(iteration_id=UUID(int=7))
    pod.start()
    report = pod.drain()
    assert paths(pod) == []
    assert report.files == {FileState.QUARANTINED: 1}
    assert "CopiesUnknown" in {problem.reason for problem in report.problems}


def test_a_copy_that_was_never_journaled_arrives_although_its_file_is_gone(pod: Pod) -> None:
    pod.write("file", b"the only copy")
    pod.crash_at(CrashPoint.COPY_WRITTEN)
    pod.start()
    with pytest.raises(Crashed):
        pod.run_for(60)
    (pod.volume / "file").unlink()
    pod.stop()
    pod.crash = never
    pod.start()
    report = pod.drain()
    assert paths(pod) == ["file"]
    assert list(pod.store.contents().values()) == [b"the only copy"]
    assert report.final
    assert report.problems == ()


def test_two_names_that_look_alike_are_two_files_and_each_is_copied_once(pod: Pod) -> None:
    for name in ("a\udcff", "a%FF"):
        pod.write(name, b"the same")
    pod.start()
    pod.run_for(60)
    assert paths(pod) == ["a%25FF", "a%FF"]
    sent = pod.sidecar.status.uploaded_bytes
    copied = pod.journal.files.last_id()
    pod.run_for(300)
    assert (pod.sidecar.status.uploaded_bytes, pod.journal.files.last_id()) == (sent, copied)
    assert pod.drain().manifest.count == 2


def test_a_set_whose_files_are_recorded_and_gone_is_whole_without_its_journal(pod: Pod) -> None:
    """The manifest waits in the buffer; that its file is ashore only the API knows."""
    pod.write("ckpt/shard", b"shard")
    pod.write("ckpt/shard.done", b"")
    pod.start()
    pod.run_until(lambda: paths(pod) == ["ckpt/shard"])
    pod.store.fail_next(StoreUnreachable("away"), times=10_000)
    pod.write("ckpt/pinnace-manifest.json", b'{"files": [{"path": "shard", "size": 5}]}')
    pod.write("ckpt/pinnace-manifest.json.done", b"")
    pod.run_until(pod.copies)
    (pod.volume / "ckpt/shard").unlink()
    damage(pod)
    pod.store.mend()
    pod.start()
    report = pod.drain()
    assert paths(pod) == ["ckpt/pinnace-manifest.json", "ckpt/shard"]
    assert report.final
    assert report.files[FileState.RECORDED] == 2
