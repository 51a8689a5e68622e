"""The chart on a real cluster: it installs where only restricted pods may run, and its parts may do what they need.

Everything happens in namespaces of its own. The definition of Experiments is left as it is when it is there already.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, get, helm, items, kubectl
from support import tools
from support.chart import CHART, ROOT, Manifest, of_kind, pods, render
from support.eventually import eventually
from support.system import evict

pytestmark = pytest.mark.cluster

DEFINITION = "experiments.pinnace.dev"
OPERATORS = "app.kubernetes.io/component=operator"

#: What a part must be allowed in a namespace that it serves: (verb, group, resource, subresource).
OPERATOR = [
    ("list", "pinnace.dev", "experiments", ""),
    ("patch", "pinnace.dev", "experiments", "status"),
    ("create", "batch", "jobs", ""),
    ("patch", "batch", "jobs", ""),
    ("watch", "", "pods", ""),
    ("create", "events.k8s.io", "events", ""),
    ("update", "pinnace.dev", "experiments", "finalizers"),
]
API = [("get", "", "pods", "")]
#: What neither may do anywhere.
NEVER = [
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods", "exec"),
    ("get", "", "pods", "log"),
    ("delete", "", "pods", ""),
    ("update", "pinnace.dev", "experiments", ""),
    ("delete", "pinnace.dev", "experiments", ""),
    ("create", "", "serviceaccounts", "token"),
    ("get", "", "nodes", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
]

Action = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release in `namespace` that serves `served` only."""

    namespace: str
    served: str
    made_definition: bool

    def helm(self, verb: str, *arguments: str) -> str:
        return helm(verb, "pinnace", *arguments, "--namespace", self.namespace)

    def upgrade(self, *arguments: str) -> None:
        values = {
            "image": {"operator": {"tag": "dev"}, "sidecar": {"tag": "dev"}, "api": {"tag": "dev"}},
            "store": {"bucket": "artifacts", "endpoint": "http://store.invalid:9000"},
            "watch": {"namespaces": [self.served]},
            "crds": {"install": self.made_definition},
            "api": {"persistence": {"size": "64Mi"}},
        }
        settings = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
        helm(
            "upgrade", "--install", "pinnace", str(CHART), "--namespace", self.namespace,
            *settings, *arguments, "--wait", "--timeout", "150s",
        )  # fmt: skip

    def ask_the_api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request with the administrator's token, from inside the API's own pod."""
        program = (
            "import sys, json, urllib.request as r, urllib.error as e\n"
            "method, path, body = sys.argv[1:]\n"
            "token = open('/var/run/pinnace/admin/token').read().strip()\n"
            "q = r.Request('http://127.0.0.1:8080' + path, body.encode() or None, method=method,\n"
            "              headers={'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'})\n"
            "try: a = r.urlopen(q, timeout=20)\n"
            "except e.HTTPError as refusal: a = refusal\n"
            "print(json.dumps([a.status, json.loads(a.read())]))\n"
        )
        text = "" if body is None else json.dumps(body)
        command = ["exec", "deployment/pinnace-api", "--", "python3", "-c", program, method, path, text]
        status, answer = json.loads(kubectl(*command, namespace=self.namespace))
        return status, answer


@pytest.fixture(scope="module", autouse=True)
def needs_a_cluster() -> None:
    tools.cluster()


@pytest.fixture(scope="module")
def namespaces(needs_a_cluster: None) -> Iterator[tuple[str, str]]:
    """One for a release and one with Experiments; both take only restricted pods."""
    system, served = f"chart-{(end := secrets.token_hex(3))}", f"chart-{end}-team"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in (system, served):
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield system, served
    for name in (system, served):
        kubectl("delete", "namespace", name, "--timeout=120s", timeout=150)


@pytest.fixture(scope="module")
def release(namespaces: tuple[str, str]) -> Iterator[Release]:
    system, served = namespaces
    missing = get("customresourcedefinition", DEFINITION) is None
    release = Release(namespace=system, served=served, made_definition=missing)
    try:
        release.upgrade()
    except CommandFailed:
        print(kubectl("get", "pods,events", "--output=wide", namespace=system))
        print(kubectl("logs", "deployment/pinnace-api", "--tail=50", "--ignore-errors", namespace=system))
        print(kubectl("logs", "deployment/pinnace-operator", "--tail=50", "--ignore-errors", namespace=system))
        raise
    yield release
    release.helm("uninstall", "--ignore-not-found", "--wait")
    if missing and not kubectl("get", "experiments", "--all-namespaces", "--output=name"):
        kubectl("delete", "customresourcedefinition", DEFINITION, "--ignore-not-found")


def account(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def allowed(user: str, namespace: str, actions: list[Action]) -> list[Action]:
    """Those of the actions that the API server would let `user` do in `namespace` (empty: in every namespace)."""
    _, _, home, _ = user.split(":")
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"],
                "resourceAttributes": {
                    "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": part,
                },
            },
        }
        for verb, group, resource, part in actions
    ]  # fmt: skip
    documents = "\n".join(json.dumps(review) for review in reviews)
    answer = kubectl("create", "--filename=-", "--output=jsonpath={.status.allowed}{'\\n'}", stdin=documents)
    verdicts = answer.split()
    assert len(verdicts) == len(actions)
    return [action for action, verdict in zip(actions, verdicts, strict=True) if verdict == "true"]


def test_helm_test_finds_it_at_work(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", "--timeout", "120s")


def test_each_part_may_do_its_work_where_it_serves(release: Release) -> None:
    assert allowed(account(release.namespace, "pinnace-operator"), release.served, OPERATOR) == OPERATOR
    assert allowed(account(release.namespace, "pinnace-api"), release.served, API) == API


@pytest.mark.parametrize("part", ["operator", "api"])
def test_a_namespaced_release_reaches_no_other_namespace(release: Release, part: str) -> None:
    user = account(release.namespace, f"pinnace-{part}")
    for namespace in ("default", "kube-system", release.namespace, ""):
        assert allowed(user, namespace, OPERATOR + API + NEVER) == []


@pytest.mark.parametrize("part", ["operator", "api"])
def test_no_part_may_do_what_it_does_not_need(release: Release, part: str) -> None:
    assert allowed(account(release.namespace, f"pinnace-{part}"), release.served, NEVER) == []


def test_only_the_api_may_ask_whose_token_it_is(release: Release) -> None:
    ask = [("create", "authentication.k8s.io", "tokenreviews", "")]
    assert allowed(account(release.namespace, "pinnace-api"), "", ask) == ask
    assert allowed(account(release.namespace, "pinnace-operator"), "", ask) == []


def test_a_cluster_wide_release_may_do_its_work_in_every_namespace_and_no_more(namespaces: tuple[str, str]) -> None:
    system, _ = namespaces
    manifests = render(namespace=system, store__bucket="artifacts", fullnameOverride="wide")
    rights = of_kind(manifests, "ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    for manifest in rights:
        apply(manifest)
    try:
        for namespace in ("default", ""):
            assert allowed(account(system, "wide-operator"), namespace, OPERATOR) == OPERATOR
            assert allowed(account(system, "wide-api"), namespace, API) == API
            for part in ("operator", "api"):
                assert allowed(account(system, f"wide-{part}"), namespace, NEVER) == []
    finally:
        for manifest in rights:
            kubectl("delete", manifest["kind"], _name(manifest), namespace=manifest["metadata"].get("namespace", ""))


def test_an_editor_of_a_namespace_may_edit_experiments_but_not_their_status(release: Release) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "editor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": release.served}],
    }
    apply(binding, namespace=release.served)
    wanted = [("create", "pinnace.dev", "experiments", ""), ("get", "pinnace.dev", "experiments", "status")]
    refused = [("patch", "pinnace.dev", "experiments", "status")]
    assert allowed(account(release.served, "editor"), release.served, wanted + refused) == wanted


def test_an_upgrade_keeps_the_admins_token_and_what_was_recorded(release: Release) -> None:
    before = get("secret", "pinnace-admin-token", release.namespace)
    assert before is not None
    status, _ = release.ask_the_api("PUT", "/api/v1/projects/kept", {"description": "from before"})
    assert status in (200, 201)
    release.upgrade("--set", "api.logLevel=debug", "--set", "operator.logLevel=debug")
    after = get("secret", "pinnace-admin-token", release.namespace)
    assert after is not None
    assert after["data"] == before["data"]
    status, project = release.ask_the_api("GET", "/api/v1/projects/kept")
    assert (status, project["description"]) == (200, "from before")


def test_nothing_is_started_twice(release: Release) -> None:
    for deployment in items("deployments", release.namespace):
        assert deployment["status"]["readyReplicas"] == 1
        assert deployment["status"]["replicas"] == 1


def test_a_drain_takes_one_operator_at_a_time_and_the_other_goes_on(release: Release) -> None:
    release.upgrade("--set", "operator.replicas=2")
    budget = "poddisruptionbudget", "pinnace-operator", release.namespace
    eventually(
        lambda: (get(*budget) or {}).get("status", {}).get("disruptionsAllowed") == 1,
        timeout=60, interval=0.5, what="two operators are ready",
    )  # fmt: skip
    # The one from before may be on its way out.
    there = {
        _name(pod) for pod in items("pods", release.namespace, OPERATORS) if "deletionTimestamp" not in pod["metadata"]
    }
    eventually(lambda: leader(release) in there, timeout=60, interval=0.5, what="one of the two leads")
    leads = leader(release)
    [other] = there - {leads}
    evict(leads, release.namespace)
    with pytest.raises(CommandFailed, match="disruption budget"):
        evict(other, release.namespace)
    eventually(lambda: leader(release) not in ("", leads), timeout=60, interval=0.5, what="another one leads")


def leader(release: Release) -> str:
    [lease] = items("leases", release.namespace)
    holder: str = lease["spec"].get("holderIdentity", "")
    return holder


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_an_example_and_its_pods(release: Release, path: Any) -> None:
    kubectl("apply", "--dry-run=server", f"--filename={path}", namespace=release.served)
    ((_, spec),) = pods([yaml.safe_load(path.read_text())])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "as-in-the-example"}, "spec": spec}
    kubectl("create", "--dry-run=server", "--filename=-", namespace=release.served, stdin=json.dumps(pod))


def test_uninstalling_leaves_the_data_and_nothing_else(release: Release) -> None:
    release.helm("uninstall", "--wait", "--timeout", "120s")
    kinds = "deployments,services,secrets,serviceaccounts,roles,rolebindings,networkpolicies"
    labelled = "app.kubernetes.io/part-of=pinnace"
    for namespace in (release.namespace, release.served):
        assert items(kinds, namespace, labelled) == []
    # Helm does not wait for the pods' own end.
    eventually(lambda: not items("pods", release.namespace), timeout=60, interval=0.5, what="no pod is left")
    mine = [
        found for found in items("clusterroles,clusterrolebindings", "", labelled) if release.namespace in _name(found)
    ]
    assert mine == []
    assert [_name(claim) for claim in items("persistentvolumeclaims", release.namespace)] == ["pinnace-api"]
    assert get("customresourcedefinition", DEFINITION) is not None
    kubectl("delete", "persistentvolumeclaim", "pinnace-api", "--timeout=60s", namespace=release.namespace)


def _name(manifest: Manifest) -> str:
    name: str = manifest["metadata"]["name"]
    return name
