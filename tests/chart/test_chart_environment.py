"""The chart and the programs agree: each variable that the chart sets is one that the program knows and accepts."""

from pathlib import Path

import msgspec
import pytest

from pinnace.naming import TOKEN_AUDIENCE
from pinnace.settings import STORE_PREFIX, StoreSettings
from pinnace_api.configuration import configured
from pinnace_api.settings import PREFIX as API_PREFIX
from pinnace_api.settings import ApiSettings
from pinnace_operator import settings as operator_settings
from pinnace_operator.experiment_spec import ConfigMapKeyRef
from support.chart import CHART, VALUE_SETS, Manifest, environment, of_kind, one, render


@pytest.fixture(params=VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    path: Path = request.param
    return render(path)


def variables(manifests: list[Manifest], part: str) -> dict[str, str]:
    (container,) = one(manifests, "Deployment", f"-{part}")["spec"]["template"]["spec"]["containers"]
    return {name: value for name, value in environment(container).items() if name.startswith("PINNACE_")}


#: Not a setting of its own, but a file that holds one.
DATABASE_URL_FILE = "PINNACE_API_DATABASE_URL_FILE"


def keys_of(manifests: list[Manifest], part: str, volume: str) -> list[str]:
    """What the files of a pod's volume are called."""
    volumes = one(manifests, "Deployment", f"-{part}")["spec"]["template"]["spec"]["volumes"]
    (found,) = [each for each in volumes if each["name"] == volume]
    if "projected" in found:
        return [source["serviceAccountToken"]["path"] for source in found["projected"]["sources"]]
    return [item["path"] for item in found.get("secret", found.get("configMap"))["items"]]


def known(type_: type[msgspec.Struct], prefix: str) -> set[str]:
    return {prefix + field.name.upper() for field in msgspec.structs.fields(type_)}


def test_the_operator_knows_every_variable(manifests: list[Manifest]) -> None:
    fields = known(operator_settings.OperatorSettings, operator_settings.OPERATOR_PREFIX)
    assert variables(manifests, "operator").keys() <= fields | known(StoreSettings, STORE_PREFIX)


def test_the_api_knows_every_variable(manifests: list[Manifest]) -> None:
    names = known(ApiSettings, API_PREFIX) | known(StoreSettings, STORE_PREFIX) | {DATABASE_URL_FILE}
    assert variables(manifests, "api").keys() <= names


def test_the_operator_starts_with_what_it_is_given(manifests: list[Manifest]) -> None:
    settings, platform = operator_settings.from_env(variables(manifests, "operator"))
    assert platform.default_store is not None
    service = one(manifests, "Service", "-api")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert settings.api_url == f"http://{host}:{service['spec']['ports'][0]['port']}"


def test_every_value_reaches_the_operator() -> None:
    settings, platform = operator_settings.from_env(variables(render(CHART / "ci/everything-values.yaml"), "operator"))
    assert settings.namespaces == ("team-a",)
    assert settings.poll_seconds == 2.5
    assert settings.log_level == "debug"
    assert settings.webhook_certificate_dir == "/var/run/pinnace/webhook"
    assert platform.sidecar_api_url == "https://api.example.org"
    assert platform.sidecar_image == "example.org/sidecar:v2"
    assert platform.sidecar_image_pull_policy == "Always"
    assert platform.sidecar_resources["limits"] == {"memory": "128Mi"}
    assert platform.store_credentials_secret == "key-of-the-store"
    assert platform.store_ca_bundle == ConfigMapKeyRef(name="authorities", key="store.pem")
    assert settings.artifact_stores
    assert not platform.allow_inline_stores
    assert platform.default_store == StoreSettings(
        endpoint="https://store.example.org",
        region="eu-west-1",
        bucket="artifacts",
        prefix="ashore",
        addressing="virtual",
        checksums="never",
        server_side_encryption="aws:kms:the-key",
        proxy="http://proxy.example.org:3128",
        no_proxy=(".svc", "10.0.0.0/8"),
        bandwidth_bytes_per_second=12_500_000,
        read_back=True,
    )


def test_the_api_starts_with_what_it_is_given_and_knows_its_operator(manifests: list[Manifest], tmp_path: Path) -> None:
    given = variables(manifests, "api")
    if DATABASE_URL_FILE in given:  # what the Secret holds
        (tmp_path / "url").write_text("postgresql://pinnace@database/pinnace")
        given[DATABASE_URL_FILE] = str(tmp_path / "url")
    settings = configured(given).settings
    assert settings.kubernetes
    deployment = one(manifests, "Deployment", "-operator")
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    assert settings.operator_subject == f"system:serviceaccount:{deployment['metadata']['namespace']}:{account}"


def test_every_value_reaches_the_api(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://pinnace@database/pinnace")
    manifests = render(CHART / "ci/everything-values.yaml")
    given = variables(manifests, "api")
    settings = configured(given | {DATABASE_URL_FILE: str(tmp_path / "url")}).settings
    assert (settings.log_level, settings.log_format, settings.grace_seconds) == ("warning", "json", 45)
    assert settings.public_url == "https://pinnace.example.org"
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    assert settings.cors_origins == ("https://notebooks.example.org",)
    assert (settings.artifacts_backend, settings.artifact_limit_bytes) == ("s3", 5 * 2**30)
    assert settings.store_endpoints == ("https://old.example.org",)
    mounts = one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert f"{settings.store_keys_dir}/minio-sessions" in {mount["mountPath"] for mount in mounts}
    assert (settings.oidc_issuer, settings.oidc_client_id) == ("https://login.example.org", "pinnace")
    assert (settings.oidc_scopes, settings.oidc_groups_claim) == (("openid", "email"), "roles")
    assert (settings.oidc_allowed_domains, settings.oidc_allowed_groups) == (("example.org",), ("science",))
    assert settings.oidc_admin_groups == ("crew",)
    _, platform = operator_settings.from_env(variables(render(CHART / "ci/everything-values.yaml"), "operator"))
    assert settings.store is not None
    assert platform.default_store == msgspec.structs.replace(settings.store, credentials_dir="", ca_file="")


def test_without_a_key_of_its_own_the_api_knows_no_store() -> None:
    assert not {name for name in variables(render(store__bucket="runs"), "api") if name.startswith(STORE_PREFIX)}
    given = variables(render(store__bucket="runs", api__artifacts__storeCredentialsSecret="key"), "api")
    settings = configured(given).settings
    assert settings.store is not None
    assert (settings.artifacts_backend, settings.store.bucket) == ("inline", "runs")


def test_files_that_the_settings_name_lie_on_mounted_volumes(manifests: list[Manifest]) -> None:
    files = [("operator", "PINNACE_OPERATOR_API_TOKEN_FILE"), ("api", "PINNACE_API_ADMIN_TOKEN_FILE")]
    if DATABASE_URL_FILE in variables(manifests, "api"):
        files.append(("api", DATABASE_URL_FILE))
    names = {"PINNACE_API_OIDC_CLIENT_SECRET_FILE", "PINNACE_API_OIDC_CA_FILE", "PINNACE_STORE_CA_FILE"}
    files += [("api", name) for name in sorted(names & variables(manifests, "api").keys())]
    for part, name in files:
        (container,) = one(manifests, "Deployment", f"-{part}")["spec"]["template"]["spec"]["containers"]
        folder, _, file = variables(manifests, part)[name].rpartition("/")
        assert folder in [mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")]
        (volume,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder]
        assert file in keys_of(manifests, part, volume)


def test_the_database_lies_on_a_volume_that_may_be_written(manifests: list[Manifest]) -> None:
    (container,) = one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]["containers"]
    given = variables(manifests, "api")
    if DATABASE_URL_FILE in given:  # then it lies on a server
        assert "PINNACE_API_DATABASE_URL" not in given
        return
    folder, _, _ = given["PINNACE_API_DATABASE_URL"].removeprefix("sqlite:///").rpartition("/")
    assert [mount.get("readOnly", False) for mount in container["volumeMounts"] if mount["mountPath"] == folder] == [
        False
    ]


def test_containers_listen_where_they_are_probed(manifests: list[Manifest]) -> None:
    ports = {"operator": "PINNACE_OPERATOR_HEALTH_PORT", "api": "PINNACE_API_PORT"}
    for part, name in ports.items():
        (container,) = one(manifests, "Deployment", f"-{part}")["spec"]["template"]["spec"]["containers"]
        (port,) = [port for port in container["ports"] if port["name"] != "webhook"]
        assert str(port["containerPort"]) == variables(manifests, part)[name]
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == port["name"]
        assert container["readinessProbe"]["httpGet"]["port"] == ("webhook" if part == "operator" else port["name"])
    (container,) = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"]
    (webhook,) = [port for port in container["ports"] if port["name"] == "webhook"]
    assert str(webhook["containerPort"]) == variables(manifests, "operator")["PINNACE_OPERATOR_WEBHOOK_PORT"]


def test_tokens_are_asked_for_with_the_audience_that_the_api_accepts(manifests: list[Manifest]) -> None:
    audiences = [
        source["serviceAccountToken"]["audience"]
        for deployment in of_kind(manifests, "Deployment")
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
    ]
    assert audiences == [TOKEN_AUDIENCE]
