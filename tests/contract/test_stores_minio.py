"""What only a real server shows of the S3 store: refusals and their hints, connections, sessions, TLS."""

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import botocore.session
import msgspec
import pytest
import urllib3
from minio import Minio, MinioAdmin
from minio.commonconfig import GOVERNANCE
from minio.credentials.providers import StaticProvider
from minio.objectlockconfig import DAYS, ObjectLockConfig

from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import CredentialsSource, FolderCredentials, StaticCredentials
from pinnace.stores.http1 import HttpRequest
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.s3 import S3Store
from pinnace.stores.s3_bucket import Bucket, Call, endpoint_of
from pinnace.stores.store import (
    CorruptContent,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    TerminalStoreError,
    TransientStoreError,
)
from support.certificate import make_certificate
from support.minio_server import MinioServer, minio_server
from support.proxy_server import proxy_server
from support.store_content import content, digest_of, get_bytes, put_bytes


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
def settings(minio: MinioServer) -> StoreSettings:
    """Of a bucket that exists."""
    settings = StoreSettings(endpoint=minio.endpoint, bucket=f"test-{secrets.token_hex(6)}")
    create_bucket(settings, root(minio))
    return settings


def root(minio: MinioServer) -> Credentials:
    return Credentials(access_key_id=minio.root_user, secret_access_key=minio.root_password)


def create_bucket(settings: StoreSettings, credentials: Credentials) -> None:
    with closing(ConnectionPool(endpoint_of(settings), ca_file=settings.ca_file)) as connections:
        bucket = Bucket(settings, StaticCredentials(credentials), connections, lambda: datetime.now(UTC))
        bucket.call(Call(method="PUT"))


class Opener(Protocol):
    def __call__(
        self, settings: StoreSettings, credentials: Credentials | CredentialsSource, **options: Any
    ) -> S3Store: ...


@pytest.fixture
def store_for() -> Iterator[Opener]:
    """Opens stores that are closed after the test."""
    with ExitStack() as opened:

        def open_store(
            settings: StoreSettings, credentials: Credentials | CredentialsSource, **options: Any
        ) -> S3Store:
            source = StaticCredentials(credentials) if isinstance(credentials, Credentials) else credentials
            return opened.enter_context(closing(S3Store(settings, source, **options)))

        yield open_store


def every_refusal(store: S3Store) -> list[StoreError]:
    """What each kind of call of a store that can do nothing raises."""
    with content(b"x" * 100) as small, content(os.urandom(40 * 2**20)) as large:
        calls = [
            lambda: store.put("key", small.file, small.whole),
            lambda: store.put("key", large.file, large.whole),
            lambda: store.head("key"),
            lambda: store.get("key", io.BytesIO()),
            lambda: store.delete("key"),
            lambda: list(store.list()),
            lambda: store.create_multipart("key"),
        ]
        return [raised(call) for call in calls]


def raised(call: object) -> StoreError:
    assert callable(call)
    with pytest.raises(StoreError) as caught:
        call()
    return caught.value


# --- refusals


def test_a_wrong_secret_is_named_and_hinted_at_whatever_is_asked_for(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    wrong = Credentials(access_key_id=minio.root_user, secret_access_key="not-the-secret")
    for error in every_refusal(store_for(settings, wrong)):
        assert isinstance(error, StoreRefused)
        assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
        assert "credentials" in error.hint
        assert "not-the-secret" not in str(error)


def test_an_unknown_access_key_is_named(settings: StoreSettings, store_for: Opener) -> None:
    unknown = Credentials(access_key_id="nobody", secret_access_key="not-the-secret")
    assert {error.code for error in every_refusal(store_for(settings, unknown))} == {"InvalidAccessKeyId"}


def test_a_missing_bucket_is_named_whatever_is_asked_for(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    nowhere = msgspec.structs.replace(settings, bucket="nowhere")
    for error in every_refusal(store_for(nowhere, root(minio))):
        assert isinstance(error, StoreRefused)
        assert (error.code, error.status) == ("NoSuchBucket", 404)
        assert "create the bucket" in error.hint


def test_a_key_without_rights_is_told_which_it_needs(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    host, admin = minio.endpoint.removeprefix("http://"), StaticProvider(minio.root_user, minio.root_password)
    with urllib3.PoolManager() as http:
        MinioAdmin(endpoint=host, credentials=admin, secure=False, http_client=http).user_add("reader", "reader-secret")
    poor = Credentials(access_key_id="reader", secret_access_key="reader-secret")
    for error in every_refusal(store_for(settings, poor)):
        assert isinstance(error, StoreRefused)
        assert error.code == "AccessDenied"
        assert "s3:PutObject" in error.hint


def test_a_wrong_region_is_refused_with_the_right_one(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    elsewhere = msgspec.structs.replace(settings, region="eu-west-7")
    error = raised(lambda: put_bytes(store_for(elsewhere, root(minio)), "key", b""))
    assert isinstance(error, StoreRefused)
    assert error.code == "WrongRegion"
    assert error.hint == "set the store's region to us-east-1, not eu-west-7"


@pytest.mark.parametrize("key", ["double//slash", "a/../b", "./a"])
def test_a_key_that_the_server_cannot_hold_is_that_objects_error(
    minio: MinioServer, settings: StoreSettings, key: str, store_for: Opener
) -> None:
    error = raised(lambda: put_bytes(store_for(settings, root(minio)), key, b""))
    assert isinstance(error, TerminalStoreError)
    assert error.code == "InvalidKey"


def test_a_body_is_refused_by_each_of_its_two_digests(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    store = store_for(settings, root(minio))
    with content(os.urandom(200_000)) as given:
        for lie in ({"sha256": EMPTY_SHA256}, {"crc32c": "AAAAAA=="}):
            with pytest.raises(CorruptContent):
                store.put("key", given.file, msgspec.structs.replace(given.whole, **lie))
    assert store.head("key") is None


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_costs_one_call(
    minio: MinioServer, settings: StoreSettings, hours: int, store_for: Opener
) -> None:
    store = store_for(settings, root(minio), now=lambda: datetime.now(UTC) + timedelta(hours=hours))
    error = raised(lambda: put_bytes(store, "key", b"content"))
    assert isinstance(error, TransientStoreError)
    assert error.code == "RequestTimeTooSkewed"
    put_bytes(store, "key", b"content")
    assert get_bytes(store, "key") == b"content"


def test_nobody_listening_is_unreachable_and_worth_another_try(store_for: Opener) -> None:
    settings = StoreSettings(endpoint="http://127.0.0.1:9", bucket="bucket")
    for error in every_refusal(store_for(settings, Credentials(access_key_id="a", secret_access_key="b"))):
        assert isinstance(error, StoreUnreachable)
        assert (error.code, error.try_again, error.whole_store) == ("StoreUnreachable", True, True)
        assert "http://127.0.0.1:9" in str(error)


def test_without_checksums_the_size_and_etag_are_compared(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    store = store_for(msgspec.structs.replace(settings, checksums="never"), root(minio))
    data = os.urandom(6 * 2**20)
    stored = put_bytes(store, "key", data)
    info = store.head("key")
    assert info is not None
    assert info.crc32c is None
    assert info.difference(digest_of(data), stored.etag) == ""
    assert "acknowledged" in info.difference(digest_of(data), "another")
    with content(data) as given:
        upload = store.create_multipart("large")
        parts = [store.put_part(upload, n, given.file, d) for n, d in enumerate(given.digest.parts, 1)]
        store.complete_multipart(upload, parts, given.digest)
    assert get_bytes(store, "large") == data


def test_b37_a_bucket_that_keeps_versions_and_locks_them_takes_each_object_once(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    other = Minio(
        minio.endpoint.removeprefix("http://"),
        access_key=minio.root_user,
        secret_key=minio.root_password,
        secure=False,
    )
    locked = msgspec.structs.replace(settings, bucket=f"{settings.bucket}-locked")
    other.make_bucket(locked.bucket, object_lock=True)
    other.set_object_lock_config(locked.bucket, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    store, data = store_for(locked, root(minio)), os.urandom(6 * 2**20)
    put_bytes(store, "small", data)
    with content(data) as given:
        given_up, upload = store.create_multipart("large"), store.create_multipart("large")
        store.abort_multipart(given_up)
        parts = [store.put_part(upload, n, given.file, d) for n, d in enumerate(given.digest.parts, 1)]
        stored = store.complete_multipart(upload, parts, given.digest)
    info = store.head("large")
    assert info is not None
    assert info.difference(digest_of(data), stored.etag) == ""
    assert get_bytes(store, "small") == get_bytes(store, "large") == data
    versions = [(each.object_name, each.is_latest) for each in other.list_objects(locked.bucket, include_version=True)]
    assert versions == [("large", "true"), ("small", "true")]


# --- connections and credentials


def test_a_server_that_was_started_anew_is_found_again(tmp_path: Path, store_for: Opener) -> None:
    with minio_server(tmp_path) as server:
        settings = StoreSettings(endpoint=server.endpoint, bucket="bucket")
        create_bucket(settings, root(server))
        store = store_for(settings, root(server))
        put_bytes(store, "key", b"content")
        port = int(server.endpoint.rpartition(":")[2])
        password = server.root_password
    assert isinstance(raised(lambda: store.head("key")), StoreUnreachable)
    with minio_server(tmp_path, port=port, root_password=password):
        assert get_bytes(store, "key") == b"content"


def test_temporary_credentials_work_and_their_end_is_named(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    session = botocore.session.Session()
    session.set_credentials(minio.root_user, minio.root_password)
    sts = session.create_client("sts", region_name="us-east-1", endpoint_url=minio.endpoint)
    with closing(sts):
        given = sts.assume_role(RoleArn="arn:aws:iam::1:role/any", RoleSessionName="any")["Credentials"]
    temporary = Credentials(
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        session_token=given["SessionToken"],
    )
    store = store_for(settings, temporary)
    put_bytes(store, "key", b"content")
    assert get_bytes(store, "key") == b"content"

    without = msgspec.structs.replace(temporary, session_token="")
    assert isinstance(raised(lambda: put_bytes(store_for(settings, without), "key", b"")), StoreRefused)


def test_a_rotated_secret_is_used_from_the_next_call_on(
    minio: MinioServer, settings: StoreSettings, tmp_path: Path, store_for: Opener
) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text(minio.root_user)
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("wrong")
    store = store_for(settings, FolderCredentials(tmp_path, trusted_seconds=0))
    assert raised(lambda: store.head("key")).code == "SignatureDoesNotMatch"
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text(minio.root_password + "\n")
    assert store.head("key") is None


def test_a_presigned_url_opens_one_object_for_whoever_has_it(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    put_bytes(store_for(settings, root(minio)), "a b/é", b"content")
    pool = ConnectionPool(endpoint_of(settings))
    request = signing.Request(
        method="GET",
        host=pool.endpoint.authority,
        path=signing.encode_path(settings.bucket, "a b/é"),
        query=signing.encode_query([("response-content-disposition", 'attachment; filename="a"')]),
        payload_sha256=EMPTY_SHA256,
    )
    target = signing.presign(request, root(minio), settings.region, datetime.now(UTC), seconds=60)
    with closing(pool):
        answer = pool.exchange(HttpRequest(method="GET", target=target, headers={"host": pool.endpoint.authority}))
    assert (answer.status, answer.body) == (200, b"content")
    assert answer.headers["content-disposition"] == 'attachment; filename="a"'


def test_what_is_stored_here_is_what_another_client_reads(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    put_bytes(store_for(settings, root(minio)), "ünï/+ %41", b"content")
    host = minio.endpoint.removeprefix("http://")
    with urllib3.PoolManager() as http:
        other = Minio(host, access_key=minio.root_user, secret_key=minio.root_password, secure=False, http_client=http)
        assert other.get_object(settings.bucket, "ünï/+ %41").read() == b"content"


# --- TLS


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MinioServer, Path]]:
    folder = tmp_path_factory.mktemp("secure")
    certificates = make_certificate(folder / "certificates")
    with minio_server(folder, certificates=certificates) as server:
        yield server, certificates / "public.crt"


def test_bytes_go_and_come_over_tls(secure: tuple[MinioServer, Path], store_for: Opener) -> None:
    server, ca_file = secure
    settings = StoreSettings(endpoint=server.endpoint, bucket="tls-bytes", ca_file=str(ca_file))
    create_bucket(settings, root(server))
    store = store_for(settings, root(server))
    for size in (0, 10, 100_000, 20 * 2**20 + 1):
        data = os.urandom(size)
        put_bytes(store, "key", data)
        assert get_bytes(store, "key") == data


def test_a_wrong_secret_is_named_over_tls_while_a_large_body_is_on_its_way(
    secure: tuple[MinioServer, Path], store_for: Opener
) -> None:
    server, ca_file = secure
    settings = StoreSettings(endpoint=server.endpoint, bucket="tls-refused", ca_file=str(ca_file))
    wrong = Credentials(access_key_id=server.root_user, secret_access_key="not-the-secret")
    create_bucket(settings, root(server))
    assert {error.code for error in every_refusal(store_for(settings, wrong))} == {"SignatureDoesNotMatch"}


def test_a_certificate_of_an_unknown_authority_is_refused_with_the_setting_to_change(
    secure: tuple[MinioServer, Path], store_for: Opener
) -> None:
    server, _ = secure
    settings = StoreSettings(endpoint=server.endpoint, bucket="bucket")
    error = raised(lambda: store_for(settings, root(server)).head("key"))
    assert isinstance(error, StoreRefused)
    assert error.code == "CertificateNotTrusted"
    assert "ca_file" in error.hint


def test_a_new_authority_is_trusted_without_a_restart(
    secure: tuple[MinioServer, Path], tmp_path: Path, store_for: Opener
) -> None:
    server, ca_file = secure
    other = make_certificate(tmp_path / "other") / "public.crt"
    mounted = tmp_path / "ca.crt"
    mounted.write_bytes(other.read_bytes())
    settings = StoreSettings(endpoint=server.endpoint, bucket="tls-rotated", ca_file=str(mounted))
    create_bucket(msgspec.structs.replace(settings, ca_file=str(ca_file)), root(server))
    store = store_for(settings, root(server))
    assert raised(lambda: store.head("key")).code == "CertificateNotTrusted"
    mounted.write_bytes(ca_file.read_bytes())
    assert store.head("key") is None
    # The open connection goes on; a new one goes by the file.
    mounted.write_bytes(other.read_bytes())
    assert store.head("key") is None
    store.close()
    assert raised(lambda: store.head("key")).code == "CertificateNotTrusted"


def test_tls_goes_through_a_proxys_tunnel_to_the_store_itself(
    secure: tuple[MinioServer, Path], store_for: Opener
) -> None:
    server, ca_file = secure
    with proxy_server() as proxy:
        proxy.user = "me:secret"
        settings = StoreSettings(
            endpoint=server.endpoint,
            bucket="tls-proxied",
            ca_file=str(ca_file),
            proxy=proxy.url.replace("//", "//me:secret@"),
        )
        create_bucket(settings, root(server))
        store = store_for(settings, root(server))
        for size in (10, 5 * 2**20):
            data = os.urandom(size)
            put_bytes(store, "key", data)
            assert get_bytes(store, "key") == data
        # One tunnel for all of it, and nothing readable in it.
        assert proxy.requests == [f"CONNECT {server.endpoint.removeprefix('https://')}"]


def test_an_encryption_that_the_store_can_not_do_is_named(
    minio: MinioServer, settings: StoreSettings, store_for: Opener
) -> None:
    store = store_for(msgspec.structs.replace(settings, server_side_encryption="AES256"), root(minio))
    error = raised(lambda: put_bytes(store, "key", b"content"))
    assert isinstance(error, StoreRefused)
    assert "server_side_encryption" in error.hint
    assert store.head("key") is None


def test_https_with_a_server_that_speaks_http_is_explained(minio: MinioServer, store_for: Opener) -> None:
    settings = StoreSettings(endpoint=minio.endpoint.replace("http:", "https:"), bucket="bucket")
    error = raised(lambda: store_for(settings, root(minio)).head("key"))
    assert isinstance(error, StoreUnreachable)
    assert "speaks https" in error.hint


def test_http_with_a_server_that_speaks_https_is_refused(secure: tuple[MinioServer, Path], store_for: Opener) -> None:
    server, _ = secure
    settings = StoreSettings(endpoint=server.endpoint.replace("https:", "http:"), bucket="bucket")
    assert raised(lambda: store_for(settings, root(server)).head("key")).status == 400
