"""A real API server takes every object of the chart without a word, and Experiments of the previous version with it.

There is no node: nothing is run. Prometheus' kinds are there as monitoring-crds.yaml abridges them.
"""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import apply, get, helm, items, kubectl
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ConditionType
from support.chart import CHART, NAMESPACE, RELEASE, VALUE_SETS, of_kind, one, render
from support.control_plane import control_plane
from support.crd import documents

HERE = Path(__file__).parent
PREVIOUS = HERE / "previous"
EXPERIMENTS = "experiments.pinnace.dev"
OLD = "old"


@pytest.fixture(scope="module", autouse=True)
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With the previous version's definition, and namespaces where only restricted pods may run."""
    with control_plane(tmp_path_factory.mktemp("plane")) as started, pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(started.kubeconfig))
        for file in (HERE / "monitoring-crds.yaml", PREVIOUS / "experiments-crd.yaml"):
            kubectl("apply", "--server-side", "--filename", str(file))
        restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        for name in (NAMESPACE, "team-a", "team-b", OLD):
            apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}})
            # Which a controller would make; a pod is not taken without it.
            apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, namespace=name)
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield


@pytest.fixture(scope="module")
def upgraded(plane: None) -> dict[str, dict[str, Any]]:
    """Experiments that the previous version left at work, as they were; their definition is the chart's own since."""
    for document in documents(PREVIOUS / "experiments.yaml"):
        document["metadata"] = {"name": document["metadata"]["name"], "namespace": OLD}
        kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(document))
    for name, body in experiments().items():
        status = copy.deepcopy(STATUS) | {"experimentId": body["metadata"]["uid"]}
        patch = json.dumps({"status": status})
        kubectl("patch", EXPERIMENTS, name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=OLD)
    before = experiments()
    assert len(before) > 4
    apply(one(render(store__bucket="artifacts"), "CustomResourceDefinition", EXPERIMENTS))
    kubectl("wait", "--for=condition=Established", f"crd/{EXPERIMENTS}", "--timeout=30s")
    return before


_MOMENT = "2026-01-01T00:00:00Z"
STATUS = {
    "observedGeneration": 1,
    "startTime": _MOMENT,
    "iterations": {
        "total": 4, "active": 2, "succeeded": 1, "failed": 1, "synced": 1,
        "succeededIndexes": "0", "failedIndexes": "1", "syncedIndexes": "0", "startedIndexes": "0-3", "lostIndexes": "",
        "bestIteration": 0, "bestValue": "0.97",
    },
    "artifacts": {"recorded": 3, "bytes": 30, "pending": 1, "oldestUnshippedSeconds": 4},
    "conditions": [
        {
            "type": type_, "status": status, "reason": "Reason", "message": "what is, and what to do",
            "lastTransitionTime": _MOMENT, "observedGeneration": 1,
        }
        for type_, status in (
            ("Accepted", "True"), ("Running", "True"), ("Succeeded", "Unknown"), ("ArtifactsSynced", "False"),
        )
    ],
}  # fmt: skip


def experiments() -> dict[str, dict[str, Any]]:
    return {body["metadata"]["name"]: body for body in items(EXPERIMENTS, OLD)}


def without_meta(body: dict[str, Any]) -> dict[str, Any]:
    return {"spec": body["spec"], "status": body["status"]}


def test_experiments_at_work_are_the_same_after_an_upgrade(upgraded: dict[str, dict[str, Any]]) -> None:
    definition = get("crd", EXPERIMENTS)
    assert definition
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert definition["status"]["storedVersions"] == ["v1alpha1"]
    for name, body in experiments().items():
        old = without_meta(upgraded[name])
        new = without_meta(body)
        # New fields may have come with their defaults; none has gone or changed.
        assert _gone(old, new) == [], name


def _gone(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key, value in old.items()
            for found in (_gone(value, new[key], f"{path}.{key}") if key in new else [f"{path}.{key}"])
        ]
    return [] if old == new else [path]


def test_the_operator_reads_what_the_previous_one_wrote(upgraded: dict[str, dict[str, Any]]) -> None:
    for body in experiments().values():
        read = Experiment.from_manifest(body)
        assert [*read.status.succeeded, *read.status.failed, *read.status.synced] == [0, 1, 0]
        assert len(read.status.started) == 4
        synced = read.status.condition(ConditionType.ARTIFACTS_SYNCED)
        assert synced is not None
        assert synced.status.value == "False"


def test_experiments_of_the_previous_version_can_still_be_changed(upgraded: dict[str, dict[str, Any]]) -> None:
    for name in upgraded:
        kubectl("annotate", "--overwrite", EXPERIMENTS, name, "touched=yes", namespace=OLD)
        patch = json.dumps({"spec": {"suspend": True, "parallelism": 7}})
        kubectl("patch", EXPERIMENTS, name, "--type=merge", f"--patch={patch}", namespace=OLD)
        patch = json.dumps({"status": {"artifacts": {"recorded": 4}}})
        kubectl("patch", EXPERIMENTS, name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=OLD)
    table = kubectl("get", EXPERIMENTS, namespace=OLD)
    assert len(table.splitlines()) == 1 + len(upgraded)


@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def test_an_api_server_takes_every_object_without_a_warning(values: Path, upgraded: dict[str, dict[str, Any]]) -> None:
    manifests = [
        manifest
        for manifest in render(values, monitoring__install="always", monitoring__dashboard__enabled=True)
        # It has no definition of these here.
        if not manifest["apiVersion"].startswith("cert-manager.io/")
    ]
    assert of_kind(manifests, "PrometheusRule")
    together = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    done = subprocess.run(
        ["kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-"],
        input=together, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(done.stdout.splitlines()) == len(manifests)


def test_a_misspelt_field_would_have_been_noticed() -> None:
    rule = one(render(store__bucket="artifacts", monitoring__install="always"), "PrometheusRule")
    rule["spec"]["groups"][0]["rules"][0]["fore"] = "5m"
    done = subprocess.run(
        ["kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"],
        input=json.dumps(rule), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "fore" in done.stderr


def test_values_of_the_previous_version_are_still_taken() -> None:
    assert render(PREVIOUS / "everything-values.yaml")


@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def test_what_helm_says_at_the_end_names_things_that_are_there(
    values: Path, upgraded: dict[str, dict[str, Any]]
) -> None:
    said = helm(
        *("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=server", "--values", str(values)),
        *("--set", "crds.install=false", "--set", "monitoring.install=auto"),
        # The cluster does not know cert-manager's kinds.
        *("--set", "webhook.certificates.source=operator"),
    ).split("\nNOTES:\n")[1]
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in render(values)}
    for kind, name in re.findall(r"(?:port-forward .* |get )(service|secret)[ /]([a-z0-9.-]+)", said):
        chosen_by_values = kind == "secret" and (kind.capitalize(), name) not in names
        assert (kind.capitalize(), name) in names or (chosen_by_values and name in values.read_text())
    assert "kubectl pinnace status" in said
    # The cluster knows Prometheus' kinds here.
    assert "monitoring.install is auto" not in said
    assert "<no value>" not in said
    assert "%!" not in said
