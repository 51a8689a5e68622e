"""The S3 store against a server that checks every signature and digest, and misbehaves on command."""

import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
import pytest

from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.dialling import Endpoint
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.s3 import S3Store
from pinnace.stores.s3_bucket import endpoint_of
from pinnace.stores.store import (
    MIN_PART_BYTES,
    CorruptContent,
    NoSuchMultipart,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    TransientStoreError,
)
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, s3_server
from support.scripted_server import answering, read_request, scripted_server
from support.store_content import content, digest_of, get_bytes, put_bytes

KEY = Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def store(server: S3Server) -> Iterator[S3Store]:
    settings = StoreSettings(endpoint=server.endpoint, bucket=server.bucket)
    with closing(S3Store(settings, StaticCredentials(KEY))) as store:
        yield store


@contextmanager
def answered(*answers: bytes) -> Iterator[S3Store]:
    """A store whose server gives these answers."""
    with scripted_server(answering(*answers)) as scripted:
        settings = StoreSettings(endpoint=scripted.url, bucket="bucket")
        with closing(S3Store(settings, StaticCredentials(KEY))) as store:
            yield store


def ok(body: str = "", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()


# --- what the server does on command


@pytest.mark.parametrize(
    "case",
    [
        (Misbehaviour.RESET_BEFORE_BODY, "StoreUnreachable", False),
        (Misbehaviour.RESET_MID_BODY, "StoreUnreachable", False),
        (Misbehaviour.RESET_AFTER_BODY, "StoreUnreachable", False),
        (Misbehaviour.RESET_AFTER_STORED, "StoreUnreachable", True),
        (Misbehaviour.TRUNCATED_ANSWER, "StoreUnreachable", True),
        (Misbehaviour.STATUS, "SlowDown", False),
        (Misbehaviour.STATUS_STORED, "SlowDown", True),
        (Misbehaviour.ERROR_IN_200, "SlowDown", False),
    ],
)
@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_a_put_that_went_wrong_is_worth_another_and_never_a_success(
    server: S3Server, store: S3Store, case: tuple[Misbehaviour, str, bool], size: int
) -> None:
    kind, code, is_stored = case
    data = os.urandom(size)
    server.faults = [Fault(kind=kind, operation="Put")]
    with pytest.raises(TransientStoreError) as caught:
        put_bytes(store, "key", data)
    assert caught.value.code == code
    assert ("key" in server.objects) == is_stored
    put_bytes(store, "key", data)
    assert server.objects["key"].body == data


def test_an_error_below_a_200_has_its_own_code(server: S3Server, store: S3Store) -> None:
    server.faults = [Fault(kind=Misbehaviour.ERROR_IN_200, code="AccessDenied")]
    with pytest.raises(StoreRefused) as caught:
        put_bytes(store, "key", b"")
    assert caught.value.code == "AccessDenied"


def test_a_completion_that_fails_below_a_200_is_a_failure(server: S3Server, store: S3Store) -> None:
    with content(b"x") as given:
        upload = store.create_multipart("key")
        part = store.put_part(upload, 1, given.file, given.digest.parts[0])
        server.faults = [Fault(kind=Misbehaviour.ERROR_IN_200, operation="Complete", code="InternalError")]
        with pytest.raises(TransientStoreError):
            store.complete_multipart(upload, [part], given.digest)
        store.complete_multipart(upload, [part], given.digest)


def test_a_completion_whose_answer_was_lost_is_over_and_seen_by_head(server: S3Server, store: S3Store) -> None:
    with content(b"x") as given:
        upload = store.create_multipart("key")
        part = store.put_part(upload, 1, given.file, given.digest.parts[0])
        server.faults = [Fault(kind=Misbehaviour.RESET_AFTER_STORED, operation="Complete")]
        with pytest.raises(StoreUnreachable):
            store.complete_multipart(upload, [part], given.digest)
        with pytest.raises(NoSuchMultipart):
            store.complete_multipart(upload, [part], given.digest)
        info = store.head("key")
        assert info is not None
        assert info.difference(given.digest) == ""


def test_a_store_that_loses_bytes_is_found_out_by_head(server: S3Server, store: S3Store) -> None:
    server.faults = [Fault(kind=Misbehaviour.LOSES_BYTES, operation="Put")]
    stored = put_bytes(store, "key", b"content")
    info = store.head("key")
    assert info is not None
    assert info.difference(digest_of(b"content"), stored.etag) == "the store holds 6 bytes, not 7"


def test_another_etag_than_the_acknowledged_one_is_found_out_by_head(server: S3Server, store: S3Store) -> None:
    server.faults = [Fault(kind=Misbehaviour.WRONG_ETAG, operation="Put")]
    stored = put_bytes(store, "key", b"content")
    info = store.head("key")
    assert info is not None
    assert "acknowledged" in info.difference(digest_of(b"content"), stored.etag)


@pytest.mark.parametrize("data", [b"", b"content"])
@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_a_head_that_went_wrong_is_worth_another_whatever_the_object_s_size(
    server: S3Server, store: S3Store, code: str, data: bytes
) -> None:
    put_bytes(store, "key", data)
    server.faults = [Fault(kind=Misbehaviour.STATUS, operation="Head", code=code)]
    with pytest.raises(TransientStoreError):
        store.head("key")
    info = store.head("key")
    assert info is not None
    assert info.difference(digest_of(data)) == ""


def test_nothing_is_tried_again_in_here(server: S3Server, store: S3Store) -> None:
    server.faults = [Fault(kind=Misbehaviour.STATUS, times=10)]
    for attempt in (1, 2):
        with pytest.raises(TransientStoreError):
            put_bytes(store, "key", b"")
        assert server.counts["fault: a status and code, nothing stored"] == attempt


def test_an_expired_session_is_named_and_its_source_asked_anew(server: S3Server) -> None:
    class Renewing:
        def __init__(self) -> None:
            self.token = "old"

        def current(self) -> Credentials:
            return msgspec.structs.replace(KEY, session_token=self.token)

        def forget(self) -> None:
            self.token = "new"

        def expires_at(self) -> None:
            return None

    server.expired_tokens = {"old"}
    settings = StoreSettings(endpoint=server.endpoint, bucket=server.bucket)
    with closing(S3Store(settings, Renewing())) as store:
        with pytest.raises(StoreRefused) as caught:
            put_bytes(store, "key", b"content")
        assert caught.value.code == "ExpiredToken"
        put_bytes(store, "key", b"content")
    assert server.objects["key"].body == b"content"


# --- what only a scripted answer says


def test_a_checksum_of_something_else_is_never_a_success() -> None:
    with answered(ok(ETag='"e"', x_amz_checksum_crc32c="AAAAAA==")) as store, pytest.raises(CorruptContent):
        put_bytes(store, "key", b"content")


def test_an_acknowledgement_without_an_etag_is_none() -> None:
    with answered(ok()) as store, pytest.raises(TransientStoreError) as caught:
        put_bytes(store, "key", b"content")
    assert caught.value.code == "BadAnswer"


def test_a_checksum_of_the_parts_checksums_is_not_taken_for_one_of_the_content() -> None:
    for headers in (
        {"x_amz_checksum_crc32c": "AAAAAA==-2"},
        {"x_amz_checksum_crc32c": "AAAAAA==", "x_amz_checksum_type": "COMPOSITE"},
    ):
        with answered(f"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: e-2\r\n{header(headers)}\r\n".encode()) as store:
            info = store.head("key")
            assert info is not None
            assert info.crc32c is None
            assert info.difference(digest_of(b"content")) == ""


def header(headers: dict[str, str]) -> str:
    return "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE r [<!ENTITY a "b">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>',
        '<!DOCTYPE r SYSTEM "file:///etc/passwd"><ListBucketResult/>',
        "<ListBucketResult>",
        "not xml",
        "",
        "<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<L><EncodingType>url</EncodingType><Contents><Key>%ff</Key><Size>1</Size><ETag>e</ETag></Contents></L>",
    ],
)
def test_a_document_that_is_none_is_a_bad_answer_and_never_a_crash(body: str) -> None:
    with answered(ok(body)) as store, pytest.raises(TransientStoreError) as caught:
        list(store.list())
    assert caught.value.code == "BadAnswer"


def test_a_list_that_goes_in_a_circle_is_a_bad_answer() -> None:
    page = "<L><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></L>"
    with answered(ok(page), ok(page), ok(page)) as store, pytest.raises(TransientStoreError, match="come to an end"):
        list(store.list())


def test_a_proxys_page_is_judged_by_its_status_and_not_quoted() -> None:
    page = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 14\r\n\r\n<html>\x1b[2J</b>"
    with answered(page.encode()) as store, pytest.raises(TransientStoreError) as caught:
        put_bytes(store, "key", b"")
    assert caught.value.code == "ServiceUnavailable"
    assert "html" not in str(caught.value)


def test_the_stores_own_words_are_quoted_without_control_characters_and_not_at_length() -> None:
    body = f"<Error><Code>Odd</Code><Message>so\nand\x9bso {'x' * 1000}</Message></Error>"
    head = f"HTTP/1.1 400 Bad\r\nx-amz-request-id: 42\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    with answered((head + body).encode()) as store, pytest.raises(StoreError) as caught:
        put_bytes(store, "key", b"")
    error = caught.value
    assert (error.code, error.status, error.key, error.request_id) == ("Odd", 400, "key", "42")
    assert "so and so xxx" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400


MALFORMED = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(MALFORMED), MALFORMED),
    ],
)
def test_a_redirect_is_not_followed_but_names_the_region_to_set(answer: bytes) -> None:
    with answered(answer) as store, pytest.raises(StoreRefused) as caught:
        put_bytes(store, "key", b"")
    assert caught.value.code == "WrongRegion"
    assert caught.value.hint == "set the store's region to eu-west-1, not us-east-1"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 206 Part\r\nContent-Length: 2\r\nETag: e\r\nContent-Range: bytes 0-1/9\r\n\r\nok",
        b"HTTP/1.1 206 Part\r\nContent-Length: 2\r\nETag: e\r\n\r\nok",
        ok("ok", ETag="e"),
    ],
)
def test_another_range_than_was_asked_for_is_a_bad_answer(answer: bytes) -> None:
    with answered(answer) as store, pytest.raises(TransientStoreError) as caught:
        get_bytes(store, "key", start=3)
    assert caught.value.code == "BadAnswer"


def test_a_body_that_breaks_off_is_unreachable_and_its_beginning_in_the_sink() -> None:
    sink = io.BytesIO()
    with scripted_server(lambda connection: connection.sendall(ok("content", ETag="e")[:-3])) as scripted:
        settings = StoreSettings(endpoint=scripted.url, bucket="bucket")
        with closing(S3Store(settings, StaticCredentials(KEY))) as store, pytest.raises(StoreUnreachable):
            store.get("key", sink)
    assert sink.getvalue() == b"cont"


# --- many


def test_lists_are_read_page_by_page(server: S3Server, store: S3Store) -> None:
    names = [f"runs/{number:05d} é&" for number in range(2500)]
    with server.lock:
        for name in names:
            server._store(name, b"", None)
    assert [found.key for found in store.list("runs/")] == names
    assert server.counts["List"] == 3


def test_threads_share_a_store(server: S3Server, store: S3Store) -> None:
    def work(number: int) -> None:
        for turn in range(10):
            put_bytes(store, f"{number}/{turn}", b"%d/%d" % (number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key: held.body.decode() for key, held in server.objects.items()} == {
        f"{number}/{turn}": f"{number}/{turn}" for number in range(8) for turn in range(10)
    }


def test_parts_of_one_file_are_sent_by_several_threads(server: S3Server, store: S3Store) -> None:
    data = os.urandom(3 * MIN_PART_BYTES + 17)
    with content(data) as given:
        upload = store.create_multipart("large")

        def send(number: int) -> None:
            store.put_part(upload, number, given.file, given.digest.parts[number - 1])

        threads = [threading.Thread(target=send, args=(number,)) for number in (4, 3, 2, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.complete_multipart(upload, store.list_parts(upload), given.digest)
    assert server.objects["large"].body == data


# --- addresses


@pytest.mark.parametrize(
    ("settings", "endpoint"),
    [
        (StoreSettings(bucket="bucket"), "https://s3.us-east-1.amazonaws.com"),
        (StoreSettings(bucket="bucket", region="cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn"),
        (StoreSettings(bucket="bucket", endpoint="http://minio:9000"), "http://minio:9000"),
        (
            StoreSettings(bucket="bucket", region="eu-west-1", addressing="virtual"),
            "https://bucket.s3.eu-west-1.amazonaws.com",
        ),
        (
            StoreSettings(bucket="bucket", endpoint="http://minio:9000", addressing="virtual"),
            "http://bucket.minio:9000",
        ),
    ],
)
def test_requests_go_where_the_settings_say(settings: StoreSettings, endpoint: str) -> None:
    assert str(endpoint_of(settings)) == endpoint


@pytest.mark.parametrize(
    ("addressing", "line"), [("path", b"HEAD /bucket/a%20b HTTP/1.1"), ("virtual", b"HEAD /a%20b HTTP/1.1")]
)
def test_the_bucket_is_in_the_path_unless_it_is_in_the_host(addressing: str, line: bytes) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection).partition(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with scripted_server(script) as scripted:
        settings = StoreSettings(endpoint=scripted.url, bucket="bucket", addressing=addressing)
        # bucket.127.0.0.1 is no name: the connection is made without it.
        connections = ConnectionPool(Endpoint.from_url(scripted.url))
        with closing(S3Store(settings, StaticCredentials(KEY), connections=connections)) as store:
            assert store.head("a b") is None
    assert seen == [line]


def test_nothing_there_is_found_out_where_the_store_only_says_that_it_is_forbidden(
    server: S3Server, store: S3Store
) -> None:
    """Who may not list the whole bucket gets 403 from AWS for what is not there."""
    put_bytes(store, "key/longer", b"x")

    def deny(requests: int) -> None:
        server.faults = [Fault(kind=Misbehaviour.STATUS, times=requests, status=403, code="AccessDenied")]

    deny(2)
    assert store.head("key") is None
    deny(2)
    with pytest.raises(StoreRefused):
        store.head("key/longer")
    deny(3)
    with pytest.raises(StoreRefused):
        store.head("key")
