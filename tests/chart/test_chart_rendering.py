"""What the chart would apply, for value sets that reach every branch of its templates."""

from pathlib import Path
from typing import Any

import pytest

from support.chart import (
    CHART,
    NAMESPACE,
    VALUE_SETS,
    Manifest,
    below_restricted,
    containers,
    helm,
    of_kind,
    one,
    pods,
    render,
)

EVERYTHING = CHART / "ci" / "everything-values.yaml"
NAMESPACED = CHART / "ci" / "namespaced-values.yaml"
RENDERED: dict[Path, list[Manifest]] = {}


@pytest.fixture(params=VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def values(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def manifests(values: Path) -> list[Manifest]:
    return RENDERED.setdefault(values, render(values))


def test_the_chart_lints_without_a_warning(values: Path) -> None:
    report = helm("lint", str(CHART), "--strict", "--kube-version", "1.34", "--values", str(values))
    assert "[WARNING]" not in report
    assert "[ERROR]" not in report


def test_every_pod_satisfies_the_restricted_level(manifests: list[Manifest]) -> None:
    found = dict(pods(manifests))
    assert len(found) == 3 + any(name.endswith("-release") for name in found)
    assert [wrong for spec in found.values() for wrong in below_restricted(spec)] == []


def test_every_container_has_a_read_only_root_and_resources(manifests: list[Manifest]) -> None:
    for name, spec in pods(manifests):
        for container in containers(spec):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"], name


def test_only_the_operator_and_the_api_get_a_token_of_the_cluster(manifests: list[Manifest]) -> None:
    asking = {name for name, spec in pods(manifests) if spec["automountServiceAccountToken"]}
    assert len(asking) == 2 + any(name.endswith("-release") for name in asking)
    assert all(name.startswith("Deployment/") or name.endswith("-release") for name in asking)
    assert all(not account["automountServiceAccountToken"] for account in of_kind(manifests, "ServiceAccount"))


def test_every_object_carries_the_standard_labels(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        assert manifest["metadata"]["labels"].keys() >= {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/version",
            "app.kubernetes.io/managed-by",
            "app.kubernetes.io/part-of",
            "helm.sh/chart",
        }, manifest["metadata"]["name"]


def test_selectors_match_their_pods_and_nobody_elses(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, "Deployment")
    wanted = {item["metadata"]["name"]: item["spec"]["selector"]["matchLabels"] for item in deployments}
    for part in ("api", "webhook"):
        wanted[part] = one(manifests, "Service", f"-{part}")["spec"]["selector"]
    labels = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"] for item in deployments}
    matched = {
        selector: [name for name, has in labels.items() if has.items() >= wanted[selector].items()]
        for selector in wanted
    }
    api, operator = (next(name for name in labels if name.endswith(f"-{part}")) for part in ("api", "operator"))
    assert matched == {**{name: [name] for name in labels}, "api": [api], "webhook": [operator]}


def test_there_is_one_pod_of_each_replaced_by_recreate_unless_the_database_bears_more() -> None:
    for deployment in of_kind(render(store__bucket="artifacts"), "Deployment"):
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    operator, api = (one(render(EVERYTHING), "Deployment", f"-{part}")["spec"] for part in ("operator", "api"))
    assert (operator["replicas"], operator["strategy"]["type"]) == (2, "RollingUpdate")
    assert one(render(EVERYTHING), "PodDisruptionBudget", "-operator")["spec"]["maxUnavailable"] == 1
    # The autoscaler says how many.
    assert ("replicas" in api, api["strategy"]["type"]) == (False, "RollingUpdate")
    several = render(store__bucket="artifacts", api__replicas=3, api__database__url__existingSecret="url")
    assert one(several, "Deployment", "-api")["spec"]["replicas"] == 3
    assert api["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_with_postgresql_its_url_comes_from_the_secret_and_nothing_is_kept_on_a_volume() -> None:
    manifests = render(store__bucket="artifacts", api__database__url={"existingSecret": "postgres", "key": "uri"})
    assert not of_kind(manifests, "PersistentVolumeClaim")
    spec = one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]
    assert {volume["name"] for volume in spec["volumes"]} == {"database", "admin-token", "tmp"}
    assert _volume(manifests, "database")["secret"] == {
        "secretName": "postgres", "defaultMode": 0o440, "items": [{"key": "uri", "path": "url"}],
    }  # fmt: skip
    assert "PINNACE_API_DATABASE_URL" not in {variable["name"] for variable in spec["containers"][0]["env"]}


def test_objects_lie_in_the_releases_namespace_unless_they_are_roles(manifests: list[Manifest]) -> None:
    no_namespace = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    no_namespace |= {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
    for manifest in manifests:
        if manifest["kind"] not in no_namespace | {"Role", "RoleBinding"}:
            assert manifest["metadata"]["namespace"] == NAMESPACE


def test_the_definition_is_kept_by_uninstall_and_can_be_left_out() -> None:
    definitions = of_kind(render(CHART / "ci" / "minimal-values.yaml"), "CustomResourceDefinition")
    assert len(definitions) == 2
    for definition in definitions:
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(render(NAMESPACED), "CustomResourceDefinition")


def test_the_database_lies_on_a_claim_that_outlives_the_release_by_default() -> None:
    manifests = render(store__bucket="artifacts")
    claim = one(manifests, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert _volume(manifests, "data") == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}


def test_the_database_lies_on_an_empty_directory_by_choice() -> None:
    manifests = render(store__bucket="artifacts", api__persistence__enabled=False, api__persistence__size="1Gi")
    assert not of_kind(manifests, "PersistentVolumeClaim")
    assert _volume(manifests, "data") == {"emptyDir": {"sizeLimit": "1Gi"}}


def test_the_database_lies_on_the_claim_that_is_named() -> None:
    manifests = render(store__bucket="artifacts", api__persistence__existingClaim="the-database")
    assert not of_kind(manifests, "PersistentVolumeClaim")
    assert _volume(manifests, "data") == {"persistentVolumeClaim": {"claimName": "the-database"}}


def test_the_chart_makes_an_admin_token_unless_it_is_given_one() -> None:
    manifests = render(store__bucket="artifacts")
    secret = one(manifests, "Secret", "-admin-token")
    assert _volume(manifests, "admin-token")["secret"]["secretName"] == secret["metadata"]["name"]
    assert len(secret["data"]["token"]) >= 64
    assert secret["data"] != one(render(store__bucket="artifacts"), "Secret", "-admin-token")["data"]

    manifests = render(EVERYTHING)
    assert not of_kind(manifests, "Secret")
    assert _volume(manifests, "admin-token")["secret"]["secretName"] == "the-admin"


def test_the_operators_token_is_for_the_api_only() -> None:
    spec = one(render(store__bucket="artifacts"), "Deployment", "-operator")["spec"]["template"]["spec"]
    (source,) = next(volume for volume in spec["volumes"] if volume["name"] == "token")["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pinnace-api"


def test_a_digest_takes_the_tags_place() -> None:
    manifests = render(EVERYTHING)
    image = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "example.org/operator@sha256:" + "1".zfill(64)


def test_an_image_without_a_tag_is_the_charts_own_version() -> None:
    image = one(render(store__bucket="a-b"), "Deployment", "-api")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "pinnace/api:0.1.0"


@pytest.mark.parametrize("part", ["operator", "api"])
def test_a_pod_goes_where_it_is_told(part: str) -> None:
    template = one(render(EVERYTHING), "Deployment", f"-{part}")["spec"]["template"]
    assert template["spec"].keys() >= {
        "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName", "imagePullSecrets",
    }  # fmt: skip
    assert template["metadata"]["annotations"] == {"example.org/scrape": "true"}
    assert template["metadata"]["labels"].keys() >= {"tier", "team"}


def test_network_policies_let_callers_in_at_the_api_and_at_the_webhooks_alone() -> None:
    manifests = render(EVERYTHING)
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind(manifests, "NetworkPolicy")}
    (rule,) = policies["shore-crew-operator"]["ingress"]
    assert rule == {"ports": [{"port": "webhook", "protocol": "TCP"}], "from": [{"ipBlock": {"cidr": "192.0.2.0/28"}}]}
    without = render(store__bucket="abc", networkPolicy__enabled=True, webhook__enabled=False)
    assert one(without, "NetworkPolicy", "-operator")["spec"]["ingress"] == []
    (rule,) = policies["shore-crew-api"]["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
    assert not of_kind(render(store__bucket="artifacts"), "NetworkPolicy")


def test_releases_of_one_name_in_two_namespaces_do_not_share_cluster_wide_objects() -> None:
    names = [item["metadata"]["name"] for item in render(store__bucket="abc") if "namespace" not in item["metadata"]]
    definitions = [name for name in names if name.endswith("s.pinnace.dev")]
    names = [name for name in names if name not in definitions]
    assert definitions == ["artifactstores.pinnace.dev", "experiments.pinnace.dev"]
    assert names
    assert all(NAMESPACE in name for name in names)


def _volume(manifests: list[Manifest], name: str) -> Any:
    volumes = one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]["volumes"]
    (found,) = [volume for volume in volumes if volume["name"] == name]
    return {key: value for key, value in found.items() if key != "name"}


def test_the_api_reads_secrets_and_authorities_where_the_values_say() -> None:
    manifests = render(EVERYTHING)
    assert _volume(manifests, "oidc")["secret"] == {
        "secretName": "the-client", "defaultMode": 0o440, "items": [{"key": "secret-of-pinnace", "path": "secret"}],
    }  # fmt: skip
    assert _volume(manifests, "store")["secret"] == {"secretName": "key-of-the-api", "defaultMode": 0o440}
    assert _volume(manifests, "store-ca")["configMap"]["name"] == "authorities"
    assert _volume(manifests, "oidc-ca")["configMap"]["items"] == [{"key": "login.pem", "path": "ca.crt"}]
    assert one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 85


def test_artifacts_in_files_lie_on_the_volume_even_beside_postgresql() -> None:
    manifests = render(
        store__bucket="runs",
        api__artifacts__backend="filesystem",
        api__database__url__existingSecret="postgres",
    )
    api = one(manifests, "Deployment", "-api")["spec"]
    assert _volume(manifests, "data")["persistentVolumeClaim"]["claimName"] == "pinnace-api"
    assert one(manifests, "PersistentVolumeClaim")["metadata"]["name"] == "pinnace-api"
    assert api["strategy"] == {"type": "Recreate"}
    (container,) = api["template"]["spec"]["containers"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert {"name": "PINNACE_API_ARTIFACTS_DIR", "value": "/data/artifacts"} in container["env"]


def test_a_store_that_is_away_takes_no_pod_out_of_the_service(manifests: list[Manifest]) -> None:
    (container,) = one(manifests, "Deployment", "-api")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz?only=database"
