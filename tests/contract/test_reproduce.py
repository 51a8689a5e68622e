"""`pinnace reproduce`: the Experiment that it prints is taken by the CRD and the operator, and says the same."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.ids import iteration_id
from pinnace.records import ExperimentWrite, IterationPatch, IterationWrite
from pinnace_operator import recipe
from pinnace_operator.acceptance import accept
from pinnace_operator.experiment import Experiment
from support.api_server import ApiServer, api_server
from support.crd import CRD
from support.operator_world import PLATFORM, UID, manifest
from support.recording import Training, as_user

SCHEMA = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
DIGEST = f"registry.example/training@sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    as_user(monkeypatch, tmp_path, api)
    with api.admin() as client:
        yield client


def run(*arguments: str, ends: Exit = Exit.OK) -> Result:
    result = CliRunner().invoke(main, ["reproduce", *arguments])
    assert result.exit_code == ends, result.output
    return result


def accepted(text: str) -> Experiment:
    """As the API server and the operator read it."""
    document = yaml.safe_load(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    document["metadata"] |= {"uid": UID, "namespace": "team-a"}
    experiment = Experiment.from_manifest(document)
    assert accept(experiment, PLATFORM).search.count == 1
    return experiment


CONTAINER: dict[str, Any] = {
    "name": "train",
    "image": "registry.example/training:1",
    "command": ["python3", "train.py"],
    "args": ["--name", "a: b\n\u202ec", "--password", "x", "yes", ""],
    "env": [
        {"name": "HF_TOKEN", "value": "abc"},
        {"name": "EPOCHS", "value": "10"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
    "resources": {"limits": {"nvidia.com/gpu": 1}},
}


def test_an_iteration_of_a_cluster_is_its_experiment_with_its_parameters_and_images_by_digest(client: Client) -> None:
    declared = manifest(
        "sweep.of-all",
        pod={"containers": [CONTAINER], "tolerations": [{"operator": "Exists"}]},
        parameters={"grid": {"lr": [1e-05, 0.1], "deep": [True]}},
        parallelism=4,
        suspend=False,
        artifacts={"exclude": [], "completion": {"settleSeconds": 3}},
        tags=["a=b"],
    )
    experiment = uuid4()
    identity = iteration_id(experiment, 1)
    client.put_experiment(experiment, ExperimentWrite(project="p", name="sweep", namespace="team-a"))
    client.put_iteration(
        identity,
        IterationWrite(
            experiment_id=experiment,
            index=1,
            parameters={"lr": 1e-05, "deep": True},
            environment=recipe.recipe(Experiment.from_manifest(declared)),
        ),
    )
    environment = recipe.images({"train": f"docker-pullable://{DIGEST}"})
    client.patch_iteration(identity, IterationPatch(environment=environment))
    text = run(str(identity)).stdout
    again = accepted(text)
    assert again.project == "p"
    assert again.spec.parameters is not None
    assert again.spec.parameters.list == [{"lr": 1e-05, "deep": True}]
    assert (again.spec.parallelism, again.spec.artifacts.exclude, again.spec.artifacts.completion.settle_seconds) == (
        1,
        (),
        3,
    )
    pod = again.spec.template.spec
    assert pod["tolerations"] == [{"operator": "Exists"}]
    (container,) = pod["containers"]
    assert container["image"] == DIGEST
    assert container["command"] == ["python3", "train.py"]
    assert container["args"] == ["--name", "a: b\n\u202ec", "--password", "<hidden>", "yes", ""]
    assert container["env"] == [{"name": "HF_TOKEN", "value": "<hidden>"}, *CONTAINER["env"][1:]]
    assert container["resources"] == CONTAINER["resources"]
    assert "spec.template.spec.containers[0].env[0].value" in text
    assert "\u202e" not in text


@pytest.mark.parametrize("way", ["random", "optuna"])
def test_an_iteration_of_a_sweep_that_chooses_is_done_again_alone_and_to_its_end(client: Client, way: str) -> None:
    space = {"lr": {"logUniform": {"min": 1e-5, "max": 0.1}}, "depth": {"int": {"min": 2, "max": 8}}}
    declared = manifest(
        "chosen",
        parameters={way: {"count": 20, "space": space}},
        parallelism=4,
        maxFailedIterations=2,
        objective={"metric": "loss", "goal": "Minimize", "target": 0.1},
        earlyStopping={"minIterations": 1},
    )
    experiment = uuid4()
    identity = iteration_id(experiment, 7)
    client.put_experiment(experiment, ExperimentWrite(project="p", name="chosen", namespace="team-a"))
    environment = recipe.recipe(Experiment.from_manifest(declared))
    parameters = {"depth": 4, "lr": 0.00031}
    client.put_iteration(
        identity, IterationWrite(experiment_id=experiment, index=7, parameters=parameters, environment=environment)
    )
    again = accepted(run(str(identity)).stdout).spec
    assert again.parameters is not None
    assert again.parameters.list == [parameters]
    assert (again.parameters.random, again.parameters.optuna) == (None, None)
    assert again.objective is not None
    assert (again.objective.metric, again.objective.target) == ("loss", None)
    assert (again.early_stopping, again.max_failed_iterations, again.parallelism) == (None, None, 1)


def test_an_image_that_is_known_by_its_tag_only_is_said(client: Client) -> None:
    experiment = uuid4()
    identity = iteration_id(experiment, 0)
    client.put_experiment(experiment, ExperimentWrite(project="p", name="sweep", namespace="team-a"))
    environment = recipe.recipe(Experiment.from_manifest(manifest()))
    client.put_iteration(identity, IterationWrite(experiment_id=experiment, index=0, environment=environment))
    text = run(str(identity)).stdout
    assert "# The image of container train is known by its tag only" in text
    assert accepted(text).spec.template.spec["containers"][0]["image"] == "training:1"


def test_a_script_from_elsewhere_runs_in_an_image_that_somebody_names(client: Client, tmp_path: Path) -> None:
    script = "with pinnace.iteration(parameters={'lr': 0.1, 'layers': [1, 2]}) as it:\n    say(str(it.id))\n"
    with Training(tmp_path, script) as training:
        (identity,) = training.wait_for_words()
        training.output()
    environment = client.environment(UUID(identity))
    assert environment["python"]["executable"] == sys.executable
    run(identity, ends=Exit.NOT_FOUND)
    text = run(identity, "--image", "registry.example/training:1").stdout
    again = accepted(text)
    (container,) = again.spec.template.spec["containers"]
    assert container["command"] == ["python3", str(tmp_path / "train.py")]
    assert again.spec.parameters is not None
    assert json.loads(json.dumps(again.spec.parameters.list)) == [{"lr": 0.1}]
    assert "left out: layers" in text


def test_what_was_never_recorded_is_said(client: Client) -> None:
    experiment, identity = uuid4(), uuid4()
    client.put_experiment(experiment, ExperimentWrite(project="p", name="plain"))
    client.put_iteration(identity, IterationWrite(experiment_id=experiment))
    assert "no command was recorded" in run(str(identity), ends=Exit.NOT_FOUND).output
