"""What Kubernetes does to a pod: it comes ashore all the same, or it is said that something may be missing.

The numbers are those of docs/operations/failure-scenarios.md.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cluster.installation import bring_store_key
from cluster.kubectl import CommandFailed, apply, items, kubectl, run
from pinnace.naming import SIDECAR_CONTAINER
from support.eventually import eventually
from support.ledger import Ledger, differences
from support.store_keys import disable_key, make_key
from support.system import HOLD, TRAINING, Experiment, System, experiment_manifest, is_ready, on_node

Start = Callable[..., Experiment]

HOLDS = {"HOLD": HOLD, "SMALL_FILES": "3", "SECONDS_TO_RUN": "0.5"}

#: In a container: use up its memory by many processes, each smaller than its first, which the kernel then chooses.
EXHAUST_MEMORY = """
import os, signal
with open("/proc/1/oom_score_adj", "w") as score:
    score.write("1000")
for _ in range(200):
    if not os.fork():
        held = b"x" * 4 * 2**20
        signal.pause()
signal.pause()
"""


def completed_files_ashore(system: System, experiment: Experiment, written: Ledger) -> list[str]:
    """What of `written` is not ashore; what was torn off at the end may be there too, as suspect."""
    torn = {(row.path, row.sha256) for row in system.rows(experiment.id) if row.suspect} - set(written.entries)
    rows = [row for row in system.rows(experiment.id) if (row.path, row.sha256) not in torn]
    return differences(written, rows, system.bucket)


def artifacts(**spec: Any) -> dict[str, Any]:
    return {"completion": {"settleSeconds": 1}, **spec}


@pytest.mark.timeout(300)
def test_b13_a_pod_evicted_for_its_disk_use_keeps_what_was_ashore_and_does_not_count_as_synced(
    start: Start, system: System
) -> None:
    experiment = start(
        "evicted",
        environment=HOLDS | {"FLOOD_MIB": "64", "STAY": "1"},
        artifacts=artifacts(volume={"emptyDir": {"sizeLimit": "32Mi"}}),
    )
    experiment.wait_until_holding(files=3)
    written = experiment.ledger()
    experiment.release()
    failed = experiment.wait_for("Succeeded", "False", timeout=180)
    unproven = experiment.wait_for("ArtifactsSynced", "False", reason="Unproven")
    for message in (failed["message"], unproven["message"]):
        assert "Evicted" in message
        assert 'exceeds the limit "32Mi"' in message
    assert completed_files_ashore(system, experiment, written) == []


@pytest.mark.timeout(300)
def test_b01_what_a_training_killed_for_its_memory_had_completed_is_shipped_and_the_torn_file_is_suspect(
    start: Start, system: System
) -> None:
    experiment = start(
        "training-out-of-memory",
        environment=HOLDS | {"LATE_FILES": "2", "STAY": "1"},
        memory="96Mi",
        artifacts={"completion": {"settleSeconds": 300}, "volume": {"emptyDir": {"sizeLimit": "1Gi"}}},
    )
    experiment.wait_until_running()
    experiment.wait_until_holding(files=0)
    experiment.release()
    eventually(lambda: len(system.rows(experiment.id)) == 2, timeout=60, interval=0.3, what="what is marked is ashore")
    with pytest.raises(CommandFailed):
        experiment.execute(TRAINING, "python3", "-c", EXHAUST_MEMORY)
    assert "OOMKilled" in experiment.wait_for("Succeeded", "False", reason="IterationsFailed")["message"]
    experiment.wait_for("ArtifactsSynced", "True")
    assert completed_files_ashore(system, experiment, experiment.ledger()) == []
    assert "metrics.jsonl" in [row.path for row in system.rows(experiment.id) if row.suspect]


@pytest.mark.timeout(300)
def test_b02_a_sidecar_killed_for_its_memory_starts_again_and_goes_on(start: Start, system: System) -> None:
    experiment = start("out-of-memory", environment=HOLDS | {"LATE_FILES": "3"})
    experiment.wait_until_holding(files=3)
    with pytest.raises(CommandFailed):
        experiment.execute(SIDECAR_CONTAINER, "python3", "-c", EXHAUST_MEMORY)
    again = eventually(
        lambda: (status := experiment.sidecar())["restartCount"] and "running" in status["state"] and status,
        timeout=90, interval=0.3, what="the sidecar runs again",
    )  # fmt: skip
    assert again["lastState"]["terminated"]["reason"] == "OOMKilled"
    experiment.release()
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.differences() == []
    assert len(system.rows(experiment.id)) == 3 + 3 + 1


@pytest.mark.timeout(300)
def test_b11_a_pod_that_is_asked_to_go_ships_what_it_has_and_goes_at_once(start: Start, system: System) -> None:
    experiment = start("asked-to-go", environment=HOLDS | {"LATE_FILES": "3", "STAY": "1"})
    experiment.wait_until_holding(files=3)
    experiment.release()
    eventually(lambda: len(system.rows(experiment.id)) == 6, timeout=60, interval=0.3, what="late files recorded")
    written, [pod] = experiment.ledger(), experiment.pods()
    asked = time.monotonic()
    kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", namespace=experiment.namespace)
    experiment.wait_for("ArtifactsSynced", "True", timeout=90)
    assert time.monotonic() - asked < 60, "what it waited for was itself"
    assert experiment.condition("Succeeded")["status"] == "False"
    rows = system.rows(experiment.id)
    # What is appended to comes when its writer has ended; this one did not live to enter it in the ledger.
    [metrics] = [row for row in rows if row.path == "metrics.jsonl"]
    assert differences(written, [row for row in rows if row != metrics], system.bucket) == []


@pytest.mark.timeout(300)
def test_b24_a_secret_that_is_missing_is_named_and_used_when_it_appears(
    start: Start, namespace: str, system: System
) -> None:
    kubectl("delete", "secret", "pinnace-store", namespace=namespace)
    experiment = start("no-secret", environment=HOLDS)
    missing = experiment.wait_for("ArtifactsSynced", "False", reason="CredentialsMissing", timeout=120)
    assert missing["message"]
    assert experiment.condition("Running")["status"] == "True"
    bring_store_key(namespace, system.installation.access_key, system.installation.secret_key)
    [pod] = experiment.pods()
    # A change of the pod has the kubelet look at its volumes at once; by itself it does so every minute.
    kubectl("annotate", "pod", pod["metadata"]["name"], "example.com/look=now", namespace=namespace)
    eventually(lambda: len(system.rows(experiment.id)) == 3, timeout=120, interval=0.3, what="what waited is ashore")
    experiment.release()
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.differences() == []


@pytest.mark.timeout(300)
def test_b14_a_pod_deleted_without_grace_never_counts_as_synced_and_what_was_on_its_way_is_named(
    start: Start, system: System
) -> None:
    experiment = start("no-grace", environment=HOLDS | {"LATE_FILES": "2", "STAY": "1"})
    experiment.wait_until_holding(files=3)
    ashore, pods = experiment.ledger(), experiment.pods()
    system.stop_store()
    try:
        experiment.release()
        eventually(
            lambda: (experiment.read()["status"]["artifacts"]["pending"]) >= 2,
            timeout=60, interval=0.3, what="two files on their way",
        )  # fmt: skip
        kubectl(
            "delete", "pod", pods[0]["metadata"]["name"], "--grace-period=0", "--force", "--wait=false",
            namespace=experiment.namespace,
        )  # fmt: skip
        unproven = experiment.wait_for("ArtifactsSynced", "False", reason="Unproven")
    finally:
        system.thaw_store()
    assert experiment.condition("Succeeded")["status"] == "False"
    assert "on their way" in unproven["message"]
    assert completed_files_ashore(system, experiment, ashore) == []
    assert experiment.condition("ArtifactsSynced")["reason"] == "Unproven"


@pytest.mark.timeout(300)
def test_b30_a_key_that_is_disabled_is_named_and_the_secrets_new_one_is_used_within_seconds(
    start: Start, namespace: str, system: System
) -> None:
    first, second = f"{namespace}-first", f"{namespace}-second"
    bring_store_key(namespace, first, make_key(system.installation, first))
    experiment = start("rotated", environment=HOLDS | {"LATE_FILES": "3", "STAY": "1"})
    experiment.wait_until_holding(files=3)
    disable_key(system.installation, first)
    experiment.release()
    refused = experiment.wait_for("ArtifactsSynced", "False", reason="InvalidAccessKeyId")
    assert refused["message"]
    bring_store_key(namespace, second, make_key(system.installation, second))
    # A change of the pod has the kubelet look at its volumes at once; by itself it does so every minute.
    [pod] = experiment.pods()
    kubectl("annotate", "pod", pod["metadata"]["name"], "example.com/look=now", namespace=namespace)
    eventually(
        lambda: second in experiment.execute(SIDECAR_CONTAINER, "cat", "/var/run/pinnace/store/AWS_ACCESS_KEY_ID"),
        timeout=120, interval=0.3, what="the new Secret in the pod",
    )  # fmt: skip
    eventually(lambda: len(system.rows(experiment.id)) == 6, timeout=30, interval=0.3, what="resumed within seconds")
    experiment.end()
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.differences() == []


@pytest.mark.timeout(300)
def test_b30_a_key_is_handed_to_a_pod_whose_training_has_ended(start: Start, namespace: str, system: System) -> None:
    first, second = f"{namespace}-first", f"{namespace}-second"
    bring_store_key(namespace, first, make_key(system.installation, first))
    experiment = start("handed", environment=HOLDS | {"LATE_FILES": "3"})
    experiment.wait_until_holding(files=3)
    disable_key(system.installation, first)
    experiment.release()
    experiment.wait_for("ArtifactsSynced", "False", reason="InvalidAccessKeyId")
    bring_store_key(namespace, second, make_key(system.installation, second))
    secret = kubectl("get", "secret", "pinnace-store", "--output=json", namespace=namespace)
    told = experiment.execute(SIDECAR_CONTAINER, "python3", "-m", "pinnace_sidecar", "credentials", stdin=secret)
    assert second in told
    experiment.wait_for("ArtifactsSynced", "True", timeout=90)
    assert experiment.differences() == []


@pytest.mark.timeout(300)
def test_b09_a_sidecar_whose_image_can_not_be_pulled_holds_the_training_up_and_is_named(
    start: Start, system: System, namespace: str
) -> None:
    body = experiment_manifest("no-image", environment={"SMALL_FILES": "3", "SECONDS_TO_RUN": "1"})
    body["spec"]["template"]["spec"]["schedulingGates"] = [{"name": "example.com/until-it-is-changed"}]
    apply(body, namespace=namespace)
    experiment = Experiment(system, namespace, "no-image")
    [pod] = eventually(experiment.pods, timeout=60, interval=0.3, what="its pod")
    name, image = pod["metadata"]["name"], pod["spec"]["initContainers"][0]["image"]
    set_sidecar_image(name, namespace, "localhost:1/nowhere:1")
    kubectl("patch", "pod", name, "--type=merge", '--patch={"spec":{"schedulingGates":null}}', namespace=namespace)
    missing = experiment.wait_for("Running", "False", reason="ImagePullFailed", timeout=90)
    assert name in missing["message"]
    [pod] = experiment.pods()
    [training] = pod["status"]["containerStatuses"]
    assert training["state"]["waiting"]["reason"] == "PodInitializing"
    set_sidecar_image(name, namespace, image)
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.condition("Succeeded")["status"] == "True"
    assert experiment.differences() == []


def set_sidecar_image(pod: str, namespace: str, image: str) -> None:
    patch = json.dumps({"spec": {"initContainers": [{"name": SIDECAR_CONTAINER, "image": image}]}})
    kubectl("patch", "pod", pod, f"--patch={patch}", namespace=namespace)


@pytest.mark.timeout(300)
def test_b16_training_and_sidecar_go_on_while_the_kubelet_is_stopped_and_their_pod_is_given_up(
    system: System, namespace: str
) -> None:
    body = experiment_manifest("no-kubelet", environment={"SMALL_FILES": "16", "SECONDS_TO_RUN": "8"})
    given_up = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    body["spec"]["template"]["spec"]["tolerations"] = [given_up | {"tolerationSeconds": 1}]
    apply(body, namespace=namespace)
    experiment = Experiment(system, namespace, "no-kubelet")
    eventually(lambda: len(system.rows(experiment.id)) >= 2, timeout=120, interval=0.2, what="the first files recorded")
    on_node("pkill", "-STOP", "-x", "kubelet")
    try:
        before = len(system.rows(experiment.id))
        eventually(lambda: len(system.rows(experiment.id)) == 16, timeout=60, interval=0.3, what="all files recorded")
        eventually(lambda: not training_runs(experiment), timeout=60, interval=0.3, what="the training is over")
        assert before < 16, "everything was ashore before the kubelet stopped: nothing was proven"
        [pod] = experiment.pods()
        assert pod["status"]["phase"] == "Running"
        assert experiment.condition("ArtifactsSynced")["status"] == "False"
        eventually(
            lambda: "deletionTimestamp" in experiment.pods()[0]["metadata"],
            timeout=90, interval=0.5, what="the node is given up, and the pod on it",
        )  # fmt: skip
    finally:
        on_node("pkill", "-CONT", "-x", "kubelet")
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.differences() == []


def training_runs(experiment: Experiment) -> bool:
    """Whether the node has a process of the training, whatever the kubelet knows of it."""
    variable = f"PINNACE_EXPERIMENT={experiment.name}"
    return bool(on_node("sh", "-c", f"grep -lz ^{variable}$ /proc/[0-9]*/environ 2> /dev/null || true"))


@pytest.mark.timeout(300)
def test_b17_a_namespace_goes_with_a_pod_at_work_that_ships_what_it_has(
    start: Start, system: System, namespace: str
) -> None:
    experiment = start("homeless", environment=HOLDS | {"STAY": "1"})
    experiment.wait_until_holding(files=3)
    written, identity = experiment.ledger(), experiment.id
    kubectl("delete", "namespace", namespace, "--timeout=120s", timeout=130)
    rows = system.rows(identity)
    [metrics] = [row for row in rows if row.path == "metrics.jsonl"]
    assert differences(written, [row for row in rows if row != metrics], system.bucket) == []


@pytest.mark.timeout(400)
def test_b15_after_a_power_cut_what_lies_on_a_claim_is_rescued_and_what_does_not_is_said_to_be_unproven(
    start: Start, system: System
) -> None:
    environment = HOLDS | {"LATE_FILES": "3", "STAY": "1"}
    claim = {"volume": {"persistentVolumeClaim": {"size": "256Mi"}}, "buffer": {"sizeLimit": "64Mi"}}
    kept = start("on-a-claim", environment=environment, artifacts=artifacts(**claim))
    lost = start("on-the-node", environment=environment)
    for experiment in (kept, lost):
        experiment.wait_until_holding(files=3)
    ashore = lost.ledger()
    system.stop_store()
    for experiment in (kept, lost):
        experiment.release()
        eventually(
            lambda one=experiment: len(one.ledger().entries) == 6,  # type: ignore[misc]
            timeout=60, interval=0.3, what="three more files",
        )  # fmt: skip
    written = kept.ledger()
    cut_power()
    kept.wait_for("ArtifactsSynced", "True")
    # Its metrics had no end that anybody could enter.
    rows = [row for row in system.rows(kept.id) if row.path != "metrics.jsonl"]
    assert differences(written, rows, system.bucket) == []
    lost.wait_for("ArtifactsSynced", "False", reason="Unproven")
    assert completed_files_ashore(system, lost, ashore) == []


def cut_power() -> None:
    """Every process of the node is killed at once and it starts again; returns when the cluster answers."""
    node = items("nodes")[0]["metadata"]["name"]
    run(["docker", "restart", "--time=0", node], timeout=120)
    eventually(is_ready, timeout=180, interval=1, what="the cluster answers again")
