"""What outlives a pod on its claim comes ashore without it, and what came ashore comes back to the next one."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.kubectl import apply, get, items, kubectl
from pinnace.naming import RESCUES_LABEL
from support.eventually import eventually
from support.ledger import Ledger, differences
from support.system import HOLD, TRAINING, Experiment, System, experiment_manifest, on_node

ON_A_CLAIM = {
    "completion": {"settleSeconds": 1},
    "volume": {"persistentVolumeClaim": {"size": "256Mi"}},
    "buffer": {"sizeLimit": "64Mi"},
}

#: Writes a checkpoint and fails; a pod that finds one says what it found and ends well.
RESUMES = """
import hashlib, json, os, pathlib, sys
root = pathlib.Path(os.environ["PINNACE_ARTIFACTS_DIR"])

def told(path):
    return hashlib.sha256(path.read_bytes()).hexdigest(), str(path.relative_to(root))

found = sorted(path for path in root.rglob("*") if path.is_file())
print("FOUND", json.dumps([told(path) for path in found]), flush=True)
if found:
    (root / "checkpoint/weights").write_bytes(b"more")
    sys.exit(0)
folder = root / "checkpoint"
folder.mkdir()
for name, size in ("weights", 300_000), ("state", 10):
    (folder / name).write_bytes(os.urandom(size))
    print("LEDGER", *told(folder / name), flush=True)
(folder / "manifest.tmp").write_text(json.dumps({"files": [{"path": "weights"}, {"path": "state"}]}))
(folder / "manifest.tmp").rename(folder / "pinnace-manifest.json")
print("LEDGER", *told(folder / "pinnace-manifest.json"), flush=True)
sys.exit(3)
"""


def log_of(pod: dict[str, Any], namespace: str) -> str:
    return kubectl("logs", pod["metadata"]["name"], f"--container={TRAINING}", namespace=namespace)


def trainings(experiment: Experiment) -> list[dict[str, Any]]:
    """By their age."""
    pods = [pod for pod in experiment.pods() if RESCUES_LABEL not in pod["metadata"]["labels"]]
    return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


@pytest.fixture
def plug_in(namespace: str) -> Iterator[Callable[[], None]]:
    """Makes a volume, of a class that is called like the namespace. Its root is the superuser's alone, as those of new
    disks are; Kubernetes gives it to the pod's fsGroup."""
    folder = f"/var/local/{namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            "storageClassName": namespace,
            "capacity": {"storage": "256Mi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": folder},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
                    ]
                }
            },
        },
    }

    def make() -> None:
        on_node("mkdir", "--mode=700", folder)
        apply(volume)

    yield make
    kubectl("delete", "persistentvolume", namespace, "--wait=false", "--ignore-not-found")
    on_node("rm", "--recursive", "--force", folder)


@pytest.mark.timeout(400)
def test_b14_b15_b24_what_a_pod_killed_without_grace_left_on_its_claim_is_rescued_whoever_wrote_it(
    system: System, namespace: str, plug_in: Callable[[], None]
) -> None:
    environment = {"HOLD": HOLD, "SMALL_FILES": "3", "SECONDS_TO_RUN": "0.5", "LATE_FILES": "3", "STAY": "1"}
    volume = {"persistentVolumeClaim": {"size": "256Mi", "storageClassName": namespace}}
    body = experiment_manifest("rescued", environment=environment, artifacts=ON_A_CLAIM | {"volume": volume})
    [container] = body["spec"]["template"]["spec"]["containers"]
    container["securityContext"] |= {"runAsUser": 1234, "runAsGroup": 1234}
    apply(body, namespace=namespace)
    experiment = Experiment(system, namespace, "rescued")
    waiting = experiment.wait_for("Running", "False", reason="PodUnschedulable", timeout=90)
    assert "unbound" in waiting["message"]
    plug_in()
    experiment.wait_until_holding(files=3)
    [pod] = trainings(experiment)
    uid = pod["metadata"]["uid"]
    system.stop_store()
    try:
        experiment.release()
        eventually(lambda: len(experiment.ledger().entries) == 6, timeout=60, interval=0.3, what="three more files")
        eventually(
            lambda: experiment.read()["status"]["artifacts"]["pending"] >= 3,
            timeout=90, interval=0.3, what="files on their way",
        )  # fmt: skip
        written = experiment.ledger()
        kubectl(
            "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false",
            namespace=experiment.namespace,
        )  # fmt: skip
        rescuing = experiment.wait_for("ArtifactsSynced", "False", reason="Rescuing")
        assert pod["metadata"]["name"] in rescuing["message"]
    finally:
        system.thaw_store()
    experiment.wait_for("ArtifactsSynced", "True")
    rows = system.rows(experiment.id)
    # Its metrics had no end that anybody could enter.
    [metrics] = [row for row in rows if row.path == "metrics.jsonl"]
    assert differences(written, [row for row in rows if row is not metrics], system.bucket) == []
    assert {row.pod_uid for row in rows} == {uid}
    [standing] = system.api.pods(experiment.id)
    assert (standing.pod_uid, standing.name) == (uid, pod["metadata"]["name"])
    [claim] = items("persistentvolumeclaims", experiment.namespace)
    assert claim["metadata"]["ownerReferences"][0]["uid"] == str(experiment.id)
    kubectl("delete", "experiment", experiment.name, namespace=experiment.namespace)
    eventually(
        lambda: get("persistentvolumeclaim", claim["metadata"]["name"], experiment.namespace) is None,
        timeout=90, interval=0.5, what="the claim goes with its Experiment",
    )  # fmt: skip


@pytest.mark.timeout(400)
@pytest.mark.parametrize("artifacts", [ON_A_CLAIM, {"completion": {"settleSeconds": 1}}], ids=["claim", "folder"])
def test_a_training_that_fails_goes_on_from_its_checkpoint_in_its_second_pod(
    system: System, namespace: str, artifacts: dict[str, Any]
) -> None:
    body = experiment_manifest(
        "resumes", environment={}, artifacts=artifacts, restore={"enabled": True}, backoffLimit=1
    )
    body["spec"]["template"]["spec"]["containers"][0]["command"] = ["python3", "-c", RESUMES]
    apply(body, namespace=namespace)
    experiment = Experiment(system, namespace, "resumes")
    experiment.wait_for("Succeeded", "True")
    experiment.wait_for("ArtifactsSynced", "True")
    first, second = trainings(experiment)
    written = Ledger.from_log(log_of(first, namespace))
    [found] = [line for line in log_of(second, namespace).splitlines() if line.startswith("FOUND")]
    told = [(digest, path) for digest, path in json.loads(found.removeprefix("FOUND "))]
    assert {(path, digest) for digest, path in told} == set(written.entries)
    rows = system.rows(experiment.id)
    # What came back is no new row; what the second pod made of it is one.
    assert sorted(row.path for row in rows) == sorted([path for path, _ in written.entries] + ["checkpoint/weights"])
    assert len({row.location.key for row in rows}) == len(rows)
    assert not any(row.suspect for row in rows)
