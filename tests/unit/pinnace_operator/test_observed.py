"""What is read off Jobs and pods as Kubernetes writes them."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from pinnace.digests import manifest_sha256
from pinnace.records import Manifest, PodReport
from pinnace_operator.cluster_objects import job_view, pod_view
from pinnace_operator.manifest import MalformedError
from pinnace_operator.observed import JobEnd
from pinnace_operator.sightings import Sightings

META = {
    "name": "sweep-0-abcde",
    "namespace": "team-a",
    "uid": "pod-1",
    "resourceVersion": "12",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"pinnace.dev/iteration": "3"},
}
REPORT = PodReport(
    iteration_id=UUID(int=1),
    pod_uid="pod-1",
    sequence=4,
    final=True,
    manifest=Manifest(count=0, sha256=manifest_sha256([])),
)


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": META, "status": status}


def sidecar(**state: Any) -> dict[str, Any]:
    return {"name": "pinnace-sidecar", "state": state}


def ended(message: str) -> dict[str, Any]:
    return pod(phase="Succeeded", initContainerStatuses=[sidecar(terminated={"exitCode": 0, "message": message})])


def test_the_termination_message_is_the_report() -> None:
    view = pod_view(ended(msgspec.json.encode(REPORT).decode()))
    assert view.report == REPORT
    assert view.ended
    assert view.started
    assert view.index == 3


@pytest.mark.parametrize(
    "message",
    ["", "Killed", "{}", '{"final": true}', msgspec.json.encode(REPORT).decode()[:80], "null"],
)
def test_a_message_that_is_no_report_proves_nothing(message: str) -> None:
    assert pod_view(ended(message)).report is None


def test_the_report_of_another_pod_proves_nothing() -> None:
    other = msgspec.structs.replace(REPORT, pod_uid="pod-2")
    assert pod_view(ended(msgspec.json.encode(other).decode())).report is None


def test_a_message_of_another_container_proves_nothing() -> None:
    message = msgspec.json.encode(REPORT).decode()
    train = {"name": "train", "state": {"terminated": {"exitCode": 0, "message": message}}}
    assert pod_view(pod(phase="Succeeded", containerStatuses=[train])).report is None


def test_the_message_of_a_sidecar_that_was_restarted_is_not_its_last_word() -> None:
    message = msgspec.json.encode(REPORT).decode()
    status = sidecar(running={}) | {"lastState": {"terminated": {"exitCode": 137, "message": message}}}
    view = pod_view(pod(phase="Running", initContainerStatuses=[status]))
    assert view.report is None
    assert view.started


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient cpu",
                    }
                ],
            },
            "PodUnschedulable",
            "Insufficient cpu",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"name": "train", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
                ],
            },
            "ImagePullFailed",
            "no such image; check the image's name",
        ),
        (
            {
                "phase": "Running",
                "initContainerStatuses": [sidecar(running={})],
                "containerStatuses": [
                    {
                        "name": "train",
                        "state": {
                            "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "data" not found'}
                        },
                    }
                ],
            },
            "ConfigMissing",
            'secret "data" not found',
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    sidecar(waiting={"reason": "CrashLoopBackOff"})
                    | {"lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}}
                ],
            },
            "CrashLooping",
            "pinnace-sidecar",
        ),
    ],
)
def test_a_pod_that_waits_says_why_and_what_to_do(status: dict[str, Any], reason: str, says: str) -> None:
    view = pod_view(pod(**status))
    assert view.trouble is not None
    assert view.trouble.reason == reason
    assert says in view.trouble.message
    assert not view.ended


def test_a_pod_that_is_being_set_up_has_no_trouble_yet() -> None:
    view = pod_view(
        pod(phase="Pending", containerStatuses=[{"name": "train", "state": {"waiting": {"reason": "PodInitializing"}}}])
    )
    assert view.trouble is None
    assert view.setting_up
    assert not view.started


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (
            {"containerStatuses": [{"name": "train", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]},
            "container train ended with exit code 3",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "train", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
                ]
            },
            "container train ended with exit code 137 (OOMKilled)",
        ),
        (
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage"},
            "Evicted: The node was low on resource: ephemeral-storage",
        ),
        (
            {
                "reason": "Evicted",
                "message": 'Usage of EmptyDir volume "pinnace-artifacts" exceeds the limit "1Gi". ',
                "containerStatuses": [{"name": "train", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}],
            },
            'Evicted: Usage of EmptyDir volume "pinnace-artifacts" exceeds the limit "1Gi"',
        ),
        ({}, "the pod failed"),
    ],
)
def test_a_failed_pod_says_how_it_failed(status: dict[str, Any], failure: str) -> None:
    assert pod_view(pod(phase="Failed", **status)).failure == failure


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": META | {"uid": "job-1"}, "spec": {}, "status": status}


def test_a_job_that_has_succeeded() -> None:
    view = job_view(
        job(
            succeeded=1,
            failed=2,
            startTime="2026-01-01T00:00:00Z",
            completionTime="2026-01-01T00:05:00Z",
            conditions=[{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
        )
    )
    assert view.end is JobEnd.SUCCEEDED
    assert view.pods_ended == 3
    assert view.ended_at is not None


def test_a_job_that_has_failed_says_why() -> None:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "DeadlineExceeded",
        "message": "Job was active longer than specified deadline",
        "lastTransitionTime": "2026-01-01T00:05:00Z",
    }
    view = job_view(job(failed=1, conditions=[condition]))
    assert view.end is JobEnd.FAILED
    assert view.message == "DeadlineExceeded Job was active longer than specified deadline"
    assert view.ended_at is not None


@pytest.mark.parametrize("kind", ["FailureTarget", "SuccessCriteriaMet", "Suspended"])
def test_a_job_whose_pods_are_still_ending_has_not_ended(kind: str) -> None:
    assert job_view(job(conditions=[{"type": kind, "status": "True"}])).end is None


@pytest.mark.parametrize("labels", [{}, {"pinnace.dev/iteration": "x"}, {"pinnace.dev/iteration": "-1"}])
def test_without_an_index_it_is_not_ours(labels: dict[str, str]) -> None:
    with pytest.raises(MalformedError):
        job_view({"metadata": META | {"labels": labels}})


def at(version: int, **meta: Any) -> dict[str, Any]:
    return {"metadata": META | {"resourceVersion": str(version)} | meta, "status": {"phase": "Running"}}


def test_what_comes_late_does_not_replace_what_is_newer() -> None:
    sightings = Sightings()
    sightings.see_pod(pod_view(at(9) | {"status": {"phase": "Succeeded"}}))
    sightings.see_pod(pod_view(at(7)))
    [seen] = sightings.pods()
    assert seen.ended


def test_a_pod_that_is_gone_is_remembered() -> None:
    sightings = Sightings()
    sightings.see_pod(pod_view(at(7)))
    sightings.see_pod(pod_view(at(8)), deleted=True)
    [seen] = sightings.pods()
    assert seen.ended


def test_a_list_finds_out_what_the_watch_has_missed() -> None:
    sightings = Sightings()
    sightings.see_job(job_view(job()))
    sightings.see_pod(pod_view(at(7)))
    sightings.see_pod(pod_view(at(40, uid="young", name="young")))
    sightings.replace([], 30, [pod_view(at(20, uid="missed", name="missed"))], 30)
    assert sightings.jobs() == {}
    assert {view.uid: view.ended for view in sightings.pods()} == {"pod-1": True, "young": False, "missed": False}


def test_a_pod_of_which_no_watch_told_how_it_ended_may_have_run() -> None:
    sightings = Sightings()
    sightings.see_pod(pod_view(at(7) | {"status": {"phase": "Pending"}}))
    sightings.replace([], 30, [], 30)
    [vanished] = sightings.pods()
    assert (vanished.started, vanished.ended) == (True, True)


def test_a_pod_that_ended_before_it_began_has_not_run_whenever_it_vanishes() -> None:
    sightings = Sightings()
    sightings.see_pod(pod_view(at(7) | {"status": {"phase": "Failed", "reason": "Evicted"}}))
    sightings.replace([], 30, [], 30)
    assert [pod.started for pod in sightings.pods()] == [False]


@pytest.mark.parametrize("by_list", [False, True])
def test_a_pod_that_ran_has_run_also_when_its_containers_are_not_told_of_any_more(by_list: bool) -> None:
    sightings = Sightings()
    running = {"phase": "Running", "containerStatuses": [{"name": "train", "state": {"running": {}}}]}
    sightings.see_pod(pod_view(at(7) | {"status": running}))
    rejected = pod_view(at(9) | {"status": {"phase": "Failed", "reason": "UnexpectedAdmissionError"}})
    if by_list:
        sightings.replace([], 30, [rejected], 30)
    else:
        sightings.see_pod(rejected)
    assert [(pod.started, pod.ended) for pod in sightings.pods()] == [(True, True)]


def test_a_list_does_not_undo_what_the_watch_has_shown_since() -> None:
    sightings = Sightings()
    sightings.see_pod(pod_view(at(50) | {"status": {"phase": "Failed"}}))
    sightings.replace([], 30, [pod_view(at(20))], 30)
    [seen] = sightings.pods()
    assert seen.ended


def test_the_youngest_job_of_an_iteration_counts() -> None:
    sightings = Sightings()
    for uid, version in (("old", "5"), ("new", "9")):
        sightings.see_job(job_view({"metadata": META | {"uid": uid, "resourceVersion": version}}))
    assert sightings.jobs()[3].uid == "new"
