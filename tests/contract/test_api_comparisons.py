"""Iterations side by side, through the real client, the real server and the command line."""

import math
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.client import Client, Invalid, NotFound
from pinnace.records import (
    Comparison,
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    ExperimentWrite,
    IterationWrite,
    Likeness,
    MetricWrite,
    UserWrite,
)
from support.accounts import PASSWORD, Accounts
from support.api_server import ADMIN_TOKEN, ApiServer


def new(client: Client, *, losses: tuple[tuple[int, float], ...] = (), digest: str = "", **fields: Any) -> UUID:
    """An iteration of an experiment and a project of its own."""
    experiment, iteration, project = uuid4(), uuid4(), f"p{uuid4().hex[:12]}"
    client.put_project(project)
    client.put_experiment(experiment, ExperimentWrite(project=project, name="sweep"))
    client.put_iteration(iteration, msgspec.convert({"experiment_id": experiment, **fields}, IterationWrite))
    client.put_metrics(iteration, [MetricWrite(key="loss", step=step, value=value) for step, value in losses])
    if digest:
        dataset = ids.dataset_id(project, "iris", digest)
        client.put_dataset(dataset, DatasetWrite(project=project, name="iris", digest=digest))
        client.use_dataset(iteration, dataset, DatasetUseWrite(role=DatasetRole.CONSUMED))
    return iteration


@pytest.fixture
def three(client: Client) -> list[UUID]:
    return [
        new(
            client,
            name="first",
            parameters={"lr": 1, "depth": 3, "seed": None},
            tags={"team": "vision", "=1+1": ""},
            environment={"packages": {"numpy": "2.1", "scipy": "1"}},
            losses=((0, 3.0), (10, 1.0)),
            digest="sha256:a",
        ),
        new(
            client,
            parameters={"lr": 1.0, "depth": 3, "seed": 7},
            tags={"team": "vision"},
            environment={"packages": {"numpy": "2.2", "scipy": "1"}},
            losses=((0, 2.0), (10, 0.5), (20, math.nan)),
            digest="sha256:b",
        ),
        new(
            client,
            parameters={"lr": 1, "depth": 3},
            tags={"team": "vision"},
            environment={"packages": {"numpy": "2.1", "scipy": "1"}},
            losses=((5, 9.0),),
            digest="sha256:a",
        ),
    ]


def test_what_is_the_same_differs_or_is_missing_is_told_by_name(client: Client, three: list[UUID]) -> None:
    found = client.compare(three)
    first, second, third = three
    assert [each.id for each in found.iterations] == three
    assert {row.name: row.likeness for row in found.parameters} == {
        "depth": Likeness.SAME,
        "lr": Likeness.DIFFER,
        "seed": Likeness.MISSING,
    }
    assert {row.name: row.values for row in found.parameters}["seed"] == {first: None, second: 7}
    assert {row.name: row.likeness for row in found.tags} == {"=1+1": Likeness.MISSING, "team": Likeness.SAME}
    assert {row.name: row.likeness for row in found.environment} == {
        "packages.numpy": Likeness.DIFFER,
        "packages.scipy": Likeness.SAME,
    }
    (datasets,) = found.datasets
    assert (datasets.name, datasets.likeness) == ("consumed iris", Likeness.DIFFER)
    assert datasets.values == {first: ["sha256:a"], second: ["sha256:b"], third: ["sha256:a"]}
    (loss,) = found.metrics
    assert (loss.lowest, loss.highest, loss.likeness) == (second, third, Likeness.DIFFER)
    assert {each: summary.last for each, summary in loss.values.items()} == {first: 1.0, second: "NaN", third: 9.0}


def test_one_iteration_named_twice_is_one(client: Client, three: list[UUID]) -> None:
    found = client.compare([three[0], three[0]])
    assert len(found.iterations) == 1
    assert {row.likeness for row in found.parameters} == {Likeness.SAME}


def test_curves_lie_along_the_same_steps(client: Client, three: list[UUID]) -> None:
    first, second, third = three
    (loss, none) = client.compare_curves(three, ["loss", "absent"], points=100)
    assert loss.steps == (0, 5, 10, 20)
    assert loss.values == {
        first: (3.0, None, 1.0, None),
        second: (2.0, None, 0.5, "NaN"),
        third: (None, 9.0, None, None),
    }
    assert (none.steps, none.values) == ((), {})


def test_long_curves_are_aligned_by_equal_parts_of_the_steps(client: Client) -> None:
    left = new(client, losses=tuple((step, float(step)) for step in range(0, 1000, 2)))
    right = new(client, losses=tuple((step, float(step)) for step in range(1, 1000, 2)))
    (loss,) = client.compare_curves([left, right], ["loss"], points=10)
    assert loss.steps == tuple(range(99, 1000, 100))
    assert loss.values[left] == tuple(float(step - 1) for step in loss.steps)
    assert loss.values[right] == tuple(float(step) for step in loss.steps)


def test_more_than_fifty_are_too_many(client: Client) -> None:
    with pytest.raises(Invalid, match="iterations"):
        client.compare([uuid4() for _ in range(51)])


def test_what_one_may_not_see_is_compared_with_nothing(client: Client, api: ApiServer, three: list[UUID]) -> None:
    name = f"u{uuid4().hex[:8]}"
    client.put_user(name, UserWrite(password=PASSWORD))
    accounts = Accounts(api)
    with accounts.client(name) as stranger:
        mine = new(stranger)
        assert stranger.compare([mine]).iterations[0].id == mine
        with pytest.raises(NotFound):
            stranger.compare([mine, three[0]])
        with pytest.raises(NotFound):
            stranger.compare_curves([mine, three[0]], ["loss"])
    accounts.close()


def run(api: ApiServer, *arguments: str) -> Result:
    return CliRunner(env={"PINNACE_API_URL": api.url, "PINNACE_API_TOKEN": ADMIN_TOKEN}).invoke(main, arguments)


def test_the_command_shows_what_is_not_the_same(api: ApiServer, three: list[UUID]) -> None:
    result = run(api, "compare", *map(str, three))
    assert result.exit_code == 0, result.output
    head, *lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert head == ["NAME", "LIKENESS", "first", str(three[1]), str(three[2])]
    shown = {line[0]: line[1:] for line in lines}
    assert shown["params.lr"] == ["differ", "1", "1.0", "1"]
    assert shown["params.seed"] == ["missing", "null", "7", ""]
    assert shown["metrics.loss.min"] == ["differ", "1.0", "0.5", "9.0"]
    assert "params.depth" not in shown
    everything = run(api, "compare", "--all", *map(str, three)).stdout
    assert "params.depth\tsame\t3\t3\t3" in everything
    as_json = run(api, "compare", "--json", *map(str, three))
    assert msgspec.json.decode(as_json.stdout, type=Comparison).metrics[0].lowest == three[1]
