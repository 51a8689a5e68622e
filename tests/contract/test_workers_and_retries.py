"""What real Job and TTL controllers make of our Jobs: workers, disruptions, exit codes that are final, queues, the end.

No node is there: the tests say how pods stand, as a kubelet would.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cluster.kubectl import apply, get, items, kubectl
from pinnace.ids import iteration_id
from pinnace.records import PodReport, PodStanding
from pinnace_operator.cluster_objects import job_view, pod_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.job import build_service, job_name
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.proof import Standing, Verdict, judge
from pinnace_operator.reconcile import Memory, Reconciliation
from support.control_plane import ControlPlane
from support.eventually import eventually
from support.operator_world import NOTHING, PLATFORM, World, job_of, manifest

NAMESPACE = "team-a"
DISRUPTED = ({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},)


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> KubernetesCluster:
    kubectl("create", "namespace", NAMESPACE)
    return KubernetesCluster(plane.login)


@dataclass
class Operated:
    """An Experiment on the API server, looked at by the operator's own code, with a metadata API of the model's."""

    cluster: KubernetesCluster
    name: str
    world: World
    memory: Memory = field(default_factory=Memory)
    later: timedelta = timedelta()

    @property
    def experiment(self) -> Experiment:
        found = get("experiment", self.name, NAMESPACE)
        assert found is not None
        return Experiment.from_manifest(found)

    @property
    def job(self) -> dict[str, Any]:
        found = get("job", job_name(self.experiment, 0), NAMESPACE)
        assert found is not None
        return found

    def look(self) -> None:
        reconciliation = Reconciliation(
            cluster=self.cluster,
            api=self.world.reconciliation.api,
            platform=PLATFORM,
            now=lambda: datetime.now(UTC) + self.later,
            instance="test",
        )
        self.memory.sightings.listed_at = None
        reconciliation.look(self.experiment, self.memory)

    def restart(self) -> None:
        self.memory = Memory()

    def pods(self) -> list[dict[str, Any]]:
        """The oldest first."""
        found = items("pods", NAMESPACE, f"pinnace.dev/experiment-id={self.experiment.id}")
        return sorted(found, key=lambda pod: int(pod["metadata"]["resourceVersion"]))

    def pending(self, count: int = 1) -> list[dict[str, Any]]:
        """The pods that wait for a kubelet, once there are so many; by worker."""

        def enough() -> list[dict[str, Any]] | None:
            waiting = [pod for pod in self.pods() if pod["status"]["phase"] == "Pending"]
            return waiting if len(waiting) == count else None

        return sorted(eventually(enough, timeout=30, what=f"{count} new pods"), key=lambda pod: pod_view(pod).worker)

    def report(self, pod: Mapping[str, Any]) -> None:
        """The sidecar's last word, which tells of nothing, reaches the API."""
        uid = pod["metadata"]["uid"]
        id_ = iteration_id(self.experiment.id, 0)
        report = PodReport(iteration_id=id_, pod_uid=uid, sequence=1, final=True, files={}, manifest=NOTHING)
        self.world.standings[uid] = PodStanding(
            iteration_id=id_, pod_uid=uid, report=report, recorded=NOTHING, bytes_recorded=0, reported_at=None
        )

    def judge(self) -> Verdict:
        """On what is there now, as an operator judges that has just started."""
        pods = [pod_view(pod) for pod in self.pods()]
        return judge(job_view(self.job), pods, list(self.world.standings.values()))

    def condition(self, type_: ConditionType) -> tuple[str, str]:
        found = self.experiment.status.condition(type_)
        return (found.status.value, found.reason) if found else ("", "")


Operate = Callable[..., Operated]


@pytest.fixture(scope="module")
def operate(cluster: KubernetesCluster) -> Operate:
    def start(name: str, **spec: Any) -> Operated:
        body = manifest(name, pod={"nodeName": "node-1"}, **spec)
        body["metadata"] = {"name": name}
        apply(body, namespace=NAMESPACE)
        operated = Operated(cluster, name, World(body))
        operated.look()
        return operated

    return start


@dataclass(frozen=True)
class FailedOnce:
    """Experiments whose pods failed once, all at the same time: Kubernetes makes the next ones ten seconds later."""

    drained: Operated
    evicted: Operated
    tries: Operated
    pods: Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", autouse=True)
def failed_once(operate: Operate) -> FailedOnce:
    drained, evicted = operate("drained", backoffLimit=0), operate("evicted", backoffLimit=0)
    tries = operate("tries", workers=2, backoffLimit=1)
    pods = {one.name: one.pending(count) for one, count in ((drained, 1), (evicted, 1), (tries, 2))}
    drain(*pods["drained"])
    for pod in pods["evicted"]:
        stands(pod, "Failed", 137, DISRUPTED)
    for pod in pods["tries"]:
        stands(pod, "Failed", 1)
    return FailedOnce(drained, evicted, tries, pods)


def stands(pod: Mapping[str, Any], phase: str, code: int | None = None, conditions: Any = ()) -> None:
    """What a kubelet says of the pod."""
    state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    now = "2026-01-01T00:00:00Z"
    container = {"image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = {
        "phase": phase,
        "startTime": now,
        "conditions": [{"lastTransitionTime": now, **condition} for condition in conditions],
        "containerStatuses": [{"name": "train", **container}],
    }
    patch = json.dumps({"status": status})
    kubectl(
        *("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", f"--patch={patch}"),
        namespace=NAMESPACE,
    )


def drain(pod: Mapping[str, Any]) -> None:
    """As by a drain: it is told to go, ends, and is gone."""
    stands(pod, "Running", conditions=DISRUPTED)
    kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", namespace=NAMESPACE)
    stands(pod, "Failed", 143, DISRUPTED)
    delete_at_once(pod)


def delete_at_once(pod: Mapping[str, Any]) -> None:
    name = pod["metadata"]["name"]
    kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false", namespace=NAMESPACE)


def is_there(pod: Mapping[str, Any]) -> dict[str, Any]:
    found = get("pod", pod["metadata"]["name"], NAMESPACE)
    assert found is not None
    return found


def suspend(operated: Operated, *, suspend: bool) -> None:
    """Somebody edits the Experiment, and the operator looks."""
    patch = json.dumps({"spec": {"suspend": suspend}})
    kubectl("patch", "experiment", operated.name, "--type=merge", f"--patch={patch}", namespace=NAMESPACE)
    operated.look()


def ended(operated: Operated, how: str) -> dict[str, Any]:
    """The Job, once it has."""

    def over() -> dict[str, Any] | None:
        job = operated.job
        ends = [c["type"] for c in job["status"].get("conditions", []) if c["status"] == "True"]
        return job if how in ends else None

    return eventually(over, timeout=30, what=f"the Job is {how}")


def test_workers_get_their_places_and_a_service_that_names_them(operate: Operate) -> None:
    operated = operate("two-workers", workers=2)
    first, second = operated.pending(2)
    assert [pod_view(pod).worker for pod in (first, second)] == [0, 1]
    [service] = items("services", NAMESPACE, f"pinnace.dev/experiment-id={operated.experiment.id}")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["metadata"]["ownerReferences"][0]["uid"] == str(operated.experiment.id)
    for pod in (first, second):
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [master] = {
        variable["value"]
        for pod in (first, second)
        for variable in pod["spec"]["containers"][0]["env"]
        if variable["name"] == "MASTER_ADDR"
    }
    assert master == f"{first['spec']['hostname']}.{service['metadata']['name']}"


@pytest.mark.parametrize("name", ["x" * 250, "1-begins-with-a-digit"])
def test_the_api_server_takes_the_names_of_a_thousand_workers(cluster: KubernetesCluster, name: str) -> None:
    body = manifest(name, workers=1024, parameters={"grid": {"seed": list(range(1000))}})
    body["metadata"] |= {"namespace": NAMESPACE, "uid": str(uuid4())}
    experiment = Experiment.from_manifest(body)
    job = job_of(experiment, 999)
    service = build_service(experiment, 999, job)
    assert service is not None
    job["spec"]["suspend"] = True
    for made in (job, service):
        del made["metadata"]["ownerReferences"]
    cluster.create_service(service)
    cluster.create_service(service)
    cluster.apply_job(job)
    assert get("job", job["metadata"]["name"], NAMESPACE) is not None


def test_an_exit_code_that_is_final_ends_the_iteration_at_once(operate: Operate) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "train", "operator": "In", "values": [42]}}
    operated = operate("final", backoffLimit=5, podFailurePolicy={"rules": [rule]})
    [pod] = operated.pending()
    stands(pod, "Failed", 42, DISRUPTED)
    job = ended(operated, "Failed")
    assert [c["reason"] for c in job["status"]["conditions"] if c["type"] == "Failed"] == ["PodFailurePolicy"]
    assert job["status"]["failed"] == 1
    operated.report(pod)
    assert operated.judge().standing is Standing.SYNCED


def test_the_users_rule_wins_over_ours(operate: Operate) -> None:
    rule = {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget"}]}
    operated = operate("counted", backoffLimit=0, podFailurePolicy={"rules": [rule]})
    [pod] = operated.pending()
    stands(pod, "Failed", 143, DISRUPTED)
    assert ended(operated, "Failed")["status"]["failed"] == 1
    operated.report(pod)
    assert operated.judge().standing is Standing.SYNCED


def test_a_proven_job_goes_when_its_time_is_over_and_the_experiment_stays_done(
    operate: Operate,
) -> None:
    operated = operate("expiring", ttlSecondsAfterFinished=3)
    [pod] = operated.pending()
    stands(pod, "Succeeded", 0)
    ended(operated, "Complete")
    operated.look()
    assert operated.condition(ConditionType.ARTIFACTS_SYNCED)[0] == "False"
    assert "ttlSecondsAfterFinished" not in operated.job["spec"]
    operated.report(pod)
    operated.look()
    assert operated.condition(ConditionType.ARTIFACTS_SYNCED) == ("True", "AllRecorded")
    proven = datetime.now(UTC)
    operated.restart()
    operated.look()
    name = operated.job["metadata"]["name"]
    since_end = (proven - job_view(operated.job).ended_at).total_seconds()  # type: ignore[operator]
    assert operated.job["spec"]["ttlSecondsAfterFinished"] >= 3 + int(since_end)
    eventually(lambda: get("job", name, NAMESPACE) is None, timeout=30, what="the TTL controller deletes the Job")
    assert datetime.now(UTC) - proven >= timedelta(seconds=3)
    for _ in range(3):
        operated.restart()
        operated.look()
    assert operated.experiment.settled
    assert operated.condition(ConditionType.ARTIFACTS_SYNCED) == ("True", "AllRecorded")
    assert items("jobs", NAMESPACE, f"pinnace.dev/experiment-id={operated.experiment.id}") == []


def test_a_queue_decides_when_its_jobs_run(cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kueue's part: its webhook creates the Job suspended, its controller resumes what is admitted and suspends again
    what is preempted."""
    make = cluster.apply_job

    def webhook(job: dict[str, Any]) -> None:
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
        make({**job, "spec": {**job["spec"], "suspend": True}})

    monkeypatch.setattr(cluster, "apply_job", webhook)
    body = manifest("queued", workers=3, pod={"nodeName": "node-1"})
    body["metadata"] = {"name": "queued"}
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpu"}}
    apply(body, namespace=NAMESPACE)
    operated = Operated(cluster, "queued", World(body))

    def admits(admitted: bool) -> None:
        patch = json.dumps({"spec": {"suspend": not admitted}})
        kubectl("patch", "job", job_name(operated.experiment, 0), f"--patch={patch}", namespace=NAMESPACE)

    operated.look()
    assert operated.job["spec"]["parallelism"] == 3
    for suspend in (True, False):
        kubectl(
            *("patch", "experiment", "queued", "--type=merge", "--patch", json.dumps({"spec": {"suspend": suspend}})),
            namespace=NAMESPACE,
        )
        operated.look()
        assert operated.job["spec"]["suspend"] is True
    assert operated.condition(ConditionType.RUNNING) == ("False", "Queued")
    admits(True)
    pods = operated.pending(3)
    stands(pods[0], "Running")
    operated.look()
    assert operated.condition(ConditionType.RUNNING)[1] != "Queued"
    kubectl("patch", "experiment", "queued", "--type=merge", '--patch={"spec":{"suspend":true}}', namespace=NAMESPACE)
    operated.look()
    assert operated.job["spec"]["suspend"] is False
    kubectl("patch", "experiment", "queued", "--type=merge", '--patch={"spec":{"suspend":false}}', namespace=NAMESPACE)
    admits(False)
    operated.restart()
    operated.look()
    assert operated.job["spec"]["suspend"] is True
    said = job_view(operated.job)
    assert said.suspended_pods == {pods[0]["metadata"]["uid"]}
    assert said.uncounted_pods >= said.suspended_pods
    for pod in pods:
        delete_at_once(pod)
    eventually(lambda: job_view(operated.job).at_rest, timeout=30, what="the Job rests")
    operated.restart()
    operated.look()
    assert operated.condition(ConditionType.RUNNING) == ("False", "Queued")
    [service] = items("services", NAMESPACE, f"pinnace.dev/experiment-id={operated.experiment.id}")
    assert not [label for label in service["metadata"]["labels"] if "kueue" in label]


def stop(operated: Operated, *pods: Mapping[str, Any]) -> None:
    job = operated.job["metadata"]
    uids = {pod["metadata"]["uid"] for pod in pods}
    operated.cluster.suspend_job(
        NAMESPACE, job["name"], job["uid"], suspend=True, pods=uids, uncounted=uids, for_good="hopeless"
    )


def test_what_is_stopped_is_complete_once_its_pods_have_gone_and_may_expire(operate: Operate) -> None:
    operated = operate("stopped", workers=2)
    done, running = operated.pending(2)
    stands(done, "Succeeded", 0)
    stands(running, "Running")
    eventually(lambda: operated.job["status"].get("succeeded") == 1, timeout=30, what="the Job knows of the first")
    stop(operated, running)
    name = running["metadata"]["name"]

    def is_told() -> bool:
        return "deletionTimestamp" in (get("pod", name, NAMESPACE) or {}).get("metadata", {})

    eventually(is_told, timeout=30, what="the other pod is told to end")
    assert not job_view(operated.job).over
    stands(running, "Failed", 143)
    kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false", namespace=NAMESPACE)
    ended(operated, "Complete")
    seen = job_view(operated.job)
    assert (seen.over, seen.end, seen.stopped) == (True, None, "hopeless")
    operated.report(done)
    assert operated.judge().standing is Standing.UNPROVEN, "the pod that was told to end has not reported"
    operated.report(running)
    assert operated.judge().standing is Standing.SYNCED
    operated.cluster.expire_job(NAMESPACE, seen.name, seen.uid, seconds=0)
    eventually(lambda: get("job", seen.name, NAMESPACE) is None, timeout=30, what="the TTL controller deletes the Job")


def test_what_a_queue_holds_is_complete_without_a_pod_when_it_is_stopped_and_stays_so_when_it_is_let_in(
    cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = cluster.apply_job
    monkeypatch.setattr(cluster, "apply_job", lambda job: make({**job, "spec": {**job["spec"], "suspend": True}}))
    body = manifest("held")
    body["metadata"] = {"name": "held"}
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpu"}}
    apply(body, namespace=NAMESPACE)
    operated = Operated(cluster, "held", World(body))
    operated.look()
    stop(operated)
    job = ended(operated, "Complete")
    assert job["spec"]["suspend"] is True
    assert job_view(job).over
    kubectl("patch", "job", job["metadata"]["name"], '--patch={"spec":{"suspend":false}}', namespace=NAMESPACE)
    operated.look()
    assert operated.experiment.status.iterations.stopped == 1
    # It is proven, so nothing holds it.
    kubectl("delete", "experiment", "held", namespace=NAMESPACE)
    assert items("pods", NAMESPACE, f"pinnace.dev/experiment={operated.name}") == []


def test_a_pod_that_a_suspension_ended_does_not_stand_for_a_pod_after_it_that_is_gone(operate: Operate) -> None:
    operated = operate("resumed")
    [before] = operated.pending()
    stands(before, "Running")
    suspend(operated, suspend=True)
    eventually(lambda: "deletionTimestamp" in is_there(before)["metadata"], timeout=30, what="the pod is told to end")
    stands(before, "Failed", 143)
    delete_at_once(before)
    operated.report(before)
    eventually(lambda: job_view(operated.job).at_rest, timeout=30, what="the Job rests")
    assert operated.job["status"].get("failed", 0) == 0, "a suspension that counts its pods needs no memory of them"
    suspend(operated, suspend=False)
    [unseen] = operated.pending()
    stands(unseen, "Failed", 1)
    eventually(lambda: operated.job["status"].get("failed") == 1, timeout=30, what="the failure is counted")
    [last] = operated.pending()
    delete_at_once(unseen)
    stands(last, "Succeeded", 0)
    ended(operated, "Complete")
    operated.report(last)
    assert operated.judge().standing is Standing.UNPROVEN
    operated.report(unseen)
    assert operated.judge().standing is Standing.SYNCED


# Last, because their pods are made again by now.


def test_an_evicted_pod_does_not_count_and_is_still_missed(failed_once: FailedOnce) -> None:
    operated, [pod] = failed_once.drained, failed_once.pods["drained"]
    [again] = operated.pending()
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]
    assert operated.job["status"].get("failed", 0) == 0
    assert pod_view(again).ignored_before == 1
    stands(again, "Succeeded", 0)
    job = ended(operated, "Complete")
    assert (job["status"]["succeeded"], job["status"].get("failed", 0)) == (1, 0)
    operated.report(again)
    assert operated.judge().standing is Standing.UNPROVEN
    assert "1 of the 2 pods" in operated.judge().message
    operated.report(pod)
    assert operated.judge().standing is Standing.SYNCED


def test_a_pod_that_the_kubelet_evicted_does_not_stand_for_a_pod_after_it_that_is_gone(failed_once: FailedOnce) -> None:
    operated, [pod] = failed_once.evicted, failed_once.pods["evicted"]
    operated.report(pod)
    [again] = operated.pending()
    stands(again, "Succeeded", 0)
    ended(operated, "Complete")
    kubectl("delete", "pod", again["metadata"]["name"], namespace=NAMESPACE)
    assert operated.judge().standing is Standing.UNPROVEN


def test_each_worker_has_its_own_tries_and_the_first_without_any_ends_the_iteration(failed_once: FailedOnce) -> None:
    operated = failed_once.tries
    first, second = operated.pending(2)
    stands(second, "Running")
    stands(first, "Failed", 1)
    eventually(
        lambda: any(pod["metadata"].get("deletionTimestamp") for pod in operated.pods()),
        timeout=30,
        what="the other worker is stopped",
    )
    stands(second, "Failed", 143)
    job = ended(operated, "Failed")
    assert job["status"]["failed"] == 4
    for pod in (*failed_once.pods["tries"], first, second):
        operated.report(pod)
    assert operated.judge().standing is Standing.SYNCED
    operated.world.standings.popitem()
    assert operated.judge().standing is Standing.UNPROVEN
