"""What a training uses is seen from inside its own container, by restricted pods too."""

from collections.abc import Callable

import pytest

from pinnace.records import MetricSummary
from support.system import Experiment, System

#: An image that has the package pinnace.
IMAGE = "pinnace/sidecar:dev"
PYTHON = "/venv/bin/python"


def largest(summary: MetricSummary) -> float:
    assert isinstance(summary.max, int | float)
    return summary.max


@pytest.mark.timeout(300)
def test_system_metrics_of_the_training_come_ashore_when_they_are_asked_for(
    start: Callable[..., Experiment], system: System
) -> None:
    experiment = start(
        "system-metrics",
        environment={"SMALL_FILES": "1", "BIG_MIB": "8", "SECONDS_TO_RUN": "4"},
        image=IMAGE,
        python=(PYTHON, "-m", "pinnace.system_metrics", "--", PYTHON),
        metrics={"system": {"enabled": True, "intervalSeconds": 1}},
    )
    experiment.wait_for("ArtifactsSynced", "True")
    assert experiment.condition("Succeeded")["status"] == "True"
    [iteration] = system.api.iterations(experiment.id)
    assert iteration.metrics["accuracy"].count == experiment.ledger().steps
    cores, memory = iteration.metrics["system/cpu_cores"], iteration.metrics["system/memory_bytes"]
    assert cores.count >= 3
    assert 0 < largest(cores) < 64
    assert 2**20 < largest(memory) < 2**30
