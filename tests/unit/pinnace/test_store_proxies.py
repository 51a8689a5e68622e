"""The way to a store through a proxy, and past it."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pinnace.settings import STORE_PREFIX, SettingsError, StoreSettings, dump, load, load_store
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.proxies import PROXY_FILE, is_direct
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import StoreError, StoreRefused, StoreUnreachable
from support.proxy_server import ProxyServer, proxy_server
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, s3_server
from support.scripted_server import answering, scripted_server
from support.store_content import get_bytes, put_bytes

KEY = StaticCredentials(Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    with proxy_server() as running:
        yield running


def settings_for(server: S3Server, proxy: ProxyServer, **more: object) -> StoreSettings:
    return msgspec.convert(
        {"endpoint": server.endpoint, "bucket": server.bucket, "proxy": proxy.url, **more}, StoreSettings
    )


def test_a_request_over_http_goes_through_the_proxy_with_its_whole_address(
    server: S3Server, proxy: ProxyServer
) -> None:
    data = os.urandom(300_000)
    with closing(S3Store(settings_for(server, proxy), KEY)) as store:
        put_bytes(store, "a b/é", data)
        assert get_bytes(store, "a b/é") == data
    assert server.objects["a b/é"].body == data
    assert proxy.requests[0] == f"PUT {server.endpoint}/bucket/a%20b/%C3%A9"


@pytest.mark.parametrize("where", ["file", "url"])
def test_a_proxy_that_asks_who_is_there_is_told(
    server: S3Server, proxy: ProxyServer, tmp_path: Path, where: str
) -> None:
    proxy.user = "me:se:cret@/"
    if where == "file":
        (tmp_path / PROXY_FILE).write_text("me:se:cret@/\n")
        settings = settings_for(server, proxy, credentials_dir=str(tmp_path))
    else:
        named = proxy.url.replace("//", "//me:se%3Acret%40%2F@")
        settings = msgspec.structs.replace(settings_for(server, proxy), proxy=named)
    with closing(S3Store(settings, KEY)) as store:
        put_bytes(store, "key", b"content")
    assert server.objects["key"].body == b"content"


def test_a_proxys_user_that_is_put_there_later_is_used_from_then_on(
    server: S3Server, proxy: ProxyServer, tmp_path: Path
) -> None:
    proxy.user = "me:secret"
    with closing(S3Store(settings_for(server, proxy, credentials_dir=str(tmp_path)), KEY)) as store:
        with pytest.raises(StoreRefused) as caught:
            put_bytes(store, "key", b"content")
        assert (caught.value.code, caught.value.status) == ("ProxyRefused", 407)
        assert PROXY_FILE in caught.value.hint
        (tmp_path / PROXY_FILE).write_text("me:secret")
        put_bytes(store, "key", b"content")


def test_what_need_not_go_through_the_proxy_does_not(server: S3Server, proxy: ProxyServer) -> None:
    with closing(S3Store(settings_for(server, proxy, no_proxy=("10.0.0.0/8", "127.0.0.0/8")), KEY)) as store:
        put_bytes(store, "key", b"content")
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("entry", "host", "port", "direct"),
    [
        ("*", "anything.example.org", 443, True),
        ("", "example.org", 443, False),
        ("example.org", "example.org", 443, True),
        ("Example.ORG.", "s3.example.org", 443, True),
        ("example.org", "notexample.org", 443, False),
        (".example.org", "s3.example.org", 443, True),
        (".example.org", "example.org", 443, False),
        ("*.example.org", "s3.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("example.org:9000", "example.org", 9000, True),
        ("example.org:9000", "example.org", 443, False),
        ("other, minio.storage.svc ,third", "minio.storage.svc", 80, True),
        (".svc,.cluster.local", "minio.storage.svc", 80, True),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.1.2.3:81", "10.1.2.3", 80, False),
        ("0.0.0.0/0", "example.org", 80, False),
        ("2", "10.1.2.2", 80, False),
        ("fd00::/8", "fd00::1", 80, True),
        ("fd00::1", "fd00::1", 80, True),
        ("[fd00::1]:80", "fd00::1", 80, True),
        ("[fd00::1]:81", "fd00::1", 80, False),
        ("10.0.0.0/99", "10.1.2.3", 80, False),
    ],
)
def test_no_proxy_is_read_as_other_programs_do(entry: str, host: str, port: int, direct: bool) -> None:
    assert is_direct((entry,), host, port) is direct


# --- tunnels


@pytest.fixture
def https_settings(proxy: ProxyServer) -> StoreSettings:
    return StoreSettings(endpoint="https://localhost:9", bucket="bucket", proxy=proxy.url)


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (407, StoreRefused, "ProxyRefused"),
        (403, StoreRefused, "ProxyRefused"),
        (502, StoreUnreachable, "StoreUnreachable"),
        (504, StoreUnreachable, "StoreUnreachable"),
    ],
)
def test_a_tunnel_that_is_refused_says_who_is_at_fault(
    proxy: ProxyServer, https_settings: StoreSettings, status: int, error: type[StoreError], code: str
) -> None:
    proxy.refusal = status
    with closing(S3Store(https_settings, KEY)) as store, pytest.raises(error) as caught:
        store.head("key")
    assert caught.value.code == code
    assert "the proxy 127.0.0.1" in str(caught.value)
    assert proxy.requests == ["CONNECT localhost:9"]


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"x" * 70_000])
def test_what_is_no_proxy_is_unreachable_and_named(answer: bytes) -> None:
    with scripted_server(answering(answer)) as scripted:
        settings = StoreSettings(endpoint="https://localhost:9", bucket="bucket", proxy=scripted.url)
        if not answer:
            settings = msgspec.structs.replace(settings, proxy="http://127.0.0.1:9")
        with closing(S3Store(settings, KEY)) as store, pytest.raises(StoreUnreachable, match="proxy"):
            store.head("key")


# --- settings


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        ("http://store", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("http://store", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://store", {"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://p:1"),
        ("http://store", {"https_proxy": "http://p:1"}, ""),
        ("https://store", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://store", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://store", {"HTTPS_PROXY": "http://p:1", "PINNACE_STORE_PROXY": "http://q:2"}, "http://q:2"),
        ("https://store", {}, ""),
    ],
)
def test_the_usual_variables_name_the_proxy_unless_the_settings_do(
    endpoint: str, environ: dict[str, str], proxy: str
) -> None:
    variables = {"PINNACE_STORE_BUCKET": "bucket", "PINNACE_STORE_ENDPOINT": endpoint, **environ}
    assert load_store(variables).proxy == proxy


def test_no_proxy_of_the_environment_is_added() -> None:
    variables = {"PINNACE_STORE_BUCKET": "bucket", "https_proxy": "http://p", "no_proxy": "a, b,,.c"}
    assert load_store(variables).no_proxy == ("a", "b", ".c")


@pytest.mark.parametrize(
    "environ",
    [
        {"PINNACE_STORE_PROXY": "socks5://me:secret@host"},
        {"PINNACE_STORE_PROXY": "http://me:secret@"},
        {"HTTPS_PROXY": "https://me:secret@host:1"},
        {"HTTPS_PROXY": "http://me:secret@host:x"},
    ],
)
def test_a_proxy_that_can_not_be_spoken_to_is_refused_without_showing_its_password(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_store({"PINNACE_STORE_BUCKET": "bucket", **environ})
    assert next(iter(environ)) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_proxys_password_never_shows() -> None:
    settings = StoreSettings(bucket="bucket", proxy="http://me:secret@host:1")
    assert "secret" not in repr(settings)
    assert "host:1" in repr(settings)
    assert load(StoreSettings, dump(settings, STORE_PREFIX), STORE_PREFIX) == settings
