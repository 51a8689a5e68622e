"""`pinnace export` and `pinnace import metrics`, against the real server."""

import csv
import io
import math
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from pinnace.cli import main
from pinnace.client import Client
from pinnace.records import ExperimentWrite, Iteration, IterationWrite, MetricWrite
from support.api_server import ADMIN_TOKEN, ApiServer

POINTS = [
    MetricWrite(key="-loss", step=0, value=0.1, time=datetime(2026, 1, 31, tzinfo=UTC), source="pod:=a", offset=7),
    MetricWrite(key="-loss", step=1, value=math.inf),
    MetricWrite(key="1", step=-5, value=-math.inf),
    MetricWrite(key="a,b\n", step=2, value=math.nan),
]


def run(api: ApiServer, *arguments: str) -> Result:
    result = CliRunner(env={"PINNACE_API_URL": api.url, "PINNACE_API_TOKEN": ADMIN_TOKEN}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@pytest.fixture
def experiment(client: Client) -> UUID:
    id_ = uuid4()
    client.put_experiment(id_, ExperimentWrite(project="exports", name="sweep"))
    return id_


@pytest.fixture
def iteration(client: Client, experiment: UUID) -> UUID:
    id_ = uuid4()
    write = IterationWrite(
        experiment_id=experiment, name="=cmd()", parameters={"lr": 0.1, "a b": "1"}, tags={"x": "+1"}
    )
    client.put_iteration(id_, write)
    client.put_metrics(id_, POINTS)
    return id_


def test_iterations_as_csv_have_a_column_for_each_key_and_no_formulas(
    api: ApiServer, client: Client, experiment: UUID, iteration: UUID
) -> None:
    client.put_iteration(uuid4(), IterationWrite(experiment_id=experiment, parameters={"late": True}))
    result = run(api, "export", "iterations", str(experiment))
    assert result.exit_code == 0, result.output
    first, second = csv.DictReader(io.StringIO(result.stdout, newline=""))
    assert first["id"] == str(iteration)
    assert first["name"] == "'=cmd()"
    assert (first["params.lr"], first['params."a b"'], first["params.late"]) == ("0.1", '"1"', "")
    assert first["tags.x"] == "'+1"
    assert first["metrics.-loss.last"] == "Infinity"
    assert second["params.late"] == "true"


def test_iterations_as_json_lines_are_what_the_api_says(api: ApiServer, client: Client, iteration: UUID) -> None:
    result = run(api, "export", "iterations", "--filter", f'id = "{iteration}"', "--format", "jsonl")
    assert msgspec.json.decode(result.stdout, type=Iteration) == client.iteration(iteration)


def check_round_trip(api: ApiServer, client: Client, iteration: UUID, file: Path) -> None:
    assert run(api, "export", "metrics", str(iteration), "--format", file.suffix[1:], "-o", str(file)).exit_code == 0
    assert list(file.parent.iterdir()) == [file]
    assert run(api, "import", "metrics", str(file)).stdout == "0 points added, 4 were there\n"
    other = uuid4()
    client.put_iteration(other, IterationWrite(experiment_id=client.iteration(iteration).experiment_id))
    for expected in ("4 points added, 0 were there\n", "0 points added, 4 were there\n"):
        assert run(api, "import", "metrics", str(file), "--to", str(other)).stdout == expected
    assert list(client.metrics(other)) == list(client.metrics(iteration))


@pytest.mark.parametrize("name", ["points.csv", "points.jsonl"])
def test_points_come_back_unchanged_however_often(
    api: ApiServer, client: Client, iteration: UUID, tmp_path: Path, name: str
) -> None:
    check_round_trip(api, client, iteration, tmp_path / name)


def test_a_row_that_is_no_point_is_named_by_file_and_line(api: ApiServer, iteration: UUID, tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(f"iteration_id,key,step,value\n{iteration},loss,0,1.5\n{iteration},loss,one,1.5\n")
    result = run(api, "import", "metrics", str(file))
    assert result.exit_code == 7
    assert f"{file}: line 3: Expected `int | null`, got `str` - at `$.step`" in result.stderr


def test_an_export_that_can_not_be_written_leaves_nothing(api: ApiServer, iteration: UUID, tmp_path: Path) -> None:
    result = run(api, "export", "metrics", str(iteration), "-o", str(tmp_path / "absent" / "points.csv"))
    assert result.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_moments_and_numbers_that_json_has_no_word_for(
    api: ApiServer, client: Client, experiment: UUID, iteration: UUID, tmp_path: Path
) -> None:
    file = tmp_path / "found.parquet"
    result = run(api, "export", "iterations", str(experiment), "--format", "parquet", "-o", str(file))
    assert result.exit_code == 0, result.output
    (row,) = parquet.read_table(file).to_pylist()
    assert (row["id"], row["params.lr"], row["metrics.-loss.last"]) == (str(iteration), 0.1, math.inf)
    assert row["created_at"] == client.iteration(iteration).created_at
    run(api, "export", "metrics", str(iteration), "--format", "parquet", "-o", str(file))
    points = parquet.read_table(file).to_pylist()
    assert [str(point["value"]) for point in points] == ["0.1", "inf", "-inf", "nan"]
    assert points[0]["time"] == POINTS[0].time
