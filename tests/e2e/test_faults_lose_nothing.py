"""What is stopped, killed or failing in the middle delays the end and loses nothing."""

import time
from collections.abc import Callable

import pytest

from cluster.installation import STORE_NAMESPACE, SYSTEM_NAMESPACE
from cluster.kubectl import items, kubectl
from support.eventually import eventually
from support.system import HOLD, Experiment, System, on_node

Start = Callable[..., Experiment]

WRITES_FOR_20_S = {"SMALL_FILES": "20", "SECONDS_TO_RUN": "20"}


def ends_well(experiment: Experiment, *, timeout: float = 240) -> None:
    experiment.wait_for("ArtifactsSynced", "True", timeout=timeout)
    assert experiment.differences() == []


@pytest.mark.timeout(600)
def test_a_store_that_is_away_for_30_seconds_is_waited_for_and_named(start: Start, system: System) -> None:
    experiment = start("store-away", environment=WRITES_FOR_20_S)
    experiment.wait_until_running()
    stopped = time.monotonic()
    system.scale("minio", STORE_NAMESPACE, 0)
    try:
        condition = experiment.wait_for("ArtifactsSynced", "False", reason="StoreUnreachable", timeout=90)
        eventually(lambda: time.monotonic() - stopped > 30, timeout=40, interval=0.5, what="30 s without a store")
    finally:
        system.scale("minio", STORE_NAMESPACE, 1)
    assert condition["message"]
    ends_well(experiment)


@pytest.mark.timeout(600)
def test_an_api_that_is_away_for_30_seconds_is_caught_up_with(start: Start, system: System) -> None:
    experiment = start("api-away", environment=WRITES_FOR_20_S)
    experiment.wait_until_running()
    stopped = time.monotonic()
    system.scale("pinnace-api", SYSTEM_NAMESPACE, 0)
    try:
        experiment.wait_for("ArtifactsSynced", "False", reason="ApiUnreachable", timeout=90)
        eventually(lambda: time.monotonic() - stopped > 30, timeout=40, interval=0.5, what="30 s without an API")
    finally:
        system.scale("pinnace-api", SYSTEM_NAMESPACE, 1)
    ends_well(experiment)


@pytest.mark.timeout(600)
def test_an_operator_that_is_killed_goes_on_where_it_was(start: Start, system: System) -> None:
    experiment = start("operator-killed", environment={"SECONDS_TO_RUN": "8"}, parameters={"grid": {"n": [1, 2, 3]}})
    experiment.wait_until_running()
    for _ in range(2):
        kubectl(
            "delete", "pod", "--selector=app.kubernetes.io/component=operator", "--grace-period=0", "--force",
            namespace=SYSTEM_NAMESPACE,
        )  # fmt: skip
        kubectl("rollout", "status", "deployment/pinnace-operator", "--timeout=120s", namespace=SYSTEM_NAMESPACE)
    ends_well(experiment)
    assert len(items("jobs", experiment.namespace)) == 3
    assert len(list(system.api.iterations(experiment.id))) == 3


@pytest.mark.timeout(600)
def test_a_sidecar_killed_in_mid_upload_resumes_and_leaves_no_dangling_upload(start: Start, system: System) -> None:
    experiment = start("sidecar-killed", environment={"BIG_MIB": "300", "HOLD": HOLD})
    experiment.wait_until_running()
    system.freeze_store_in_mid_put()
    try:
        on_node("pkill", "-KILL", "-f", "pinnace_sidecar")
    finally:
        system.thaw_store()
    # What may have begun to arrive is not sent whole again.
    system.freeze_store_in_mid_upload()
    try:
        on_node("pkill", "-KILL", "-f", "pinnace_sidecar")
        assert system.uploads_under_way(), "the upload was over before the kill: nothing was proven"
    finally:
        system.thaw_store()
    # A pod whose training ends while its sidecar waits to be started again ends without it.
    eventually(
        lambda: (status := experiment.sidecar())["restartCount"] >= 2 and "running" in status["state"],
        timeout=120, interval=0.3, what="the sidecar runs again",
    )  # fmt: skip
    experiment.release()
    ends_well(experiment)
    assert system.uploads_under_way() == []
    keys = [row.location.key for row in system.rows(experiment.id)]
    assert len(keys) == len(set(keys))


@pytest.mark.timeout(600)
def test_files_of_a_training_that_fails_are_shipped(start: Start, system: System) -> None:
    # Thousands: the journal grows beyond what its database keeps in memory.
    experiment = start("fails", environment={"EXIT_CODE": "3", "SECONDS_TO_RUN": "6", "SMALL_FILES": "3000"})
    condition = experiment.wait_for("Succeeded", "False")
    assert "3" in condition["message"]
    ends_well(experiment)
    assert len(system.rows(experiment.id)) == 3001
