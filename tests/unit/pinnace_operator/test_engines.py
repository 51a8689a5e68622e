"""Other engines than Jobs: the table, what is refused, what goes into an object, and the proof in the model world."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.naming import ENGINE_LABEL, INJECT_LABEL
from pinnace_operator.acceptance import NotAcceptedError, accept
from pinnace_operator.admission.injection import inject
from pinnace_operator.deletion import FINALIZER
from pinnace_operator.engines.kinds import ENGINES, changed, found, nested, suspension
from pinnace_operator.engines.mistakes import MAX_BYTES
from pinnace_operator.engines.objects import MAX_NAME, build_object, object_name
from pinnace_operator.engines.views import work_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.manifest import MalformedError
from pinnace_operator.observed import JobEnd
from pinnace_operator.recipe import recipe
from support.examples import examples
from support.operator_world import PLATFORM, UID, World, job_of

SYNCED, RUNNING = ConditionType.ARTIFACTS_SYNCED, ConditionType.RUNNING
POD = {"spec": {"containers": [{"name": "main", "image": "i:1", "env": [{"name": "API_TOKEN", "value": "s3cret"}]}]}}
SPECS: dict[str, dict[str, Any]] = {
    "PyTorchJob": {"pytorchReplicaSpecs": {"Master": {"template": POD}, "Worker": {"replicas": 2, "template": POD}}},
    "TrainJob": {"runtimeRef": {"name": "torch"}, "runtimePatches": [{"manager": "mine"}]},
    "RayJob": {
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": {"headGroupSpec": {"template": POD}, "workerGroupSpecs": [{"template": POD}]},
    },
    "Workflow": {"entrypoint": "a", "podMetadata": {"labels": {"mine": "1"}}, "templates": []},
}
KINDS = [kind.value for kind in ENGINES]


def body(kind: str = "PyTorchJob", object_: Any = None, name: str = "sweep", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pinnace.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "team-a", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {"engine": {"kind": kind, "spec": SPECS[kind] if object_ is None else object_}, **spec},
    }


def experiment(kind: str = "PyTorchJob", object_: Any = None, **spec: Any) -> Experiment:
    return Experiment.from_manifest(body(kind, object_, **spec))


def made(kind: str, **spec: Any) -> dict[str, Any]:
    one = experiment(kind, **spec)
    accepted = accept(one, PLATFORM)
    return build_object(one, 0, accepted.search.parameters_of(0, {}) or {"lr": 0.5}, accepted)


def view(kind: str, status: dict[str, Any], spec: dict[str, Any] | None = None, **annotations: str) -> Any:
    manifest = made(kind)
    manifest["metadata"] |= {"uid": "u", "annotations": {f"pinnace.dev/{k}": v for k, v in annotations.items()}}
    return work_view({**manifest, "spec": {**manifest["spec"], **(spec or {})}, "status": status})


def condition(type_: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Created", "status": "True"}, {"type": type_, "status": status, **more}]}


@pytest.mark.parametrize(
    ("kind", "status", "end"),
    [
        ("PyTorchJob", {}, None),
        ("PyTorchJob", condition("Running"), None),
        ("PyTorchJob", condition("Succeeded"), JobEnd.SUCCEEDED),
        ("PyTorchJob", condition("Succeeded", "False"), None),
        ("PyTorchJob", condition("Failed"), JobEnd.FAILED),
        ("PyTorchJob", {"conditions": "nonsense"}, None),
        ("TrainJob", condition("Complete"), JobEnd.SUCCEEDED),
        ("TrainJob", condition("Failed"), JobEnd.FAILED),
        ("TrainJob", condition("Suspended"), None),
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, JobEnd.SUCCEEDED),
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, JobEnd.FAILED),
        ("RayJob", {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}, JobEnd.FAILED),
        ("RayJob", {"jobDeploymentStatus": "Running", "jobStatus": "SUCCEEDED"}, None),
        ("RayJob", {"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED"}, None),
        ("Workflow", {"phase": "Succeeded"}, JobEnd.SUCCEEDED),
        ("Workflow", {"phase": "Failed"}, JobEnd.FAILED),
        ("Workflow", {"phase": "Error"}, JobEnd.FAILED),
        ("Workflow", {"phase": "Running"}, None),
        ("Workflow", {"phase": 7}, None),
    ],
)
def test_the_end_is_read_as_the_engine_spells_it(kind: str, status: dict[str, Any], end: JobEnd | None) -> None:
    assert view(kind, status).end is end


def test_times_and_reasons_are_read_and_nonsense_is_left_out() -> None:
    ended = view("TrainJob", condition("Failed", lastTransitionTime="2026-01-01T00:01:00Z", reason="Deadline"))
    assert ended.ended_at.isoformat() == "2026-01-01T00:01:00+00:00"
    assert ended.message == "Deadline"
    assert view("RayJob", {"startTime": "yesterday"}).started_at is None
    assert view("Workflow", {"phase": "Error", "message": "no pod"}).message == "no pod"


@pytest.mark.parametrize(("kind", "at_rest"), [("PyTorchJob", True), ("TrainJob", True), ("Workflow", False)])
def test_suspended_is_at_rest_where_the_engine_tells(kind: str, at_rest: bool) -> None:
    seen = view(
        kind, condition("Suspended"), suspension(EngineKind(kind), suspend=True, for_good=False), suspended="true"
    )
    assert (seen.suspended, seen.suspended_by_us, seen.at_rest) == (True, True, at_rest)


def test_a_workflow_that_we_terminated_was_stopped_and_has_not_failed() -> None:
    for_good = suspension(EngineKind.WORKFLOW, suspend=True, for_good=True)
    assert for_good == {"shutdown": "Terminate"}
    running = view("Workflow", {"phase": "Running"}, for_good, stopped="hopeless", suspended="true")
    assert (running.suspended, running.over) == (True, False)
    assert view("Workflow", {"phase": "Failed"}, for_good, stopped="hopeless", suspended="true").over
    assert view("Workflow", {"phase": "Succeeded"}, for_good, stopped="hopeless").end is JobEnd.SUCCEEDED


@pytest.mark.parametrize(
    ("kind", "ended"),
    [("PyTorchJob", condition("Failed")), ("RayJob", {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"})],
)
def test_one_that_we_ended_by_its_time_was_stopped_and_one_that_set_that_time_itself_was_not(
    kind: str, ended: dict[str, Any]
) -> None:
    for_good = suspension(EngineKind(kind), suspend=True, for_good=True)
    stopped = view(kind, {}, for_good, stopped="hopeless")
    assert (stopped.suspended, stopped.over) == (True, False)
    assert view(kind, ended, for_good, stopped="hopeless").over
    assert view(kind, ended, for_good, stopped="hopeless").end is None
    assert view(kind, ended, for_good).end is JobEnd.FAILED
    assert not view(kind, {}, for_good).suspended


def test_an_object_that_is_not_ours_is_malformed() -> None:
    for manifest in ({"kind": "MPIJob"}, {"kind": "RayJob"}, {"kind": "RayJob", "metadata": {"name": "x", "uid": "u"}}):
        with pytest.raises(MalformedError):
            work_view(manifest)
    job = {**job_of(Experiment.from_manifest(body() | {"spec": {"template": POD}})), "status": {}}
    job["metadata"]["uid"] = "u"
    assert work_view(job).engine is EngineKind.JOB


@pytest.mark.parametrize("kind", KINDS)
def test_every_pod_gets_the_labels_and_the_rest_is_passed_on(kind: str) -> None:
    manifest = made(kind)
    text = msgspec.json.encode(manifest["spec"]).decode()
    pods = {"PyTorchJob": 2, "TrainJob": 1, "RayJob": 2, "Workflow": 1}[kind]
    assert text.count(f'"{ENGINE_LABEL}":"{kind}"') == text.count(f'"{INJECT_LABEL}":"true"') == pods
    for field, value in SPECS[kind].items():
        assert field in manifest["spec"]
        assert isinstance(value, (dict, list)) or manifest["spec"][field] == value
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == UID
    assert manifest["apiVersion"] == ENGINES[EngineKind(kind)].resource.api_version


def test_what_the_user_wrote_beside_our_labels_stays() -> None:
    assert made("Workflow")["spec"]["podMetadata"]["labels"]["mine"] == "1"
    assert made("TrainJob")["spec"]["runtimePatches"][0] == {"manager": "mine"}
    assert SPECS["Workflow"]["podMetadata"] == {"labels": {"mine": "1"}}


@pytest.mark.parametrize("name", ["a", "1st", "x" * 63, "a.b.c", "9" * 60])
def test_a_name_is_short_and_begins_with_a_letter(name: str) -> None:
    found_ = object_name(experiment(name=name), 9999)
    assert len(found_) <= MAX_NAME
    assert found_[0].isalpha()
    assert found_.replace("-", "").isalnum()


REFUSED = [
    ({"workers": 2}, "InvalidEngine", "pytorchReplicaSpecs.Worker.replicas"),
    ({"backoffLimit": 5}, "InvalidEngine", "runPolicy.backoffLimit"),
    ({"activeDeadlineSeconds": 5}, "InvalidEngine", "runPolicy.activeDeadlineSeconds"),
    ({"ttlSecondsAfterFinished": 5}, "InvalidEngine", "runPolicy.ttlSecondsAfterFinished"),
    ({"podFailurePolicy": {"rules": []}}, "InvalidEngine", "restartPolicy: ExitCode"),
    ({"artifacts": {"volume": {"persistentVolumeClaim": {"size": "50Gi"}}}}, "InvalidEngine", "use emptyDir"),
    ({"template": POD}, "InvalidEngine", "leave one of them out"),
    ({"name": "n" * 64}, "InvalidEngine", "choose a shorter one"),
    ({"object_": {}}, "InvalidEngine", "is empty"),
    ({"object_": {"pytorchReplicaSpecs": {}}}, "InvalidEngine", "describe at least one pod"),
    ({"object_": {"pytorchReplicaSpecs": []}}, "InvalidEngine", "describe at least one pod"),
    ({"object_": {"pytorchReplicaSpecs": {"Master": {"template": {}}}}}, "InvalidEngine", "at least one container"),
    ({"object_": {**SPECS["PyTorchJob"], "runPolicy": {"suspend": True}}}, "InvalidEngine", "use spec.suspend"),
    ({"object_": {**SPECS["PyTorchJob"], "x": "y" * MAX_BYTES}}, "InvalidEngine", "what is large"),
    ({"kind": "RayJob", "object_": {**SPECS["RayJob"], "shutdownAfterJobFinishes": False}}, "InvalidEngine", "true"),
    (
        {"kind": "RayJob", "object_": {**SPECS["RayJob"], "clusterSelector": {"a": "b"}}},
        "InvalidEngine",
        "no iteration",
    ),
    ({"kind": "RayJob", "object_": {**SPECS["RayJob"], "deletionStrategy": {}}}, "InvalidEngine", "leave it out"),
    (
        {"kind": "RayJob", "object_": {**SPECS["RayJob"], "submissionMode": "InteractiveMode"}},
        "InvalidEngine",
        'must be "K8sJobMode" or "HTTPMode" or "SidecarMode"',
    ),
    (
        {"kind": "TrainJob", "object_": {**SPECS["TrainJob"], "managedBy": "kueue.x-k8s.io/multikueue"}},
        "InvalidEngine",
        "runs in another cluster",
    ),
    (
        {"object_": {**SPECS["PyTorchJob"], "runPolicy": {"managedBy": "kueue.x-k8s.io/multikueue"}}},
        "InvalidEngine",
        "spec.engine.spec.runPolicy.managedBy",
    ),
    ({"kind": "Workflow", "object_": {"shutdown": "Stop"}}, "InvalidEngine", "use spec.suspend"),
    ({"kind": "TrainJob", "object_": {"runtimePatches": {}}}, "InvalidEngine", "must be a list"),
    *(
        (
            {
                "object_": {
                    "pytorchReplicaSpecs": {"Master": {"template": POD | {"spec": POD["spec"] | pod} | metadata}}
                }
            },
            "InvalidEngine",
            "Master.template can't be read as a pod template",
        )
        for pod, metadata in (
            ({"containers": "train"}, {}),
            ({"containers": [{"name": "train", "env": {"A": "1"}}]}, {}),
            ({"containers": [{"name": "train", "volumeMounts": ["/data"]}]}, {}),
            ({"initContainers": 1}, {}),
            ({"volumes": ["data"]}, {}),
            ({}, {"metadata": {"labels": ["a"]}}),
            ({}, {"metadata": "a"}),
        )
    ),
]


@pytest.mark.parametrize(("spec", "reason", "words"), REFUSED)
def test_what_an_engine_cannot_do_is_refused_by_name(spec: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(NotAcceptedError) as caught:
        accept(experiment(**spec), PLATFORM)
    assert caught.value.reason == reason
    assert words in str(caught.value)


@pytest.mark.parametrize("given", [{"labels": "a"}, {"annotations": ["a"]}, "a"])
def test_what_is_no_metadata_gives_way_to_ours(given: object) -> None:
    spec = made("Workflow", object_={**SPECS["Workflow"], "podMetadata": given})["spec"]
    assert spec["podMetadata"]["labels"]["pinnace.dev/inject"] == "true"


def test_a_label_or_a_variable_of_ours_in_a_pod_template_is_refused_with_its_place() -> None:
    for pod in (
        {**POD, "metadata": {"labels": {"pinnace.dev/iteration": "3"}}},
        {"spec": {"containers": [{"name": "main", "env": [{"name": "PINNACE_PARAM_LR", "value": "1"}]}]}},
    ):
        with pytest.raises(NotAcceptedError) as caught:
            accept(experiment(object_={"pytorchReplicaSpecs": {"Master": {"template": pod}}}), PLATFORM)
        assert caught.value.reason == "NameClash"
        assert "spec.engine.spec.pytorchReplicaSpecs.Master.template" in str(caught.value)


def test_an_engine_that_is_not_enabled_or_has_no_webhook_is_refused_with_whom_to_ask() -> None:
    for platform, reason, words in (
        (_platform(engines=frozenset()), "EngineNotEnabled", "operator.engines"),
        (_platform(injects=False), "WebhooksOff", "webhook.enabled"),
    ):
        world = World(body(), platform)
        world.settle()
        assert world.condition(ConditionType.ACCEPTED) == ("False", reason)
        assert words in world.message(ConditionType.ACCEPTED)
        assert world.jobs_by_name == {}


def _platform(**change: Any) -> Any:
    return replace(PLATFORM, **change)


def pod_of(kind: str, manifest: dict[str, Any]) -> dict[str, Any]:
    [*_, (_, template)] = found(manifest["spec"], ENGINES[EngineKind(kind)].templates[0], "")
    return {
        "metadata": dict(template["metadata"]),
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]},
    }


def injected_env(decision: Any) -> dict[str, str]:
    [containers] = [change["value"] for change in decision.patch if change["path"] == "/spec/containers"]
    return {variable["name"]: variable.get("value", "") for variable in containers[0]["env"]}


def test_parameters_that_an_optimiser_chose_reach_the_pods_by_their_annotation() -> None:
    space = {"lr": {"uniform": {"min": 0, "max": 1}}}
    spec = {"parameters": {"optuna": {"count": 3, "space": space}}, "objective": {"metric": "loss"}}
    pod = pod_of("RayJob", made("RayJob", **spec))
    decision = inject(pod, experiment("RayJob", **spec), PLATFORM)
    assert decision.refusal == ""
    assert injected_env(decision)["PINNACE_PARAM_LR"] == "0.5"
    del pod["metadata"]["annotations"]
    assert "chosen when the operator starts it" in inject(pod, experiment("RayJob", **spec), PLATFORM).refusal


def test_a_pod_that_says_it_is_of_an_engine_that_the_experiment_has_not_is_refused() -> None:
    pod = pod_of("RayJob", made("RayJob"))
    pod["metadata"]["labels"][ENGINE_LABEL] = "Workflow"
    assert f"{ENGINE_LABEL} is Workflow" in inject(pod, experiment("RayJob"), PLATFORM).refusal


def test_the_recipe_has_the_object_without_its_secrets() -> None:
    text = msgspec.json.encode(recipe(experiment())).decode()
    assert "pytorchReplicaSpecs" in text
    assert "s3cret" not in text
    assert '"template":{"spec":{}}' not in text


def test_paths_lead_through_lists_and_maps_and_stop_where_nothing_is() -> None:
    value = {"a": [{"b": {}}, {"b": {"c": 1}}, {}], "d": None}
    assert [field for field, _ in found(value, ("a", "*", "b"), "spec")] == ["spec.a[0].b", "spec.a[1].b"]
    assert changed(value, ("a", "*", "b"), {"x": {"y": 1}})["a"][:2] == [
        {"b": {"x": {"y": 1}}},
        {"b": {"c": 1, "x": {"y": 1}}},
    ]
    assert changed(value, ("e", "f"), {"x": 1}) == value
    assert nested(("a", "b"), 1) == {"a": {"b": 1}}


class EngineWorld(World):
    """With PyTorchJobs, whose controller is this."""

    def start_pod(self, index: int, worker: int = 0) -> str:
        job = self.job(index)
        labels = job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["metadata"]["labels"]
        return self._start_pod(job["metadata"]["name"], labels, {})

    def end_object(self, index: int, type_: str = "Succeeded") -> None:
        job = self.job(index)
        job["status"]["conditions"] = [{"type": type_, "status": "True"}]
        self.touch(job)

    def act(self, action: str) -> None:
        """One of ACTIONS, as far as it is possible now, on iteration 0."""
        living = [uid for uid, pod in self.pods_by_name.items() if pod["status"]["phase"] == "Running"]
        ended = any(one["type"] in ("Succeeded", "Failed") for one in self.job(0)["status"].get("conditions", ()))
        if action in ("start", "Succeeded", "Failed"):
            if not ended:
                self.start_pod(0) if action == "start" else self.end_object(0, action)
        elif action in ("write", "proven", "killed", "vanish"):
            if living:
                self._act_on(living[0], action)
        elif action == "api":
            self.api_is_up = not self.api_is_up
        elif action == "suspend":
            self.edit(suspend=not self.body["spec"].get("suspend", False))
        elif self.truth.keys() <= self.pods_by_name.keys():
            # Otherwise a pod that is gone, and that no sidecar spoke for, would be known to nobody.
            self.restart_operator()

    def _act_on(self, uid: str, action: str) -> None:
        if action == "write":
            self.write_file(uid)
        elif action == "vanish":
            # Seen before, so that it is missed.
            self.look()
            self.lose_pod(uid)
        else:
            self._end_containers(uid, exit_code=int(action == "killed"), proven=action == "proven")


def test_a_sweep_runs_and_is_proven_and_then_costs_nothing() -> None:
    world = EngineWorld(body(parameters={"list": [{"lr": 1}, {"lr": 2}]}, parallelism=1))
    world.settle()
    for index in range(2):
        assert len(world.jobs_by_name) == index + 1
        pods = [world.start_pod(index), world.start_pod(index)]
        world.settle()
        assert world.condition(RUNNING) == ("True", "Running")
        for pod in pods:
            world.write_file(pod)
            world._end_containers(pod, exit_code=0, proven=True)
        world.end_object(index)
        world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    assert world.status.artifacts.recorded == 4


def test_one_that_ended_well_without_a_pod_is_unproven_and_a_guest_does_not_stand_for_one() -> None:
    world = EngineWorld(body())
    world.settle()
    guest = world.inject_pod(0)
    world.settle()
    world.end_pod(guest)
    world.end_object(0)
    world.settle()
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "no pod of it left a report or a trace" in world.message(SYNCED)


def test_an_object_that_a_queue_suspends_says_once_which_pods_it_had() -> None:
    world = EngineWorld(body())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    job = world.job(0)
    job["spec"]["runPolicy"] = {"suspend": True}
    world.touch(job)
    for _ in range(3):
        world.look()
    assert [write for write in world.writes if write.startswith("note ")] == [f"note {job['metadata']['name']}"]
    assert work_view(world.job(0)).suspended_pods == {pod}


def test_a_deleted_experiment_stops_its_object_for_good_and_waits_for_its_pods() -> None:
    world = EngineWorld(body())
    world.settle()
    pod = world.start_pod(0)
    world.write_file(pod)
    world.settle()
    world.delete()
    world.settle()
    job = world.job(0)
    assert job["spec"]["runPolicy"] == {"activeDeadlineSeconds": 1}
    assert job["metadata"]["annotations"]["pinnace.dev/stopped"] == "its Experiment is deleted"
    assert FINALIZER in world.body["metadata"]["finalizers"]
    world.drain_pod(pod)
    world.end_object(0, "Failed")
    world.settle()
    assert FINALIZER not in world.body["metadata"].get("finalizers", [])
    assert world.everything_is_ashore


ACTIONS = ("start", "write", "proven", "killed", "vanish", "restart", "api", "suspend", "Succeeded", "Failed")


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from(ACTIONS), max_size=25))
def test_whatever_happens_nothing_is_called_proven_that_is_not_ashore(actions: list[str]) -> None:
    world = EngineWorld(body())
    world.settle()
    for action in actions:
        world.act(action)
        world.look()
        if world.condition(SYNCED)[0] == "True":
            assert world.everything_is_ashore
    world.api_is_up = True
    world.settle()
    assert len(world.trainings) == 1
    before = len(world.writes)
    world.look()
    assert len(world.writes) == before
