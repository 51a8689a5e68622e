"""What the sidecar remembers, over restarts and damage."""

import contextlib
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace.digests import ContentDigest, Digester, Digests, EncodedDigest, Encoding
from pinnace.records import FileState, Location, MetricPoint, RecordedContent
from pinnace.stores.store import Part
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Copy, Journal, JournalError, Refusal, Tail
from pinnace_sidecar.journal.schema import STEPS
from pinnace_sidecar.lifecycle import Event, IllegalStep

TO_THE_END = (Event.STORED, Event.CONFIRMED, Event.REGISTERED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal.open(path)
    yield journal
    journal.close()


def digest(content: bytes) -> ContentDigest:
    digester = Digester(4)
    digester.update(content)
    return digester.finish()


def fingerprint(number: int) -> Fingerprint:
    return Fingerprint(inode=2**64 - number, size=5, mtime_ns=number, ctime_ns=number)


def copy(
    path: str = "sub/model", *, content: bytes = b"bytes", number: int = 1, suspect: bool = False, artifact: int = 1
) -> Copy:
    return Copy(
        path=path,
        fingerprint=fingerprint(number),
        suspect=suspect,
        settled_at=1000.0 + number,
        name=str(UUID(int=artifact)),
        digests=Digests(content=digest(content)),
    )


def test_a_copy_is_remembered_with_all_that_shipping_needs(path: Path, journal: Journal) -> None:
    file = journal.files.add_copy(copy("odd\udcff/näme\n"))
    journal.close()
    reopened = Journal.open(path)
    assert reopened.files.in_state(FileState.BUFFERED, limit=10) == [file]
    assert (file.path, file.state, file.fingerprint) == ("odd\udcff/näme\n", FileState.BUFFERED, fingerprint(1))
    assert file.digest == digest(b"bytes")
    assert reopened.files.known(["odd\udcff/näme\n"]) == {"odd\udcff/näme\n": fingerprint(1)}
    reopened.close()


def test_known_is_asked_file_by_file(journal: Journal) -> None:
    journal.files.add_copy(copy("top", artifact=1))
    journal.files.add_copy(copy("sub/one", artifact=2))
    journal.files.add_copy(copy("sub/below/two", artifact=3))
    assert set(journal.files.known(["top", "sub/below/two", "sub/below", "other"])) == {"top", "sub/below/two"}
    assert journal.files.known([]) == {}


def test_other_content_of_a_path_is_a_new_version_and_the_old_one_goes_its_way(journal: Journal) -> None:
    old = journal.files.add_copy(copy(artifact=1, number=1))
    new = journal.files.add_copy(copy(artifact=2, number=2, content=b"other"))
    assert journal.files.known(["sub/model"]) == {"sub/model": fingerprint(2)}
    assert [file.id for file in journal.files.in_state(FileState.BUFFERED, limit=10)] == [old.id, new.id]


def test_content_that_a_path_had_before_is_the_same_row(journal: Journal) -> None:
    first = journal.files.add_copy(copy(artifact=1, number=1))
    for event in TO_THE_END:
        journal.files.apply(first.id, event)
    journal.files.add_copy(copy(artifact=2, number=2, content=b"other"))
    again = journal.files.add_copy(copy(artifact=1, number=3))
    assert (again.id, again.state) == (first.id, FileState.RECORDED)
    assert journal.files.known(["sub/model"]) == {"sub/model": fingerprint(3)}


def test_a_suspect_file_found_complete_is_registered_again(journal: Journal) -> None:
    file = journal.files.add_copy(copy(suspect=True))
    for event in TO_THE_END:
        journal.files.apply(file.id, event)
    assert journal.files.totals().states == {FileState.SUSPECT: 1}
    cleared = journal.files.add_copy(copy(number=2))
    assert (cleared.state, cleared.suspect) == (FileState.VERIFIED, False)


def test_a_state_changes_only_as_the_lifecycle_allows(journal: Journal) -> None:
    file = journal.files.add_copy(copy())
    with pytest.raises(IllegalStep):
        journal.files.apply(file.id, Event.REGISTERED)
    assert journal.files.totals().states == {FileState.BUFFERED: 1}


def test_a_refused_file_keeps_its_reason_until_it_looks_different(journal: Journal) -> None:
    refusal = Refusal(path="sub/closed", reason="FileUnreadable", message="may not be read")
    journal.files.add_refused(refusal, fingerprint(1), 1000)
    assert journal.files.refusals(5) == [refusal]
    assert journal.files.known(["sub/closed"]) == {"sub/closed": fingerprint(1)}
    journal.files.add_copy(copy("sub/closed", number=2))
    assert journal.files.refusals(5) == []


def test_what_was_never_copied_gets_another_try(journal: Journal) -> None:
    journal.files.add_refused(Refusal(path="big", reason="FileTooLarge", message=""), fingerprint(1), 1000)
    kept = journal.files.add_copy(copy())
    journal.files.apply(kept.id, Event.REFUSED, reason="InvalidKey", message="odd")
    journal.files.forget_uncopied()
    assert [refusal.path for refusal in journal.files.refusals(5)] == ["sub/model"]


def test_parts_belong_to_one_upload_and_go_with_it(journal: Journal) -> None:
    file = journal.files.add_copy(copy())
    journal.files.set_upload(file.id, "first")
    journal.files.add_parts(file.id, [Part(number=1, size=4, etag="a", crc32c=None)])
    journal.files.add_parts(file.id, [Part(number=1, size=4, etag="b", crc32c="c")])
    assert journal.files.parts(file.id) == [Part(number=1, size=4, etag="b", crc32c="c")]
    journal.files.set_upload(file.id, "second")
    assert journal.files.parts(file.id) == []
    journal.files.add_parts(file.id, [Part(number=1, size=4, etag="c", crc32c=None)])
    journal.files.apply(file.id, Event.STORED, etag="whole")
    (stored,) = journal.files.in_state(FileState.UPLOADED, limit=1)
    assert (stored.upload_id, stored.etag, journal.files.parts(file.id)) == ("", "whole", [])


def test_a_lost_file_is_to_be_found_again_and_keeps_what_the_store_acknowledged(journal: Journal) -> None:
    file = journal.files.add_copy(copy())
    journal.files.apply(file.id, Event.STORED, etag="spoilt")
    journal.files.apply(file.id, Event.REFUTED)
    journal.files.set_upload(file.id, "upload")
    journal.files.add_parts(file.id, [Part(number=1, size=4, etag="a", crc32c=None)])
    journal.files.apply(file.id, Event.LOST)
    assert journal.files.known(["sub/model"]) == {}
    assert journal.files.parts(file.id) == []
    assert journal.files.count(FileState.QUARANTINED) == 1
    again = journal.files.add_copy(copy())
    assert (again.state, again.etag, again.id > file.id) == (FileState.BUFFERED, "spoilt", True)
    assert journal.files.count(FileState.QUARANTINED) == 0


def test_of_an_object_that_was_another_ones_nothing_may_be_replaced(journal: Journal) -> None:
    file = journal.files.add_copy(copy())
    location = Location(endpoint="http://store.test", region="", bucket="artifacts", key="k")
    shared = RecordedContent(
        size=5, sha256=file.digest.sha256, crc32c=file.digest.crc32c, location=location, etag="theirs"
    )
    journal.files.share(file.id, shared)
    journal.files.apply(file.id, Event.STORED, Event.CONFIRMED, Event.REFUSED, etag="theirs")
    assert journal.files.add_copy(copy()).etag == ""


def test_totals_are_counted_anew_when_something_changed_and_only_then(journal: Journal) -> None:
    before = journal.files.totals()
    assert journal.files.totals() is before
    journal.files.add_copy(copy("file"))
    after = journal.files.totals()
    assert (before.states, after.states) == ({}, {FileState.BUFFERED: 1})


def test_totals_count_every_state_and_name_the_oldest_on_its_way(journal: Journal) -> None:
    done = journal.files.add_copy(copy("a", artifact=1, number=1))
    for event in TO_THE_END:
        journal.files.apply(done.id, event)
    journal.files.add_copy(copy("b", artifact=2, number=3))
    journal.files.add_copy(copy("c", artifact=3, number=2))
    totals = journal.files.totals()
    assert totals.states == {FileState.RECORDED: 1, FileState.BUFFERED: 2}
    assert totals.bytes_recorded == 5
    assert totals.oldest_settled_at == 1002.0
    assert list(journal.files.recorded_artifacts()) == [str(UUID(int=1))]
    assert journal.files.buffered_names() == {str(UUID(int=2)), str(UUID(int=3))}


def test_lines_and_their_points_become_durable_together(path: Path, journal: Journal) -> None:
    tail = Tail(path="m", inode=2**63 + 1, generation=1, offset=10, lines=2, points=2, bad=1, first_bad="m:1: bad")
    points = tuple(MetricPoint(key="loss", step=step, value="NaN") for step in range(2))
    journal.metrics.advance(tail, points)
    journal.close()
    reopened = Journal.open(path)
    assert reopened.metrics.tails() == [tail]
    last, unsent = reopened.metrics.outbox(100)
    assert unsent == points
    reopened.metrics.sent(last)
    assert reopened.metrics.outbox(100) == (0, ())
    totals = reopened.metrics.totals()
    assert (totals.acknowledged, totals.unsent, totals.bad_lines) == (2, 0, 1)
    reopened.close()


def test_the_outbox_is_emptied_in_order_and_in_pieces(journal: Journal) -> None:
    for step in range(5):
        points = tuple(MetricPoint(key=key, step=step, value=1.0) for key in "ab")
        journal.metrics.advance(Tail(path="m", inode=1, offset=step, points=2 * step + 2), points)
    sent = []
    while True:
        last, points = journal.metrics.outbox(5)
        if not points:
            break
        sent.append([point.step for point in points])
        journal.metrics.sent(last)
    assert sent == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4]]


def test_refused_points_are_counted(journal: Journal) -> None:
    journal.metrics.advance(Tail(path="m", inode=1, points=3), (MetricPoint(key="a", step=1, value=1.0),) * 3)
    last, _ = journal.metrics.outbox(10)
    journal.metrics.sent(last, refused=2)
    totals = journal.metrics.totals()
    assert (totals.acknowledged, totals.refused) == (1, 2)


def test_a_transaction_is_all_or_nothing(journal: Journal) -> None:
    file = journal.files.add_copy(copy())

    def both() -> None:
        with journal.transaction():
            journal.files.add_copy(copy("other", artifact=2))
            journal.files.apply(file.id, Event.REGISTERED)

    with pytest.raises(IllegalStep):
        both()
    assert journal.files.totals().states == {FileState.BUFFERED: 1}


def test_each_start_is_counted(path: Path, journal: Journal) -> None:
    assert journal.count_start() == 1
    journal.close()
    reopened = Journal.open(path)
    assert reopened.count_start() == 2
    reopened.close()


def test_a_second_process_is_kept_out(path: Path, journal: Journal) -> None:
    with pytest.raises(JournalError, match="in use by another sidecar"):
        Journal.open(path)


def test_a_journal_of_the_first_version_is_brought_up_and_goes_on(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(f"{STEPS[0]} PRAGMA user_version = 1;")
    connection.execute("INSERT INTO tails VALUES (?, '7', 0, 9, 1, 0, 1, 0, '')", (b"metrics.jsonl",))
    connection.execute(
        "INSERT INTO files (folder, path, current, fingerprint, state, settled_at, size, artifact_id, digest)"
        " VALUES (?, ?, 1, '1:2:3:4', 'buffered', 0, 2, ?, ?)",
        (b"", b"a", str(uuid4()), msgspec.json.encode(ContentDigest(size=2, sha256="", crc32c="", parts=()))),
    )
    connection.commit()
    connection.close()
    journal = Journal.open(path)
    try:
        assert [file.path for file in journal.files.in_state(FileState.BUFFERED, limit=9)] == ["a"]
        assert [(tail.offset, tail.mark) for tail in journal.metrics.tails()] == [(9, b"")]
        assert (journal.sets.held(), journal.begun_anew) == (0, False)
    finally:
        journal.close()


def test_how_a_copy_is_compressed_is_remembered_and_names_it(path: Path, journal: Journal) -> None:
    kept = digest(b"frame of bytes")
    stored = EncodedDigest(
        encoding=Encoding.ZSTD, size=kept.size, sha256=kept.sha256, crc32c=kept.crc32c, parts=kept.parts
    )
    plain = copy()
    name = f"{plain.name}.{stored.sha256[:16]}.zst"
    file = journal.files.add_copy(
        msgspec.structs.replace(plain, name=name, digests=Digests(content=plain.digests.content, stored=stored))
    )
    journal.close()
    journal = Journal.open(path)
    try:
        (found,) = journal.files.in_state(FileState.BUFFERED, limit=9)
        assert found == file
        assert (found.digest, found.kept, found.stored) == (plain.digests.content, stored, stored)
        assert journal.files.buffered_names() == {name} == {found.name}
        assert journal.files.knows(found.name)
        # The same content, not compressed: the copy that is there goes on.
        assert journal.files.add_copy(plain).stored == stored
    finally:
        journal.close()


def test_a_newer_version_is_left_alone(path: Path, journal: Journal) -> None:
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE later (id INTEGER)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    for _ in range(2):
        with pytest.raises(JournalError, match="version 99"):
            Journal.open(path)


@pytest.mark.parametrize("known", [0, 1, len(STEPS)])
def test_a_version_that_its_tables_belie_is_damage(path: Path, known: int) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(f"{''.join(STEPS[:known])} PRAGMA user_version = 32512;")
    database.close()
    journal = Journal.open(path)
    assert journal.begun_anew
    journal.close()


def test_it_is_durable_after_each_commit(journal: Journal, path: Path) -> None:
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    assert journal._database.rows("PRAGMA synchronous") == [(2,)]


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    journal = Journal.open(path)
    assert journal.begun_anew
    journal.files.add_copy(copy())
    journal.close()
    assert Path(f"{path}.damaged").read_bytes() == content


def test_any_prefix_of_its_log_is_a_journal_in_an_earlier_state(tmp_path: Path) -> None:
    """What a power cut leaves: the write-ahead log cut anywhere."""
    live = tmp_path / "live"
    live.mkdir()
    journal = Journal.open(live / "journal.db")
    states: list[dict[FileState, int]] = [journal.files.totals().states]
    for number in range(1, 6):
        file = journal.files.add_copy(copy(f"f{number}", artifact=number, number=number))
        states.append(journal.files.totals().states)
        for event in TO_THE_END:
            journal.files.apply(file.id, event)
            states.append(journal.files.totals().states)
    log = (live / "journal.db-wal").read_bytes()
    seen = []
    for cut in range(0, len(log), 1500):
        dead = tmp_path / f"cut-{cut}"
        dead.mkdir()
        shutil.copy(live / "journal.db", dead)
        (dead / "journal.db-wal").write_bytes(log[:cut])
        reopened = Journal.open(dead / "journal.db")
        seen.append(reopened.files.totals().states)
        reopened.close()
    journal.close()
    positions = [states.index(state) for state in seen]
    assert positions == sorted(positions)
    assert len(set(positions)) > 10


def test_ids_are_never_used_again(journal: Journal) -> None:
    first = journal.files.add_copy(copy(artifact=1))
    journal.files.apply(first.id, Event.LOST)
    assert journal.files.add_copy(copy(artifact=2)).id > first.id


def temporary_files() -> list[str]:
    """Those that SQLite has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # what listed them
            found.append(descriptor.readlink().name)
    return [name for name in found if "etilqs_" in name]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_journal_of_many_files_needs_no_temporary_one(journal: Journal) -> None:
    # In a container whose root may only be read there is no folder for such.
    for start in range(0, 6400, 128):
        with journal.transaction():
            journal.files.add_copies(
                [copy(f"f-{number}", artifact=uuid4().int) for number in range(start, start + 128)]
            )
            assert temporary_files() == []
