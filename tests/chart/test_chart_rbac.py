"""What the chart's service accounts may do: the whole of it, so that nothing is added by accident."""

import ast
import re

import pytest

from pinnace_operator.engines.kinds import ENGINES as ENGINES_BY_KIND
from support.chart import CHART, NAMESPACE, ROOT, Manifest, RefusedByHelm, of_kind, one, render

#: What each part may do where it serves Experiments.
OPERATOR = {
    ("pinnace.dev", "experiments"): {"get", "list", "watch", "patch"},
    ("pinnace.dev", "experiments/status"): {"get", "patch"},
    ("pinnace.dev", "experiments/finalizers"): {"update"},
    ("batch", "jobs"): {"get", "list", "watch", "create", "patch"},
    ("", "pods"): {"get", "list", "watch"},
    ("", "services"): {"create"},
    ("", "persistentvolumeclaims"): {"create"},
    ("events.k8s.io", "events"): {"create"},
}
#: In the release's own namespace, and cluster-wide: by name, what the webhooks' certificate takes.
SECRET = {("", "secrets"): {"get", "patch"}}
CONFIGURATIONS = {
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): {"get", "patch"},
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): {"get", "patch"},
}
#: And in its own namespace.
LEASE = {("coordination.k8s.io", "leases"): {"get", "create", "update"}}
#: And what is enabled beside Jobs.
ENGINES = {
    (ENGINES_BY_KIND[kind].resource.group, ENGINES_BY_KIND[kind].resource.plural): OPERATOR["batch", "jobs"]
    for kind in ENGINES_BY_KIND
}
API = {("", "pods"): {"get"}}
#: Cluster-wide, where ArtifactStores are served.
OPERATOR_STORES = {
    ("pinnace.dev", "artifactstores"): {"get", "list", "watch"},
    ("", "namespaces"): {"get", "list", "watch"},
}
API_STORES = {("pinnace.dev", "artifactstores"): {"get"}, ("", "namespaces"): {"get"}}
TOKEN_REVIEW = {("authentication.k8s.io", "tokenreviews"): {"create"}}

ROLE_KINDS = ("Role", "ClusterRole")


@pytest.fixture(params=["minimal", "namespaced", "everything", "demo"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(CHART / "ci" / f"{request.param}-values.yaml")


def allowed(role: Manifest) -> dict[tuple[str, str], set[str]]:
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((group, resource), set()).update(rule["verbs"])
    return verbs


def granted(manifests: list[Manifest], account: str) -> dict[str, dict[tuple[str, str], set[str]]]:
    """By namespace (`*`: all), what a service account of the release may do."""
    roles = {
        (role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]): allowed(role)
        for role in of_kind(manifests, *ROLE_KINDS)
    }
    grants: dict[str, dict[tuple[str, str], set[str]]] = {}
    for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
        if subject in binding["subjects"]:
            namespace = binding["metadata"].get("namespace")
            ref = binding["roleRef"]
            grants.setdefault(namespace or "*", {}).update(roles[ref["kind"], namespace, ref["name"]])
    return grants


def test_cluster_wide_each_part_may_do_this_and_nothing_else() -> None:
    manifests = render(CHART / "ci" / "minimal-values.yaml")
    assert granted(manifests, "pinnace-operator") == {"*": OPERATOR | CONFIGURATIONS, NAMESPACE: SECRET | LEASE}
    assert granted(manifests, "pinnace-api") == {"*": TOKEN_REVIEW | API}


def test_with_namespaces_nothing_is_cluster_wide_but_whose_token_it_is_and_what_has_no_namespace() -> None:
    manifests = render(CHART / "ci" / "namespaced-values.yaml")
    assert granted(manifests, "pinnace-operator") == {
        "*": CONFIGURATIONS, NAMESPACE: SECRET | LEASE, "team-a": OPERATOR, "team-b": OPERATOR,
    }  # fmt: skip
    assert granted(manifests, "pinnace-api") == {"*": TOKEN_REVIEW, "team-a": API, "team-b": API}


def test_no_rule_has_a_wildcard_or_raises_itself(manifests: list[Manifest]) -> None:
    for role in of_kind(manifests, *ROLE_KINDS):
        for (group, resource), verbs in allowed(role).items():
            assert "*" not in {group, resource, *verbs}
            assert not verbs & {"escalate", "bind", "impersonate"}


def test_one_secret_is_read_and_two_configurations_changed_each_by_its_name(manifests: list[Manifest]) -> None:
    sensitive = [
        (resource, rule.get("resourceNames"))
        for role in of_kind(manifests, *ROLE_KINDS)
        for rule in role["rules"]
        for resource in rule["resources"]
        if resource == "secrets" or resource.endswith("webhookconfigurations")
    ]
    if not of_kind(manifests, "Issuer", "Certificate"):
        configurations = [one(manifests, f"{kind}WebhookConfiguration") for kind in ("Validating", "Mutating")]
        (name,) = {configuration["metadata"]["name"] for configuration in configurations}
        secret = one(manifests, "Secret", "-webhook")["metadata"]["name"]
        assert sorted(sensitive) == [
            ("mutatingwebhookconfigurations", [name]),
            ("secrets", [secret]),
            ("validatingwebhookconfigurations", [name]),
        ]
    else:
        assert sensitive == []


def test_without_webhooks_none_of_their_rights_is_there() -> None:
    assert granted(render(store__bucket="abc", webhook__enabled=False), "pinnace-operator") == {
        "*": OPERATOR,
        NAMESPACE: LEASE,
    }


def test_only_the_engines_that_are_named_may_be_made_and_watched_and_the_operator_is_told_which() -> None:
    manifests = render(store__bucket="abc", operator__engines=["RayJob"])
    ray = {("ray.io", "rayjobs"): OPERATOR["batch", "jobs"]}
    assert granted(manifests, "pinnace-operator")["*"] == OPERATOR | CONFIGURATIONS | ray
    [container] = one(manifests, "Deployment", "-operator")["spec"]["template"]["spec"]["containers"]
    assert {"name": "PINNACE_OPERATOR_ENGINES", "value": '["RayJob"]'} in container["env"]


def test_engines_without_the_webhook_are_refused_with_what_to_do() -> None:
    with pytest.raises(RefusedByHelm, match="enable it, or leave"):
        render(store__bucket="abc", operator__engines=["RayJob"], webhook__enabled=False)


def test_the_named_service_accounts_are_the_ones_bound_and_used() -> None:
    manifests = render(CHART / "ci" / "everything-values.yaml")
    assert granted(manifests, "the-operator") == {"*": OPERATOR_STORES, "team-a": OPERATOR | ENGINES, NAMESPACE: LEASE}
    assert granted(manifests, "the-api") == {"*": TOKEN_REVIEW | API_STORES, "team-a": API}
    used = {item["spec"]["template"]["spec"]["serviceAccountName"] for item in of_kind(manifests, "Deployment")}
    assert used == {item["metadata"]["name"] for item in of_kind(manifests, "ServiceAccount")}


def test_editors_of_a_namespace_edit_experiments_but_not_their_status() -> None:
    manifests = render(CHART / "ci" / "minimal-values.yaml")
    edit = one(manifests, "ClusterRole", "-edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert allowed(edit) == {
        ("pinnace.dev", "experiments"): {"create", "update", "patch", "delete", "deletecollection"}
    }
    view = one(manifests, "ClusterRole", "-view")
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert {verb for verbs in allowed(view).values() for verb in verbs} == {"get", "list", "watch"}
    assert not [
        role
        for role in of_kind(render(CHART / "ci" / "namespaced-values.yaml"), "ClusterRole")
        if role["metadata"]["name"].endswith(("-edit", "-view"))
    ]


def test_every_rule_of_the_operator_and_the_api_says_why_it_is_there() -> None:
    for part in ("operator", "api"):
        text = (CHART / "templates" / part / "rbac.yaml").read_text()
        defined = re.search(r'define "pinnace\.\w+\.rules" -}}\n(.*?){{- end', text, re.DOTALL)
        assert defined
        rules = [block for block in defined[1].split("\n# ") if block.strip()]
        assert len(rules) == defined[1].count("- apiGroups:")


def test_the_operators_role_is_what_its_own_code_says_it_needs() -> None:
    needed: dict[tuple[str, str], set[str]] = {}
    code = (ROOT / "operator" / "src" / "pinnace_operator" / "perform.py").read_text()
    for line in (ast.get_docstring(ast.parse(code), clean=False) or "").splitlines():
        if entry := re.match(r" {4}(\(core\)|[a-z0-9.]+) +([a-z/]+) +([a-z]+(?:, [a-z]+)*)  ", line):
            group, resource, verbs = entry.groups()
            needed.setdefault((group.replace("(core)", ""), resource), set()).update(verbs.split(", "))
    assert needed == OPERATOR | OPERATOR_STORES | LEASE
