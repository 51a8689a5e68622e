"""The operator's adapter on a real API server: what it writes is there, and what is refused is refused with words."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from cluster.kubectl import apply, get, items, kubectl
from pinnace_operator.cluster_objects import job_view
from pinnace_operator.connection import login
from pinnace_operator.events import build_event
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ArtifactCounts, Condition, ConditionStatus, ConditionType, Status
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.ports import ClusterError, GoneError, RefusedError, RejectedError
from support.crd import define_kinds
from support.operator_world import PLATFORM, START, manifest
from support.operator_world import job_of as built_job

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster() -> KubernetesCluster:
    return KubernetesCluster(partial(login, {}))


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    define_kinds()
    name = f"adapter-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def experiment(namespace: str) -> Experiment:
    """One that exists only here: no operator of the cluster knows its id."""
    body = manifest("sweep", parameters={"list": [{"lr": 0.1}, {"lr": 0.2}]})
    body["metadata"] |= {"namespace": namespace, "uid": str(uuid4())}
    return Experiment.from_manifest(body)


def job_of(experiment: Experiment, index: int = 0, image: str = "pinnace/sidecar:test") -> dict[str, Any]:
    platform = replace(PLATFORM, sidecar_image=image)
    built = built_job(experiment, index, platform)
    # No pod is wanted, and an owner that does not exist would have the Job collected.
    built["spec"]["parallelism"] = 0
    del built["metadata"]["ownerReferences"]
    return built


def stored(job: dict[str, Any]) -> dict[str, Any]:
    found = get("job", job["metadata"]["name"], job["metadata"]["namespace"])
    assert found is not None
    return found


def test_a_job_is_created_once_and_applying_it_again_changes_nothing(
    cluster: KubernetesCluster, experiment: Experiment
) -> None:
    job = job_of(experiment)
    cluster.apply_job(job)
    before = stored(job)
    cluster.apply_job(job)
    assert stored(job)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    [sidecar] = before["spec"]["template"]["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    [listed] = cluster.jobs(experiment.namespace, experiment.metadata.uid)[0]
    managers = {(entry["manager"], entry["operation"]) for entry in listed["metadata"]["managedFields"]}
    assert ("pinnace-operator", "Apply") in managers


def test_a_job_made_by_another_version_of_the_operator_is_left_as_it_is(
    cluster: KubernetesCluster, experiment: Experiment
) -> None:
    cluster.apply_job(job_of(experiment, image="pinnace/sidecar:1"))
    cluster.apply_job(job_of(experiment, image="pinnace/sidecar:2"))
    [sidecar] = stored(job_of(experiment))["spec"]["template"]["spec"]["initContainers"]
    assert sidecar["image"] == "pinnace/sidecar:1"


def test_lists_hold_the_jobs_of_one_experiment(cluster: KubernetesCluster, experiment: Experiment) -> None:
    for index in range(2):
        cluster.apply_job(job_of(experiment, index))
    other = Experiment.from_manifest(
        manifest("sweep") | {"metadata": {"name": "x", "namespace": experiment.namespace, "uid": str(uuid4())}}
    )
    cluster.apply_job(job_of(other))
    jobs, version = cluster.jobs(experiment.namespace, experiment.metadata.uid)
    assert sorted(job_view(job).index for job in jobs) == [0, 1]
    assert version >= max(job_view(job).version for job in jobs) > 0
    assert cluster.pods(experiment.namespace, experiment.metadata.uid)[0] == []


def test_suspending_and_resuming_touch_nothing_else(cluster: KubernetesCluster, experiment: Experiment) -> None:
    job = job_of(experiment)
    cluster.apply_job(job)
    before = stored(job)
    name, uid = before["metadata"]["name"], before["metadata"]["uid"]
    cluster.suspend_job(experiment.namespace, name, uid, suspend=True)
    suspended = stored(job)
    assert suspended["spec"]["suspend"] is True
    assert job_view(suspended).suspended_by_us
    assert suspended["spec"]["template"] == before["spec"]["template"]
    assert suspended["metadata"]["labels"] == before["metadata"]["labels"]
    cluster.suspend_job(experiment.namespace, name, uid, suspend=False)
    resumed = stored(job)
    assert resumed["spec"]["suspend"] is False
    assert "pinnace.dev/suspended" not in resumed["metadata"].get("annotations", {})


def test_another_job_of_the_same_name_is_not_suspended(cluster: KubernetesCluster, experiment: Experiment) -> None:
    job = job_of(experiment)
    cluster.apply_job(job)
    with pytest.raises(ClusterError):
        cluster.suspend_job(experiment.namespace, job["metadata"]["name"], str(uuid4()), suspend=True)
    assert not stored(job)["spec"].get("suspend")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"restartPolicy": "Sometimes"}, "spec.template.spec.restartPolicy"),
        ({"nodeSelectr": {"a": "b"}}, "nodeSelectr"),
        ({"terminationGracePeriodSeconds": "long"}, "terminationGracePeriodSeconds"),
    ],
)
def test_a_template_that_is_wrong_is_rejected_for_good_with_the_field(
    cluster: KubernetesCluster, experiment: Experiment, change: dict[str, Any], says: str
) -> None:
    job = job_of(experiment)
    job["spec"]["template"]["spec"] |= change
    with pytest.raises(RejectedError) as caught:
        cluster.apply_job(job)
    assert says in str(caught.value)


def test_a_quota_refuses_for_now(cluster: KubernetesCluster, experiment: Experiment) -> None:
    name = f"quota-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    try:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
        apply({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}}, namespace=name)
        kubectl("wait", "--for=jsonpath={.status.hard}", "resourcequota/none", namespace=name)
        job = job_of(experiment)
        job["metadata"]["namespace"] = name
        with pytest.raises(RefusedError) as caught:
            cluster.apply_job(job)
        assert "exceeded quota" in str(caught.value)
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def test_what_does_not_exist_any_more_is_gone(cluster: KubernetesCluster, experiment: Experiment) -> None:
    job = job_of(experiment)
    job["metadata"]["namespace"] = "no-such-namespace"
    with pytest.raises(GoneError):
        cluster.apply_job(job)
    with pytest.raises(GoneError):
        cluster.apply_status(experiment.namespace, "no-such-experiment", experiment.metadata.uid, {})


def test_a_status_is_written_and_has_a_version(cluster: KubernetesCluster, experiment: Experiment) -> None:
    apply(manifest("held", suspend=True) | {"metadata": {"name": "held"}}, namespace=experiment.namespace)
    found = get("experiment", "held", experiment.namespace)
    assert found is not None
    before = int(found["metadata"]["resourceVersion"])
    status = Status(experiment_id=found["metadata"]["uid"], artifacts=ArtifactCounts(recorded=3))
    version = cluster.apply_status(experiment.namespace, "held", found["metadata"]["uid"], status.to_manifest())
    assert version > before


def test_a_transition_is_told_once(cluster: KubernetesCluster, experiment: Experiment) -> None:
    condition = Condition(
        type=ConditionType.SUCCEEDED,
        status=ConditionStatus.FALSE,
        reason="IterationsFailed",
        message="iteration 0 failed",
        last_transition_time=START,
        observed_generation=1,
    )
    event = build_event(experiment, condition, "test", START)
    cluster.create_event(event)
    cluster.create_event(event)
    told = [found for found in items("events", experiment.namespace) if found["reason"] == "IterationsFailed"]
    assert len(told) == 1
    assert told[0]["type"] == "Warning"
