"""The bucket and the key that the local cluster's MinIO gets: against a real MinIO."""

import json
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from cluster import minio_setup
from support.minio_server import MinioServer, minio_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server(tmp_path_factory.mktemp("minio")) as server:
        yield server


def ensure(server: MinioServer, *, secret_key: str = "sidecar-secret", password: str = "") -> None:
    minio_setup.ensure(
        endpoint=server.endpoint,
        root_user=server.root_user,
        root_password=password or server.root_password,
        bucket="ashore",
        access_key="sidecar",
        secret_key=secret_key,
    )


def client(server: MinioServer, access_key: str, secret_key: str) -> Minio:
    return Minio(
        endpoint=server.endpoint.removeprefix("http://"), access_key=access_key, secret_key=secret_key, secure=False
    )


@pytest.fixture
def sidecar(server: MinioServer) -> Minio:
    ensure(server)
    return client(server, "sidecar", "sidecar-secret")


def put(store: Minio, bucket: str, name: str, content: bytes) -> None:
    store.put_object(bucket_name=bucket, object_name=name, data=BytesIO(content), length=len(content))


def refusal(error: pytest.ExceptionInfo[S3Error]) -> str | None:
    return error.value.code


def test_the_key_writes_and_reads_objects_of_its_bucket(sidecar: Minio) -> None:
    put(sidecar, "ashore", "aa/one", b"bytes")
    with sidecar.get_object(bucket_name="ashore", object_name="aa/one") as answer:
        assert answer.read() == b"bytes"
    assert [found.object_name for found in sidecar.list_objects(bucket_name="ashore", recursive=True)] == ["aa/one"]


def test_a_missing_object_is_told_from_a_forbidden_one(sidecar: Minio) -> None:
    with pytest.raises(S3Error) as error:
        sidecar.stat_object(bucket_name="ashore", object_name="never/written")
    assert refusal(error) == "NoSuchKey"


def test_the_key_lists_and_aborts_uploads_of_its_bucket(sidecar: Minio) -> None:
    upload = sidecar._create_multipart_upload("ashore", "aa/big", {})
    sidecar._upload_part("ashore", "aa/big", b"part", None, upload, 1)
    assert [part.part_number for part in sidecar._list_parts("ashore", "aa/big", upload).parts] == [1]
    # MinIO lists uploads by the exact key
    assert [found.upload_id for found in sidecar._list_multipart_uploads("ashore", prefix="aa/big").uploads] == [upload]
    sidecar._abort_multipart_upload("ashore", "aa/big", upload)
    assert not sidecar._list_multipart_uploads("ashore", prefix="aa/big").uploads


def test_the_key_cannot_delete_what_was_recorded(sidecar: Minio) -> None:
    put(sidecar, "ashore", "aa/kept", b"bytes")
    with pytest.raises(S3Error) as error:
        sidecar.remove_object(bucket_name="ashore", object_name="aa/kept")
    assert refusal(error) == "AccessDenied"
    assert sidecar.stat_object(bucket_name="ashore", object_name="aa/kept").size == 5


def test_the_key_reaches_no_other_bucket(server: MinioServer, sidecar: Minio) -> None:
    root = client(server, server.root_user, server.root_password)
    if not root.bucket_exists(bucket_name="others"):
        root.make_bucket(bucket_name="others")
    put(root, "others", "secret", b"theirs")
    for attempt in (
        lambda: sidecar.get_object(bucket_name="others", object_name="secret"),
        lambda: put(sidecar, "others", "mine", b"mine"),
        lambda: list(sidecar.list_objects(bucket_name="others")),
        lambda: sidecar.make_bucket(bucket_name="new-bucket"),
    ):
        with pytest.raises(S3Error) as error:
            attempt()
        assert refusal(error) == "AccessDenied"
    assert [bucket.name for bucket in sidecar.list_buckets()] == ["ashore"]


def test_repeating_the_setup_keeps_the_bytes_and_the_key(server: MinioServer, sidecar: Minio) -> None:
    put(sidecar, "ashore", "aa/before", b"bytes")
    ensure(server)
    assert sidecar.stat_object(bucket_name="ashore", object_name="aa/before").size == 5


def test_another_secret_takes_the_place_of_the_old_one(server: MinioServer, sidecar: Minio) -> None:
    ensure(server, secret_key="another-secret")
    with pytest.raises(S3Error) as error:
        list(sidecar.list_objects(bucket_name="ashore"))
    assert refusal(error) == "SignatureDoesNotMatch"
    list(client(server, "sidecar", "another-secret").list_objects(bucket_name="ashore"))


def test_a_wrong_administrator_is_told_so(server: MinioServer) -> None:
    with pytest.raises(minio_setup.StoreSetupError, match="refused: SignatureDoesNotMatch"):
        ensure(server, password="not the password")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://127.0.0.1", "http://127.0.0.1:9000/bucket"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(minio_setup.StoreSetupError, match=r"must be http://HOST"):
        minio_setup.ensure(
            endpoint=endpoint, root_user="a", root_password="b", bucket="c", access_key="d", secret_key="e"
        )


def test_the_command_makes_a_key_once_for_its_owner_only(
    server: MinioServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, key = tmp_path / "root.json", tmp_path / "key.json"
    root.write_text(json.dumps({"user": server.root_user, "password": server.root_password}))
    arguments = ["--endpoint", server.endpoint, "--root", str(root), "--key", str(key), "--bucket", "by-command"]
    minio_setup.main(arguments)
    made = json.loads(key.read_text())
    minio_setup.main(arguments)
    assert json.loads(key.read_text()) == made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    put(client(server, made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]), "by-command", "x", b"x")
    assert made["AWS_SECRET_ACCESS_KEY"] not in capsys.readouterr().out


def test_a_server_that_is_not_there_is_told_so() -> None:
    with pytest.raises(minio_setup.StoreSetupError, match=r"http://127\.0\.0\.1:1 can't be reached"):
        minio_setup.ensure(
            endpoint="http://127.0.0.1:1",
            root_user="a",
            root_password="b",
            bucket="abc",
            access_key="d",
            secret_key="e",
        )


def test_a_bucket_that_can_have_no_such_name_is_refused() -> None:
    with pytest.raises(minio_setup.StoreSetupError, match="invalid bucket name Not_A_Bucket!"):
        minio_setup.ensure(
            endpoint="http://127.0.0.1:1",
            root_user="a",
            root_password="b",
            bucket="Not_A_Bucket!",
            access_key="d",
            secret_key="e",
        )
