"""The workload's own identity: a token file that is rotated buys credentials that end, in the middle of uploads too."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pinnace.settings import StoreSettings
from pinnace.stores.credentials import ChainCredentials
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import MIN_PART_BYTES, CredentialsMissing, StoreRefused
from support.environment import without_settings
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, s3_server
from support.store_content import content
from support.sts_server import TokenService, token_service


@pytest.fixture
def service() -> Iterator[TokenService]:
    with token_service(ACCESS_KEY, SECRET_KEY) as running:
        yield running


@pytest.fixture
def token_file(service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mounted as a projected volume is: behind links that are swapped."""
    without_settings(monkeypatch)
    folder = tmp_path / "token"
    folder.mkdir()
    rotate(folder, "first")
    (folder / "token").symlink_to("..data/token")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/any")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    return folder / "token"


def rotate(folder: Path, token: str) -> None:
    version = folder / f"..version-{token}"
    version.mkdir()
    (version / "token").write_text(token)
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").rename(folder / "..data")


def test_a_token_is_shown_once_for_as_long_as_what_it_bought_lasts(service: TokenService, token_file: Path) -> None:
    source = ChainCredentials()
    assert source.expires_at() is None
    assert {source.current().session_token for _ in range(5)} == {"session-1"}
    assert service.shown == ["first"]
    ends = source.expires_at()
    assert ends is not None
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)


def test_what_is_about_to_end_is_renewed_with_the_token_of_the_day(service: TokenService, token_file: Path) -> None:
    service.seconds = 30
    source = ChainCredentials()
    assert source.current().session_token == "session-1"
    rotate(token_file.parent, "second")
    service.seconds = 3600
    assert source.current().session_token == "session-2"
    assert source.current().session_token == "session-2"
    assert service.shown == ["first", "second"]


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredTokenException"])
def test_a_service_that_refuses_is_said_and_asked_again(service: TokenService, token_file: Path, code: str) -> None:
    service.refuses = code
    source = ChainCredentials()
    with pytest.raises(CredentialsMissing, match=code):
        source.current()
    service.refuses = ""
    assert source.current().session_token == "session-1"


def test_a_token_that_is_missing_is_said_and_looked_for_again(service: TokenService, token_file: Path) -> None:
    kept = token_file.read_text()
    (token_file.parent / "..data" / "token").unlink()
    source = ChainCredentials()
    with pytest.raises(CredentialsMissing, match="No such file"):
        source.current()
    (token_file.parent / "..data" / "token").write_text(kept)
    assert source.current().session_token == "session-1"


def test_a_session_that_ends_in_the_middle_of_an_upload_is_renewed_and_the_parts_stay(
    service: TokenService, token_file: Path
) -> None:
    server: S3Server
    with s3_server() as server, content(os.urandom(2 * MIN_PART_BYTES + 1)) as given:
        settings = StoreSettings(endpoint=server.endpoint, bucket=server.bucket)
        with closing(S3Store(settings, ChainCredentials())) as store:
            digests = given.digest.parts
            upload = store.create_multipart("key")
            first = store.put_part(upload, 1, given.file, digests[0])
            server.expired_tokens = {"session-1"}
            with pytest.raises(StoreRefused) as caught:
                store.put_part(upload, 2, given.file, digests[1])
            assert caught.value.code == "ExpiredToken"
            others = [store.put_part(upload, n, given.file, digests[n - 1]) for n in (2, 3)]
            assert store.list_parts(upload) == (first, *others)
            store.complete_multipart(upload, [first, *others], given.digest)
        assert server.counts["PutPart"] == 3
        assert server.tokens[:2] == ["session-1"] * 2
        assert set(server.tokens[-4:]) == {"session-2"}
