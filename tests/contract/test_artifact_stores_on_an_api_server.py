"""ArtifactStores on a real API server: what it takes, and what an operator that runs beside it makes of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from cluster.kubectl import CommandFailed, apply, get, items, kubectl
from pinnace.artifact_stores import ArtifactStore
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, SidecarSettings, load, load_store
from pinnace_api.cluster import KubernetesReviewer
from support.api_server import OPERATOR_TOKEN, api_server
from support.control_plane import ControlPlane
from support.crd import BAD_STORES, GOOD_STORES, STORE_CRD, Expectation, documents
from support.eventually import eventually
from support.ports import free_port

pytestmark = pytest.mark.usefixtures("plane")

_T = TypeVar("_T")


@pytest.fixture
def reviewer(plane: ControlPlane) -> KubernetesReviewer:
    configuration = Configuration()
    load_kube_config(str(plane.kubeconfig), client_configuration=configuration)
    return KubernetesReviewer(ApiClient(configuration))


@pytest.mark.parametrize("path", GOOD_STORES, ids=lambda path: path.stem)
def test_a_good_sample_is_taken_and_read_as_it_was_written(path: Path, reviewer: KubernetesReviewer) -> None:
    [sample] = documents(path)
    apply(sample)
    assert reviewer.artifact_store(path.stem) == ArtifactStore.from_manifest(sample), "the defaults are the same"
    kubectl("delete", "artifactstore", path.stem)
    assert reviewer.artifact_store(path.stem) is None


@pytest.mark.parametrize("path", BAD_STORES, ids=lambda path: path.stem)
def test_a_bad_sample_is_refused_with_the_field_and_what_to_write(path: Path) -> None:
    expectation = Expectation.of(path)
    with pytest.raises(CommandFailed) as caught:
        kubectl("apply", "--dry-run=server", "--filename", str(path))
    assert f"{expectation.field}: " in str(caught.value)
    assert expectation.message in str(caught.value)


def test_every_rule_is_broken_by_some_sample_and_every_field_explained() -> None:
    schema = yaml.safe_load(STORE_CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    expected = [Expectation.of(path).message for path in BAD_STORES]
    pending = [("", schema)]
    while pending:
        name, node = pending.pop()
        for rule in node.get("x-kubernetes-validations", ()):
            assert any(part in rule["message"] for part in expected), rule["message"]
        if name not in ("", "metadata", "items"):
            assert len(node.get("description", "")) >= 5, f"kubectl explain would show nothing of {name}"
        pending += node.get("properties", {}).items()
        if node.get("items", {}).get("type") == "object":
            pending.append(("items", node["items"]))


def test_a_list_shows_where_whose_and_which_is_the_default() -> None:
    [sample] = documents(next(path for path in GOOD_STORES if path.stem == "aws-sessions"))
    apply(sample)
    head, row = kubectl("get", "artifactstores").splitlines()
    assert head.split() == ["NAME", "BUCKET", "PREFIX", "CREDENTIALS", "DEFAULT", "AGE"]
    assert row.split()[:-1] == ["aws-sessions", "acme-experiments", "STS", "true"]
    kubectl("delete", "artifactstore", "aws-sessions")


def test_the_api_asks_for_labels_of_namespaces(reviewer: KubernetesReviewer) -> None:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "labelled", "labels": {"team": "a"}}})
    labels = reviewer.namespace_labels("labelled")
    assert labels is not None
    assert labels["team"] == "a"
    assert reviewer.namespace_labels("none") is None


# --- beside an operator


@pytest.fixture
def operator(plane: ControlPlane, tmp_path: Path) -> Iterator["Operator"]:
    with api_server(tmp_path) as api:
        started = Operator(plane.kubeconfig, tmp_path, api.url)
        started.start()
        yield started
        started.stop()


class Operator:
    """`python -m pinnace_operator`, which serves ArtifactStores and has no default store."""

    def __init__(self, kubeconfig: Path, folder: Path, api_url: str) -> None:
        (folder / "token").write_text(OPERATOR_TOKEN)
        self.log = folder / "operator.log"
        self._environment = {
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PINNACE_OPERATOR_API_URL": api_url,
            "PINNACE_OPERATOR_API_TOKEN_FILE": str(folder / "token"),
            "PINNACE_OPERATOR_SIDECAR_IMAGE": "sidecar:test",
            "PINNACE_OPERATOR_ARTIFACT_STORES": "true",
            "PINNACE_OPERATOR_ALLOW_INLINE_STORES": "false",
            "PINNACE_OPERATOR_HEALTH_PORT": str(free_port()),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pinnace_operator"], env=self._environment, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None


def experiment(name: str, **store: Any) -> None:
    container = {"name": "train", "image": "training:1"}
    spec = {"artifacts": {"store": store}, "template": {"spec": {"containers": [container]}}}
    meta = {"name": name, "namespace": "team-a"}
    apply({"apiVersion": "pinnace.dev/v1alpha1", "kind": "Experiment", "metadata": meta, "spec": spec})


def accepted(name: str) -> dict[str, Any]:
    found = get("experiment", name, "team-a") or {}
    conditions = found.get("status", {}).get("conditions", ())
    return next(
        (each for each in conditions if each["type"] == "Accepted"), {"status": "", "message": "", "reason": ""}
    )


def job_of(name: str) -> dict[str, Any] | None:
    found = [job for job in items("jobs", "team-a") if job["metadata"]["labels"]["pinnace.dev/experiment"] == name]
    return found[0] if found else None


def soon(probe: Callable[[], _T | None], what: str) -> _T:
    """On a busy machine an operator takes its time to begin."""
    return eventually(probe, timeout=120, interval=0.25, what=what)


def test_who_is_offered_a_store_gets_it_and_who_is_not_is_told_by_whom_that_can_be_mended(operator: Operator) -> None:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    access = {"source": "STS", "sts": {"secretRef": {"name": "admin-key"}}}
    spec = {"endpoint": "http://minio:9000", "bucket": "experiments", "prefix": "all", "credentials": access}
    store = {"apiVersion": "pinnace.dev/v1alpha1", "kind": "ArtifactStore", "metadata": {"name": "research"}}
    apply(store | {"spec": {**spec, "namespaceSelector": {"matchLabels": {"store": "research"}}}})
    experiment("named", ref="research", prefix="trees")
    experiment("unknown", ref="nothing")
    experiment("own", endpoint="http://169.254.169.254", bucket="mine")

    # Not offered yet, in the very words for what is not there.
    soon(lambda: accepted("named")["status"] == "False", "the refusal")
    soon(lambda: accepted("unknown")["status"] == "False", "the refusal")
    message = accepted("named")["message"]
    assert accepted("named")["reason"] == "StoreNotOffered"
    assert message.replace("research", "NAME") == accepted("unknown")["message"].replace("nothing", "NAME")
    assert "the administrator offers one" in message
    soon(lambda: accepted("own")["reason"] == "OwnStoresNotAllowed", "the refusal")
    assert items("jobs", "team-a") == []

    # A label of the namespace offers it.
    kubectl("label", "namespace", "team-a", "store=research")
    job = soon(lambda: job_of("named"), "the Job")
    assert job is not None
    assert accepted("named")["status"] == "True"
    pod = job["spec"]["template"]["spec"]
    environment = {each["name"]: each.get("value", "uid") for each in pod["initContainers"][0]["env"]}
    assert load(SidecarSettings, environment, SIDECAR_PREFIX).artifact_store == "research"
    settings = load_store(environment)
    assert (settings.bucket, settings.prefix, settings.credentials_dir) == ("experiments", "all/team-a/trees", "")
    assert "pinnace-store-credentials" not in {volume["name"] for volume in pod["volumes"]}
    assert f"{STORE_PREFIX}CREDENTIALS_DIR" not in environment

    # A restart refuses nothing that was accepted, not even for a moment.
    operator.stop()
    before = accepted("named")["lastTransitionTime"]
    operator.start()
    experiment("second", ref="research")
    soon(lambda: job_of("second"), "the Job of another one")
    assert accepted("named")["lastTransitionTime"] == before

    # Withdrawn: what runs goes on, nothing more is begun.
    kubectl("label", "namespace", "team-a", "store-")
    soon(lambda: accepted("named")["reason"] == "StoreNotOffered", "the withdrawal")
    again = job_of("named")
    assert again is not None
    assert again["metadata"]["uid"] == job["metadata"]["uid"]
    assert not again["spec"].get("suspend")

    # A default for the namespace.
    apply(store | {"spec": {**spec, "default": True, "namespaces": ["team-a"]}})
    experiment("plain")
    soon(lambda: job_of("plain"), "the Job with the default store")
    other = store | {"metadata": {"name": "another"}, "spec": {**spec, "default": True, "namespaces": ["team-a"]}}
    apply(other)
    experiment("torn")
    soon(lambda: accepted("torn")["reason"] == "SeveralDefaultStores", "the refusal")
    assert "another, research" in accepted("torn")["message"]
    for line in operator.log.read_text().splitlines():
        assert json.loads(line)["severity"] not in ("error", "critical"), line
