"""Operators as real processes on a real API server: one leads, and deletions end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import apply, get, items, kubectl
from pinnace.records import Shown
from pinnace_operator.deletion import FINALIZER, FORCE_ANNOTATION
from support.api_process import ApiProcess
from support.control_plane import ControlPlane
from support.eventually import eventually
from support.operator_process import OperatorProcess
from support.operator_world import manifest
from support.pod_player import Behaviour, PodPlayer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operators")


@pytest.fixture(scope="module")
def player(plane: ControlPlane, api_process: ApiProcess) -> Iterator[PodPlayer]:
    """Pods do what the label `behaviour` of their template says."""
    with api_process.admin() as client:
        player = PodPlayer(plane, client, lambda pod: Behaviour(pod["metadata"]["labels"].get("behaviour", "succeed")))
        player.start()
        yield player
        player.close()


@pytest.fixture
def namespace(plane: ControlPlane, player: PodPlayer, request: pytest.FixtureRequest) -> str:
    name = f"team-{abs(hash(request.node.name)) % 10**6}"
    kubectl("create", "namespace", name)
    return name


@pytest.fixture
def operators(folder: Path, plane: ControlPlane, api_process: ApiProcess, namespace: str) -> Iterator[Any]:
    """Starts operators by name, with their Lease in the test's namespace; all end with the test."""
    with ExitStack() as stack:

        def start(name: str, *arguments: str, **settings: object) -> OperatorProcess:
            operator = OperatorProcess(
                folder, plane, api_process, name=name, **{"lease_namespace": namespace, **settings}
            )
            operator.start(*arguments)
            stack.callback(operator.stop, signal.SIGKILL)
            return operator

        yield start


def create(
    namespace: str, name: str, behaviour: str, *, labels: dict[str, str] | None = None, **artifacts: Any
) -> None:
    body = manifest(name, artifacts=artifacts)
    body["spec"]["template"]["metadata"] = {"labels": {"behaviour": behaviour}}
    body["metadata"] = {"name": name, "namespace": namespace, "labels": labels or {}}
    apply(body, namespace=namespace)


def soon(probe: Callable[[], object], *, timeout: float, what: str) -> None:
    """Each question is a process: not too often."""
    eventually(probe, timeout=timeout, interval=0.25, what=what)


def condition(namespace: str, name: str, type_: str) -> str:
    found = get("experiment", name, namespace) or {}
    return next((c["status"] for c in found.get("status", {}).get("conditions", ()) if c["type"] == type_), "")


def is_synced(namespace: str, name: str) -> bool:
    return condition(namespace, name, "ArtifactsSynced") == "True"


def is_running(namespace: str, name: str) -> bool:
    return condition(namespace, name, "Running") == "True"


def is_gone(namespace: str, name: str) -> bool:
    return get("experiment", name, namespace) is None


def finalizers(namespace: str, name: str) -> list[str]:
    found: list[str] = (get("experiment", name, namespace) or {})["metadata"].get("finalizers", [])
    return found


def delete(namespace: str, name: str) -> None:
    kubectl("-n", namespace, "delete", "experiment", name, "--wait=false")


def reasons(namespace: str) -> set[str]:
    return {event.get("reason", "") for event in items("events", namespace)}


def test_one_leads_and_the_next_takes_over_within_seconds_of_its_end(operators: Any, namespace: str) -> None:
    first = operators("first")
    eventually(first.is_leader, timeout=45, what="the first leads")
    second = operators("second")
    soon(second.metrics, timeout=20, what="the second answers")
    create(namespace, "one", "succeed")
    soon(lambda: is_synced(namespace, "one"), timeout=30, what="one is synced")
    assert first.is_leader()
    assert not second.is_leader()
    assert second.metrics()["pinnace_operator_experiments"] == 0
    assert first.stop() == 0
    eventually(second.is_leader, timeout=8, what="the second leads")
    create(namespace, "two", "succeed")
    soon(lambda: is_synced(namespace, "two"), timeout=30, what="two is synced")
    soon(lambda: not finalizers(namespace, "two"), timeout=5, what="two is held no more")
    assert second.metrics()["pinnace_operator_jobs_created_total"] == 1
    kubectl("-n", namespace, "patch", "lease", "pinnace-operator", "--type=merge", '-p={"spec":{"holderIdentity":"x"}}')
    assert second.wait(timeout=20) == 3


def test_a_deleted_experiment_waits_for_its_pods_and_goes(
    operators: Any, namespace: str, api_process: ApiProcess
) -> None:
    operators("solo", lease_namespace="")
    create(namespace, "drains", "run", deletionPolicy="Delete")
    create(namespace, "hangs", "hang", deletionTimeoutSeconds=5)
    create(namespace, "forced", "hang")
    for name in ("drains", "hangs", "forced"):
        soon(partial(is_running, namespace, name), timeout=30, what=f"{name} runs")
        assert finalizers(namespace, name) == [FINALIZER]
        delete(namespace, name)
    soon(lambda: is_gone(namespace, "drains"), timeout=30, what="the drained one is gone")
    with api_process.admin() as client:
        [row] = client.experiments(namespace=namespace, name="drains", lifecycle=Shown.TRASHED)
    assert row.name == "drains"
    soon(lambda: is_gone(namespace, "hangs"), timeout=20, what="the hanging one is gone")
    assert not is_gone(namespace, "forced")
    kubectl("-n", namespace, "annotate", "experiment", "forced", f"{FORCE_ANNOTATION}=true")
    soon(lambda: is_gone(namespace, "forced"), timeout=10, what="the forced one is gone")
    assert {"Deleting", "ArtifactsAshore", "DeletionTimedOut", "DeletionForced"} <= reasons(namespace)


def test_a_namespace_goes_with_what_runs_in_it(operators: Any, namespace: str) -> None:
    operators("solo", lease_namespace="")
    create(namespace, "runs", "run")
    soon(lambda: is_running(namespace, "runs"), timeout=30, what="it runs")
    kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert get("namespace", namespace) is None


def test_operators_of_two_selectors_stand_side_by_side(operators: Any, namespace: str) -> None:
    red = operators("red", selector="colour=red")
    blue = operators("blue", selector="colour=blue")
    soon(lambda: red.is_leader() and blue.is_leader(), timeout=20, what="both lead")
    create(namespace, "red-one", "run", labels={"colour": "red"})
    create(namespace, "blue-one", "succeed", labels={"colour": "blue"})
    soon(lambda: is_synced(namespace, "blue-one"), timeout=30, what="the blue one is synced")
    soon(lambda: is_running(namespace, "red-one"), timeout=30, what="the red one runs")
    counts = [each.metrics()["pinnace_operator_jobs_created_total"] for each in (red, blue)]
    assert counts == [1, 1]
    assert red.metrics()["pinnace_operator_experiments"] == 1


def test_after_a_release_no_finalizer_is_left_and_the_jobs_go_on(operators: Any, namespace: str) -> None:
    operator = operators("led")
    create(namespace, "runs", "run")
    soon(lambda: is_running(namespace, "runs"), timeout=60, what="it runs")
    release = operators("uninstall", "release")
    assert release.wait(timeout=60) == 0
    assert operator.wait(timeout=5) == 3
    assert finalizers(namespace, "runs") == []
    [job] = items("jobs", namespace)
    assert "suspend" not in job["spec"] or not job["spec"]["suspend"]
    delete(namespace, "runs")
    soon(lambda: is_gone(namespace, "runs"), timeout=10, what="it is gone")
