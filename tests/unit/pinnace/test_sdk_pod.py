"""In a pod the volume is enough: what the operator sets is found, and what is written is what the sidecar reads."""

import signal
from pathlib import Path
from typing import Any

import pytest

import pinnace
from pinnace import ids
from pinnace.naming import SDK_EVENTS_NAME, SDK_METRICS_NAME
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace.tracking.events import End, Parameters, Tagged, from_line
from pinnace_operator.experiment import Experiment
from pinnace_sidecar import metric_lines
from pinnace_sidecar.patterns import Patterns
from support.operator_world import experiment, job_of
from support.recording import as_user


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """With the environment of a training container, as the operator makes it."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    as_user(monkeypatch, tmp_path, None)
    pod = pod_of(body(folder))
    for name, value in environment(pod["containers"][0]).items():
        monkeypatch.setenv(name, value)
    return folder


def body(folder: Path) -> Experiment:
    return experiment(
        artifacts={"mountPath": str(folder)}, parameters={"list": [{"lr": 0.1}]}, metrics={"files": ["m.jsonl"]}
    )


def pod_of(declared: Experiment) -> dict[str, Any]:
    spec: dict[str, Any] = job_of(declared)["spec"]["template"]["spec"]
    return spec


def test_it_is_the_pods_own_iteration_with_the_parameters_of_the_experiment(volume: Path) -> None:
    with pinnace.iteration(
        project="another", experiment="another", parameters={"lr": 5, "seed": 1}, tags={"a": ""}
    ) as it:
        assert it.id == ids.iteration_id(body(volume).id, 0)
        assert (it.project, it.experiment) == ("team-a", "sweep")
        assert it.parameters == {"lr": 0.1, "seed": 1}
    said = [from_line(line) for line in (volume / SDK_EVENTS_NAME).read_bytes().splitlines()]
    assert Parameters(values={"seed": 1}) in said
    assert Tagged(values={"a": ""}) in said
    assert isinstance(said[-1], End)


def test_metrics_are_lines_that_the_sidecar_of_this_pod_reads(volume: Path) -> None:
    with pinnace.iteration() as it:
        it.log_metrics({"loss": 0.5, "bad": float("nan")}, step=7)
        it.log_metrics({"loss": 0.25})
    sidecar = environment(pod_of(body(volume))["initContainers"][0]) | {"PINNACE_POD_UID": "the-pod"}
    settings = load(SidecarSettings, sidecar, SIDECAR_PREFIX)
    assert Patterns(settings.metrics_files).match(SDK_METRICS_NAME)
    lines = (volume / SDK_METRICS_NAME).read_bytes().splitlines()
    points = [metric_lines.parse(line, index=index, source="s", offset=0) for index, line in enumerate(lines)]
    assert [(point.key, point.step, point.value) for line in points for point in line] == [
        ("loss", 7, 0.5),
        ("bad", 7, "NaN"),
        ("loss", 8, 0.25),
    ]
    assert all(point.time is not None for line in points for point in line)


def test_a_second_pod_or_process_writes_on_at_the_end(volume: Path) -> None:
    for _ in range(2):
        with pinnace.iteration() as it:
            it.log_metrics({"loss": 1}, step=0)
    assert len((volume / SDK_METRICS_NAME).read_bytes().splitlines()) == 2


def test_artifacts_appear_on_the_volume_whole_and_complete(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    (volume / "here").write_text("already")
    with pinnace.iteration() as it:
        it.log_artifact(tmp_path / "model", name="out/model")
        it.log_artifact(volume / "here")
        it.link_dataset("d", path=tmp_path / "model", role="produced", artifact="out/model")
        assert not it.flush()
    assert (volume / "out" / "model").read_text() == "weights"
    assert (volume / "here.done").exists()
    assert not list(volume.rglob("*.part"))


def test_signals_and_exceptions_are_the_trainings_own(volume: Path) -> None:
    with pinnace.iteration():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(ZeroDivisionError), pinnace.iteration():
        1 / 0  # noqa: B018


def test_a_volume_that_is_full_does_not_end_the_training(
    volume: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with pinnace.iteration() as it, monkeypatch.context() as patch:
        patch.setattr("pinnace.tracking.volume.os.write", full)
        it.log_metrics({"x": 1})
    assert "volume.full" in caplog.text
