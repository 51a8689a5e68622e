"""Compressed from the copy to the row: both digests are recorded, whatever is killed, damaged or set otherwise."""

import io
import os
from pathlib import Path

import msgspec
import pytest

from pinnace.compression import unpacked
from pinnace.ids import is_own_key, object_key
from pinnace.records import Artifact, FileState, Location
from pinnace_sidecar.crash import CrashPoint, never
from support.pod import PART_BYTES, STORE, Crashed, Pod
from support.samples import artifact
from support.store_content import compressed, content_of, put_bytes, stored_as

TEXT = b"".join(b"step %d: loss %d\n" % (step, step * step % 977) for step in range(1200))
LARGE = b"".join(b"%d %x\n" % (step, step**7 % 10**9) for step in range(10_000))
#: Points that a pod passes which ships one large and one small file.
POINTS = (
    CrashPoint.COPY_WRITTEN,
    CrashPoint.COPY_JOURNALED,
    CrashPoint.UPLOAD_OPENED,
    CrashPoint.UPLOAD_JOURNALED,
    CrashPoint.PART_SENT,
    CrashPoint.PART_JOURNALED,
    CrashPoint.UPLOAD_COMPLETED,
    CrashPoint.OBJECT_SENT,
    CrashPoint.STORED_JOURNALED,
    CrashPoint.VERIFIED_JOURNALED,
    CrashPoint.ROW_SENT,
    CrashPoint.ROW_JOURNALED,
)


@pytest.fixture(autouse=True)
def compressing(pod: Pod) -> None:
    pod.change_settings(zstd_level=3)
    pod.tuning = msgspec.structs.replace(pod.tuning, share_bytes=1000)


def row_of(pod: Pod, path: str) -> Artifact:
    (row,) = (row for row in pod.api.rows.values() if row.path == path)
    return row


def assert_ashore(pod: Pod, **files: bytes) -> None:
    """Each with one row, whose object unpacks to the content; and nothing else is left anywhere."""
    held = pod.store.contents()
    for path, content in files.items():
        row = row_of(pod, path)
        assert content_of(row, held[row.location.key]) == content
        assert row.size == len(content)
    assert len(pod.api.rows) == len(files)
    assert pod.store.uploads() == []
    assert pod.copies() == []


def ship(pod: Pod, **files: bytes) -> None:
    for path, content in files.items():
        pod.write(path, content)
    pod.start()
    pod.run_for(20)
    assert pod.drain().final


def test_a_row_has_the_digests_of_the_content_and_of_what_is_stored(pod: Pod) -> None:
    ship(pod, text=TEXT, large=LARGE)
    assert_ashore(pod, text=TEXT, large=LARGE)
    row = row_of(pod, "large")
    assert row.id == pod.artifact("large", LARGE)
    assert row.stored is not None
    assert PART_BYTES < row.stored.size < len(LARGE) / 2
    assert row.location.key == object_key(STORE.prefix, row.id, row.stored.sha256)
    assert row.location.key.endswith(f".{row.stored.sha256[:16]}.zst")
    assert pod.sidecar.status.uploaded_bytes == sum(map(len, pod.store.contents().values()))


def test_what_gains_nothing_or_is_read_by_others_stays_as_it_is(pod: Pod) -> None:
    manifest = b'{"files": [{"path": "text"}]' + b" " * 8000 + b"}"
    files = {"random": os.urandom(20_000), "small": b"x" * 4095, "text.gz": TEXT, "pinnace-manifest.json": manifest}
    ship(pod, text=TEXT, **files)
    assert_ashore(pod, text=TEXT, **files)
    assert [row.path for row in pod.api.rows.values() if row.stored] == ["text"]
    assert all(is_own_key(row_of(pod, path).location.key, row_of(pod, path).id) for path in files)


def test_off_is_off(pod: Pod) -> None:
    pod.change_settings(zstd_level=0)
    ship(pod, text=TEXT)
    assert row_of(pod, "text").stored is None
    assert pod.store.contents() == {pod.key("text", TEXT): TEXT}


@pytest.mark.parametrize("level", [0, 3, 19], ids="restarted with level {}".format)
@pytest.mark.parametrize("point", POINTS)
def test_a_restart_converges_after_a_crash_at(pod: Pod, point: CrashPoint, level: int) -> None:
    pod.write("text", TEXT)
    pod.write("large", LARGE)
    pod.crash_at(point)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    pod.stop()
    pod.crash = never
    pod.change_settings(zstd_level=level)
    pod.start()
    assert pod.drain().final
    assert_ashore(pod, text=TEXT, large=LARGE)
    assert len(pod.store.contents()) == 2


@pytest.mark.parametrize("state", [CrashPoint.COPY_JOURNALED, CrashPoint.STORED_JOURNALED])
def test_a_content_that_is_copied_again_otherwise_keeps_the_copy_that_is_on_its_way(
    pod: Pod, state: CrashPoint
) -> None:
    path = pod.write("text", TEXT)
    pod.crash_at(state)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    pod.stop()
    pod.crash = never
    pod.change_settings(zstd_level=19, settle_seconds=0.0)
    os.utime(path)
    pod.start()
    pod.run_for(3)
    assert pod.drain().final
    assert_ashore(pod, text=TEXT)
    assert len(pod.store.contents()) == 1


def test_copies_that_a_lost_journal_knew_of_are_shipped(pod: Pod) -> None:
    path = pod.write("text", TEXT)
    pod.crash_at(CrashPoint.COPY_JOURNALED)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    pod.stop()
    pod.crash = never
    path.unlink()
    (Path(pod.settings.buffer_dir) / "journal.db").write_bytes(b"damaged" * 1000)
    pod.start()
    assert pod.drain().files[FileState.RECORDED] == 1
    assert_ashore(pod, text=TEXT)
    assert row_of(pod, "text").stored is not None


def test_a_suspect_that_turns_out_complete_keeps_its_object(pod: Pod) -> None:
    pod.write("text", TEXT)
    pod.start()
    pod.run_for(20)
    row = row_of(pod, "text")
    pod.api.rows[row.id] = msgspec.structs.replace(row, suspect=True)
    pod.stop()
    (Path(pod.settings.buffer_dir) / "journal.db").write_bytes(b"damaged" * 1000)
    pod.start()
    assert pod.drain().final
    assert_ashore(pod, text=TEXT)
    assert not row_of(pod, "text").suspect
    assert len(pod.store.contents()) == 1


# --- shared objects


def record_compressed(pod: Pod, content: bytes, *, held: bytes | None = None) -> Artifact:
    """Another iteration of the experiment, of another release, has this content compressed."""
    frame = compressed(content, level=7)
    row = artifact(pod.settings.iteration_id, "elsewhere", content, stored=stored_as(frame))
    key = object_key(STORE.prefix, row.id, stored_as(frame).sha256)
    etag = put_bytes(pod.store, key, frame if held is None else held).etag
    location = Location(endpoint=STORE.endpoint, region=STORE.region, bucket=STORE.bucket, key=key)
    row = msgspec.structs.replace(row, location=location, etag="" if held is not None else etag)
    pod.api.rows[row.id] = row
    return row


@pytest.mark.parametrize("level", [0, 3])
def test_an_object_that_is_compressed_is_shared_whether_we_compress_or_not(pod: Pod, level: int) -> None:
    pod.change_settings(zstd_level=level)
    elsewhere = record_compressed(pod, TEXT)
    ship(pod, copy=TEXT)
    row = row_of(pod, "copy")
    assert (row.location, row.stored, row.etag) == (elsewhere.location, elsewhere.stored, elsewhere.etag)
    assert_ashore(pod, copy=TEXT, elsewhere=TEXT)
    assert list(pod.store.contents()) == [elsewhere.location.key]


def test_a_plain_object_is_shared_by_who_compresses(pod: Pod) -> None:
    elsewhere = pod.record_elsewhere(TEXT)
    ship(pod, copy=TEXT)
    row = row_of(pod, "copy")
    assert (row.location, row.stored) == (elsewhere.location, None)
    assert pod.store.contents() == {elsewhere.location.key: TEXT}


def test_an_object_that_unpacks_to_something_else_is_not_shared_where_it_is_read_back(pod: Pod) -> None:
    pod.store_settings = msgspec.structs.replace(pod.store_settings, read_back=True)
    other = TEXT[:-1] + b"X"
    elsewhere = record_compressed(pod, TEXT, held=compressed(other, level=7))
    lie = stored_as(compressed(other, level=7))
    pod.api.rows[elsewhere.id] = msgspec.structs.replace(elsewhere, stored=lie)
    ship(pod, copy=TEXT)
    row = row_of(pod, "copy")
    assert row.location != elsewhere.location
    assert content_of(row, pod.store.contents()[row.location.key]) == TEXT


# --- what the store holds


@pytest.mark.parametrize("damage", ["other bytes", "a bomb", "cut off"])
def test_reading_back_finds_what_no_longer_unpacks_to_the_content(pod: Pod, damage: str) -> None:
    pod.store_settings = msgspec.structs.replace(pod.store_settings, read_back=True)
    pod.write("text", TEXT)
    damaged: list[str] = []

    def spoil(point: CrashPoint) -> None:
        if point is CrashPoint.OBJECT_SENT and not damaged:
            ((key, held),) = pod.store.contents().items()
            bodies = {
                "other bytes": held[:50] + bytes([held[50] ^ 1]) + held[51:],
                "a bomb": compressed(bytes(2**26)),
                "cut off": held[:-10],
            }
            damaged.append(key)
            pod.store._objects[key] = pod.store._objects[key]._replace(content=bodies[damage])

    pod.crash = spoil
    pod.start()
    assert pod.drain().final
    assert len(damaged) == 1
    assert_ashore(pod, text=TEXT)


def test_every_object_that_is_read_back_was_unpacked(pod: Pod) -> None:
    pod.store_settings = msgspec.structs.replace(pod.store_settings, read_back=True)
    ship(pod, text=TEXT, large=LARGE)
    assert_ashore(pod, text=TEXT, large=LARGE)
    assert pod.sidecar.status.verified == {"read_back": 2}


def test_nothing_but_zstd_is_needed_to_unpack_an_object(pod: Pod) -> None:
    ship(pod, text=TEXT)
    row = row_of(pod, "text")
    sink = io.BytesIO()
    assert row.stored is not None
    pod.store.get(row.location.key, unpacked(sink, row.stored.encoding, row.size))
    assert sink.getvalue() == TEXT
