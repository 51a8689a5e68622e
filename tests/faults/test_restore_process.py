"""A checkpoint of one pod on the volume of the next, by the real restore, and then the real sidecar on it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from pinnace.records import FileState
from support.s3_server import Fault, Misbehaviour
from support.scenario import NAMESPACE, Scenario
from support.sidecar_process import SidecarProcess

SECOND = "pod-2"


@pytest.fixture
def second(pod: Scenario) -> SidecarProcess:
    """The pod that replaces the first one, which wrote a checkpoint and ended."""
    files = {"step-1/weights": pod.write("step-1/weights", 300_000), "step-1/state": pod.write("step-1/state", 10)}
    pod.write("log.txt", 100)
    manifest = json.dumps({"files": [{"path": path.removeprefix("step-1/")} for path in files]}).encode()
    pod.write("step-1/pinnace-manifest.json", manifest)
    pod.sidecar.start()
    pod.end()
    iteration = pod.sidecar.settings.iteration_id
    return SidecarProcess(
        pod.sidecar.folder.parent / "second",
        iteration_id=iteration,
        pod_uid=SECOND,
        store=pod.sidecar.store,
        api_url=pod.api.url,
        token=pod.api.cluster.add_pod(iteration, namespace=NAMESPACE, pod_uid=SECOND),
    )


def restore(process: SidecarProcess, **extra: str) -> int:
    process.begin("restore", **extra)
    return process.wait()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_comes_back_is_what_was_recorded_and_is_recorded_only_once(pod: Scenario, second: SidecarProcess) -> None:
    before, objects = pod.rows(), dict(pod.store.objects)
    assert restore(second) == 0, second.log()
    found = contents(second.volume)
    assert found == {path: data for path, data in contents(pod.sidecar.volume).items() if path != "log.txt"}
    received = pod.store.bytes_received
    pod.api.cluster.end_pod(namespace=NAMESPACE, pod_uid=SECOND)
    second.start()
    second.end_writers()
    assert second.wait() == 0
    report = second.last_words()
    assert (report.final, report.files) == (True, {FileState.RECORDED: 3})
    assert {row.id for row in pod.rows()} == {row.id for row in before}
    assert {key: stored.body for key, stored in pod.store.objects.items()} == {
        key: stored.body for key, stored in objects.items()
    }
    # The large one is not sent again.
    assert pod.store.bytes_received - received < 10_000
    [of_second] = [each for each in pod.api.admin().pods(experiment_of(pod)) if each.pod_uid == SECOND]
    assert of_second.recorded == report.manifest
    second.close()


def experiment_of(pod: Scenario) -> UUID:
    return pod.api.admin().iteration(pod.sidecar.settings.iteration_id).experiment_id


def test_a_second_try_adds_nothing_and_a_used_volume_is_left_alone(pod: Scenario, second: SidecarProcess) -> None:
    assert restore(second) == 0
    (second.volume / "step-1/state").unlink()
    assert restore(second) == 0
    assert (second.volume / "step-1/state").is_file()
    (second.volume / "step-1/state").unlink()
    (second.volume / "step-2").write_bytes(b"farther")
    assert restore(second) == 0
    assert not (second.volume / "step-1/state").exists()


def test_damaged_bytes_fail_the_pod_with_the_reason(pod: Scenario, second: SidecarProcess) -> None:
    [row] = [row for row in pod.rows() if row.path == "step-1/weights"]
    stored = pod.store.objects[row.location.key]
    pod.store.objects[row.location.key] = replace(stored, body=bytes(len(stored.body)))
    assert restore(second) == 1
    said = Path(second.settings.termination_message).read_text()
    assert hashlib.sha256(bytes(row.size)).hexdigest() in said
    assert "spec.restore.enabled" in said
    assert "step-1/weights" not in contents(second.volume)


def test_a_store_that_stays_away_is_given_up_after_its_time(pod: Scenario, second: SidecarProcess) -> None:
    pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, times=10**6))
    assert restore(second, PINNACE_RESTORE_TIMEOUT_SECONDS="2") == 1
    assert "can't be restored" in Path(second.settings.termination_message).read_text()


def test_another_iteration_s_checkpoint_is_out_of_reach(pod: Scenario, second: SidecarProcess) -> None:
    """The token is of a pod of another iteration than the settings say."""
    token = pod.api.cluster.add_pod(None, namespace=NAMESPACE, pod_uid="stranger")
    (second.folder / "token").write_text(token)
    assert restore(second, PINNACE_RESTORE_TIMEOUT_SECONDS="2") == 1
    assert contents(second.volume) == {}
