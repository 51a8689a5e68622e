"""What the two hooks decide of an AdmissionReview, and the answer as it goes over the wire."""

import base64
import json
from typing import Any

import msgspec
import pytest

from pinnace_operator.acceptance import NotAcceptedError, accept
from pinnace_operator.admission.experiments import decide
from pinnace_operator.admission.pods import PodHook
from pinnace_operator.admission.review import MAX_WARNING, Decision, Kind, Request, UnreadableError, answer, read
from pinnace_operator.experiment import Experiment
from pinnace_operator.ports import GoneError, UnavailableError
from pinnace_operator.stores import Offers
from support.operator_world import PLATFORM, manifest

TWINS = {"grid": {"a-b": [1], "a_b": [2]}}
EXPERIMENT = Kind(group="pinnace.dev", version="v1alpha1", kind="Experiment")
POD = Kind(version="v1", kind="Pod")


def request(new: dict[str, Any] | None, old: dict[str, Any] | None = None, kind: Kind = EXPERIMENT) -> Request:
    operation = "CREATE" if old is None else "UPDATE"
    return Request(uid="u", kind=kind, operation=operation, namespace="team-a", object=new, old_object=old)


# --- Experiments


def test_the_decision_on_an_experiment_is_the_operators_own_word_for_word() -> None:
    body = manifest(parameters=TWINS)
    with pytest.raises(NotAcceptedError) as caught:
        accept(Experiment.from_manifest(body), PLATFORM)
    assert decide(request(body), PLATFORM) == Decision(refusal=str(caught.value))


def test_one_that_has_no_uid_and_no_name_yet_is_decided_too() -> None:
    body = {**manifest(), "metadata": {"generateName": "sweep-", "namespace": "team-a"}}
    assert decide(request(body), PLATFORM) == Decision()


def test_one_of_another_version_of_the_definition_is_refused_with_the_mend() -> None:
    assert "upgrade both together" in decide(request(manifest(parallelism="many")), PLATFORM).refusal


def test_what_does_not_touch_the_spec_is_never_refused() -> None:
    old, new = manifest(parameters=TWINS), manifest(parameters=TWINS)
    new["metadata"] |= {"labels": {"a": "b"}}
    assert decide(request(new, old), PLATFORM) == Decision()
    assert decide(request(manifest(parameters=TWINS), manifest()), PLATFORM).refusal != ""
    going = manifest(parameters=TWINS)
    going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert decide(request(going, manifest()), PLATFORM) == Decision()


def test_a_fault_that_is_stored_already_does_not_keep_anybody_from_suspending() -> None:
    decision = decide(request(manifest(parameters=TWINS, suspend=True), manifest(parameters=TWINS)), PLATFORM)
    assert decision.refusal == ""
    assert "still can't be carried out" in decision.warnings[0]
    other = manifest(parameters=TWINS, pod={"containers": [{"name": "pinnace-x"}]})
    assert decide(request(other, manifest()), PLATFORM).refusal


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"artifacts": {"completion": {"settleSeconds": 0}}}, ["settleSeconds is 0"]),
        ({"parameters": {"list": [{"x": 1}, {"x": 2}]}}, ["spec.objective is not set"]),
        ({"parameters": {"list": [{"x": 1}, {"x": 2}]}, "objective": {"metric": "loss"}}, []),
        ({"parameters": {"list": [{"x": 1}]}}, []),
        ({}, []),
    ],
)
def test_warnings_are_few_and_short(spec: dict[str, Any], says: list[str]) -> None:
    warnings = decide(request(manifest(**spec)), PLATFORM).warnings
    assert len(warnings) == len(says)
    for warning, part in zip(warnings, says, strict=True):
        assert part in warning
        assert len(warning) <= MAX_WARNING


@pytest.mark.parametrize("wrong", [request({}, kind=POD), request(None)])
def test_anything_but_an_experiment_is_no_question_for_this_hook(wrong: Request) -> None:
    with pytest.raises(UnreadableError, match="decides on Experiments"):
        decide(wrong, PLATFORM)


# --- pods


class Cluster:
    def __init__(self, *, version: tuple[int, int] = (1, 34), down: bool = False) -> None:
        self.version, self.down, self.asked = version, down, 0
        self.experiments = {("team-a", "sweep"): manifest(suspend=True)}

    def server_version(self) -> tuple[int, int]:
        self.asked += 1
        if self.down:
            raise UnavailableError("the API server does not answer")
        return self.version

    def experiment(self, namespace: str, name: str) -> dict[str, Any]:
        if (namespace, name) not in self.experiments:
            raise GoneError("not found")
        return self.experiments[namespace, name]


def pod(**labels: str) -> dict[str, Any]:
    names = {
        f"pinnace.dev/{name}": value for name, value in {"inject": "true", "experiment": "sweep", **labels}.items()
    }
    return {"metadata": {"labels": names}, "spec": {"containers": [{"name": "w"}], "restartPolicy": "Never"}}


def test_a_pod_is_given_the_sidecar_of_the_experiment_that_it_names() -> None:
    decision = PodHook(Cluster(), PLATFORM).decide(request(pod(), kind=POD))
    assert decision.refusal == ""
    assert {operation["path"] for operation in decision.patch} >= {"/spec/initContainers", "/metadata/labels"}


def test_only_the_pods_own_namespace_is_looked_into() -> None:
    elsewhere = msgspec.structs.replace(request(pod(), kind=POD), namespace="team-b")
    said = PodHook(Cluster(), PLATFORM).decide(elsewhere).refusal
    assert "there is no Experiment sweep in namespace team-b" in said


@pytest.mark.parametrize("version", [(1, 28), (1, 9), (0, 30)])
def test_a_cluster_without_native_sidecars_is_told_so(version: tuple[int, int]) -> None:
    said = PodHook(Cluster(version=version), PLATFORM).decide(request(pod(), kind=POD)).refusal
    assert f"this cluster is Kubernetes {version[0]}.{version[1]}" in said
    assert "upgrade it, or remove the label" in said


def test_the_version_is_asked_for_once_and_again_while_there_was_no_answer() -> None:
    cluster = Cluster(down=True)
    hook = PodHook(cluster, PLATFORM)
    decision = hook.decide(request(pod(), kind=POD))
    assert (decision.code, "try again" in decision.refusal) == (503, True)
    cluster.down = False
    for _ in range(3):
        assert hook.decide(request(pod(), kind=POD)).refusal == ""
    assert cluster.asked == 2


def test_a_pod_that_does_not_ask_costs_no_request_and_is_left_alone() -> None:
    cluster = Cluster()
    unlabelled: dict[str, Any] = {"metadata": {}, "spec": {"containers": []}}
    for body in (pod(inject="false"), unlabelled):
        assert PodHook(cluster, PLATFORM).decide(request(body, kind=POD)) == Decision()
    assert cluster.asked == 0


def test_a_pod_that_names_no_experiment_is_told_where_to_name_it() -> None:
    said = PodHook(Cluster(), PLATFORM).decide(request(pod(experiment=""), kind=POD)).refusal
    assert "name an Experiment of the pod's own namespace" in said


def test_a_change_of_a_pod_is_no_question_for_this_hook() -> None:
    with pytest.raises(UnreadableError, match="UPDATE of a Pod"):
        PodHook(Cluster(), PLATFORM).decide(request(pod(), pod(), kind=POD))


# --- the wire


def review(**request: Any) -> bytes:
    asked = {"uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", **request}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()


def test_a_review_is_read_with_whatever_else_is_in_it() -> None:
    found = read(review(object={"a": 1}, oldObject=None, dryRun=True, userInfo={"username": "x"}, newField=[1]))
    assert (found.uid, found.object, found.old_object, found.dry_run) == ("u-1", {"a": 1}, None, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        review(uid=7),
        review(kind="Pod"),
        review(object=[]),
        review().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        review().replace(b"AdmissionReview", b"ConversionReview"),
    ],
)
def test_anything_else_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"AdmissionReview|admissionReviewVersions"):
        read(body)


def test_answers_say_what_the_api_server_is_to_do() -> None:
    refused = json.loads(answer("u-1", Decision(refusal="x" * 5000)))
    assert (refused["apiVersion"], refused["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    said = refused["response"]
    assert (said["uid"], said["allowed"], said["status"]["code"]) == ("u-1", False, 422)
    assert len(said["status"]["message"]) == 2048
    patch = ({"op": "add", "path": "/spec/x", "value": 1},)
    said = json.loads(answer("u-2", Decision(patch=patch, warnings=("w" * 999,))))["response"]
    assert json.loads(base64.b64decode(said["patch"])) == list(patch)
    assert (said["patchType"], len(said["warnings"][0])) == ("JSONPatch", MAX_WARNING)
    assert json.loads(answer("u-3", Decision()))["response"] == {"uid": "u-3", "allowed": True}


def test_a_store_that_is_not_offered_yet_is_a_warning_because_the_offer_may_come_next() -> None:
    body = manifest(artifacts={"store": {"ref": "research"}})
    decision = decide(request(body), PLATFORM, lambda namespace: Offers(namespace=namespace))
    assert decision.refusal == ""
    assert any("no ArtifactStore research is offered" in warning for warning in decision.warnings)
