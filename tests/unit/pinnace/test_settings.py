from uuid import uuid4

import pytest

from pinnace.settings import (
    CLIENT_PREFIX,
    SIDECAR_PREFIX,
    STORE_PREFIX,
    ClientSettings,
    SettingsError,
    SidecarSettings,
    StoreSettings,
    dump,
    load,
)

SIDECAR = SidecarSettings(
    iteration_id=uuid4(),
    pod_uid="pod",
    api_url="https://api:8443",
    include=("*.pt", "a b"),
    exclude=(),
    markers=False,
    settle_seconds=0.5,
    buffer_limit_bytes=10**9,
)


def test_what_the_operator_writes_is_what_the_sidecar_reads() -> None:
    assert load(SidecarSettings, dump(SIDECAR, SIDECAR_PREFIX), SIDECAR_PREFIX) == SIDECAR
    store = StoreSettings(bucket="runs", endpoint="http://minio:9000", prefix="a/b", credentials_dir="/secret")
    assert load(StoreSettings, dump(store, STORE_PREFIX), STORE_PREFIX) == store


def test_defaults_are_not_spelled_out() -> None:
    assert set(dump(StoreSettings(bucket="runs"), STORE_PREFIX)) == {"PINNACE_STORE_BUCKET"}


def test_every_mistake_is_reported_at_once_by_its_variable() -> None:
    environ = {"PINNACE_SETTLE_SECONDS": "-1", "PINNACE_ITERATION_ID": "seven", "PINNACE_INCLUDE": "[1]"}
    with pytest.raises(SettingsError) as caught:
        load(SidecarSettings, environ, SIDECAR_PREFIX)
    for name in ("SETTLE_SECONDS", "ITERATION_ID", "INCLUDE", "POD_UID", "API_URL"):
        assert f"PINNACE_{name}" in str(caught.value)


def test_a_plain_word_is_a_list_of_one() -> None:
    environ = {**dump(SIDECAR, SIDECAR_PREFIX), "PINNACE_METRICS_FILES": "scores/*.jsonl"}
    assert load(SidecarSettings, environ, SIDECAR_PREFIX).metrics_files == ("scores/*.jsonl",)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://user:secret@host", "minio:9000"])
def test_an_endpoint_is_an_http_url_without_a_user(url: str) -> None:
    with pytest.raises(SettingsError, match="PINNACE_STORE_ENDPOINT must be http"):
        load(StoreSettings, {"PINNACE_STORE_BUCKET": "runs", "PINNACE_STORE_ENDPOINT": url}, STORE_PREFIX)


def test_a_token_never_shows_in_a_repr() -> None:
    settings = load(ClientSettings, {"PINNACE_API_TOKEN": "very-secret"}, CLIENT_PREFIX)
    assert settings.api_token == "very-secret"
    assert "very-secret" not in f"{settings!r} {settings}"
