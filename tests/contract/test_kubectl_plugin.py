"""`kubectl pinnace` on a real API server, with Jobs of the real operator, the real metadata API and a store.

The tests play the kubelet: they write the pods' statuses, and what their sidecars would have said and stored.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from cluster.kubectl import apply, get, items, kubectl
from pinnace.cli.exits import Exit
from pinnace.cli.kubectl import kubectl as plugin
from pinnace.ids import iteration_id, object_key
from pinnace.records import Artifact, FileState, Location, Problem
from pinnace_operator.experiment import Experiment
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.reconcile import Memory, Reconciliation
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.control_plane import CONTROLLERS, ControlPlane, control_plane
from support.crd import CRD
from support.environment import without_settings
from support.eventually import eventually
from support.kubelet import bind, kubelet, set_pod_status
from support.operator_world import PLATFORM, manifest
from support.ports import free_port
from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, s3_server
from support.samples import artifact, report

NAMESPACE = "team-a"
LOGS: dict[str, str] = {}
#: The one that there is.
PLANES: list[ControlPlane] = []


class Scene:
    """One Experiment, its operator, and what happens to its pods."""

    def __init__(self, name: str, api: ApiServer, s3: S3Server, **spec: Any) -> None:
        body = manifest(name, **spec)
        body["metadata"] = {"name": name, "namespace": NAMESPACE}
        apply(body)
        self.name, self.api, self.s3 = name, api, s3
        self.shipped: list[Artifact] = []
        self._operator = Reconciliation(
            cluster=KubernetesCluster(PLANES[0].login),
            api=api.operator(),
            platform=PLATFORM,
            now=lambda: datetime.now(UTC),
            instance="tests",
        )
        self._memory = Memory()
        self.look()

    @property
    def experiment(self) -> Experiment:
        found = get("experiment", self.name, NAMESPACE)
        assert found
        return Experiment.from_manifest(found)

    def look(self) -> None:
        """As often as it takes for the operator to have nothing more to say."""
        for _ in range(4):
            self._memory = Memory()
            self._operator.look(self.experiment, self._memory)

    def pod(self, index: int) -> dict[str, Any]:
        selector = f"pinnace.dev/experiment-id={self.experiment.id},pinnace.dev/iteration={index}"
        found = eventually(lambda: items("pods", NAMESPACE, selector), timeout=30, what="the Job's pod")
        return found[-1]

    def run(self, index: int, *, problem: Problem | None = None, end: bool = False) -> None:
        """The pod of `index` writes one file, which its sidecar brings ashore; with a `problem` it does not."""
        pod = self.pod(index)
        meta, iteration = pod["metadata"], iteration_id(self.experiment.id, index)
        bind(meta["name"], NAMESPACE)
        set_pod_status(meta["name"], NAMESPACE, _status(running={"startedAt": "2026-01-01T00:00:00Z"}))
        for container in ("train", "pinnace-sidecar"):
            LOGS[f"{NAMESPACE}/{meta['name']}/{container}"] = f"{self.name} {index} {container}\nlast line\n"
        content = f"weights of {self.name} {index}".encode()
        row = artifact(iteration, "model.bin", content, pod_uid=meta["uid"])
        key = object_key("runs", row.id)
        where = Location(endpoint=self.s3.endpoint, region=REGION, bucket="bucket", key=key)
        row = msgspec.structs.replace(row, location=where)
        sidecar = self.api.sidecar(iteration, namespace=NAMESPACE, pod_uid=meta["uid"])
        rows = [] if problem else [row]
        if rows:
            with self.s3.lock:
                self.s3._store(key, content, row.crc32c)
            sidecar.put_artifacts(iteration, rows)
            self.shipped += rows
        state = FileState.BUFFERED if problem else FileState.RECORDED
        said = report(
            iteration, meta["uid"], 1, *rows, final=end, files={state: 1}, problems=(problem,) if problem else ()
        )
        sidecar.put_pod_report(said)
        if end:
            words = msgspec.json.encode(said).decode()
            ended = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z", "exitCode": 0}
            set_pod_status(meta["name"], NAMESPACE, _status("Succeeded", words, terminated=ended))
            done = eventually(
                lambda: (self._job(index)["status"].get("succeeded") == 1) or None, timeout=30, what="the Job's end"
            )
            assert done
        self.look()

    def _job(self, index: int) -> dict[str, Any]:
        selector = f"pinnace.dev/experiment-id={self.experiment.id},pinnace.dev/iteration={index}"
        (job,) = items("jobs", NAMESPACE, selector)
        return job


def _status(phase: str = "Running", words: str = "", **state: Any) -> dict[str, Any]:
    said = {key: {**value, **({"message": words} if key == "terminated" else {})} for key, value in state.items()}
    common = {"image": "i", "imageID": "sha256:1", "ready": phase == "Running", "restartCount": 0}
    return {
        "phase": phase,
        "startTime": "2026-01-01T00:00:00Z",
        "initContainerStatuses": [{"name": "pinnace-sidecar", "state": said, **common}],
        "containerStatuses": [{"name": "train", "state": state, **common}],
    }


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, S3Server]]:
    """Cluster, API and store; kubectl, the operator and the store's client find them by the environment."""
    folder = tmp_path_factory.mktemp("around")
    with ExitStack() as running, pytest.MonkeyPatch.context() as environment:
        plane = running.enter_context(control_plane(folder, controllers=CONTROLLERS))
        without_settings(environment)
        environment.setenv("KUBECONFIG", str(plane.kubeconfig))
        PLANES[:] = [plane]
        environment.setenv("HOME", str(folder))
        environment.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        kubectl("apply", "--server-side", "--filename", str(CRD))
        kubectl("create", "namespace", NAMESPACE)
        kubectl("wait", "--for=condition=Established", "crd/experiments.pinnace.dev", "--timeout=30s")
        running.enter_context(kubelet(folder, LOGS))
        api = running.enter_context(api_server(folder))
        s3 = running.enter_context(s3_server())
        yield api, s3


@pytest.fixture(autouse=True)
def in_the_cluster(around: tuple[ApiServer, S3Server]) -> None:
    """Every test finds it by the environment."""


@pytest.fixture(scope="module")
def sweep(around: tuple[ApiServer, S3Server]) -> Scene:
    """Three iterations: one is ashore, one can't ship, the pod of one finds no node."""
    scene = Scene("sweep", *around, parallelism=2, parameters={"list": [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.001}]})
    scene.run(0, end=True)
    scene.run(1, problem=Problem(reason="AccessDenied", message="the key may not write", files=1))
    scene.pod(2)
    return scene


@pytest.fixture(scope="module")
def done(around: tuple[ApiServer, S3Server]) -> Scene:
    """One iteration, all of it ashore and proven."""
    scene = Scene("done", *around)
    scene.run(0, end=True)
    return scene


def run(*arguments: str, api: ApiServer | None = None, namespace: str = NAMESPACE, url: str = "") -> Result:
    environment = {"PINNACE_API_URL": url or (api.url if api else None), "PINNACE_API_TOKEN": ADMIN_TOKEN}
    return CliRunner(env=environment).invoke(plugin, [*arguments, "-n", namespace])


def process(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_status_shows_iterations_pods_files_and_what_is_stuck(sweep: Scene) -> None:
    result = run("status", "sweep", api=sweep.api)
    assert result.exit_code == Exit.OK, result.output
    names = [sweep.pod(index)["metadata"]["name"] for index in range(3)]
    assert result.output.split("\n\n")[-1].splitlines() == [
        "├─ 0  succeeded, all ashore   lr=0.1",
        f"│  {names[0]}  Succeeded  1 recorded",
        "├─ 1  running   lr=0.01",
        f"│  {names[1]}  Running  1 buffered",
        "│     ! AccessDenied: the key may not write (1 file)",
        "└─ 2  starting   lr=0.001",
        f"   {names[2]}  Pending",
    ]
    assert re.search(
        r"^ArtifactsSynced +False +\d+s +AccessDenied +the key may not write$", result.output, re.MULTILINE
    )


def test_status_for_programs_is_one_object(sweep: Scene) -> None:
    result = run("status", "sweep", "--json", api=sweep.api)
    (line,) = result.output.splitlines()
    found = json.loads(line)
    assert found["id"] == str(sweep.experiment.id)
    assert [iteration["index"] for iteration in found["iterations"]] == [0, 1, 2]
    assert found["iterations"][1]["pods"][0]["files"] == {"buffered": 1}
    assert found["missing"] == ""


def test_without_the_metadata_api_status_says_what_is_missing(sweep: Scene) -> None:
    result = run("status", "sweep")
    assert result.exit_code == Exit.OK, result.output
    assert "├─ 0  succeeded, all ashore   lr=0.1" in result.output
    assert "Succeeded  1 recorded" in result.output
    assert "1 buffered" not in result.output
    assert "Note: the metadata API is not configured" in result.output


def test_an_api_that_is_away_does_not_hide_what_the_cluster_knows(sweep: Scene) -> None:
    result = run("status", "sweep", url=f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == Exit.OK, result.output
    assert "0  succeeded, all ashore" in result.output
    assert "Note: the metadata API could not be asked" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["status", "nothing"], Exit.NOT_FOUND, 'experiments.pinnace.dev "nothing" not found'),
        (["status", "--", "--kubeconfig=/etc/passwd"], Exit.NOT_FOUND, "can't be the name"),
        (["status", "sweep", "--context", "other"], Exit.KUBERNETES, 'context "other" does not exist'),
        (["status", "sweep", "--kubeconfig", "/nowhere"], Exit.KUBERNETES, "/nowhere"),
        (["logs", "sweep", "7"], Exit.NOT_FOUND, "no pod of iteration 7 of sweep"),
        (["logs", "sweep", "0", "-c", "x", "--sidecar"], Exit.USAGE, "can't both be meant"),
        (["logs", "sweep", "0", "--worker", "3"], Exit.NOT_FOUND, "no pod is worker 3"),
        (["artifacts", "sweep"], Exit.USAGE, "the metadata API is not configured"),
        (["verify", "sweep"], Exit.USAGE, "set PINNACE_API_URL"),
        (["suspend", "nothing"], Exit.NOT_FOUND, "not found"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_done_ends_with_a_sentence_and_a_code(
    sweep: Scene, arguments: list[str], code: Exit, said: str
) -> None:
    result = CliRunner(env={"PINNACE_API_URL": None}).invoke(plugin, [arguments[0], "-n", NAMESPACE, *arguments[1:]])
    assert result.exit_code == code, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_another_namespace_has_other_experiments(sweep: Scene) -> None:
    result = run("status", "sweep", namespace="default")
    assert result.exit_code == Exit.NOT_FOUND
    assert "Hint: see --namespace and --context" in result.output


def test_without_kubectl_the_message_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("status", "sweep")
    assert result.exit_code == Exit.KUBERNETES
    assert "kubectl is not on the PATH" in result.output


def test_a_cluster_without_the_resource_is_told_from_a_missing_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").write_text(
        "#!/bin/sh\necho 'error: the server doesn'\\''t have a resource type \"experiments\"' >&2\nexit 1\n"
    )
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    result = run("status", "sweep")
    assert result.exit_code == Exit.KUBERNETES
    assert "Hint: Pinnace is not installed in this cluster" in result.output


def test_kubectl_itself_finds_the_plugin(sweep: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "kubectl-pinnace"
    program.write_text(f"#!{sys.executable}\nfrom pinnace.cli import plugin\nplugin()\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    shown = process("kubectl", "pinnace", "status", "sweep", "-n", NAMESPACE)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("Experiment sweep in namespace team-a")
    log = process("kubectl", "pinnace", "logs", "sweep", "0", "-n", NAMESPACE)
    assert (log.returncode, log.stdout) == (0, "sweep 0 train\nlast line\n"), log.stderr
    log = process("kubectl", "pinnace", "logs", "sweep", "1", "--sidecar", "--tail", "1", "-n", NAMESPACE)
    assert log.stdout == "last line\n", log.stderr
    log = process("kubectl", "pinnace", "logs", "sweep", "0", "-c", "none", "-n", NAMESPACE)
    assert log.returncode == Exit.NOT_FOUND
    several = process("kubectl", "pinnace", "logs", "sweep", "-n", NAMESPACE)
    assert several.returncode == Exit.USAGE
    assert "several iterations of sweep have pods: 1, 2" in several.stderr


def test_artifacts_lists_what_was_recorded_of_the_experiment_that_is_there_now(sweep: Scene) -> None:
    result = run("artifacts", "sweep", api=sweep.api)
    assert result.exit_code == Exit.OK, result.output
    assert [line.split("\t")[0] for line in result.output.splitlines()] == ["PATH", "model.bin"]
    assert len(run("artifacts", "sweep", "1", "--json", api=sweep.api).output.splitlines()) == 0
    assert len(run("artifacts", "sweep", "0", "--json", api=sweep.api).output.splitlines()) == 1


def test_verify_agrees_when_all_is_ashore(done: Scene) -> None:
    for extra in ([], ["--download"], ["--no-store"]):
        result = run("verify", "done", *extra, api=done.api)
        assert result.exit_code == Exit.OK, result.output
        assert "no contradiction" in result.output
    found = json.loads(run("verify", "done", "--json", api=done.api).output)
    assert found == {"pods": 1, "artifacts": 1, "bytes": 17, "skipped": 0, "contradictions": []}


def test_verify_says_when_not_all_is_ashore_yet(sweep: Scene) -> None:
    result = run("verify", "sweep", api=sweep.api)
    assert result.exit_code == Exit.UNFINISHED
    assert "! promise: sweep: ArtifactsSynced is not True: AccessDenied: the key may not write" in result.output


@pytest.mark.parametrize(
    ("damage", "extra", "said"),
    [
        (lambda content: content[:-1], [], "the store holds 16 bytes, not 17"),
        (lambda content: content[::-1], ["--download"], "the store gave SHA-256"),
        (lambda content: None, [], "nothing lies under"),
    ],
    ids=["short", "other bytes", "gone"],
)
def test_verify_finds_bytes_that_are_not_those_recorded(done: Scene, damage: Any, extra: list[str], said: str) -> None:
    key = done.shipped[0].location.key
    with done.s3.lock:
        whole = done.s3.objects[key]
        changed = damage(b"weights of done 0")
        if changed is None:
            del done.s3.objects[key]
        else:
            done.s3._store(key, changed, None)
    try:
        result = run("verify", "done", *extra, api=done.api)
    finally:
        with done.s3.lock:
            done.s3.objects[key] = whole
    assert result.exit_code == Exit.DIGEST, result.output
    assert f"! bytes: {done.shipped[0].id}: model.bin: " in result.output
    assert said in result.output


def test_verify_ends_as_the_store_does_when_it_refuses(done: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert run("verify", "done", api=done.api).exit_code == Exit.STORE


def test_verify_finds_a_pod_that_says_more_than_the_api_holds(around: tuple[ApiServer, S3Server]) -> None:
    scene = Scene("claims", *around)
    pod, iteration = scene.pod(0), iteration_id(scene.experiment.id, 0)
    uid = pod["metadata"]["uid"]
    sidecar = scene.api.sidecar(iteration, namespace=NAMESPACE, pod_uid=uid)
    sidecar.put_pod_report(report(iteration, uid, 1, artifact(iteration), final=True))
    result = run("verify", "claims", "--no-store", api=scene.api)
    assert result.exit_code == Exit.UNFINISHED
    assert f"! rows: pod {uid}: its report to the API names 1 artifacts" in result.output


def test_suspending_and_resuming_is_harmless_to_repeat(around: tuple[ApiServer, S3Server]) -> None:
    scene = Scene("held", *around)
    scene.pod(0)
    assert run("suspend", "held").output == "experiment held is suspended\n"
    assert scene.experiment.spec.suspend is True
    assert run("suspend", "held").output == "experiment held is suspended already\n"
    scene.look()
    assert "0  suspended" in run("status", "held").output
    assert run("resume", "held").output == "experiment held is running on\n"
    assert scene.experiment.spec.suspend is False
    assert run("resume", "held").exit_code == Exit.OK
