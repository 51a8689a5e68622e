"""Quantities, sets of indexes, settings: small values with exact promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.settings import SettingsError
from pinnace_operator.experiment_spec import ConfigMapKeyRef
from pinnace_operator.indexes import IndexSet
from pinnace_operator.quantity import to_bytes
from pinnace_operator.settings import from_env


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        (1024, 1024),
        ("10Gi", 10 * 2**30),
        ("1.5G", 1_500_000_000),
        ("1e3", 1000),
        ("2E", 2 * 10**18),
        ("100k", 100_000),
        ("1500m", 2),
        ("0.5Mi", 524_288),
    ],
)
def test_a_quantity_is_a_whole_number_of_bytes(quantity: int | str, size: int) -> None:
    assert to_bytes(quantity) == size


@pytest.mark.parametrize("text", ["", "Gi", "10 GB", "1.2.3", "10gi", "ten"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|ConversionSyntax"):
        to_bytes(text)


@given(st.sets(st.integers(min_value=0, max_value=999)))
def test_a_set_of_indexes_survives_writing(indexes: set[int]) -> None:
    assert IndexSet.from_text(str(IndexSet(indexes))) == IndexSet(indexes)


@given(st.sets(st.integers(min_value=0, max_value=999)))
def test_a_set_of_indexes_fits_its_status_field(indexes: set[int]) -> None:
    assert len(str(IndexSet(indexes))) <= 8192


def test_neighbours_are_written_as_a_range() -> None:
    assert str(IndexSet([0, 1, 2, 5, 7, 8])) == "0-2,5,7-8"


ENVIRONMENT = {
    "PINNACE_OPERATOR_API_URL": "http://api:8080",
    "PINNACE_OPERATOR_SIDECAR_IMAGE": "pinnace/sidecar:1",
}


def test_the_smallest_environment_is_enough() -> None:
    settings, platform = from_env(ENVIRONMENT)
    assert settings.namespaces == ()
    assert platform.default_store is None
    assert platform.sidecar_api_url == "http://api:8080"
    assert platform.store_credentials_secret == "pinnace-store"
    assert platform.sidecar_resources["limits"] == {"memory": "256Mi"}


def test_everything_can_be_set() -> None:
    settings, platform = from_env(
        ENVIRONMENT
        | {
            "PINNACE_OPERATOR_SIDECAR_API_URL": "https://api.example.org",
            "PINNACE_OPERATOR_SIDECAR_RESOURCES": '{"limits":{"memory":"1Gi"}}',
            "PINNACE_OPERATOR_NAMESPACES": '["team-a","team-b"]',
            "PINNACE_OPERATOR_POLL_SECONDS": "2.5",
            "PINNACE_STORE_BUCKET": "experiments",
            "PINNACE_STORE_ENDPOINT": "http://minio:9000",
        }
    )
    assert settings.namespaces == ("team-a", "team-b")
    assert platform.sidecar_api_url == "https://api.example.org"
    assert platform.sidecar_resources == {"limits": {"memory": "1Gi"}}
    assert platform.poll_seconds == 2.5
    assert platform.default_store is not None
    assert platform.default_store.bucket == "experiments"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PINNACE_OPERATOR_API_URL", "api:8080", "api_url"),
        ("PINNACE_OPERATOR_SIDECAR_RESOURCES", "[1]", "SIDECAR_RESOURCES must be a JSON object"),
        ("PINNACE_OPERATOR_SIDECAR_IMAGE_PULL_POLICY", "Sometimes", "PINNACE_OPERATOR_SIDECAR_IMAGE_PULL_POLICY"),
        ("PINNACE_OPERATOR_POLL_SECONDS", "0", "PINNACE_OPERATOR_POLL_SECONDS"),
        ("PINNACE_STORE_BUCKET", "No Bucket", "PINNACE_STORE_BUCKET"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_env(ENVIRONMENT | {name: value})
    assert says.lower() in str(caught.value).lower()


def test_a_proxys_password_gets_into_no_pod() -> None:
    store = {"PINNACE_STORE_BUCKET": "experiments", "PINNACE_STORE_PROXY": "http://me:secret@proxy:3128"}
    with pytest.raises(SettingsError) as caught:
        from_env(ENVIRONMENT | store)
    assert "PROXY_CREDENTIALS" in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_installations_authorities_are_those_of_every_experiment() -> None:
    _, platform = from_env(ENVIRONMENT | {"PINNACE_OPERATOR_STORE_CA_CONFIG_MAP": "authorities"})
    assert platform.store_ca_bundle == ConfigMapKeyRef(name="authorities", key="ca.crt")
