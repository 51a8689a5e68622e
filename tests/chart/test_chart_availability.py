"""Several replicas, disruptions, placement and the network: what the chart makes of the values about them."""

from typing import Any

import pytest

from support.chart import CHART, Manifest, of_kind, one, render

EVERYTHING = CHART / "ci" / "everything-values.yaml"
POSTGRESQL: dict[str, Any] = {"store__bucket": "artifacts", "api__database__url__existingSecret": "url"}
CLOSED: dict[str, Any] = {"networkPolicy__enabled": True, "networkPolicy__egress__enabled": True}


def test_a_disruption_budget_is_only_made_where_it_can_not_hold_up_a_drain() -> None:
    assert not of_kind(render(store__bucket="artifacts"), "PodDisruptionBudget")
    assert not of_kind(render(**POSTGRESQL), "PodDisruptionBudget")
    assert not of_kind(
        render(**POSTGRESQL, api__replicas=2, api__disruptionBudget__enabled=False), "PodDisruptionBudget"
    )
    manifests = render(**POSTGRESQL, api__replicas=2)
    budget = one(manifests, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = one(manifests, "Deployment", "-api")["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= budget["selector"]["matchLabels"].items()


def test_an_autoscaled_api_has_its_budget_by_its_least_replicas() -> None:
    one_at_least = {"enabled": True, "minReplicas": 1, "maxReplicas": 4}
    assert not of_kind(render(**POSTGRESQL, api__autoscaling=one_at_least), "PodDisruptionBudget")
    assert of_kind(render(**POSTGRESQL, api__autoscaling__enabled=True), "PodDisruptionBudget")


def test_the_autoscaler_says_how_many_there_are_and_nobody_else() -> None:
    manifests = render(EVERYTHING)
    scaler = one(manifests, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    assert scaler["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    assert scaler["scaleTargetRef"]["name"] == one(manifests, "Deployment", "-api")["metadata"]["name"]
    assert "replicas" not in one(manifests, "Deployment", "-api")["spec"]
    assert not of_kind(render(**POSTGRESQL), "HorizontalPodAutoscaler")


@pytest.mark.parametrize("part", ["operator", "api"])
def test_further_volumes_are_mounted_beside_the_charts_own(part: str) -> None:
    spec = one(render(EVERYTHING), "Deployment", f"-{part}")["spec"]["template"]["spec"]
    assert {"name": "authorities", "configMap": {"name": "authorities"}} in spec["volumes"]
    (container,) = spec["containers"]
    mount = {"name": "authorities", "mountPath": "/etc/authorities", "readOnly": True}
    assert mount in container["volumeMounts"]
    assert "tmp" in [volume["name"] for volume in spec["volumes"]]


@pytest.mark.parametrize("part", ["operator", "api"])
def test_a_spread_that_names_no_pods_is_about_the_parts_own(part: str) -> None:
    # Kubernetes takes no selector for one that matches nothing.
    bare = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    chosen = {**bare, "labelSelector": {"matchLabels": {"a": "b"}}}
    settings: dict[str, Any] = {"store__bucket": "artifacts", f"{part}__topologySpreadConstraints": [bare, chosen]}
    template = one(
        render(**settings),
        "Deployment",
        f"-{part}",
    )["spec"]["template"]
    ours, theirs = template["spec"]["topologySpreadConstraints"]
    assert template["metadata"]["labels"].items() >= ours["labelSelector"]["matchLabels"].items()
    assert ours["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == part
    assert ours.items() >= bare.items()
    assert theirs == chosen


def policies(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {
        item["metadata"]["name"].partition("-crew-")[2] or item["metadata"]["name"].removeprefix("pinnace-"): item[
            "spec"
        ]
        for item in of_kind(manifests, "NetworkPolicy")
    }


def ways_out(manifests: list[Manifest], component: str) -> set[Any]:
    """Ports that the pods of a component may connect to; empty: none but those."""
    ports: set[Any] = set()
    for spec in policies(manifests).values():
        chosen = spec["podSelector"]
        mine = chosen.get("matchLabels", {}).get("app.kubernetes.io/component", component) == component
        for rule in chosen.get("matchExpressions", []):
            mine = mine and component in rule["values"]
        if mine and "Egress" in spec["policyTypes"]:
            ports |= {port["port"] for rule in spec.get("egress", []) for port in rule.get("ports", [])}
    return ports


def test_without_egress_rules_outgoing_traffic_is_left_alone() -> None:
    for spec in policies(render(store__bucket="artifacts", networkPolicy__enabled=True)).values():
        assert spec["policyTypes"] == ["Ingress"]


def test_what_is_not_let_out_stays_in() -> None:
    manifests = render(store__bucket="artifacts", **CLOSED)
    deny = policies(manifests)["deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in deny
    assert "ingress" not in deny
    for part in ("operator", "api"):
        labels = one(manifests, "Deployment", f"-{part}")["spec"]["template"]["metadata"]["labels"]
        assert labels.items() >= deny["podSelector"]["matchLabels"].items()
    assert one(manifests, "Pod")["metadata"]["labels"].items() >= deny["podSelector"]["matchLabels"].items()


@pytest.mark.parametrize(
    ("settings", "operator", "api"),
    [
        ({}, {53, "http", 443, 6443}, {53, "http", 443, 6443}),
        ({"api__database__url__existingSecret": "url"}, {53, "http", 443, 6443}, {53, "http", 443, 6443, 5432}),
        (
            {"api__artifacts__storeCredentialsSecret": "key", "store__endpoint": "http://minio:9000"},
            {53, "http", 443, 6443},
            {53, "http", 443, 6443, 9000},
        ),
        (
            {
                "api__artifacts__storeCredentialsSecret": "key",
                "store__endpoint": "https://store.example",
                "store__proxy": "http://proxy.example",
                "networkPolicy__egress__kubernetesPorts": [16443],
            },
            {53, "http", 16443},
            {53, "http", 16443, 80},
        ),
    ],
    ids=["sqlite", "postgresql", "store", "proxy"],
)
def test_each_part_gets_out_to_what_it_needs(settings: dict[str, Any], operator: set[Any], api: set[Any]) -> None:
    manifests = render(store__bucket="artifacts", **{**CLOSED, **settings})
    assert ways_out(manifests, "operator") == operator
    assert ways_out(manifests, "api") == api
    assert ways_out(manifests, "test") == {53, "http"}


def test_whither_is_said_by_the_values() -> None:
    found = policies(render(EVERYTHING))
    assert found["kubernetes"]["egress"] == [
        {"ports": [{"port": 6443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.1.0.0/28"}}]}
    ]
    targets = [
        (rule.get("ports", [{}])[0].get("port"), rule["to"][0]["ipBlock"]["cidr"])
        for rule in found["api-out"]["egress"]
    ]
    # The store is behind a proxy.
    assert targets == [
        (5433, "10.2.0.0/28"),
        (3128, "10.3.0.0/28"),
        (443, "10.4.0.0/28"),
        (None, "10.5.0.0/28"),
    ]


def test_the_operators_figures_are_for_whom_the_values_name() -> None:
    (rule,) = policies(render(EVERYTHING))["metrics"]["ingress"]
    assert rule["ports"] == [{"port": "health", "protocol": "TCP"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
