"""Sweeps on a real API server with the real Job controller: rules of the CRD, examples, Jobs stopped for good."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, items, kubectl
from pinnace.digests import manifest_sha256
from pinnace.records import IterationState, Manifest, PodReport, PodStanding
from pinnace_operator.acceptance import accept
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.reconcile import Memory, Reconciliation
from support.control_plane import ControlPlane
from support.crd import BAD, GOOD, Expectation, documents
from support.eventually import eventually
from support.operator_world import PLATFORM, START, UID, World, WorldApi, manifest, measure_at

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "sweeps.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
#: Fields that this file is about.
FIELDS = ("random", "optuna", "earlyStopping", "maxFailedIterations", "target")


def is_about_sweeps(path: Path) -> bool:
    return any(f"{field}:" in path.read_text() for field in FIELDS)


pytestmark = pytest.mark.usefixtures("plane")


@pytest.fixture(scope="module")
def namespace(plane: ControlPlane) -> str:
    kubectl("create", "namespace", "sweeps")
    return "sweeps"


def dry_run(text: str, namespace: str) -> dict[str, Any]:
    stored = kubectl("apply", "--dry-run=server", "--filename=-", "--output=json", namespace=namespace, stdin=text)
    found: dict[str, Any] = json.loads(stored)
    return found


def test_the_page_has_an_example_of_each_way() -> None:
    ways = [next(iter(yaml.safe_load(example)["spec"]["parameters"])) for example in EXAMPLES]
    assert ways == ["random", "optuna"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: yaml.safe_load(text)["metadata"]["name"])
def test_an_example_of_the_page_is_taken_and_can_be_carried_out(example: str, namespace: str) -> None:
    stored = dry_run(example, namespace)
    stored["metadata"]["uid"] = UID
    search = accept(Experiment.from_manifest(stored), PLATFORM).search
    assert search.count == next(iter(yaml.safe_load(example)["spec"]["parameters"].values()))["count"]


def test_samples_and_the_rules_of_the_api_server_agree(namespace: str) -> None:
    good, bad = filter(is_about_sweeps, GOOD), filter(is_about_sweeps, BAD)
    for path in good:
        [sample] = documents(path)
        kept = dry_run(path.read_text(), namespace)["spec"]
        assert kept["parameters"].keys() == sample["spec"]["parameters"].keys()
    refused = 0
    for path in bad:
        *before, document = documents(path)
        for one in before:
            apply(one, namespace=namespace)
        expectation = Expectation.of(path)
        with pytest.raises(CommandFailed) as caught:
            dry_run(yaml.safe_dump(document), namespace)
        assert f"{expectation.field}: " in str(caught.value), path
        assert expectation.message in str(caught.value), path
        refused += 1
    assert refused >= 20


class Sweep:
    """An Experiment on the API server with an operator of the test's own; the metadata API is a model."""

    def __init__(self, plane: ControlPlane, namespace: str, **spec: Any) -> None:
        self.cluster = KubernetesCluster(plane.login)
        self.namespace = namespace
        body = manifest("sweep", **spec)
        body["metadata"] = {"name": "sweep"}
        apply(body, namespace=namespace)
        self.model = World(body)
        self.reconciliation = Reconciliation(
            cluster=self.cluster, api=WorldApi(self.model), platform=PLATFORM, now=lambda: START, instance="test"
        )

    def read(self) -> Experiment:
        found = json.loads(kubectl("get", "experiment", "sweep", "--output=json", namespace=self.namespace))
        return Experiment.from_manifest(found)

    def look(self) -> Experiment:
        """As an operator that has just started: nothing is remembered but what can be read."""
        self.reconciliation.look(self.read(), Memory())
        return self.read()

    def jobs(self) -> dict[int, dict[str, Any]]:
        jobs = items("jobs", self.namespace)
        return {int(job["metadata"]["labels"]["pinnace.dev/iteration"]): job for job in jobs}

    def pods(self) -> list[dict[str, Any]]:
        return items("pods", self.namespace)

    def run(self, pod: dict[str, Any], node: str = "node-1") -> None:
        """A kubelet takes the pod and starts it, so that its deletion takes its time."""
        name = pod["metadata"]["name"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/binding"
        kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(binding))
        running = {"state": {"running": {}}, "ready": True, "restartCount": 0, "image": "training:1", "imageID": ""}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "train", **running}],
            "initContainerStatuses": [{"name": "pinnace-sidecar", **running}],
        }
        self._set_status(name, status)

    def drain(self, pod: dict[str, Any]) -> None:
        """SIGTERM, the sidecar's last report, and the pod is gone."""
        self.end(pod, exit_code=143)
        kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", namespace=self.namespace)

    def end(self, pod: dict[str, Any], *, exit_code: int = 0) -> None:
        """The training ends, and the sidecar with its last report."""
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        index = int(pod["metadata"]["labels"]["pinnace.dev/iteration"])
        row = next(row for row in self.model.rows.values() if row.index == index)
        nothing = Manifest(count=0, sha256=manifest_sha256([]))
        report = PodReport(
            iteration_id=row.id,
            pod_uid=uid,
            sequence=1,
            final=True,
            files={},
            bytes_recorded=0,
            manifest=nothing,
        )
        self.model.standings[uid] = PodStanding(
            iteration_id=row.id, pod_uid=uid, report=report, recorded=nothing, bytes_recorded=0, reported_at=START
        )
        ended = {"state": {"terminated": {"exitCode": exit_code}}, "ready": False, "restartCount": 0}
        ended |= {"image": "training:1", "imageID": ""}
        self._set_status(
            name,
            {
                "phase": "Failed" if exit_code else "Succeeded",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "train", **ended}],
                "initContainerStatuses": [{"name": "pinnace-sidecar", **ended}],
            },
        )

    def _set_status(self, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        kubectl(
            "patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=self.namespace
        )


def test_jobs_stopped_at_the_target_drain_and_are_proven_and_nothing_else_begins(
    plane: ControlPlane, namespace: str
) -> None:
    kubectl("create", "namespace", "target")
    space = {"lr": {"logUniform": {"min": 0.001, "max": 0.1}}}
    sweep = Sweep(
        plane,
        "target",
        parameters={"optuna": {"count": 5, "space": space}},
        objective={"metric": "loss", "goal": "Minimize", "target": 0.1},
        parallelism=2,
    )
    sweep.look()
    pods = eventually(lambda: found if len(found := sweep.pods()) == 2 else [], timeout=60, what="a pod of each Job")
    for pod in pods:
        sweep.run(pod)
    eventually(
        lambda: [job["status"].get("ready") for job in sweep.jobs().values()] == [1, 1],
        timeout=60,
        what="the Jobs know of their pods",
    )
    assert sweep.look().status.iterations.started_indexes == "0-1"
    chosen = {index: job["metadata"]["annotations"]["pinnace.dev/parameters"] for index, job in sweep.jobs().items()}
    assert {row.index: json.dumps(row.parameters, separators=(",", ":")) for row in sweep.model.rows.values()} == chosen

    measure_at(sweep.model, 1, "loss", 1, 0.05)
    sweep.look()
    other, winner = sorted(pods, key=lambda pod: pod["metadata"]["labels"]["pinnace.dev/iteration"])
    # A controller that has seen the suspension deletes the pod; as long as it drains it keeps the Job from resting.
    told = eventually(
        lambda: [pod for pod in sweep.pods() if pod["metadata"].get("deletionTimestamp")],
        timeout=60,
        what="the other's pod is told to end",
    )
    assert [pod["metadata"]["uid"] for pod in told] == [other["metadata"]["uid"]]
    status = sweep.look().status
    assert (status.iterations.active, status.iterations.stopped, status.iterations.skipped) == (2, 0, 3)
    in_progress = status.condition(ConditionType.SUCCEEDED)
    assert in_progress is not None
    assert in_progress.status == "Unknown"

    sweep.drain(other)
    sweep.end(winner)
    done = eventually(lambda: found if (found := sweep.look()).status.done else None, timeout=60, what="the sweep ends")
    succeeded = done.status.condition(ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert (succeeded.status, succeeded.reason) == ("True", "TargetReached")
    assert "iteration 1 reached the target with loss = 0.05" in succeeded.message
    counts = done.status.iterations
    assert (counts.stopped_indexes, counts.succeeded_indexes, counts.skipped_indexes) == ("0", "1", "2-4")
    assert counts.synced_indexes == "0-1"
    states = {row.index: row.state for row in sweep.model.rows.values()}
    assert states == {0: IterationState.KILLED, 1: IterationState.SUCCEEDED}
    jobs = sweep.jobs()
    assert sorted(jobs) == [0, 1]
    assert [job["spec"]["completions"] for _, job in sorted(jobs.items())] == [0, 1]
    assert "target" in jobs[0]["metadata"]["annotations"]["pinnace.dev/stopped"]
