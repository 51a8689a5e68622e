"""What a training says in a pod reaches store and API through the volume and the real sidecar, without any token."""

from pathlib import Path

import msgspec
import pytest

from pinnace.naming import SDK_EVENTS_NAME, SDK_METRICS_NAME
from pinnace_sidecar.patterns import Patterns
from support.environment import without_settings
from support.recording import Training
from support.scenario import scenario

SCRIPT = """
with pinnace.iteration(project="elsewhere", experiment="elsewhere") as it:
    for step in range(100):
        it.log_metrics({"loss": 1 / (step + 1)}, step=step)
    open("model", "w").write("weights")
    it.log_artifact("model", name="out/model")
    it.set_tag("seen", it.parameters["lr"])
    it.note("seen through")
"""


def test_metrics_and_artifacts_of_a_pod_are_ashore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    with scenario(tmp_path) as pod:
        settings = pod.sidecar.settings
        pod.sidecar.settings = msgspec.structs.replace(settings, metrics_files=(f"/{SDK_METRICS_NAME}",))
        assert Patterns(pod.sidecar.settings.metrics_files).match(SDK_METRICS_NAME)
        pod.sidecar.start()
        environment = {
            "PINNACE_ITERATION_ID": str(settings.iteration_id),
            "PINNACE_ARTIFACTS_DIR": settings.artifacts_dir,
            "PINNACE_PARAMS": '{"lr": "0.1"}',
        }
        with Training(tmp_path, SCRIPT, environment) as training:
            assert training.output() == ""
            assert training.process.returncode == 0
        pod.end()
        with pod.api.admin() as client:
            (series,) = client.metric_series(settings.iteration_id)
            assert (series.key, series.summary.count, series.summary.last) == ("loss", 100, 0.01)
            iteration = client.iteration(settings.iteration_id)
            assert (iteration.tags, iteration.notes) == ({"seen": "0.1"}, "seen through")
            paths = {row.path: row for row in client.iteration_artifacts(settings.iteration_id)}
        assert set(paths) == {"out/model", SDK_METRICS_NAME, SDK_EVENTS_NAME}
        assert paths["out/model"].size == len("weights")
        assert not any(row.suspect for row in paths.values())
