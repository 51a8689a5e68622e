"""The webhook configurations of the chart: whom they can hold up, and how they are called."""

from typing import Any

import pytest

from pinnace.naming import GROUP, INJECT_LABEL, PLURAL, VERSION
from pinnace_operator.admission.assembly import EXPERIMENTS_PATH, PODS_PATH
from pinnace_operator.admission.server import ANSWER_S
from support.chart import CHART, NAMESPACE, Manifest, environment, of_kind, one, render

KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def hooks(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    return {
        webhook["clientConfig"]["service"]["path"]: webhook
        for configuration in of_kind(manifests, *KINDS)
        for webhook in configuration["webhooks"]
    }


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return render(store__bucket="abc")


def test_they_call_what_the_operator_answers_within_its_time_and_without_effects(manifests: list[Manifest]) -> None:
    found = hooks(manifests)
    assert found.keys() == {EXPERIMENTS_PATH, PODS_PATH}
    service = one(manifests, "Service", "-webhook")
    for webhook in found.values():
        client = webhook["clientConfig"]["service"]
        assert (client["name"], client["namespace"]) == (service["metadata"]["name"], NAMESPACE)
        assert client["port"] == service["spec"]["ports"][0]["port"]
        assert webhook["sideEffects"] == "None"
        assert webhook["timeoutSeconds"] > ANSWER_S
        assert "caBundle" not in webhook["clientConfig"], "an upgrade would take back what the operator wrote"


def test_the_certificate_names_what_the_api_server_calls(manifests: list[Manifest]) -> None:
    (container,) = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"]
    service = one(manifests, "Service", "-webhook")["metadata"]
    assert environment(container)["PINNACE_OPERATOR_WEBHOOK_HOSTS"] == f'["{service["name"]}.{NAMESPACE}.svc"]'


def test_an_experiment_is_never_held_up_by_a_webhook_that_is_away(manifests: list[Manifest]) -> None:
    webhook = hooks(manifests)[EXPERIMENTS_PATH]
    assert webhook["failurePolicy"] == "Ignore"
    [rule] = webhook["rules"]
    assert (rule["apiGroups"], rule["apiVersions"], rule["resources"]) == ([GROUP], [VERSION], [PLURAL])
    assert set(rule["operations"]) == {"CREATE", "UPDATE"}


def test_only_pods_that_ask_for_it_and_none_of_the_clusters_own_are_looked_at(manifests: list[Manifest]) -> None:
    webhook = hooks(manifests)[PODS_PATH]
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["rules"][0]["operations"] == ["CREATE"]
    assert webhook["objectSelector"]["matchExpressions"] == [
        {"key": INJECT_LABEL, "operator": "Exists"},
        {"key": INJECT_LABEL, "operator": "NotIn", "values": ["false"]},
    ]
    [namespaces] = webhook["namespaceSelector"]["matchExpressions"]
    assert (namespaces["key"], namespaces["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    assert {"kube-system", NAMESPACE} <= set(namespaces["values"])


def test_a_release_for_some_namespaces_is_called_for_those_alone() -> None:
    for webhook in hooks(render(CHART / "ci" / "namespaced-values.yaml")).values():
        served = webhook["namespaceSelector"]["matchExpressions"][0]
        assert served == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}


def test_switched_off_nothing_of_them_is_there() -> None:
    manifests = render(store__bucket="abc", webhook__enabled=False)
    assert not of_kind(manifests, *KINDS, "Certificate", "Issuer")
    assert [item["metadata"]["name"] for item in of_kind(manifests, "Service")] == ["pinnace-api"]
    (container,) = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"]
    assert not [name for name in environment(container) if "WEBHOOK" in name]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}


def test_the_secret_of_the_certificate_is_made_empty_so_that_an_upgrade_leaves_it_alone(
    manifests: list[Manifest],
) -> None:
    assert not one(manifests, "Secret", "-webhook").keys() & {"data", "stringData"}


@pytest.mark.parametrize("issuer", [{}, {"name": "house", "kind": "ClusterIssuer"}], ids=["own", "given"])
def test_cert_manager_takes_the_operators_place(issuer: dict[str, str]) -> None:
    manifests = render(store__bucket="abc", webhook__certificates={"source": "cert-manager", "issuerRef": issuer})
    certificate = one(manifests, "Certificate")
    name = certificate["metadata"]["name"]
    # The fields that cert-manager's own definition of a Certificate (cert-manager.io/v1) asks for.
    assert certificate["spec"]["secretName"] == name
    assert certificate["spec"]["dnsNames"] == [f"pinnace-webhook.{NAMESPACE}.svc"]
    assert certificate["spec"]["issuerRef"] == (issuer or {"name": name, "kind": "Issuer"})
    assert [item["spec"] for item in of_kind(manifests, "Issuer")] == ([] if issuer else [{"selfSigned": {}}])
    for configuration in of_kind(manifests, *KINDS):
        assert configuration["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{name}"}
    assert [secret["metadata"]["name"] for secret in of_kind(manifests, "Secret")] == ["pinnace-admin-token"]
    spec = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "webhook"]
    assert volume["secret"] == {"secretName": name, "optional": True, "defaultMode": 0o440}
