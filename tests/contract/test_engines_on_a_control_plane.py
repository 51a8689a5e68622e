"""Other engines than Jobs, by their projects' own definitions on a real API server, and their pods by our webhook.

Their controllers are the test's: what they say stands here as their source has it, with the conditions beside it.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, get, items, kubectl
from pinnace.digests import manifest_sha256
from pinnace.naming import ENGINE_LABEL, SIDECAR_CONTAINER
from pinnace.records import Manifest, PodReport, PodStanding
from pinnace_operator.acceptance import accept
from pinnace_operator.admission.injection import inject
from pinnace_operator.engines.kinds import ENGINES, changed, found, suspension
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.reconcile import Memory, Reconciliation
from support.api_process import api_processes
from support.chart import of_kind, render
from support.control_plane import ControlPlane
from support.crd import BAD, Expectation, documents
from support.engine_crds import RESOURCES, WORKFLOWS_IN_FULL, define
from support.eventually import eventually
from support.operator_world import PLATFORM, START, UID, World, WorldApi
from support.pod_player import Behaviour, PodPlayer
from support.ports import free_port
from support.webhooks import CONFIGURATIONS, create, install, operator

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "engines.md").read_text()
EXAMPLES = {
    example["spec"]["engine"]["kind"]: example
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    if (example := yaml.safe_load(text)).get("kind") == "Experiment"
}
NAMESPACE = "engines"
SYNCED, RUNNING, ACCEPTED = ConditionType.ARTIFACTS_SYNCED, ConditionType.RUNNING, ConditionType.ACCEPTED

BEGUN, OVER = "2026-01-01T00:00:05Z", "2026-01-01T00:01:00Z"


def condition(type_: str, status: str = "True", reason: str = "", message: str = "it is so") -> dict[str, Any]:
    told = {"type": type_, "status": status, "reason": reason or type_, "message": message}
    return {**told, "lastTransitionTime": OVER}


def of_kubeflow(type_: str, message: str = "") -> list[dict[str, Any]]:
    """Kubeflow's training operator leaves the conditions that were true before, Running as False."""
    return [
        condition("Created", reason="PyTorchJobCreated"),
        condition("Running", "False", reason="PyTorchJobRunning"),
        condition(type_, reason=f"PyTorchJob{type_}", message=message),
    ]


#: What each controller says while pods run.
AT_WORK: Mapping[str, dict[str, Any]] = {
    "PyTorchJob": {
        "conditions": [condition("Created"), condition("Running")],
        "replicaStatuses": {"Master": {"active": 1}, "Worker": {"active": 3}},
        "startTime": BEGUN,
    },
    "TrainJob": {
        "jobsStatus": [{"name": "node", "active": 1, "ready": 1, "succeeded": 0, "failed": 0, "suspended": 0}],
    },
    "RayJob": {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "startTime": BEGUN, "rayClusterName": "c"},
    "Workflow": {"phase": "Running", "startedAt": BEGUN, "progress": "0/1"},
}

#: At the end.
SUCCEEDED: Mapping[str, dict[str, Any]] = {
    "PyTorchJob": {
        "conditions": of_kubeflow("Succeeded", "PyTorchJob is successfully completed."),
        "replicaStatuses": {"Master": {"active": 0, "succeeded": 1}, "Worker": {"active": 0, "succeeded": 3}},
        "startTime": BEGUN,
        "completionTime": OVER,
    },
    # Those of its JobSet.
    "TrainJob": {"conditions": [condition("Complete", reason="AllJobsCompleted", message="jobset completed")]},
    "RayJob": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": OVER, "succeeded": 1},
    "Workflow": {"phase": "Succeeded", "startedAt": BEGUN, "finishedAt": OVER, "progress": "1/1"},
}
FAILED: Mapping[str, dict[str, Any]] = {
    "PyTorchJob": {"conditions": of_kubeflow("Failed", "it broke"), "completionTime": OVER},
    "TrainJob": {"conditions": [condition("Failed", reason="FailedJobs", message="it broke")]},
    "RayJob": {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "it broke"},
    "Workflow": {"phase": "Error", "finishedAt": OVER, "message": "it broke"},
}

#: Once what it runs has gone, because it was stopped for good.
STOPPED: Mapping[str, dict[str, Any]] = {
    "PyTorchJob": {"conditions": of_kubeflow("Failed", "it was active longer than specified deadline")},
    "TrainJob": {"conditions": [condition("Suspended", message="TrainJob is suspended")]},
    "RayJob": {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "endTime": OVER},
    "Workflow": {"phase": "Failed", "finishedAt": OVER, "message": "Stopped with strategy 'Terminate'"},
}


@pytest.fixture(scope="module", autouse=True)
def definitions(plane: ControlPlane) -> None:
    """The API server knows the engines' kinds too."""
    kubectl("create", "namespace", NAMESPACE)
    eventually(lambda: items("serviceaccounts", NAMESPACE), timeout=30)
    # Before the definitions are there: a test needs them missing.
    without = Running(plane, "without", EXAMPLES["RayJob"])
    without.look()
    assert without.condition(ACCEPTED) == ("False", "EngineMissing")
    define()


class Running:
    """An Experiment on the API server, with an operator, a metadata API and a controller of the test's own."""

    def __init__(self, plane: ControlPlane, name: str, example: dict[str, Any], **spec: Any) -> None:
        body = {**example, "metadata": {"name": name}, "spec": {**example["spec"], **spec}}
        apply(body, namespace=NAMESPACE)
        self.name = name
        self.kind = EngineKind(body["spec"]["engine"]["kind"])
        self.engine = ENGINES[self.kind]
        self.model = World(body)
        self.now = START
        self.reconciliation = Reconciliation(
            cluster=KubernetesCluster(plane.login),
            api=WorldApi(self.model),
            platform=PLATFORM,
            now=lambda: self.now,
            instance="test",
        )
        self.memory = Memory()

    def read(self) -> Experiment:
        stored = get("experiment", self.name, NAMESPACE)
        assert stored is not None
        return Experiment.from_manifest(stored)

    def look(self) -> Experiment:
        """With a full list each time; what was seen of pods is remembered."""
        for _ in range(3):
            self.now += timedelta(minutes=11)
            self.reconciliation.look(self.read(), self.memory)
        return self.read()

    def look_until_gone(self) -> None:
        def is_gone() -> bool:
            stored = get("experiment", self.name, NAMESPACE)
            if stored is not None:
                self.now += timedelta(minutes=11)
                self.reconciliation.look(Experiment.from_manifest(stored), self.memory)
            return stored is None

        eventually(is_gone, timeout=30, interval=0.2, what=f"{self.name} is gone")

    def condition(self, type_: ConditionType) -> tuple[str, str]:
        condition = self.read().status.condition(type_)
        assert condition is not None
        return condition.status.value, condition.reason

    def objects(self) -> list[dict[str, Any]]:
        made = items(f"{self.engine.resource.plural}.{self.engine.resource.group}", NAMESPACE)
        mine = [one for one in made if one["metadata"]["labels"]["pinnace.dev/experiment"] == self.name]
        return sorted(mine, key=lambda one: one["metadata"]["name"])

    def say(self, made: dict[str, Any], status: dict[str, Any]) -> None:
        """As the engine's controller does."""
        options = [] if self.kind is EngineKind.WORKFLOW else ["--subresource=status"]
        name = f"{self.engine.resource.plural}.{self.engine.resource.group}/{made['metadata']['name']}"
        kubectl(
            "patch", name, *options, "--type=merge", f"--patch={json.dumps({'status': status})}", namespace=NAMESPACE
        )

    def pod_labels(self, made: dict[str, Any]) -> dict[str, Any]:
        spec = made["spec"]
        if self.kind is EngineKind.TRAIN_JOB:
            [patch] = spec["runtimePatches"]
            [job] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
            assert job["name"] == "node"
            return dict(job["template"]["spec"]["template"]["metadata"]["labels"])
        paths = [*((*path, "metadata") for path in self.engine.templates), *self.engine.pod_metadata]
        labels = [metadata["labels"] for path in paths for _, metadata in found(spec, path, "spec")]
        assert all(one == labels[0] for one in labels)
        return dict(labels[0])

    def start_pod(self, made: dict[str, Any], suffix: str = "a") -> dict[str, Any]:
        """The controller makes a pod with the template's labels, and the webhook's decision is applied to it."""
        pod: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{made['metadata']['name']}-{suffix}", "labels": self.pod_labels(made)},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "train", "image": "training:1"}]},
        }
        decision = inject(pod, self.read(), PLATFORM)
        assert decision.refusal == ""
        for change in decision.patch:
            _, part, name = change["path"].split("/")
            pod[part][name] = change["value"]
        apply(pod, namespace=NAMESPACE)
        started = {"state": {"running": {}}, "ready": True, "restartCount": 0, "image": "training:1", "imageID": ""}
        self._pod_status(pod["metadata"]["name"], "Running", started)
        stored = get("pod", pod["metadata"]["name"], NAMESPACE)
        assert stored is not None
        return stored

    def end_pod(self, pod: dict[str, Any], *, exit_code: int = 0, proven: bool = True) -> None:
        """The training ends; `proven`: with the sidecar's last report."""
        uid = pod["metadata"]["uid"]
        index = int(pod["metadata"]["labels"]["pinnace.dev/iteration"])
        row = next(row for row in self.model.rows.values() if row.index == index)
        nothing = Manifest(count=0, sha256=manifest_sha256([]))
        if proven:
            report = PodReport(
                iteration_id=row.id, pod_uid=uid, sequence=1, final=True, files={}, bytes_recorded=0, manifest=nothing
            )
            self.model.standings[uid] = PodStanding(
                iteration_id=row.id, pod_uid=uid, report=report, recorded=nothing, bytes_recorded=0, reported_at=START
            )
        ended = {"state": {"terminated": {"exitCode": exit_code}}, "ready": False, "restartCount": 0}
        ended |= {"image": "training:1", "imageID": ""}
        self._pod_status(pod["metadata"]["name"], "Failed" if exit_code else "Succeeded", ended)

    def _pod_status(self, name: str, phase: str, container: dict[str, Any]) -> None:
        status = {
            "phase": phase,
            "containerStatuses": [{"name": "train", **container}],
            "initContainerStatuses": [{"name": SIDECAR_CONTAINER, **container}],
        }
        patch = json.dumps({"status": status})
        kubectl("patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=NAMESPACE)


def test_the_page_has_an_example_of_each_kind() -> None:
    assert EXAMPLES.keys() == {kind.value for kind in ENGINES}


@pytest.mark.parametrize("kind", [kind.value for kind in ENGINES])
def test_from_apply_to_synced(plane: ControlPlane, kind: str) -> None:
    run = Running(plane, f"well-{kind.lower()}", EXAMPLES[kind], parallelism=2)
    run.look()
    made = run.objects()
    assert len(made) == accept(run.read(), PLATFORM).search.count
    assert items("jobs", NAMESPACE) == []
    for one in made:
        assert one["metadata"]["ownerReferences"][0]["kind"] == "Experiment"
        assert run.pod_labels(one)[ENGINE_LABEL] == kind
    pods = [run.start_pod(one, suffix) for one in made for suffix in ("a", "b")]
    variables = {variable["name"] for variable in pods[0]["spec"]["containers"][0]["env"]}
    assert {"PINNACE_ITERATION_ID", "PINNACE_ARTIFACTS_DIR"} <= variables
    assert any(name.startswith("PINNACE_PARAM_") for name in variables)
    for one in made:
        run.say(one, AT_WORK[kind])
    run.look()
    assert run.condition(RUNNING) == ("True", "Running")
    for pod in pods:
        run.end_pod(pod)
    run.look()
    assert run.condition(SYNCED)[0] == "False", "nobody has said yet that there is no further pod"
    for one in made:
        run.say(one, SUCCEEDED[kind])
    run.look()
    assert run.condition(ConditionType.SUCCEEDED) == ("True", "AllSucceeded")
    assert run.condition(SYNCED) == ("True", "AllRecorded")
    before = [one["metadata"]["resourceVersion"] for one in run.objects()]
    run.look()
    assert [one["metadata"]["resourceVersion"] for one in run.objects()] == before


@pytest.mark.parametrize("kind", [kind.value for kind in ENGINES])
def test_what_failed_says_why_and_a_pod_without_its_report_is_unproven(plane: ControlPlane, kind: str) -> None:
    run = Running(plane, f"badly-{kind.lower()}", EXAMPLES[kind], parameters={"list": [{"lr": 0.1}]})
    run.look()
    [made] = run.objects()
    pod = run.start_pod(made)
    run.look()
    run.end_pod(pod, exit_code=137, proven=False)
    run.say(made, FAILED[kind])
    status = run.look().status
    assert run.condition(ConditionType.SUCCEEDED) == ("False", "IterationsFailed")
    assert run.condition(SYNCED) == ("False", "Unproven")
    assert status.iterations.failed == 1


@pytest.mark.parametrize("kind", [kind.value for kind in ENGINES])
def test_it_is_suspended_and_goes_on_in_the_engines_own_words(plane: ControlPlane, kind: str) -> None:
    run = Running(plane, f"pause-{kind.lower()}", EXAMPLES[kind], parameters={"list": [{"lr": 0.1}]})
    run.look()
    [made] = run.objects()
    path = run.engine.suspend
    patch = ["patch", "experiment", run.name, "--type=merge"]
    kubectl(*patch, '--patch={"spec":{"suspend":true}}', namespace=NAMESPACE)
    run.look()
    [suspended] = run.objects()
    assert [value for _, value in found(suspended["spec"], path, "")] == [True]
    assert suspended["spec"] == changed(made["spec"], path[:-1], {path[-1]: True}), "and nothing else is different"
    kubectl(*patch, '--patch={"spec":{"suspend":false}}', namespace=NAMESPACE)
    run.look()
    [after] = run.objects()
    assert [value for _, value in found(after["spec"], path, "")] == [False]
    assert after["spec"] == changed(made["spec"], path[:-1], {path[-1]: False})
    assert run.pod_labels(after) == run.pod_labels(made)


@pytest.mark.parametrize("kind", [kind.value for kind in ENGINES])
def test_it_is_ended_with_its_experiment_in_the_engines_own_words(plane: ControlPlane, kind: str) -> None:
    run = Running(plane, f"ended-{kind.lower()}", EXAMPLES[kind], parameters={"list": [{"lr": 0.1}]})
    run.look()
    [made] = run.objects()
    pod = run.start_pod(made)
    run.say(made, AT_WORK[kind])
    run.look()
    kubectl("delete", "experiment", run.name, "--wait=false", namespace=NAMESPACE)
    run.look()
    [ending] = run.objects()
    wanted = suspension(run.kind, suspend=True, for_good=True)
    assert ending["spec"] == changed(made["spec"], (), wanted), "and nothing else is different"
    run.look()
    assert run.condition(RUNNING) == ("False", "Deleting")
    run.end_pod(pod, exit_code=143)
    run.say(made, STOPPED[kind])
    run.look_until_gone()


def test_a_workflow_is_suspended_by_the_definition_with_every_field_too(
    plane: ControlPlane, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(define)
    define(WORKFLOWS_IN_FULL)
    run = Running(plane, "in-full", EXAMPLES["Workflow"], parameters={"list": [{"lr": 0.1}]})
    run.look()
    [made] = run.objects()
    kubectl("patch", "experiment", run.name, "--type=merge", '--patch={"spec":{"suspend":true}}', namespace=NAMESPACE)
    run.look()
    assert run.objects()[0]["spec"] == {**made["spec"], "suspend": True}


def test_one_that_ends_well_without_a_pod_that_anybody_saw_is_not_called_proven(plane: ControlPlane) -> None:
    run = Running(plane, "unseen", EXAMPLES["RayJob"], parameters={"list": [{"lr": 0.1}]})
    run.look()
    run.say(run.objects()[0], SUCCEEDED["RayJob"])
    run.look()
    assert run.condition(SYNCED) == ("False", "Unproven")


def test_one_that_is_deleted_before_its_end_is_made_again_and_never_called_proven(plane: ControlPlane) -> None:
    run = Running(plane, "deleted", EXAMPLES["Workflow"], parameters={"list": [{"lr": 0.1}]})
    run.look()
    [made] = run.objects()
    run.end_pod(run.start_pod(made))
    run.look()
    kubectl("delete", "workflows.argoproj.io", made["metadata"]["name"], namespace=NAMESPACE)
    run.memory = Memory()
    run.look()
    [again] = run.objects()
    assert again["metadata"]["name"] == made["metadata"]["name"]
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    run.say(again, SUCCEEDED["Workflow"])
    run.look()
    assert run.condition(SYNCED) == ("False", "Unproven")


def test_a_definition_that_comes_later_is_all_that_was_missing(plane: ControlPlane) -> None:
    run = Running(plane, "without", EXAMPLES["RayJob"])
    run.look()
    assert run.condition(ACCEPTED) == ("True", "Valid")
    assert run.objects()


def test_an_unknown_field_of_the_engine_is_refused_in_its_own_words(plane: ControlPlane) -> None:
    example = json.loads(json.dumps(EXAMPLES["RayJob"]))
    example["spec"]["engine"]["spec"]["entrypiont"] = "x"
    run = Running(plane, "typo", example)
    run.look()
    assert run.condition(ACCEPTED) == ("False", "TemplateRejected")


@pytest.mark.parametrize("path", [path for path in BAD if "engine" in path.name], ids=lambda path: path.stem)
def test_samples_and_the_rules_of_the_api_server_agree(path: Path) -> None:
    *before, document = documents(path)
    for one in before:
        apply({**one, "spec": {**one["spec"], "suspend": True}}, namespace=NAMESPACE)
    expectation = Expectation.of(path)
    with pytest.raises(CommandFailed) as caught:
        kubectl("apply", "--dry-run=server", "--filename=-", namespace=NAMESPACE, stdin=yaml.safe_dump(document))
    assert f"{expectation.field}: " in str(caught.value)
    assert expectation.message in str(caught.value)


def test_an_example_passes_with_nothing_dropped() -> None:
    for example in EXAMPLES.values():
        stored = json.loads(
            kubectl(
                "apply", "--dry-run=server", "--filename=-", "--output=json",
                namespace=NAMESPACE, stdin=yaml.safe_dump(example),
            )
        )  # fmt: skip
        assert stored["spec"]["engine"]["spec"] == example["spec"]["engine"]["spec"]
        stored["metadata"]["uid"] = UID
        assert accept(Experiment.from_manifest(stored), PLATFORM).search.count


def test_an_operator_with_the_charts_rights_runs_engines_to_their_proof_as_their_definitions_come_and_go(
    plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kubectl("delete", "crd", RESOURCES["trainjobs.yaml"])
    request.addfinalizer(as_before)
    port = free_port()
    install(port)
    wanted = ["PyTorchJob", "RayJob", "TrainJob"]
    apply(*of_kind(render(store__bucket="artifacts", operator__engines=wanted), "ClusterRole"))
    with ExitStack() as stack:
        [api] = stack.enter_context(api_processes(tmp_path, f"sqlite:///{tmp_path / 'api.db'}", 1))
        player = PodPlayer(plane, stack.enter_context(api.admin()), behave)
        token = api.environment["PINNACE_API_ADMIN_TOKEN_FILE"]
        process = stack.enter_context(
            operator(plane, tmp_path, port, engines=json.dumps(wanted), api_url=api.url, api_token_file=token)
        )
        stack.callback(player.close)
        player.start()

        late = Started("late", "TrainJob", tmp_path)
        for kind in ("PyTorchJob", "RayJob"):
            started = Started(f"process-{kind.lower()}", kind, tmp_path)
            made = started.made()
            for pod in pods_of(kind, made):
                created = create(pod, NAMESPACE)
                assert [one["name"] for one in created["spec"]["initContainers"]] == [SIDECAR_CONTAINER]
                variables = {one["name"] for one in created["spec"]["containers"][0]["env"]}
                assert {"PINNACE_ITERATION_ID", "PINNACE_PARAM_LR"} <= variables
            started.waits_for_its_pods()
            started.says(made, SUCCEEDED[kind])
            started.waits_for("ArtifactsSynced", "AllRecorded")

        late.waits_for("Accepted", "EngineMissing")
        define("trainjobs.yaml")
        made = late.made()
        late.says(made, SUCCEEDED["TrainJob"])
        late.waits_for("Succeeded", "AllSucceeded")
        assert process.poll() is None, "without a restart"

        kubectl("delete", "crd", RESOURCES["rayjobs.yaml"])
        another = Started("another", "TrainJob", tmp_path)
        another.says(another.made(), FAILED["TrainJob"])
        another.waits_for("Succeeded", "IterationsFailed")
        assert process.poll() is None, "although what it watched is no more"


def behave(pod: dict[str, Any]) -> Behaviour:
    """Those of other tests are of iterations that the API of this one does not know: nobody could speak for them."""
    mine = pod["metadata"]["labels"]["pinnace.dev/experiment"].startswith("process-")
    return Behaviour.SUCCEED if mine else Behaviour.HANG


class Started:
    """An Experiment of one iteration that an operator process runs."""

    def __init__(self, name: str, kind: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.resource = next(one for one in RESOURCES.values() if one.startswith(f"{kind.lower()}s."))
        spec = {**EXAMPLES[kind]["spec"], "parameters": {"list": [{"lr": 0.1}]}}
        body = {**EXAMPLES[kind], "metadata": {"name": name}, "spec": spec}
        self._soon(lambda: applied(body), what="the webhook answers")

    def made(self) -> dict[str, Any]:
        objects: list[dict[str, Any]] = self._soon(self._objects, what=f"{self.name} has its object")
        [one] = objects
        return one

    def _objects(self) -> list[dict[str, Any]]:
        return items(self.resource, NAMESPACE, f"pinnace.dev/experiment={self.name}")

    def says(self, made: dict[str, Any], status: dict[str, Any]) -> None:
        name, patch = f"{self.resource}/{made['metadata']['name']}", json.dumps({"status": status})
        kubectl("patch", name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=NAMESPACE)

    def waits_for_its_pods(self) -> None:
        def have_ended() -> bool:
            pods = items("pods", NAMESPACE, f"pinnace.dev/experiment={self.name}")
            return {pod["status"]["phase"] for pod in pods} == {"Succeeded"}

        self._soon(have_ended, what=f"the pods of {self.name} have ended")

    def waits_for(self, type_: str, reason: str) -> None:
        def is_so() -> bool:
            stored = get("experiment", self.name, NAMESPACE) or {}
            conditions = stored.get("status", {}).get("conditions", ())
            return any(one["type"] == type_ and one["reason"] == reason for one in conditions)

        self._soon(is_so, what=f"{type_} of {self.name} is {reason}")

    def _soon(self, probe: Callable[[], Any], *, what: str) -> Any:
        return eventually(probe, timeout=120, interval=0.5, what=f"{what}; see {self.folder}")


def pods_of(kind: str, made: dict[str, Any]) -> list[dict[str, Any]]:
    """As the engine's controller makes them of the object's templates, with labels of its own."""
    name, spec = made["metadata"]["name"], made["spec"]
    if kind == "RayJob":
        cluster = spec["rayClusterSpec"]
        groups = [("head", cluster["headGroupSpec"]), *(("worker", one) for one in cluster["workerGroupSpecs"])]
        given = [
            (f"{name}-{role}", group["template"], {"ray.io/cluster": name, "ray.io/node-type": role})
            for role, group in groups
        ]
    else:
        given = [
            (f"{name}-{role.lower()}-0", replica["template"], {"training.kubeflow.org/replica-type": role.lower()})
            for role, replica in spec["pytorchReplicaSpecs"].items()
        ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod_name,
                "labels": {**template["metadata"]["labels"], **labels},
                "annotations": template["metadata"].get("annotations", {}),
            },
            "spec": {**template["spec"], **({} if kind == "RayJob" else {"restartPolicy": "OnFailure"})},
        }
        for pod_name, template, labels in given
    ]


def as_before() -> None:
    """For tests that come later: no webhook that nobody answers, and all definitions."""
    for kind in CONFIGURATIONS:
        kubectl("delete", kind.lower(), "--all")
    define()


def applied(body: dict[str, Any]) -> bool:
    try:
        apply(body, namespace=NAMESPACE)
    except CommandFailed:
        return False
    return True
