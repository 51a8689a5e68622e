"""The commands that put away, bring back and mark, against the real API."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.records import ExperimentWrite, IterationPatch, IterationWrite, Lifecycle
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.environment import without_settings


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    without_settings(monkeypatch)
    monkeypatch.setenv("PINNACE_API_URL", api.url)
    monkeypatch.setenv("PINNACE_API_TOKEN", ADMIN_TOKEN)
    with api.admin() as client:
        yield client


@pytest.fixture
def name(client: Client) -> str:
    """Of a project and of its experiment, which has one iteration whose number the API gave."""
    name, experiment = f"n{uuid4().hex[:12]}", uuid4()
    client.put_experiment(experiment, ExperimentWrite(project=name, name=name))
    client.put_iteration(uuid4(), IterationWrite(experiment_id=experiment))
    return name


def run(*arguments: str, ends: Exit = Exit.OK) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == ends, result.output
    return result


@pytest.mark.parametrize(
    ("group", "suffix", "lists"),
    [("projects", "", ["projects"]), ("experiments", "", ["experiments"]), ("iterations", "/0", ["iterations", "{}"])],
)
def test_what_is_put_away_leaves_the_list_and_comes_back(
    client: Client, name: str, group: str, suffix: str, lists: list[str]
) -> None:
    list_ = [part.format(name) for part in lists]
    thing = json.loads(run(group, "archive", name + suffix, "--json").stdout)
    assert thing["lifecycle"] == Lifecycle.ARCHIVED
    assert thing["id"] not in run(*list_, "--json", "--limit", "0").stdout
    assert thing["id"] in run(*list_, "--lifecycle", "archived", "--json", "--limit", "0").stdout
    assert "TRASHED" in run(group, "trash", name + suffix).stdout
    assert thing["id"] in run(*list_, "--lifecycle", "trashed", "--json", "--limit", "0").stdout
    run(group, "restore", name + suffix)
    assert thing["id"] in run(*list_, "--json", "--limit", "0").stdout


def test_tags_and_notes(client: Client, name: str) -> None:
    run("iterations", "tag", f"{name}/0", "best", "team=vision=1")
    tagged = json.loads(run("iterations", "tag", f"{name}/0", "--remove", "best", "--json").stdout)
    assert tagged["tags"] == {"team": "vision=1"}
    assert json.loads(run("iterations", "note", f"{name}/0", "well", "--json").stdout)["notes"] == "well"
    assert json.loads(run("experiments", "note", name, "why", "--json").stdout)["description"] == "why"
    assert "a=b" in run("projects", "tag", name, "a=b").stdout


def test_what_others_wrote_can_not_move_the_cursor(client: Client, name: str) -> None:
    (experiment,) = client.experiments(name=name)
    (iteration,) = client.iterations(experiment.id)
    client.patch_iteration(iteration.id, IterationPatch(name="\x1b[2J", tags={"\x1b": "\u202e"}))
    printed = run("iterations", "note", f"{name}/0", "x").stdout
    assert "\x1b" not in printed
    assert "\u202e" not in printed


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (["projects", "archive", "nowhere"], Exit.NOT_FOUND),
        (["iterations", "trash", "nowhere/0"], Exit.NOT_FOUND),
        (["experiments", "tag", "x"], Exit.USAGE),
        (["experiments", "tag", "x", "=1"], Exit.USAGE),
        (["experiments", "--lifecycle", "gone"], Exit.USAGE),
    ],
)
def test_each_failure_ends_with_its_code(client: Client, arguments: list[str], ends: Exit) -> None:
    run(*arguments, ends=ends)


def test_a_refusal_ends_with_the_api_s_code_and_the_mend(client: Client, name: str) -> None:
    run("experiments", "trash", name)
    refused = run("iterations", "note", f"{name}/0", "x", ends=Exit.API)
    assert "ACTIVE" in refused.stderr


def test_help_names_the_commands_of_a_group() -> None:
    help_ = run("iterations", "--help").stdout
    assert all(word in help_ for word in ("archive", "trash", "restore", "tag", "note", "list"))
