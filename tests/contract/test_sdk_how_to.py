"""The examples of docs/how-to/record-runs.md run as they stand."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pinnace.cli import main
from pinnace.client import Client
from pinnace.records import IterationState
from support.api_server import ApiServer, api_server
from support.recording import as_user

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "record-runs.md").read_text()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    as_user(monkeypatch, tmp_path, api)
    monkeypatch.chdir(tmp_path)
    with api.admin() as client:
        yield client


def test_every_example_runs_and_what_it_records_is_there(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "iris.csv").write_text("a,b\n1,2\n")
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 5
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, "record-runs.md", "exec"), names)
    asyncio.run(names["main"]())
    assert CliRunner().invoke(main, ["sync", "runs", "--remove"]).exit_code == 0
    (experiment,) = client.experiments(project="iris", name="trees")
    rows = list(client.iterations(experiment.id))
    assert len(rows) == 6
    assert {row.state for row in rows} == {IterationState.SUCCEEDED}
    assert rows[0].parameters == {"depth": 3, "seed": 7}
    assert (rows[0].tags, rows[0].notes, rows[0].metrics["loss"].count) == (
        {"team": "vision"},
        "Deeper trees next.",
        10,
    )
    assert rows[1].parameters == {"depth": 4, "lr": 0.1}
    assert {row.metrics["accuracy"].last for row in rows[1:] if row.metrics} == {0.9, 0.8}


def test_every_command_that_it_names_exists() -> None:
    commands = set(re.findall(r"^pinnace ([a-z]+)", PAGE, re.MULTILINE))
    assert commands == {"login", "sync", "reproduce"}
    assert commands <= set(main.commands)
