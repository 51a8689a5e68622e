"""What a store does not know is found out once, and gone without; what is asked of it is confirmed or refused."""

import os
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.http1 import Answer
from pinnace.stores.s3 import S3Store
from pinnace.stores.s3_answers import retry_after
from pinnace.stores.store import (
    MIN_PART_BYTES,
    Evidence,
    ObjectExists,
    ObjectInfo,
    StoreError,
    StoreRefused,
    TerminalStoreError,
)
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, Traits, Unknown, s3_server
from support.store_content import content, digest_of, get_bytes, put_bytes

KEY = StaticCredentials(Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))
LARGE = os.urandom(2 * MIN_PART_BYTES + 17)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def store_of(server: S3Server, **settings: object) -> S3Store:
    return S3Store(
        msgspec.convert({"endpoint": server.endpoint, "bucket": server.bucket, **settings}, StoreSettings), KEY
    )


def put_new(store: S3Store, key: str, data: bytes) -> None:
    with content(data) as given:
        store.put(key, given.file, given.whole, replace=False)


def put_large(store: S3Store, key: str = "large", *, replace: bool = True) -> ObjectInfo:
    with content(LARGE) as given:
        upload = store.create_multipart(key)
        parts = [store.put_part(upload, n, given.file, part) for n, part in enumerate(given.digest.parts, 1)]
        store.complete_multipart(upload, parts, given.digest, replace=replace)
    info = store.head(key)
    assert info is not None
    assert info.difference(digest_of(LARGE)) == ""
    return info


# --- checksums


@pytest.mark.parametrize("unknown", [Unknown.REFUSED, Unknown.INVALID])
def test_a_store_that_refuses_checksums_is_asked_once_and_gone_without(server: S3Server, unknown: Unknown) -> None:
    server.traits = Traits(checksums=False, unknown=unknown)
    with closing(store_of(server)) as store:
        for number in range(3):
            assert put_bytes(store, f"key{number}", b"content").crc32c is None
        info = store.head("key0")
        assert info is not None
        assert info.evidence(digest_of(b"content")) is Evidence.SIZE
    # The refused one is not among what was carried out.
    assert len(server.tokens) == 1 + 3 + 1


def test_a_store_that_takes_no_notice_of_checksums_is_found_out_by_its_first_answer(server: S3Server) -> None:
    server.traits = Traits(checksums=False, unknown=Unknown.IGNORED)
    with closing(store_of(server)) as store:
        put_bytes(store, "a", b"content")
        server.traits = Traits(checksums=False, unknown=Unknown.REFUSED)
        assert put_bytes(store, "b", b"content").crc32c is None
        assert len(server.tokens) == 2


def test_a_store_that_knows_checksums_goes_on_getting_them(server: S3Server) -> None:
    with closing(store_of(server)) as store:
        assert put_bytes(store, "a", b"content").crc32c == digest_of(b"content").crc32c
        server.traits = Traits(checksums=False)
        with pytest.raises(StoreRefused) as caught:
            put_bytes(store, "b", b"content")
    assert caught.value.code == "NotImplemented"
    assert "checksums" in caught.value.hint


@pytest.mark.parametrize("switch", ["always", "never"])
def test_the_switch_leaves_nothing_to_find_out(server: S3Server, switch: str) -> None:
    server.traits = Traits(checksums=False)
    with closing(store_of(server, checksums=switch)) as store:
        if switch == "always":
            with pytest.raises(StoreRefused):
                put_bytes(store, "a", b"content")
        else:
            put_bytes(store, "a", b"content")
    assert len(server.tokens) == 1


@pytest.mark.parametrize("unknown", [Unknown.REFUSED, Unknown.INVALID, Unknown.IGNORED])
def test_parts_are_compared_by_their_own_checksums_where_there_is_none_of_the_whole(
    server: S3Server, unknown: Unknown
) -> None:
    server.traits = Traits(whole_checksums=False, unknown=unknown)
    with closing(store_of(server)) as store:
        info = put_large(store)
    assert info.crc32c is None
    assert info.composite_crc32c is not None
    assert info.evidence(digest_of(LARGE)) is Evidence.CRC32C
    other = digest_of(LARGE[:-1] + b"\0" if LARGE[-1:] != b"\0" else LARGE[:-1] + b"\1")
    assert "parts of CRC32C" in info.difference(other)
    assert info.evidence(digest_of(LARGE, part_size=6 * 2**20)) is Evidence.SIZE


@pytest.mark.parametrize("unknown", list(Unknown))
def test_a_large_object_gets_through_without_any_checksum(server: S3Server, unknown: Unknown) -> None:
    server.traits = Traits(checksums=False, conditions=False, unknown=unknown)
    with closing(store_of(server)) as store:
        info = put_large(store, replace=False)
        assert info.evidence(digest_of(LARGE)) is Evidence.SIZE
        put_large(store, "again", replace=False)
        assert get_bytes(store, "again") == LARGE


def test_an_error_that_has_nothing_to_do_with_it_stays_what_it_is(server: S3Server) -> None:
    server.faults = [Fault(kind=Misbehaviour.STATUS, operation="Put", times=3, status=400, code="InvalidArgument")]
    with closing(store_of(server)) as store:
        with pytest.raises(TerminalStoreError) as caught:
            put_new(store, "a", b"content")
        assert caught.value.code == "InvalidArgument"
        # Nothing was learnt from it.
        assert put_bytes(store, "a", b"content").crc32c is not None


def test_another_error_while_finding_out_is_that_error(server: S3Server) -> None:
    server.faults = [
        Fault(kind=Misbehaviour.STATUS, operation="Put", status=501, code="NotImplemented"),
        Fault(kind=Misbehaviour.STATUS, operation="Put", status=503, code="SlowDown"),
    ]
    with closing(store_of(server)) as store, pytest.raises(StoreError) as caught:
        put_bytes(store, "a", b"content")
    assert caught.value.code == "SlowDown"


# --- conditions


def test_what_lies_there_is_not_overwritten_unless_that_is_wanted(server: S3Server) -> None:
    with closing(store_of(server)) as store:
        put_new(store, "key", b"first")
        with pytest.raises(ObjectExists) as caught:
            put_new(store, "key", b"second")
        assert caught.value.code == "ObjectExists"
        assert not caught.value.try_again
        assert get_bytes(store, "key") == b"first"
        put_bytes(store, "key", b"second")
        with pytest.raises(ObjectExists):
            put_large(store, "key", replace=False)
        assert get_bytes(store, "key") == b"second"
        assert len(server.uploads) == 1


@pytest.mark.parametrize("unknown", [Unknown.REFUSED, Unknown.INVALID])
def test_a_store_without_conditional_writes_is_asked_once(server: S3Server, unknown: Unknown) -> None:
    server.traits = Traits(conditions=False, unknown=unknown)
    with closing(store_of(server)) as store:
        for number in range(3):
            put_new(store, f"key{number}", b"content")
        assert store.head("key0") is not None
    assert len(server.tokens) == 1 + 3 + 1
    assert server.objects["key2"].crc32c == digest_of(b"content").crc32c


def test_conditions_can_be_switched_off(server: S3Server) -> None:
    with closing(store_of(server, conditional_writes="never")) as store:
        put_new(store, "key", b"first")
        put_new(store, "key", b"second")


# --- encryption


@pytest.mark.parametrize(
    ("wanted", "told"),
    [("AES256", "AES256"), ("aws:kms", "aws:kms"), ("aws:kms:arn:aws:kms:eu-west-1:1:key/2", "aws:kms")],
)
def test_objects_are_encrypted_as_asked(server: S3Server, wanted: str, told: str) -> None:
    with closing(store_of(server, server_side_encryption=wanted)) as store:
        put_bytes(store, "small", b"content")
        put_large(store)
        info = store.head("small")
        assert info is not None
        assert info.encryption == told
    assert server.objects["small"].encryption == server.objects["large"].encryption == told


def test_a_store_that_takes_no_notice_of_encryption_is_refused(server: S3Server) -> None:
    server.traits = Traits(encryption=False, unknown=Unknown.IGNORED)
    with closing(store_of(server, server_side_encryption="AES256")) as store:
        with pytest.raises(StoreRefused) as caught:
            put_bytes(store, "key", b"content")
        assert caught.value.code == "NotEncrypted"
        with pytest.raises(StoreRefused, match="nothing of it"):
            put_large(store)


def test_a_store_that_refuses_encryption_is_never_given_plain_content(server: S3Server) -> None:
    server.traits = Traits(encryption=False)
    with closing(store_of(server, server_side_encryption="aws:kms")) as store:
        with pytest.raises(StoreRefused) as caught:
            put_new(store, "key", b"content")
        assert "server_side_encryption" in caught.value.hint
        with pytest.raises(StoreRefused):
            put_large(store)
    assert server.objects == {}


@pytest.mark.parametrize("wrong", ["aes256", "AES256\n", "aws:kms:", "aws:kms:a b", "none"])
def test_what_is_no_encryption_is_refused_by_the_settings(wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"bucket": "bucket", "server_side_encryption": wrong}, StoreSettings)


# --- Retry-After


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("0", 0.0), ("soon", 0.0), ("-3", 0.0), ("9" * 30, 0.0), ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0)],
)
def test_how_long_a_store_wants_to_be_left_alone_is_told(server: S3Server, said: str, seconds: float) -> None:
    server.faults = [Fault(kind=Misbehaviour.STATUS, headers={"Retry-After": said})]
    with closing(store_of(server)) as store, pytest.raises(StoreError) as caught:
        put_bytes(store, "key", b"")
    assert caught.value.retry_after == seconds


def test_a_date_is_counted_from_the_stores_own_clock() -> None:
    headers = {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 10:01:30 GMT"}
    assert retry_after(Answer(status=503, headers=headers, body=b"")) == 90
