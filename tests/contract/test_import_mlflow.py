"""What three versions of MLflow have written is brought into the API; docs/how-to/move-from-mlflow.md holds.

mlflow_stores/VERSION.json has the files of a store that this version has really made, by path: two experiments (one
deleted), a run with a child, others that failed, were killed or deleted, and a registered model.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.porting import mlflow_values as values
from pinnace.records import Iteration, IterationState
from support.api_server import ADMIN_TOKEN, ApiServer, api_server

STORES = Path(__file__).parent / "mlflow_stores"
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "move-from-mlflow.md").read_text()
VERSIONS = ["1.30.1", "2.9.2", "3.17.2"]
NEWEST = VERSIONS[-1]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer) -> Iterator[Client]:
    with api.admin() as client:
        yield client


def store(version: str, folder: Path) -> Path:
    """The folder `mlruns` of that version."""
    for name, text in json.loads((STORES / f"{version}.json").read_text()).items():
        path = folder / "mlruns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder / "mlruns"


def run(api: ApiServer, *arguments: str, ends: Exit = Exit.OK) -> Result:
    result = CliRunner(env={"PINNACE_API_URL": api.url, "PINNACE_API_TOKEN": ADMIN_TOKEN}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == ends, result.output
    return result


def bring(api: ApiServer, folder: Path, project: str, *options: str, ends: Exit = Exit.OK) -> dict[str, Any]:
    result = run(api, "import", "mlflow", str(folder), "--project", project, "--json", *options, ends=ends)
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return told


def by_name(client: Client, project: str) -> dict[str, Iteration]:
    return {each.name: each for each in client.search(project=project)}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_each_version_is_taken_and_twice_is_once(
    api: ApiServer, client: Client, tmp_path: Path, version: str
) -> None:
    project = f"v{version}"
    told = bring(api, store(version, tmp_path), project)
    assert (told["experiments"], told["iterations"], told["left_out"], told["problems"]) == (1, 5, 2, 0)
    (experiment,) = client.experiments(project=project)
    assert (experiment.name, experiment.id) == ("Vision / Tests", ids.experiment_id(project, "Vision / Tests"))
    found = by_name(client, project)
    first = found["first"]
    assert first.parameters == {"lr": 0.1, "optimizer": "adam", "a/b": "x\ny", "layers": "[1, 2]"}
    assert (first.state, first.tags) == (IterationState.SUCCEEDED, {"team": "vision", "empty": ""})
    # MLflow 3 repeats the last point of each metric when it logs a model.
    assert (first.metrics["loss"].last, first.metrics["loss"].count) == (0.2, 6 if version == NEWEST else 5)
    assert [point.value for point in client.metrics(first.id, key="val/acc")] == ["NaN", "Infinity"]
    assert (found["child"].parent_id, found["bad"].state, found["killed"].state) == (
        first.id,
        IterationState.FAILED,
        IterationState.KILLED,
    )
    assert [found[name].index for name in ("first", "child", "bad", "killed", "running")] == [0, 1, 2, 3, 4]
    environment = client.environment(first.id)
    assert environment["command"] == {"entry_point": "train.py"}
    assert environment["mlflow"]["tags"]["mlflow.user"] == "root"
    assert {"cfg.json", "notes/readme.txt"} <= {each.path for each in client.iteration_artifacts(first.id)}
    again = bring(api, tmp_path / "mlruns", project)
    assert (again["present"], again["iterations"], again["points"], again["artifacts"]) == (5, 0, 0, 0)


def test_models_and_datasets_come_along(api: ApiServer, client: Client, tmp_path: Path) -> None:
    told = bring(api, store(NEWEST, tmp_path), "models")
    assert (told["models"], told["versions"], told["datasets"]) == (2, 3, 1)
    first = by_name(client, "models")["first"]
    model = client.model("models", "Iris-Tree")
    assert (model.tags, model.aliases, model.production) == ({"k": "v", "mlflow": "Iris Tree"}, {"champion": 1}, 1)
    one, two = (client.model_version("models", "Iris-Tree", number=number) for number in (1, 2))
    assert (one.description, one.artifact_id, one.tags["mlflow"]) == ("one", None, "notes")
    assert two.artifact_id is not None
    assert client.artifact(two.artifact_id).path == "cfg.json"
    inside = client.model_version("models", "logged", number=1).tags["mlflow"]
    assert inside.startswith("models/net/m-")
    assert f"{inside}/MLmodel" in {each.path for each in client.iteration_artifacts(first.id)}
    (use,) = client.iteration_datasets(first.id)
    assert (use.dataset.name, use.dataset.digest, use.context) == ("iris", "abc123", "train")


def test_a_run_that_goes_on_is_followed_by_importing_again(api: ApiServer, client: Client, tmp_path: Path) -> None:
    (meta,) = (
        path for path in store(NEWEST, tmp_path).glob("*/*/meta.yaml") if "run_name: first\n" in path.read_text()
    )
    ended = meta.read_text()
    meta.write_text(re.sub("end_time: .*", "end_time: null", ended.replace("status: 3", "status: 1")))
    bring(api, tmp_path / "mlruns", "going")
    assert by_name(client, "going")["first"].state is IterationState.RUNNING
    meta.write_text(ended)
    with (meta.parent / "metrics" / "loss").open("a") as file:
        file.write("1795279326692 0.1 5\n")
    assert bring(api, tmp_path / "mlruns", "going")["points"] == 1
    first = by_name(client, "going")["first"]
    assert (first.state, first.metrics["loss"].last) == (IterationState.SUCCEEDED, 0.1)


def test_what_is_broken_or_elsewhere_is_named_and_the_rest_is_taken(
    api: ApiServer, client: Client, tmp_path: Path
) -> None:
    folder = store(NEWEST, tmp_path)
    metas = {name: path for path in folder.glob("*/*/meta.yaml") for name in [_field(path, "run_name")]}
    loss = metas["first"].parent / "metrics" / "loss"
    good = len(loss.read_text().splitlines())
    loss.write_text(loss.read_text() + "yesterday 1.0 7\n")
    metas["killed"].write_text("{")
    metas["child"].write_text(metas["child"].read_text().replace("file:///data", "s3://bucket"))
    (metas["first"].parent / "artifacts" / "link").symlink_to(tmp_path)
    (metas["first"].parent / "artifacts" / "passwd").symlink_to("/etc/passwd")
    (metas["bad"].parent / "params" / "n").write_bytes(b"\xff")
    result = run(api, "import", "mlflow", str(folder), "--project", "broken", ends=Exit.UNFINISHED)
    for told in (
        f"{loss}:{good + 1}: this is no point",
        f"{metas['killed']}: it can",
        "s3://bucket",
        "passwd: this is a link",
    ):
        assert told in result.stderr
    found = by_name(client, "broken")
    assert set(found) == {"first", "child", "bad", "running"}
    assert found["first"].metrics["loss"].count == good
    assert "passwd" not in {each.path for each in client.iteration_artifacts(found["first"].id)}


def test_what_is_no_store_is_refused(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(api, "import", "mlflow", str(tmp_path), "--project", "none", ends=Exit.FILE)
    monkeypatch.setitem(sys.modules, "yaml", None)
    result = run(api, "import", "mlflow", str(tmp_path), "--project", "none", ends=Exit.USAGE)
    assert "pip install 'pinnace[mlflow]'" in result.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-0.5", -0.5),
        ("1e-05", 1e-05),
        ("True", True),
        ("false", "false"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("9" * 30, "9" * 30),
        ("None", "None"),
        ("", ""),
    ],
)
def test_parameters_that_read_as_numbers_are_numbers(text: str, value: Any) -> None:
    found = values.parameter(text)
    assert (found, type(found)) == (value, type(value))


def test_parameters_stay_texts_where_that_is_wanted(api: ApiServer, client: Client, tmp_path: Path) -> None:
    bring(api, store("1.30.1", tmp_path), "texts", "--texts")
    assert by_name(client, "texts")["first"].parameters["lr"] == "0.1"


def test_tags_that_are_none_for_us_are_kept_elsewhere() -> None:
    many = {f"k{number:03}": "v" for number in range(101)} | {"mlflow.user": "u", "a": "x" * 5000}
    tags, others = values.tags(many)
    assert len(tags) == 100
    assert set(others) == {"a", "mlflow.user", "k100"}


def test_the_commands_of_the_page_work(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(NEWEST, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("pinnace ")]
    assert len(commands) >= 5
    for command in commands:
        run(api, *shlex.split(command, comments=True)[1:])


def _field(path: Path, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", path.read_text(), re.MULTILINE)
    return found[1] if found else path.parent.name
