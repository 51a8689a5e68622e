"""What every place for bytes promises (api storage/backend.py): the database, a folder, buckets of real stores."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import urllib3

from pinnace.digests import EMPTY_SHA256
from pinnace.records import Backend, Location
from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials, credentials_for
from pinnace_api import migrations
from pinnace_api.database import Database
from pinnace_api.refusals import BytesMissing, StorageFull, StorageUnknown, Unavailable
from pinnace_api.storage import backend
from pinnace_api.storage.backend import BLOCK_BYTES, ByteStore
from pinnace_api.storage.filesystem import FilesystemStore
from pinnace_api.storage.inline import InlineStore
from pinnace_api.storage.keys import is_ours, made_at, new_key, uuid_in
from pinnace_api.storage.s3 import S3ByteStore
from support.byte_stores import minio_bucket, read, write
from support.minio_server import MinioServer, minio_server
from support.postgres_server import PostgresServer
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, Unknown
from support.small_disk import small_disk

PART_BYTES = 5 * 2**20


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", "filesystem", "minio", "minio-prefix", "plain-s3", "bare-s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByteStore]:
    """An empty one."""
    kind = str(request.param)
    with ExitStack() as stack:
        if kind in ("sqlite", "postgresql"):
            postgres: PostgresServer | None = request.getfixturevalue("postgres") if kind == "postgresql" else None
            database = Database(postgres.create_database() if postgres else f"sqlite:///{tmp_path}/api.db")
            stack.callback(database.close)
            migrations.upgrade(database)
            made: ByteStore = InlineStore(database)
        elif kind == "filesystem":
            made = FilesystemStore(tmp_path / "artifacts")
        elif kind.startswith("minio"):
            prefix = "a team/runs" if kind == "minio-prefix" else ""
            settings = minio_bucket(request.getfixturevalue("minio"), tmp_path, prefix=prefix)
            made = S3ByteStore(settings, credentials_for(settings), part_bytes=PART_BYTES)
        else:
            server = stack.enter_context(S3Server())
            if kind == "bare-s3":
                server.traits.checksums = server.traits.conditions = server.traits.whole_checksums = False
                server.traits.unknown = Unknown.IGNORED
            made = s3_store(server)
        stack.callback(made.close)
        yield made


def s3_store(server: S3Server, *, endpoints: tuple[str, ...] = (), read_back: bool = False) -> S3ByteStore:
    settings = StoreSettings(endpoint=server.endpoint, bucket=server.bucket, read_back=read_back)
    credentials = Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    return S3ByteStore(
        settings, StaticCredentials(credentials), part_bytes=PART_BYTES, pauses=(0.0, 0.0), endpoints=endpoints
    )


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * PART_BYTES, 11_000_003])
def test_what_was_written_is_read_again_with_its_digests(store: ByteStore, size: int) -> None:
    content = os.urandom(size)
    written = write(store, content, block=700_001)
    assert (written.digest.size, written.digest.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert store.size(written.location) == size
    assert read(store, written) == content
    assert written.location.backend is store.name
    assert is_ours(written.location.key)


def test_any_range_is_read(store: ByteStore) -> None:
    content = os.urandom(3 * BLOCK_BYTES + 5)
    location = write(store, content).location
    for start, size in ((0, 1), (7, 3), (BLOCK_BYTES - 1, 2), (BLOCK_BYTES, BLOCK_BYTES), (5, 2 * BLOCK_BYTES)):
        assert store.read(location, start, size) == content[start : start + size]
    assert store.read(location, len(content) - 2, 100) == content[-2:]
    assert store.read(location, len(content), 100) == b""


def test_nothing_can_be_read_before_it_is_finished(store: ByteStore) -> None:
    writer = store.writer()
    writer.write(os.urandom(PART_BYTES + 1))
    finished = [held for held in store.list() if not held.handle and store.name is not Backend.INLINE]
    assert finished == []
    written = writer.finish()
    writer.abort()
    assert store.size(written.location) == PART_BYTES + 1


def test_what_is_given_up_leaves_nothing(store: ByteStore) -> None:
    for size in (0, 1, PART_BYTES + 1):
        writer = store.writer()
        writer.write(bytes(size))
        writer.abort()
        writer.abort()
    assert list(store.list()) == []


def test_the_same_content_twice_is_two_things(store: ByteStore) -> None:
    first, second = write(store, b"same"), write(store, b"same")
    assert first.location != second.location
    store.delete(first.location)
    assert read(store, second) == b"same"


def test_what_is_deleted_is_missing_and_deleting_again_is_fine(store: ByteStore) -> None:
    location = write(store, b"content").location
    for _ in range(2):
        store.delete(location)
    assert store.size(location) is None
    with pytest.raises(BytesMissing) as refused:
        store.read(location, 0, 1)
    assert location.key in refused.value.detail


def test_everything_that_takes_up_room_is_listed_with_its_age(store: ByteStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    written = {write(store, os.urandom(size)).location: size for size in (0, 5, 6 * 2**20)}
    found = list(store.list())
    assert {held.location: held.size for held in found} == written
    assert all(before < held.written_at < datetime.now(UTC) + timedelta(seconds=5) for held in found)
    for held in found:
        store.discard(held)
        store.discard(held)
    assert list(store.list()) == []


def test_many_write_and_read_at_once(store: ByteStore) -> None:
    contents = [os.urandom(size) for size in (0, 10, 1000, 3_000_000) * 3]
    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(lambda content: write(store, content), contents))
        assert list(pool.map(lambda each: read(store, each), written)) == contents
    assert len({each.location.key for each in written}) == len(contents)


def test_an_address_for_everybody_is_given_by_object_stores_only(store: ByteStore) -> None:
    location = write(store, b"<html>").location
    address = store.presigned(location, 60, {"content-type": "text/plain", "content-disposition": "attachment"})
    if store.name is not Backend.S3:
        assert address is None
        return
    assert address is not None
    assert "X-Amz-Signature=" in address


def test_a_presigned_address_answers_as_it_was_made_to(minio: MinioServer, tmp_path: Path) -> None:
    settings = minio_bucket(minio, tmp_path)
    store = S3ByteStore(settings, credentials_for(settings))
    location = write(store, b"<html>").location
    headers = {"content-type": "text/plain", "content-disposition": "attachment; filename*=UTF-8''%C3%BC"}
    answer = urllib3.request("GET", str(store.presigned(location, 60, headers)), retries=False)
    assert (answer.status, answer.data) == (200, b"<html>")
    assert {name: answer.headers[name] for name in headers} == headers
    store.close()


# --- keys


def test_a_key_of_ours_tells_when_it_was_made_and_never_comes_twice() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)
    keys = {new_key("p/q", moment) for _ in range(1000)}
    assert len(keys) == 1000
    assert len({key.split("/")[2] for key in keys}) > 100
    for key in keys:
        uuid = uuid_in(key)
        assert uuid is not None
        assert (uuid.version, uuid.variant) == (8, "specified in RFC 4122")
        assert made_at(key) == moment


@pytest.mark.parametrize("key", ["", "aa/bb", "../../etc/passwd", "ab/cd000000-0000-8000-8000-000000000000", "x" * 99])
def test_other_keys_are_nobodys(key: str) -> None:
    assert (uuid_in(key), made_at(key), is_ours(key)) == (None, None, False)


# --- the folder


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", ".partial/x", "aa/../../secret", "aa/b"])
def test_failure_10_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("secret")
    store = FilesystemStore(tmp_path / "artifacts")
    write(store, b"x")
    location = Location(backend=Backend.FILESYSTEM, endpoint="", region="", bucket="", key=key)
    with pytest.raises(BytesMissing):
        store.read(location, 0, 6)
    with pytest.raises(BytesMissing):
        store.delete(location)
    assert (tmp_path / "secret").exists()


def test_a_full_disk_leaves_no_file_and_says_so(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, "size=2m"):
        store = FilesystemStore(disk / "artifacts")
        kept = write(store, b"kept")
        with pytest.raises(StorageFull):
            write(store, bytes(3 * 2**20))
        assert [held.location for held in store.list()] == [kept.location]
        assert read(store, kept) == b"kept"


def test_a_file_is_made_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        events.append("fsync " + str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    written = write(FilesystemStore(tmp_path / "root"), b"content")
    folder, name = written.location.key.split("/")
    assert events == [f"fsync root/.partial/{name}", "fsync root", "rename", f"fsync root/{folder}"]


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FilesystemStore(tmp_path / "file")
    with pytest.raises(Unavailable):
        store.writer()


# --- object stores that misbehave


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def own(server: S3Server) -> Iterator[S3ByteStore]:
    store = s3_store(server)
    yield store
    store.close()


def refuse(server: S3Server, status: int, code: str, *, times: int = 9) -> None:
    server.faults.append(Fault(kind=Misbehaviour.STATUS, status=status, code=code, times=times))


@pytest.mark.parametrize(
    ("status", "code"),
    [(301, "PermanentRedirect"), (307, "TemporaryRedirect"), (403, "AccessDenied"), (500, "InternalError")],
)
def test_failure_6_an_answer_that_is_no_success_is_none(
    server: S3Server, own: S3ByteStore, status: int, code: str
) -> None:
    kept = write(own, b"kept")
    refuse(server, status, code, times=100)
    for call in (
        lambda: write(own, b"content"),
        lambda: read(own, kept),
        lambda: own.size(kept.location),
        lambda: own.delete(kept.location),
        lambda: list(own.list()),
    ):
        with pytest.raises(Unavailable):
            call()
    server.faults.clear()
    assert [held.location for held in own.list()] == [kept.location]


@pytest.mark.parametrize("size", [7, 2 * PART_BYTES + 1])
@pytest.mark.parametrize(
    "kind",
    [
        Misbehaviour.RESET_BEFORE_BODY,
        Misbehaviour.RESET_MID_BODY,
        Misbehaviour.RESET_AFTER_STORED,
        Misbehaviour.STATUS,
        Misbehaviour.STATUS_STORED,
        Misbehaviour.ERROR_IN_200,
        Misbehaviour.TRUNCATED_ANSWER,
    ],
)
def test_failure_6_a_call_that_fails_in_passing_is_made_again(
    server: S3Server, own: S3ByteStore, kind: Misbehaviour, size: int
) -> None:
    content = os.urandom(size)
    server.faults.append(Fault(kind=kind, times=1))
    written = write(own, content)
    server.faults.append(Fault(kind=Misbehaviour.STATUS, times=2))
    assert read(own, written) == content


@pytest.mark.parametrize("kind", [Misbehaviour.LOSES_BYTES, Misbehaviour.WRONG_CONTENT])
def test_failure_6_bytes_that_the_store_keeps_wrong_are_not_taken_for_written(
    server: S3Server, kind: Misbehaviour
) -> None:
    store = s3_store(server, read_back=kind is Misbehaviour.WRONG_CONTENT)
    server.faults.append(Fault(kind=kind, times=1))
    with pytest.raises(Unavailable, match="did not keep"):
        write(store, b"some content")
    store.close()


def test_a_full_store_says_so(server: S3Server, own: S3ByteStore) -> None:
    server.quota = 10
    with pytest.raises(StorageFull):
        write(own, bytes(11))


def test_an_address_that_only_a_row_names_is_never_asked(server: S3Server, own: S3ByteStore) -> None:
    other = "http://127.0.0.1:1"
    location = msgspec.structs.replace(write(own, b"content").location, endpoint=other)
    for call in (own.size, own.delete, lambda at: own.read(at, 0, 1), lambda at: own.presigned(at, 60, {})):
        with pytest.raises(StorageUnknown):
            call(location)
    allowed = s3_store(server, endpoints=(other,))
    with pytest.raises(Unavailable):
        allowed.size(location)


def test_what_a_killed_upload_left_in_the_store_is_listed_and_discarded(server: S3Server, own: S3ByteStore) -> None:
    writer = own.writer()
    writer.write(bytes(PART_BYTES + 1))
    (held,) = own.list()
    assert (held.handle != "", server.uploads != {}) == (True, True)
    own.discard(held)
    assert (server.uploads, list(own.list())) == ({}, [])
    writer.abort()


def test_parts_grow_with_a_length_that_is_known(server: S3Server, own: S3ByteStore) -> None:
    writer = own.writer(60_000 * 2**20)
    writer.write(bytes(PART_BYTES + 1))
    assert server.uploads == {}
    writer.abort()
    assert backend.write(own, [b"a", b"b"]).digest.sha256 != EMPTY_SHA256
