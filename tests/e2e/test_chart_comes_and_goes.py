"""The chart is upgraded beneath Experiments at work, and taken away in any order: nothing is lost, nothing is stuck."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.installation import CHART, DEFINITION, SYSTEM_NAMESPACE, found, install, install_chart, uninstall_chart
from cluster.kubectl import apply, get, items, kubectl
from pinnace.naming import SIDECAR_CONTAINER
from pinnace_operator.deletion import FINALIZER
from support.engine_crds import RESOURCES, define
from support.eventually import eventually
from support.ledger import Ledger, differences
from support.system import HOLD, Experiment, System, connected, experiment_manifest

Start = Callable[..., Experiment]

#: Another chart than ours: see the page beside it.
PREVIOUS = Path(__file__).parents[1] / "chart/previous/pinnace-0.1.0.tgz"
#: What the previous chart does not know.
WITH_ENGINE = ("--set", "operator.engines={PyTorchJob}")

HOLDS = {"HOLD": HOLD, "SMALL_FILES": "3", "SECONDS_TO_RUN": "0.5", "LATE_FILES": "2"}

#: What a release has that is in no namespace, as docs/operations/operator.md has it.
LEFT = "clusterroles,clusterrolebindings,validatingwebhookconfigurations,mutatingwebhookconfigurations"
OF_THE_RELEASE = "app.kubernetes.io/instance=pinnace,app.kubernetes.io/part-of=pinnace"


@pytest.fixture(scope="module", autouse=True)
def brought_back(installed: None) -> Iterator[None]:
    define("pytorchjobs.yaml")
    yield
    install(lambda _: None)
    kubectl("delete", "crd", RESOURCES["pytorchjobs.yaml"])


@pytest.fixture
def system(brought_back: None, request: pytest.FixtureRequest) -> Iterator[System]:
    """As it is; installed where the test before has left nothing, or by the chart that is asked for."""
    if chart := getattr(request, "param", None):
        leave_nothing()
        installation = install(lambda _: None, chart)
    else:
        installation = found() or install(lambda _: None)
    with connected(installation) as whole:
        yield whole


def leave_nothing() -> None:
    uninstall_chart()
    kubectl("delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s")


def definition() -> dict[str, Any]:
    stored = get("crd", DEFINITION)
    assert stored is not None
    return stored


def pod_of(experiment: Experiment) -> dict[str, Any]:
    """The only one; it has not been disturbed."""
    [pod] = experiment.pods()
    assert pod["status"]["phase"] == "Running"
    statuses = pod["status"]["containerStatuses"] + pod["status"]["initContainerStatuses"]
    assert [status["restartCount"] for status in statuses] == [0, 0]
    assert "deletionTimestamp" not in pod["metadata"]
    return pod


def finalizers(experiment: Experiment) -> list[str]:
    held_by: list[str] = experiment.read()["metadata"].get("finalizers", [])
    return held_by


def nobody_is_left() -> bool:
    return not items("pods", SYSTEM_NAMESPACE)


@pytest.mark.timeout(400)
def test_an_experiment_outlives_an_uninstallation_and_is_proven_by_the_next_installation(
    start: Start, namespace: str, system: System
) -> None:
    experiment = start("left-alone", environment=HOLDS)
    experiment.wait_until_holding(files=3)
    before = pod_of(experiment)
    assert finalizers(experiment) == [FINALIZER]
    uninstall_chart()
    eventually(nobody_is_left, timeout=60, interval=0.5, what="operator and API are gone")
    assert items(LEFT, "", OF_THE_RELEASE) == []
    assert finalizers(experiment) == []
    assert pod_of(experiment)["metadata"]["uid"] == before["metadata"]["uid"]
    experiment.release()
    eventually(lambda: len(experiment.ledger().entries) == 6, timeout=60, interval=0.3, what="the training is over")
    with connected(install(lambda _: None, CHART, *WITH_ENGINE)) as again:
        after = Experiment(again, namespace, "left-alone")
        after.wait_for("ArtifactsSynced", "True")
        assert after.differences() == []
        assert len(again.rows(after.id)) == 3 + 2 + 1
    assert len(items("jobs", namespace)) == 1


@pytest.mark.timeout(300)
def test_files_of_an_engines_pods_come_ashore_and_are_proven(system: System, namespace: str) -> None:
    """The engine's own operator is the test: it makes the pods that the object asks for, and says how they ended."""
    install_chart(CHART, *WITH_ENGINE)
    manifest = experiment_manifest("engine", environment={"SMALL_FILES": "3", "SECONDS_TO_RUN": "1"})
    template = manifest["spec"].pop("template")
    del manifest["spec"]["backoffLimit"]
    replicas = {role: {"replicas": 1, "restartPolicy": "Never", "template": template} for role in ("Master", "Worker")}
    manifest["spec"]["engine"] = {"kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas}}
    apply(manifest, namespace=namespace)
    experiment = Experiment(system, namespace, "engine")
    [made] = eventually(lambda: items("pytorchjobs", namespace), timeout=60, interval=0.3, what="a PyTorchJob")
    for role, replica in made["spec"]["pytorchReplicaSpecs"].items():
        kubectl("create", "--filename=-", namespace=namespace, stdin=json.dumps(engine_pod(made, role, replica)))
    pods = experiment.pods()
    assert [pod["spec"]["initContainers"][0]["name"] for pod in pods] == [SIDECAR_CONTAINER] * 2
    experiment.wait_for("Running", "True")
    eventually(
        lambda: [pod["status"].get("phase") for pod in experiment.pods()] == ["Succeeded"] * 2,
        timeout=120, interval=0.5, what="pods and sidecars have ended",
    )  # fmt: skip
    assert experiment.condition("ArtifactsSynced")["status"] == "False", "nobody has said that there is no further pod"
    status = json.dumps({"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}})
    name = made["metadata"]["name"]
    kubectl(
        "patch", "pytorchjob", name, "--subresource=status", "--type=merge", f"--patch={status}", namespace=namespace
    )
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.condition("Succeeded")["status"] == "True"
    written = set(experiment.ledger().entries)
    assert len(written) >= 2 * 3 + 1, "each pod's own files"
    assert differences(Ledger(entries=sorted(written)), system.rows(experiment.id), system.bucket) == []
    kubectl("delete", "experiment", "engine", "--timeout=60s", namespace=namespace)
    eventually(lambda: not items("pods", namespace), timeout=60, interval=0.5, what="all goes with the Experiment")


def engine_pod(made: dict[str, Any], role: str, replica: dict[str, Any]) -> dict[str, Any]:
    meta = made["metadata"]
    owner = {key: made[key] for key in ("apiVersion", "kind")} | {key: meta[key] for key in ("name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-{role.lower()}-0",
            "labels": replica["template"]["metadata"]["labels"],
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": {"restartPolicy": replica["restartPolicy"], **replica["template"]["spec"]},
    }


@pytest.mark.timeout(300)
def test_who_deletes_the_definition_first_gets_what_its_pods_had_and_a_clean_uninstallation(
    start: Start, namespace: str, system: System
) -> None:
    experiment = start("undefined", environment=HOLDS | {"STAY": "1"})
    experiment.wait_until_holding(files=3)
    pod_of(experiment)
    written, identity = experiment.ledger(), experiment.id
    kubectl("delete", "crd", DEFINITION, "--timeout=120s", timeout=130)
    eventually(lambda: not items("jobs,pods", namespace), timeout=60, interval=0.5, what="its pods go with it")
    rows = {(row.path, row.sha256) for row in system.rows(identity)}
    assert set(written.entries) <= rows
    assert [path for path, _ in rows - set(written.entries)] == ["metrics.jsonl"]
    [event] = [event for event in items("events", namespace) if event["reason"] == "ArtifactsAshore"]
    assert event["involvedObject"]["name"] == "undefined"
    uninstall_chart()
    eventually(nobody_is_left, timeout=60, interval=0.5, what="operator and API are gone")
    assert items(LEFT, "", OF_THE_RELEASE) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("system", [PREVIOUS], indirect=True, ids=["previous"])
def test_an_upgrade_from_the_previous_chart_disturbs_no_experiment_and_brings_the_new_definition(
    start: Start, system: System
) -> None:
    held = start("held", environment=HOLDS)
    sweep = start("sweep", environment={"SECONDS_TO_RUN": "6"}, parameters={"grid": {"n": [1, 2, 3, 4]}})
    held.wait_until_holding(files=3)
    before, spec = pod_of(held), held.read()["spec"]
    assert "engine" not in spec_of_the_definition()
    webhooks = authorities()
    assert all(webhooks)
    install_chart(CHART, *WITH_ENGINE)
    assert "engine" in spec_of_the_definition()
    assert definition()["status"]["storedVersions"] == ["v1alpha1"]
    assert authorities() == webhooks
    assert pod_of(held)["metadata"]["uid"] == before["metadata"]["uid"]
    assert is_kept(spec, held.read()["spec"])
    assert sweep.condition("ArtifactsSynced")["status"] == "False", "it was over before the upgrade: nothing was proven"
    held.release()
    for experiment in (held, sweep):
        experiment.wait_for("ArtifactsSynced", "True")
        assert experiment.condition("Succeeded")["status"] == "True"
        assert experiment.differences() == []
    # The token that was given before the upgrade still opens the API.
    assert len(system.rows(held.id)) == 3 + 2 + 1
    assert len(list(system.api.iterations(sweep.id))) == 4
    assert len(items("jobs", held.namespace)) == 1 + 4


def is_kept(old: Any, new: Any) -> bool:
    """New fields may have come with their defaults; none has gone or changed."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and is_kept(value, new[key]) for key, value in old.items())
    return bool(old == new)


def spec_of_the_definition() -> dict[str, Any]:
    [version] = definition()["spec"]["versions"]
    properties: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return properties


def authorities() -> list[str]:
    """By which the API server knows the webhooks; the operator writes them, and the chart has none."""
    both = items("validatingwebhookconfigurations,mutatingwebhookconfigurations", "", OF_THE_RELEASE)
    return [webhook["clientConfig"].get("caBundle", "") for one in both for webhook in one["webhooks"]]


@pytest.mark.timeout(300)
def test_who_deletes_the_systems_namespace_first_leaves_no_finalizer_and_finds_the_rest_by_its_label(
    start: Start, system: System
) -> None:
    # Nobody will ever record what is left, so it is not waited for.
    gives_up = {"completion": {"settleSeconds": 1}, "drainTimeoutSeconds": 5}
    experiment = start("without-anybody", environment=HOLDS | {"STAY": "1"}, artifacts=gives_up)
    experiment.wait_until_holding(files=3)
    before = pod_of(experiment)
    assert finalizers(experiment) == [FINALIZER]
    kubectl("delete", "namespace", SYSTEM_NAMESPACE, "--timeout=120s", timeout=130)
    assert finalizers(experiment) == []
    assert pod_of(experiment)["metadata"]["uid"] == before["metadata"]["uid"]
    kubectl("delete", LEFT, f"--selector={OF_THE_RELEASE}")
    kubectl("delete", "experiment", experiment.name, "--timeout=60s", namespace=experiment.namespace)
    eventually(lambda: not items("jobs", experiment.namespace), timeout=60, interval=0.5, what="its Job goes with it")
