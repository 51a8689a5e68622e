"""Values: every key is explained and checked, and a wrong one is refused with a sentence that says what to do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from charts.generate import commented_values, generated
from support.chart import CHART, RefusedByHelm, helm, one, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def leaves(schema: Any, path: str = "") -> Iterator[str]:
    """Every value that the schema knows, down to where objects of Kubernetes or of the user's own begin."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" not in schema or path.endswith(".resources"):
        yield path
        return
    for name, inner in schema["properties"].items():
        yield from leaves(inner, f"{path}.{name}".lstrip("."))


def test_values_schema_and_comments_speak_of_the_same_keys() -> None:
    commented = [value.path for value in commented_values((CHART / "values.yaml").read_text())]
    assert len(commented) == len(set(commented))
    assert set(leaves(SCHEMA)) - {"global"} == set(commented)


def test_the_everything_value_set_changes_every_value() -> None:
    everything = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())
    unchanged = []
    for path in set(leaves(SCHEMA)) - {"global"}:
        chosen = everything
        for name in path.split("."):
            chosen = chosen.get(name, {}) if isinstance(chosen, dict) else {}
        if chosen == {}:
            unchanged.append(path)
    # Set elsewhere: there they take effect, here something else takes their place.
    assert sorted(unchanged) == [
        "api.persistence.enabled",
        "api.persistence.existingClaim",
        "crds.install",
        "image.api.digest",
        "image.sidecar.digest",
        "monitoring.alerts.enabled",
        "rbac.aggregate",
        "securityContext",
        "webhook.enabled",
    ]


def test_unknown_keys_are_refused_wherever_the_schema_names_any() -> None:
    def closed(schema: Any) -> Iterator[Any]:
        if isinstance(schema, dict):
            if "properties" in schema:
                yield schema
            for inner in schema.values():
                yield from closed(inner)

    assert all(schema.get("additionalProperties") is False for schema in closed({"all": SCHEMA}))


def test_generated_files_are_what_their_sources_say() -> None:
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name}: run python charts/generate.py"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store__bucket": ""}, "store.bucket is empty: name the bucket"),
        ({"store__bucket": "No_Bucket"}, "at '/store/bucket': 'No_Bucket' does not match pattern"),
        ({"store__endpoint": "minio:9000"}, "at '/store/endpoint': 'minio:9000' does not match"),
        ({"store__endpoint": "http://user:pw@minio"}, "at '/store/endpoint'"),
        ({"store__prefix": "/runs"}, "at '/store/prefix'"),
        ({"store__addressing": "dns"}, "at '/store/addressing': value must be one of 'path', 'virtual'"),
        (
            {"store__addressing": "virtual", "store__endpoint": "http://10.0.0.1:9000"},
            "set store.addressing to path",
        ),
        ({"operator__replica": 3}, "at '/operator': additional properties 'replica' not allowed"),
        ({"api__replicas": 2}, "name the Secret with a PostgreSQL URL in api.database.url.existingSecret"),
        ({"api__replicas": 0}, "at '/api/replicas': minimum: got 0, want 1"),
        (
            {"api__persistence__existingClaim": "mine", "api__database__url__existingSecret": "url"},
            "are both set, so the claim would not be used",
        ),
        ({"api__database__url": "postgresql://db/pinnace"}, "at '/api/database/url': got string, want object"),
        ({"api__service__nodePort": 30080}, "set the type to NodePort or take nodePort away"),
        ({"api__service__type": "Ingress"}, "at '/api/service/type': value must be one of"),
        (
            {"api__persistence__enabled": False, "api__persistence__existingClaim": "mine"},
            "enable persistence or take existingClaim away",
        ),
        (
            {"api__artifacts__backend": "tape"},
            "at '/api/artifacts/backend': value must be one of 'inline', 'filesystem'",
        ),
        (
            {
                "api__artifacts__backend": "filesystem",
                "api__replicas": 2,
                "api__database__url__existingSecret": "url",
            },
            "name a claim that all of them can mount",
        ),
        ({"api__publicUrl": "http://pinnace.example"}, "at '/api/publicUrl'"),
        ({"api__oidc__issuer": "https://login.example"}, "name what the provider knows the API by"),
        ({"api__oidc": {"issuer": "https://l.example", "clientId": "p"}}, "api.publicUrl is empty"),
        (
            {"api__oidc": {"issuer": "https://l.example", "clientId": "p"}, "api__publicUrl": "https://p.example"},
            "set api.oidc.allowedDomains or api.oidc.allowedGroups",
        ),
        ({"api__oidc__clientId": "pinnace"}, "set the issuer or take them away"),
        ({"api__oidc__scopes": ["email"]}, "at '/api/oidc/scopes'"),
        ({"api__persistence__size": "large"}, "at '/api/persistence/size'"),
        ({"watch__namespaces": "default"}, "at '/watch/namespaces': got string, want array"),
        ({"watch__namespaces": ["a", "a"]}, "at '/watch/namespaces': items at 0 and 1 are equal"),
        ({"operator__logLevel": "INFO"}, "at '/operator/logLevel': value must be one of 'debug', 'info'"),
        ({"operator__pollSeconds": 0}, "at '/operator/pollSeconds'"),
        (
            {"operator__extraEnv": [{"name": "PINNACE_STORE_BUCKET", "value": "other"}]},
            "operator.extraEnv sets PINNACE_STORE_BUCKET, which the chart sets itself",
        ),
        (
            {"api__extraEnv": [{"name": "PINNACE_API_PORT", "value": "1"}]},
            "api.extraEnv sets PINNACE_API_PORT, which the chart sets itself",
        ),
        ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "invalid propertyName 'app.kubernetes.io/name'"),
        ({"monitoring__install": True}, "at '/monitoring/install': value must be one of 'never', 'auto', 'always'"),
        ({"monitoring__interval": "30"}, "at '/monitoring/interval': '30' does not match"),
        ({"monitoring__alerts__without": ["Pinnace"]}, "at '/monitoring/alerts/without/0': value must be one of"),
        ({"monitoring__alerts__unshippedSeconds": 5}, "at '/monitoring/alerts/unshippedSeconds': minimum: got 5"),
        ({"monitoring__alerts__labels": {"a-b": "c"}}, "invalid propertyName 'a-b'"),
        (
            {"api__autoscaling__enabled": True},
            "api.autoscaling.enabled is true and the database is SQLite, which has one writer",
        ),
        (
            {"api__autoscaling": {"enabled": True, "minReplicas": 9}, "api__database__url__existingSecret": "url"},
            "lower the one or raise the other",
        ),
        (
            {
                "api__autoscaling__enabled": True,
                "api__database__url__existingSecret": "url",
                "api__resources__requests": {"cpu": None},
            },
            "api.resources.requests.cpu is not set, which the load is measured by",
        ),
        (
            {
                "api__autoscaling__enabled": True,
                "api__database__url__existingSecret": "url",
                "api__artifacts__backend": "filesystem",
            },
            "name a claim that all of them can mount",
        ),
        ({"api__autoscaling__cpuPercent": 0}, "at '/api/autoscaling/cpuPercent': minimum: got 0, want 1"),
        ({"api__disruptionBudget__maxUnavailable": 0}, "at '/api/disruptionBudget/maxUnavailable'"),
        ({"api__disruptionBudget__maxUnavailable": "all"}, "at '/api/disruptionBudget/maxUnavailable'"),
        ({"networkPolicy__egress__enabled": True}, "networkPolicy.enabled is false, so nothing would be restricted"),
        ({"networkPolicy__egress__kubernetesPorts": []}, "at '/networkPolicy/egress/kubernetesPorts': minItems"),
        ({"networkPolicy__egress__databasePort": 0}, "at '/networkPolicy/egress/databasePort': minimum"),
        ({"operator__extraVolumes": [{"emptyDir": {}}]}, "at '/operator/extraVolumes/0': missing property 'name'"),
        (
            {"operator__extraVolumes": [{"name": "token", "emptyDir": {}}]},
            "operator.extraVolumes has a volume called token, which is a name of the chart's",
        ),
        (
            {"api__extraVolumes": [{"name": "data", "emptyDir": {}}]},
            "api.extraVolumes has a volume called data",
        ),
        ({"image__api__digest": "latest"}, "at '/image/api/digest': 'latest' does not match"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_or_the_way_out(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedByHelm) as refusal:
        render(**{"store__bucket": "artifacts", **settings})
    assert message in str(refusal.value)


@pytest.mark.parametrize("part", ["operator", "api"])
def test_every_volume_of_the_chart_is_a_name_that_extra_volumes_may_not_have(part: str) -> None:
    values = [CHART / "ci" / "everything-values.yaml", CHART / "ci" / "minimal-values.yaml"]
    own = {
        volume["name"]
        for file in values
        for volume in one(render(file), "Deployment", f"-{part}")["spec"]["template"]["spec"]["volumes"]
    } - {"authorities"}
    assert len(own) >= 2
    for name in own:
        settings: dict[str, Any] = {f"{part}__extraVolumes": [{"name": name, "emptyDir": {}}]}
        with pytest.raises(RefusedByHelm, match=f"extraVolumes has a volume called {name}"):
            render(**settings, store__bucket="artifacts")


def test_an_old_cluster_is_refused() -> None:
    with pytest.raises(RefusedByHelm, match="requires kubeVersion"):
        helm("template", "pinnace", str(CHART), "--kube-version", "1.28", "--set", "store.bucket=artifacts")
