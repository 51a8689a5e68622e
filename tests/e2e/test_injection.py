"""A pod that no Job of ours made carries two labels, and its files come ashore like those of any other."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.kubectl import CommandFailed, apply, kubectl
from pinnace.naming import SIDECAR_CONTAINER
from support.chart import below_restricted
from support.eventually import eventually
from support.system import Experiment, System, experiment_manifest

WRITES = {"SMALL_FILES": "5", "BIG_MIB": "12", "SECONDS_TO_RUN": "3"}


def bare_pod(name: str, experiment: str) -> dict[str, Any]:
    """A plain pod with the ledger's writer, which knows nothing of an Experiment but its name."""
    template = experiment_manifest(name, environment=WRITES)["spec"]["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"pinnace.dev/inject": "true", "pinnace.dev/experiment": experiment}},
        "spec": {"restartPolicy": "Never", **template["spec"]},
    }


@pytest.mark.timeout(400)
def test_files_of_a_bare_labelled_pod_come_ashore_and_are_recorded(
    start: Callable[..., Experiment], system: System
) -> None:
    experiment = start("elsewhere", suspend=True)
    experiment.wait_for("Accepted", "True")
    body = bare_pod("bare", "elsewhere")
    kubectl("create", "--filename=-", namespace=experiment.namespace, stdin=json.dumps(body))
    [pod] = experiment.pods()
    assert pod["spec"]["initContainers"][0]["name"] == SIDECAR_CONTAINER
    assert below_restricted(pod["spec"]) == []

    def ended() -> bool:
        [pod] = experiment.pods()
        return bool(pod["status"].get("phase") == "Succeeded")

    eventually(ended, timeout=180, interval=0.5, what="the pod and its sidecar have ended")
    rows = system.rows(experiment.id)
    assert len(rows) == 5 + 1 + 1
    assert experiment.differences() == []
    assert not any(row.suspect for row in rows)
    [standing] = system.api.pods(experiment.id)
    assert standing.report is not None
    assert (standing.report.final, standing.report.injected) == (True, True)
    eventually(
        lambda: experiment.read()["status"]["artifacts"]["recorded"] == len(rows), timeout=60, interval=0.5,
        what="the status counts what the pod recorded",
    )  # fmt: skip
    assert experiment.condition("ArtifactsSynced")["status"] == "False", "its own iteration has not run"

    # The iteration itself ends, and what the other pod wrote is a part of what is proven.
    kubectl(
        "patch", "experiment", "elsewhere", "--type=merge", '--patch={"spec":{"suspend":false}}',
        namespace=experiment.namespace,
    )  # fmt: skip
    experiment.wait_for("ArtifactsSynced", "True")
    with pytest.raises(CommandFailed, match="proven ashore"):
        apply(bare_pod("late", "elsewhere"), namespace=experiment.namespace)


@pytest.mark.timeout(120)
def test_the_cluster_refuses_in_words_what_it_could_not_carry_out(start: Callable[..., Experiment]) -> None:
    with pytest.raises(CommandFailed, match="rename one of them"):
        start("twins", parameters={"grid": {"a-b": [1], "a_b": [2]}})
