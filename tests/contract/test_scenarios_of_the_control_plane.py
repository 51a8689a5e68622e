"""What happens to Experiments when the cluster's own API dies, forgets, refuses, or is given what is large and strange.

Operators are real processes on a real API server; pods are played. The numbers are those of
docs/operations/failure-scenarios.md.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cluster.kubectl import CommandFailed, apply, get, items, kubectl
from support.api_process import ApiProcess
from support.control_plane import ControlPlane
from support.eventually import eventually
from support.operator_process import OperatorProcess
from support.operator_world import manifest
from support.pod_player import Behaviour, PodPlayer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


@pytest.fixture(scope="module")
def held() -> set[str]:
    """Names of Experiments whose pods run until they are taken out."""
    return set()


@pytest.fixture(scope="module", autouse=True)
def player(plane: ControlPlane, api_process: ApiProcess, held: set[str]) -> Iterator[None]:
    def behave(pod: dict[str, Any]) -> Behaviour:
        return Behaviour.RUN if pod["metadata"]["labels"]["pinnace.dev/experiment"] in held else Behaviour.SUCCEED

    with api_process.admin() as client:
        player = PodPlayer(plane, client, behave)
        player.start()
        yield
        player.close()


@pytest.fixture(scope="module")
def operator(folder: Path, plane: ControlPlane, api_process: ApiProcess) -> Iterator[OperatorProcess]:
    """One for all tests: it has to survive them."""
    members = ["--clusterrole=cluster-admin", "--group=members"]
    kubectl("create", "clusterrolebinding", "members", *members)
    # As somebody for whom the server's limits hold.
    subject = replace(plane, kubeconfig=plane.member_kubeconfig)
    process = OperatorProcess(folder, subject, api_process, name="only", lease_namespace="")
    process.start()
    yield process
    assert process.is_running(), process.log[-3000:]
    process.stop(signal.SIGKILL)


@pytest.fixture
def namespace(operator: OperatorProcess, request: pytest.FixtureRequest) -> str:
    name = f"team-{abs(hash(request.node.name)) % 10**6}"
    kubectl("create", "namespace", name)
    return name


def start(name: str, namespace: str, **spec: Any) -> None:
    body = manifest(name, **spec)
    body["metadata"] = {"name": name}
    apply(body, namespace=namespace)


def synced(namespace: str, name: str) -> bool:
    try:
        found = get("experiment", name, namespace) or {}
    except CommandFailed:
        return False
    conditions = found.get("status", {}).get("conditions", ())
    return any(c["type"] == "ArtifactsSynced" and c["status"] == "True" for c in conditions)


def soon(probe: Callable[[], object], what: str, timeout: float = 120) -> None:
    eventually(probe, timeout=timeout, interval=0.3, what=what)


def iterations(count: int) -> dict[str, Any]:
    return {"parameters": {"grid": {"n": list(range(count))}}, "parallelism": 2}


def test_b20_an_api_server_that_is_killed_is_gone_on_with_when_it_is_back(
    plane: ControlPlane, namespace: str, held: set[str]
) -> None:
    held.add("sweep")
    start("sweep", namespace, **iterations(4))
    soon(lambda: len(items("jobs", namespace)) == 2, "the first two are at work")
    uids = {job["metadata"]["uid"] for job in items("jobs", namespace)}
    plane.api_server.kill()
    held.discard("sweep")
    plane.api_server.start()
    plane.wait_until_ready()
    # What is played follows changes of pods only.
    kubectl("annotate", "pods", "--all", "example.com/look=again", namespace=namespace)
    soon(partial(synced, namespace, "sweep"), "the sweep is synced")
    after = {job["metadata"]["uid"] for job in items("jobs", namespace)}
    assert len(after) == 4
    assert uids < after


def test_b20_an_operator_whose_versions_are_forgotten_sees_what_it_missed(
    plane: ControlPlane, namespace: str, operator: OperatorProcess
) -> None:
    start("before", namespace)
    soon(partial(synced, namespace, "before"), "the first is synced")
    listed = json.loads(kubectl("get", "--raw=/apis/pinnace.dev/v1alpha1/experiments"))
    version = listed["metadata"]["resourceVersion"]
    os.kill(operator.pid, signal.SIGSTOP)
    try:
        start("meanwhile", namespace)
        kubectl("delete", "experiment", "before", "--cascade=background", "--wait=false", namespace=namespace)
        plane.compact()
        plane.api_server.kill()
        plane.api_server.start()
        plane.wait_until_ready()
        assert is_forgotten(plane, version), "the API server still knows the version: nothing is proven"
    finally:
        os.kill(operator.pid, signal.SIGCONT)
    soon(partial(synced, namespace, "meanwhile"), "what was made meanwhile is synced")
    soon(lambda: get("experiment", "before", namespace) is None, "what was deleted meanwhile is gone")


def is_forgotten(plane: ControlPlane, version: str) -> bool:
    http = urllib3.PoolManager(ca_certs=str(plane.authority), retries=False, timeout=10.0)
    path = f"/apis/pinnace.dev/v1alpha1/experiments?watch=true&timeoutSeconds=1&resourceVersion={version}"

    def watched() -> bytes | None:
        answer = http.request("GET", plane.url + path, headers={"Authorization": f"Bearer {plane.token}"})
        # 429 while it still reads its storage.
        return None if answer.status == 429 else answer.data + b" "

    return b'"code":410' in eventually(watched, timeout=30, interval=0.2, what="a watch is answered")


def test_b21_an_api_server_that_refuses_what_is_too_much_is_asked_again_until_all_is_done(
    plane: ControlPlane, namespace: str
) -> None:
    plane.api_server.end()
    plane.api_server.start("--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1")
    try:
        plane.wait_until_ready()
        with crowd(plane):
            for number in range(4):
                start(f"storm-{number}", namespace, **iterations(2))
            soon(lambda: refusals(plane) >= 4, "the operator was refused")
        for number in range(4):
            soon(partial(synced, namespace, f"storm-{number}"), f"storm-{number} is synced")
        assert len(items("jobs", namespace)) == 8
    finally:
        plane.api_server.end()
        plane.api_server.start()
        plane.wait_until_ready()


def refusals(plane: ControlPlane) -> int:
    """How many requests of the operator the server did not take."""
    entries = (json.loads(line) for line in plane.audit_log.read_text().splitlines() if '"code":429' in line)
    return sum(
        entry["user"]["username"] == "member" and not entry["userAgent"].startswith("crowd") for entry in entries
    )


@contextmanager
def crowd(plane: ControlPlane) -> Iterator[None]:
    """Others who ask more than the API server takes."""
    over = threading.Event()
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "crowd-"}})
    url = f"{plane.url}/api/v1/namespaces/default/configmaps?dryRun=All"
    headers = {
        "Authorization": f"Bearer {plane.member_token}",
        "Content-Type": "application/json",
        "User-Agent": "crowd",
    }

    def ask() -> None:
        http = urllib3.PoolManager(ca_certs=str(plane.authority), retries=False, timeout=10.0)
        while not over.wait(0.002):
            http.request("POST", url, body=body, headers=headers)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_b23_what_is_large_long_or_in_another_script_is_carried_out_like_anything_else(namespace: str) -> None:
    long = "a-very-long-name-" + "x" * 233
    twin = long + ".b"
    names = ["s", long, twin, "dots.and-hyphens.9"]
    big = {"env": [{"name": "TABLE", "value": "ü" * 100_000}]}
    for name in names:
        start(
            name,
            namespace,
            description="Größe, 大きさ, размер: \u202e and a 🚀",
            tags=["überblick=größe"],
            parameters={"list": [{"size": "größe 大 5 µm"}]},
            pod={"containers": [{"name": "train", "image": "training:1", **(big if name == "s" else {})}]},
        )
    for name in names:
        soon(partial(synced, namespace, name), f"{name[:30]} is synced")
    found = items("jobs", namespace)
    assert len({job["metadata"]["name"] for job in found}) == len(names)
    owners = {job["metadata"]["ownerReferences"][0]["name"] for job in found}
    assert owners == set(names)


def condition(namespace: str, name: str, type_: str) -> tuple[str, str]:
    found = (get("experiment", name, namespace) or {}).get("status", {}).get("conditions", ())
    return next(((c["status"], c["reason"]) for c in found if c["type"] == type_), ("", ""))


def test_a_template_with_a_number_among_its_arguments_is_refused_in_words_and_can_be_mended(namespace: str) -> None:
    wrong = {"name": "train", "image": "training:1", "args": ["--epochs", 5]}
    start("wrong", namespace, pod={"containers": [wrong]})
    soon(lambda: condition(namespace, "wrong", "Accepted") == ("False", "TemplateRejected"), "it is told")
    start("wrong", namespace, pod={"containers": [wrong | {"args": ["--epochs", "5"]}]})
    soon(partial(synced, namespace, "wrong"), "it runs")


def test_what_a_rule_of_the_cluster_keeps_out_begins_when_the_rule_goes(namespace: str) -> None:
    rule: dict[str, Any] = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"no-jobs-in-{namespace}"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
                ],
            },
            "validations": [{"expression": "false", "message": "not today"}],
        },
    }
    binding = {
        **rule,
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": rule["metadata"]["name"], "validationActions": ["Deny"]},
    }
    apply(rule)
    apply(binding)
    probe = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}}
    pod = {"restartPolicy": "Never", "containers": [{"name": "probe", "image": "probe"}]}

    def denied() -> bool:
        try:
            kubectl(
                *("create", "--dry-run=server", "--filename=-"),
                namespace=namespace,
                stdin=json.dumps(probe | {"spec": {"template": {"spec": pod}}}),
            )
        except CommandFailed as error:
            return "not today" in str(error)
        return False

    soon(denied, "the rule holds")
    start("kept-out", namespace)
    soon(lambda: condition(namespace, "kept-out", "Running") == ("False", "JobRefused"), "it is told")
    kubectl("delete", "validatingadmissionpolicybinding", rule["metadata"]["name"])
    soon(partial(synced, namespace, "kept-out"), "it runs")
    kubectl("delete", "validatingadmissionpolicy", rule["metadata"]["name"])


def test_neither_labels_in_another_namespace_nor_another_condition_change_what_is_found(
    namespace: str, held: set[str]
) -> None:
    held.add("spoofed")
    start("spoofed", namespace)
    soon(lambda: len(items("pods", namespace)) == 1, "its pod is there")
    [job] = items("jobs", namespace)
    labels = {name: value for name, value in job["metadata"]["labels"].items() if name.startswith("pinnace.dev/")}
    abroad = f"{namespace}-abroad"
    kubectl("create", "namespace", abroad)
    apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "stranger", "labels": labels},
            "spec": {
                "completions": 0,
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "train", "image": "training:1"}]}
                },
            },
        },
        namespace=abroad,
    )
    soon(lambda: bool(items("jobs", abroad)[0].get("status", {}).get("conditions")), "the stranger is complete")
    theirs = {
        "type": "Healthy",
        "status": "True",
        "reason": "Fine",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch = [{"op": "add", "path": "/status/conditions/-", "value": theirs}]
    kubectl(
        *("patch", "experiment", "spoofed", "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}"),
        namespace=namespace,
    )
    held.discard("spoofed")
    assert condition(namespace, "spoofed", "Succeeded") == ("Unknown", "InProgress")
    kubectl("annotate", "pods", "--all", "example.com/look=again", namespace=namespace)
    soon(partial(synced, namespace, "spoofed"), "the pod is proven")
    assert condition(namespace, "spoofed", "Healthy") == ("True", "Fine")
