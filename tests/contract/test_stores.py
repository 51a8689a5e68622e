"""What every store promises (stores/store.py), on the store in memory and on a real MinIO."""

import io
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pinnace.digests import PartDigest
from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.memory import MemoryStore
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.s3 import S3Store
from pinnace.stores.s3_bucket import Bucket, Call, endpoint_of
from pinnace.stores.store import (
    MIN_PART_BYTES,
    CorruptContent,
    Multipart,
    MultipartStore,
    NoSuchMultipart,
    NoSuchObject,
    ObjectExists,
    Part,
    TerminalStoreError,
)
from support.minio_server import MinioServer, minio_server
from support.store_content import Content, content, digest_of, get_bytes, put_bytes

ODD_KEYS = [
    "plain",
    "runs/ab/0123",
    "with space",
    "plus+percent%41tilde~",
    "percent%2Fencoded%20already",
    "trailing/",
    "quotes'\"<&>`",
    "query?x=y&z#fragment",
    "brackets[1]{2}(3)*!$,;:@=|^",
    "ünïcödé/日本語/😀",
    "decomposed-e\u0301 composed-\u00e9",
    "tab\tand\x01control",
    "long/" + "n" * 250,
]


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(params=["memory", "minio"])
def store(request: pytest.FixtureRequest) -> Iterator[MultipartStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryStore()
        return
    server: MinioServer = request.getfixturevalue("minio")
    settings = StoreSettings(endpoint=server.endpoint, bucket=f"test-{secrets.token_hex(6)}")
    credentials = StaticCredentials(Credentials(access_key_id=server.root_user, secret_access_key=server.root_password))
    connections = ConnectionPool(endpoint_of(settings))
    Bucket(settings, credentials, connections, lambda: datetime.now(UTC)).call(Call(method="PUT"))
    yield S3Store(settings, credentials, connections=connections)
    connections.close()


# --- whole objects


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_is_stored_and_found_again_as_it_is(store: MultipartStore, key: str) -> None:
    put_bytes(store, key, b"content of " + key.encode())
    assert get_bytes(store, key) == b"content of " + key.encode()
    assert [found.key for found in store.list()] == [key]
    info = store.head(key)
    assert info is not None
    assert (info.key, info.size) == (key, len(b"content of " + key.encode()))
    store.delete(key)
    assert store.head(key) is None


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3 * 2**20 + 1])
def test_what_is_stored_is_told_as_it_was_promised(store: MultipartStore, size: int) -> None:
    data = os.urandom(size)
    stored = put_bytes(store, "key", data)
    info = store.head("key")
    assert info is not None
    assert info.difference(digest_of(data), stored.etag) == ""
    assert info.crc32c == stored.crc32c == digest_of(data).crc32c
    assert info.modified_at is not None
    sink = io.BytesIO()
    assert store.get("key", sink).size == size
    assert sink.getvalue() == data


def test_a_slice_of_a_file_is_stored_without_the_rest(store: MultipartStore) -> None:
    with content(b"before-middle-after") as given:
        piece = digest_of(b"middle").parts[0]
        store.put("key", given.file, msgspec.structs.replace(piece, offset=7))
    assert get_bytes(store, "key") == b"middle"


def test_storing_the_same_again_changes_nothing(store: MultipartStore) -> None:
    assert put_bytes(store, "key", b"same") == put_bytes(store, "key", b"same")
    assert [found.key for found in store.list()] == ["key"]


def test_a_second_put_replaces_the_first(store: MultipartStore) -> None:
    put_bytes(store, "key", b"first")
    put_bytes(store, "key", b"the second")
    assert get_bytes(store, "key") == b"the second"


def test_what_lies_there_is_not_replaced_unless_that_is_wanted(store: MultipartStore) -> None:
    with content(b"first") as first, content(b"second") as second:
        store.put("key", first.file, first.whole, replace=False)
        with pytest.raises(ObjectExists) as caught:
            store.put("key", second.file, second.whole, replace=False)
        assert (caught.value.code, caught.value.status) == ("ObjectExists", 412)
        assert get_bytes(store, "key") == b"first"
        upload, parts = begun(store, second, "key")
        with pytest.raises(ObjectExists):
            store.complete_multipart(upload, parts, second.digest, replace=False)
        assert get_bytes(store, "key") == b"first"
        store.complete_multipart(upload, parts, second.digest)
    assert get_bytes(store, "key") == b"second"


def test_a_body_that_is_not_that_of_its_digest_is_refused_and_not_stored(store: MultipartStore) -> None:
    with content(b"x" * 100_000) as given:
        lie = msgspec.structs.replace(given.whole, sha256=digest_of(b"y").sha256)
        with pytest.raises(CorruptContent) as caught:
            store.put("key", given.file, lie)
    assert caught.value.code == "BadDigest"
    assert "hash the source again" in caught.value.hint
    assert store.head("key") is None


def test_several_objects_are_on_their_way_at_a_time_and_each_has_its_own_answer(store: MultipartStore) -> None:
    with content(b"first") as first, content(b"other") as other, content(b"x" * 100_000) as large:
        store.put("there", first.file, first.whole)
        lie = msgspec.structs.replace(large.whole, sha256=other.whole.sha256)
        answers = {
            "a": store.begin_put("a", first.file, first.whole),
            "there": store.begin_put("there", other.file, other.whole, replace=False),
            "wrong": store.begin_put("wrong", large.file, lie),
            "b": store.begin_put("b", other.file, other.whole, replace=False),
            "c": store.begin_put("c", large.file, large.whole),
        }
        assert answers["c"]().crc32c == large.whole.crc32c
        with pytest.raises(ObjectExists):
            answers["there"]()
        with pytest.raises(CorruptContent):
            answers["wrong"]()
        assert answers["a"]().crc32c == first.whole.crc32c
        assert answers["b"]().crc32c == other.whole.crc32c
    assert {found.key: found.size for found in store.list()} == {"a": 5, "b": 5, "c": 100_000, "there": 5}
    assert get_bytes(store, "there") == b"first"


def test_a_file_that_is_shorter_than_its_digest_is_refused_and_not_stored(store: MultipartStore) -> None:
    with content(b"x" * 100_000) as given:
        for size in (100_001, 50_000_000):
            with pytest.raises(CorruptContent) as caught:
                store.put("key", given.file, msgspec.structs.replace(given.whole, size=size))
            assert caught.value.code == "SourceTooShort"
    assert store.head("key") is None


def test_nothing_under_a_key_is_none_for_head_and_an_error_for_get(store: MultipartStore) -> None:
    assert store.head("missing") is None
    with pytest.raises(NoSuchObject) as caught:
        get_bytes(store, "missing")
    assert (caught.value.code, caught.value.status, caught.value.key) == ("NoSuchKey", 404, "missing")
    assert not caught.value.try_again
    assert not caught.value.whole_store


@pytest.mark.parametrize(("start", "size", "expected"), [(0, 4, b"0123"), (3, None, b"3456789"), (8, 100, b"89")])
def test_a_range_is_what_was_asked_for(store: MultipartStore, start: int, size: int | None, expected: bytes) -> None:
    put_bytes(store, "key", b"0123456789")
    sink = io.BytesIO()
    info = store.get("key", sink, start=start, size=size)
    assert sink.getvalue() == expected
    assert info.size == 10


def test_a_range_beyond_the_end_is_an_error_of_that_object(store: MultipartStore) -> None:
    put_bytes(store, "key", b"0123456789")
    with pytest.raises(TerminalStoreError) as caught:
        get_bytes(store, "key", start=10)
    assert (caught.value.code, caught.value.status) == ("InvalidRange", 416)


def test_deleting_what_is_not_there_is_fine(store: MultipartStore) -> None:
    store.delete("missing")


def test_a_list_is_in_order_of_the_keys_bytes_and_kept_to_its_prefix(store: MultipartStore) -> None:
    for key in ("b/2", "a/é", "a/z", "a/Z", "ab", "a/\U0001f600", "a/\uffee"):
        put_bytes(store, key, key.encode())
    assert [found.key for found in store.list("a/")] == ["a/Z", "a/z", "a/é", "a/\uffee", "a/\U0001f600"]
    assert [found.size for found in store.list("a/")] == [3, 3, 4, 5, 6]
    assert list(store.list("nothing")) == []


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "surrogate\udc80"])
def test_what_cannot_be_a_key_is_refused_before_anything_is_sent(store: MultipartStore, key: str) -> None:
    with pytest.raises(TerminalStoreError) as caught:
        put_bytes(store, key, b"")
    assert caught.value.code == "InvalidKey"


# --- in parts

LARGE = os.urandom(2 * MIN_PART_BYTES + 1234)


def begun(store: MultipartStore, given: Content, key: str = "large") -> tuple[Multipart, list[Part]]:
    upload = store.create_multipart(key)
    return upload, [
        store.put_part(upload, number, given.file, digest) for number, digest in enumerate(given.digest.parts, 1)
    ]


def test_an_object_sent_in_parts_is_told_as_one_content(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        assert store.head("large") is None
        stored = store.complete_multipart(upload, parts, given.digest)
        info = store.head("large")
        assert info is not None
        assert info.difference(given.digest, stored.etag) == ""
        assert info.crc32c == given.digest.crc32c
    assert get_bytes(store, "large") == LARGE
    assert list(store.list_multiparts("large")) == []


def test_an_upload_goes_on_from_what_list_parts_tells(store: MultipartStore) -> None:
    with content(LARGE) as given:
        digests = given.digest.parts
        upload = store.create_multipart("large")
        store.put_part(upload, 3, given.file, digests[2])
        store.put_part(upload, 1, given.file, digests[0])

        # What a restarted process has: the two words of the upload, and the digests.
        again = Multipart(key=upload.key, upload_id=upload.upload_id)
        arrived = store.list_parts(again)
        assert [(part.number, part.size) for part in arrived] == [(1, MIN_PART_BYTES), (3, 1234)]
        missing = store.put_part(again, 2, given.file, digests[1])
        store.complete_multipart(again, [*arrived, missing], given.digest)
    assert get_bytes(store, "large") == LARGE


def test_list_parts_tells_each_parts_checksum(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        assert store.list_parts(upload) == tuple(parts)
        assert [part.crc32c for part in parts] == [digest.crc32c for digest in given.digest.parts]


def test_a_part_that_is_sent_again_replaces_the_first(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload = store.create_multipart("large")
        store.put_part(upload, 1, given.file, given.digest.parts[1])
        parts = [
            store.put_part(upload, number, given.file, digest) for number, digest in enumerate(given.digest.parts, 1)
        ]
        assert [part.number for part in store.list_parts(upload)] == [1, 2, 3]
        store.complete_multipart(upload, parts, given.digest)
    assert get_bytes(store, "large") == LARGE


def test_a_part_whose_bytes_are_others_is_refused_and_not_listed(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload = store.create_multipart("large")
        lie = msgspec.structs.replace(given.digest.parts[0], sha256=digest_of(b"").sha256)
        with pytest.raises(CorruptContent):
            store.put_part(upload, 1, given.file, lie)
        assert store.list_parts(upload) == ()


def test_parts_that_make_another_content_are_not_completed(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        with pytest.raises(TerminalStoreError):
            store.complete_multipart(upload, parts[:2], given.digest)
        assert store.head("large") is None


def test_completing_with_a_part_that_never_arrived_is_an_error_of_that_object(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        ghost = msgspec.structs.replace(parts[0], number=9)
        with pytest.raises(TerminalStoreError) as caught:
            store.complete_multipart(upload, [*parts, ghost], given.digest)
        assert caught.value.code == "InvalidPart"


def test_a_completed_upload_is_over(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        store.complete_multipart(upload, parts, given.digest)
        with pytest.raises(NoSuchMultipart):
            store.list_parts(upload)
        with pytest.raises(NoSuchMultipart):
            store.put_part(upload, 1, given.file, given.digest.parts[0])


def test_aborting_leaves_nothing_and_may_be_repeated(store: MultipartStore) -> None:
    with content(LARGE) as given:
        upload, parts = begun(store, given)
        store.abort_multipart(upload)
        store.abort_multipart(upload)
        assert list(store.list_multiparts("large")) == []
        assert store.head("large") is None
        with pytest.raises(NoSuchMultipart):
            store.complete_multipart(upload, parts, given.digest)


def test_uploads_under_way_are_found_by_their_key(store: MultipartStore) -> None:
    first, second = store.create_multipart("runs/a b%é"), store.create_multipart("runs/a b%é")
    store.create_multipart("runs/other")
    assert first != second
    found = list(store.list_multiparts("runs/a b%é"))
    assert sorted(upload.upload_id for upload in found) == sorted([first.upload_id, second.upload_id])
    assert {upload.key for upload in found} == {"runs/a b%é"}


def test_one_part_may_be_the_whole_object(store: MultipartStore) -> None:
    with content(b"short") as given:
        upload, parts = begun(store, given, "key")
        store.complete_multipart(upload, parts, given.digest)
    assert get_bytes(store, "key") == b"short"


def test_an_empty_slice_is_an_empty_object(store: MultipartStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"something")
    empty = digest_of(b"").parts[0]
    with (tmp_path / "file").open("rb") as file:
        store.put("key", file, PartDigest(offset=4, size=0, sha256=empty.sha256, crc32c=empty.crc32c))
    assert get_bytes(store, "key") == b""
