"""All iterations: every file once in the store, one row each, and the condition not before the last row."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from cluster.kubectl import apply, get, items, kubectl
from support.eventually import eventually
from support.system import Experiment, System

SWEEP = {"parameters": {"grid": {"lr": [0.1, 0.01], "depth": [3, 5]}}, "parallelism": 2}


@pytest.mark.timeout(600)
def test_every_file_of_four_iterations_is_ashore_exactly_once(start: Callable[..., Experiment], system: System) -> None:
    experiment = start("sweep", environment={"SMALL_FILES": "6", "BIG_MIB": "40", "SECONDS_TO_RUN": "4"}, **SWEEP)
    most_at_once = 0

    def synced() -> dict[str, Any] | None:
        nonlocal most_at_once
        active = [pod for pod in experiment.pods() if pod["status"].get("phase") in ("Pending", "Running")]
        most_at_once = max(most_at_once, len(active))
        condition: dict[str, Any] = experiment.condition("ArtifactsSynced")
        return condition if condition.get("status") == "True" else None

    condition = eventually(synced, timeout=300, interval=0.3, what="ArtifactsSynced=True")
    rows = system.rows(experiment.id)

    assert experiment.differences() == []
    assert len(rows) == 4 * (6 + 1 + 1)
    assert not any(row.suspect for row in rows)
    assert most_at_once == 2
    turned = datetime.fromisoformat(condition["lastTransitionTime"])
    assert all(row.recorded_at and row.recorded_at.replace(microsecond=0) <= turned for row in rows)
    assert experiment.condition("Succeeded")["status"] == "True"
    status = experiment.read()["status"]
    assert status["iterations"]["succeeded"] == status["iterations"]["total"] == 4
    assert status["artifacts"]["recorded"] == len(rows)

    iterations = list(system.api.iterations(experiment.id))
    combinations = {(iteration.parameters["lr"], iteration.parameters["depth"]) for iteration in iterations}
    assert combinations == {(0.1, 3), (0.1, 5), (0.01, 3), (0.01, 5)}
    assert sum(iteration.metrics["accuracy"].count for iteration in iterations) == experiment.ledger().steps

    again_changes_nothing(experiment, system)
    deletion_leaves_the_bytes(experiment, system)


def again_changes_nothing(experiment: Experiment, system: System) -> None:
    before = experiment.read()
    jobs = {job["metadata"]["uid"] for job in items("jobs", experiment.namespace)}
    apply(
        {field: before[field] for field in ("apiVersion", "kind", "spec")} | {"metadata": {"name": experiment.name}},
        namespace=experiment.namespace,
    )
    kubectl("delete", "pod", "--selector=app.kubernetes.io/component=operator", namespace="pinnace-system")
    kubectl("rollout", "status", "deployment/pinnace-operator", "--timeout=120s", namespace="pinnace-system")
    after = experiment.read()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"] == before["status"]
    assert {job["metadata"]["uid"] for job in items("jobs", experiment.namespace)} == jobs


def deletion_leaves_the_bytes(experiment: Experiment, system: System) -> None:
    identity, rows = experiment.id, system.rows(experiment.id)
    kubectl("delete", "experiment", experiment.name, "--timeout=60s", namespace=experiment.namespace)
    assert get("experiment", experiment.name, experiment.namespace) is None
    eventually(lambda: not items("pods", experiment.namespace), timeout=90, interval=0.5, what="pods removed with it")
    assert system.rows(identity) == rows
    for row in rows:
        assert system.bucket.stat_object(row.location.bucket, row.location.key).size == row.size
