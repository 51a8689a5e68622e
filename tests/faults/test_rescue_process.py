"""What a pod that is gone left on a volume that outlived it, shipped by the real rescue against the real API."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from pinnace.records import FileState, PodReport
from pinnace_sidecar.rescue import Exit
from support.eventually import eventually
from support.s3_server import Fault, Misbehaviour
from support.scenario import NAMESPACE, POD, Scenario


def store_is_away(pod: Scenario) -> None:
    pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, times=10**6))


def wait_for_copies(pod: Scenario) -> None:
    """Until the API has heard of copies that wait for the store."""
    eventually(
        lambda: any(report and report.files.get(FileState.BUFFERED) for _, report in reported(pod)),
        timeout=20,
        what="copies in the buffer",
    )


def dies(pod: Scenario) -> None:
    """The pod is killed without grace, and its object is gone."""
    pod.sidecar.kill()
    del pod.api.cluster.pods[NAMESPACE, f"pod-{POD}"]
    token = pod.api.cluster.add_rescuer(pod.sidecar.settings.iteration_id, namespace=NAMESPACE, rescues=POD)
    (pod.sidecar.folder / "token").write_text(token)


def rescue(pod: Scenario, **extra: str) -> int:
    pod.sidecar.begin("rescue", **extra)
    return pod.sidecar.wait()


def reported(pod: Scenario) -> list[tuple[str, PodReport | None]]:
    admin = pod.api.admin()
    experiment = admin.iteration(pod.sidecar.settings.iteration_id).experiment_id
    return [(standing.pod_uid, standing.report) for standing in admin.pods(experiment)]


def assert_ashore(pod: Scenario, files: dict[str, bytes], suspect: set[str]) -> None:
    rows = {row.path: (row.sha256, row.suspect, row.pod_uid) for row in pod.rows()}
    assert rows == {path: (hashlib.sha256(data).hexdigest(), path in suspect, POD) for path, data in files.items()}
    assert len(pod.store.objects) == len(files)
    assert set(pod.store.writes.values()) == {1}
    assert pod.store.uploads == {}
    assert list(pod.copies.iterdir()) == []


def age(path: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_b15_what_was_copied_and_what_was_not_comes_ashore_in_the_dead_pod_s_name(pod: Scenario) -> None:
    files = {"recorded": pod.write("recorded", 1000)}
    pod.sidecar.start()
    pod.wait_for_rows(1)
    store_is_away(pod)
    files["copied"] = pod.write("copied", 6 * 2**20)
    wait_for_copies(pod)
    # Gone from the volume: the copy is the only one there is.
    (pod.sidecar.volume / "copied").unlink()
    dies(pod)
    files["settled"] = pod.write("settled", 100)
    age(pod.sidecar.volume / "settled", 60)
    files["torn"] = pod.write("torn", 100)
    files["marked"] = pod.write("marked", 100)
    pod.write("marked.done", b"")
    pod.store.faults.clear()
    assert rescue(pod) == Exit.DONE, pod.sidecar.log()
    assert_ashore(pod, files, suspect={"torn"})
    report = pod.sidecar.last_words()
    assert (report.pod_uid, report.final, report.manifest.count) == (POD, True, 5)
    assert reported(pod) == [(POD, report)]
    # Once more changes nothing.
    assert rescue(pod) == Exit.DONE
    assert_ashore(pod, files, suspect={"torn"})


def test_a_rescue_that_is_killed_itself_is_gone_on_with(pod: Scenario) -> None:
    store_is_away(pod)
    pod.sidecar.start()
    files = {f"{number}": pod.write(f"{number}", 200_000) for number in range(20)}
    wait_for_copies(pod)
    dies(pod)
    pod.sidecar.begin("rescue")
    eventually(lambda: '"rescuing"' in pod.sidecar.log(), timeout=20, what="the rescue has begun")
    pod.sidecar.kill()
    pod.store.faults.clear()
    assert rescue(pod) == Exit.DONE, pod.sidecar.log()
    assert {row.path for row in pod.rows()} == files.keys()
    assert pod.sidecar.last_words().final


def test_with_a_store_that_stays_away_it_says_why_and_is_worth_another_try(pod: Scenario) -> None:
    pod.sidecar.start()
    pod.write("file", 1000)
    pod.write("file.done", b"")
    store_is_away(pod)
    dies(pod)
    assert rescue(pod, PINNACE_DRAIN_TIMEOUT_SECONDS="3") == Exit.UNFINISHED
    report = pod.sidecar.last_words()
    assert not report.final
    assert report.files[FileState.BUFFERED] == 1
    assert report.problems


def test_another_volume_than_the_pod_s_proves_nothing(pod: Scenario) -> None:
    """A claim that was deleted and made again is empty: that is no proof that the pod wrote nothing."""
    pod.sidecar.start()
    pod.write("lost", 1000)
    dies(pod)
    for folder in (pod.sidecar.volume, Path(pod.sidecar.settings.buffer_dir)):
        shutil.rmtree(folder)
        folder.mkdir()
    assert rescue(pod) == Exit.NOTHING_HERE
    assert "has no journal on this volume" in Path(pod.sidecar.settings.termination_message).read_text()
    assert not any(report and report.final for _, report in reported(pod))


def test_a_damaged_journal_is_no_empty_volume(pod: Scenario) -> None:
    pod.sidecar.start()
    files = {"file": pod.write("file", 1000)}
    pod.wait_for_rows(1)
    dies(pod)
    age(pod.sidecar.volume / "file", 60)
    (Path(pod.sidecar.settings.buffer_dir) / "journal.db").write_bytes(b"rubbish" * 1000)
    files["last"] = pod.write("last", 10)
    assert rescue(pod) == Exit.DONE, pod.sidecar.log()
    assert {row.path: row.suspect for row in pod.rows()} == {"file": False, "last": True}
    assert [report and report.final for _, report in reported(pod)] == [True]


def test_b08_a_buffer_that_is_in_use_is_left_to_its_sidecar(pod: Scenario) -> None:
    pod.sidecar.start()
    rival = pod.sidecar.twin()
    rival.settings = msgspec.structs.replace(pod.sidecar.settings, termination_message=str(rival.folder / "rival"))
    rival.begin("rescue")
    assert rival.wait() == Exit.UNFINISHED
    assert "in use by another sidecar" in (rival.folder / "rival").read_text()
    pod.write("file", 10)
    pod.end()


@pytest.mark.parametrize("name", ["pod-of-another-name", f"pod-{POD}"])
def test_a_living_pod_is_not_spoken_for(pod: Scenario, name: str) -> None:
    pod.sidecar.start()
    pod.write("file", 10)
    pod.wait_for_rows(1)
    pod.sidecar.kill()
    iteration = pod.sidecar.settings.iteration_id
    token = pod.api.cluster.add_rescuer(iteration, namespace=NAMESPACE, rescues=POD, name=name)
    (pod.sidecar.folder / "token").write_text(token)
    assert rescue(pod, PINNACE_DRAIN_TIMEOUT_SECONDS="3") == Exit.UNFINISHED
    assert [report and report.final for _, report in reported(pod)] == [False]
    assert "ApiForbidden" in [problem.reason for problem in pod.sidecar.last_words().problems]
