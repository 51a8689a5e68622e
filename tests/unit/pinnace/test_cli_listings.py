"""The listing commands against an API that answers over HTTP, as a program and as a person see them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.records import (
    Artifact,
    ArtifactSet,
    Experiment,
    Iteration,
    IterationState,
    Location,
    MetricPoint,
    MetricSummary,
    Project,
)
from support.canned_api import CannedApi, canned_api
from support.environment import without_settings

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedApi]:
    with canned_api() as running:
        without_settings(monkeypatch)
        monkeypatch.setenv("PINNACE_API_URL", running.url)
        monkeypatch.setenv("PINNACE_API_TOKEN", running.token)
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def experiment(name: str, identity: UUID | None = None, *, description: str = "") -> Experiment:
    return Experiment(
        id=identity or uuid4(),
        project="iris",
        name=name,
        namespace="team",
        description=description,
        tags={},
        created_at=NOW,
    )


def iteration(of: Experiment, index: int) -> Iteration:
    return Iteration(
        id=ids.iteration_id(of.id, index),
        experiment_id=of.id,
        index=index,
        parameters={"lr": 0.1, "kind": "tree"},
        state=IterationState.SUCCEEDED,
        started_at=NOW,
        ended_at=None,
        metrics={"accuracy": MetricSummary(last=0.97, last_step=3, min=0.5, max=0.97, count=4)},
    )


def artifact(of: Iteration, path: str, *, suspect: bool = False) -> Artifact:
    sha256 = "ab" * 32
    identity = ids.artifact_id(of.id, path, sha256)
    location = Location(endpoint="http://minio:9000", region="us-east-1", bucket="bucket", key=f"runs/{identity}")
    return Artifact(
        id=identity,
        iteration_id=of.id,
        path=path,
        size=67_108_864,
        sha256=sha256,
        crc32c="AAAAAA==",
        location=location,
        modified_at=NOW,
        suspect=suspect,
    )


def table(result: Result) -> list[list[str]]:
    assert result.exit_code == Exit.OK, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_without_a_terminal_rows_are_separated_by_tabs_below_a_header(api: CannedApi) -> None:
    first = msgspec.structs.replace(experiment("sweep", description="two words"), tags={"a": "1"})
    api.records = {"/experiments": [first]}
    assert table(run("experiments")) == [
        ["NAME", "PROJECT", "NAMESPACE", "CREATED", "ID", "DESCRIPTION", "STATUS", "TAGS"],
        ["sweep", "iris", "team", "2026-03-01T12:30:00+00:00", str(first.id), "two words", "OPEN", "a=1"],
    ]


def test_json_is_one_object_a_line_as_the_api_has_it(api: CannedApi) -> None:
    rows = [experiment("a"), experiment("b"), experiment("c")]
    api.records = {"/experiments": rows}
    result = run("experiments", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [str(row.id) for row in rows]
    assert json.loads(result.stdout.splitlines()[0])["created_at"] == "2026-03-01T12:30:00Z"


def test_a_limit_cuts_the_list_and_says_so(api: CannedApi) -> None:
    api.records = {"/projects": [Project(id=uuid4(), name=f"p{n}", description="", created_at=NOW) for n in range(5)]}
    result = run("projects", "--limit", "3")
    assert [row[0] for row in table(result)[1:]] == ["p0", "p1", "p2"]
    assert "more than these 3" in result.stderr
    everything = run("projects", "--limit", "0")
    assert len(table(everything)) == 6
    assert everything.stderr == ""
    assert run("projects", "--limit", "5").stderr == ""


def test_experiments_can_be_kept_to_a_project(api: CannedApi) -> None:
    api.records = {"/experiments": [experiment("a")]}
    assert len(table(run("experiments", "--project", "other"))) == 1
    assert "project=other" in api.requests[-1]


@pytest.mark.parametrize("by", ["name", "id"])
def test_iterations_of_an_experiment_are_shown_with_parameters_and_metrics(api: CannedApi, by: str) -> None:
    of = experiment("sweep")
    api.records = {
        "/experiments": [of],
        f"/experiments/{of.id}": of,
        "/iterations": [iteration(of, 0), iteration(of, 1)],
    }
    rows = table(run("iterations", of.name if by == "name" else str(of.id)))
    assert rows[1] == [
        "0",
        "SUCCEEDED",
        "kind=tree lr=0.1",
        "accuracy=0.97",
        "2026-03-01T12:30:00+00:00",
        "",
        str(ids.iteration_id(of.id, 0)),
        "",
        "",
    ]
    assert rows[2][0] == "1"


def test_artifacts_are_listed_by_experiment_and_by_iteration_in_every_spelling(api: CannedApi) -> None:
    of = experiment("sweep")
    one = iteration(of, 2)
    row = artifact(one, "model.pt", suspect=True)
    api.records = {
        "/experiments": [of],
        f"/experiments/{of.id}": of,
        f"/experiments/{of.id}/artifacts": [row],
        f"/iterations/{one.id}": one,
        f"/iterations/{one.id}/artifacts": [row],
    }
    for reference in ("sweep", str(of.id), "sweep/2", f"{of.id}/2", str(one.id)):
        assert table(run("artifacts", reference))[1:] == [
            ["model.pt", "67108864", "ab" * 32, "suspect", str(row.id), row.location.key]
        ]
    assert [target.partition("?")[0] for target in api.requests[-2:]] == [
        f"/api/v1/iterations/{one.id}",
        f"/api/v1/iterations/{one.id}/artifacts",
    ]


def test_sets_are_listed_by_iteration(api: CannedApi) -> None:
    of = experiment("sweep")
    one = iteration(of, 2)
    row = artifact(one, "step/pinnace-manifest.json")
    api.records = {
        f"/iterations/{one.id}": one,
        f"/iterations/{one.id}/artifact-sets": [ArtifactSet(manifest=row, files=3, bytes=4096)],
    }
    (_, shown) = table(run("artifacts", str(one.id), "--sets"))
    assert (shown[:3], shown[4]) == (["step/pinnace-manifest.json", "3", "4096"], str(row.id))


def test_metrics_keep_values_that_json_has_no_number_for(api: CannedApi) -> None:
    of = experiment("sweep")
    one = iteration(of, 0)
    points = [MetricPoint(key="loss", step=1, value=0.25, time=NOW), MetricPoint(key="loss", step=2, value="NaN")]
    api.records = {
        "/experiments": [of],
        f"/iterations/{one.id}": one,
        f"/iterations/{one.id}/metrics": [*points, MetricPoint(key="other", step=1, value=1.0)],
    }
    assert table(run("metrics", "sweep/0", "--key", "loss"))[1:] == [
        ["loss", "1", "0.25", "2026-03-01T12:30:00+00:00"],
        ["loss", "2", "NaN", ""],
    ]


def test_iterations_are_asked_for_by_filter_and_order_and_shown_in_the_chosen_columns(api: CannedApi) -> None:
    of = experiment("sweep")
    api.records = {"/iterations": [iteration(of, 0)]}
    columns = 'index, params."lr", metrics.accuracy.max,params.none.deep , started_at'
    rows = table(run("iterations", "--filter", "index = 0", "--sort", "name desc", "--columns", columns))
    assert rows[0] == ["index", 'params."lr"', "metrics.accuracy.max", "params.none.deep", "started_at"]
    assert rows[1][:2] == ["0", "0.1"]
    assert rows[1][3:] == ["", "2026-03-01T12:30:00Z"]
    assert "filter=index+%3D+0" in api.requests[-1]
    assert "order_by=name+desc" in api.requests[-1]


@pytest.mark.parametrize("columns", ["nmae", "params", "metrics.a.any", "name,", "tags.a.b", "name; id"])
def test_columns_that_iterations_lack_are_refused(api: CannedApi, columns: str) -> None:
    api.records = {"/iterations": []}
    result = run("iterations", "--columns", columns, "--project", "x")
    assert result.exit_code == Exit.USAGE
    assert "--columns" in result.stderr


def test_a_name_that_several_experiments_have_is_refused_with_the_candidates(api: CannedApi) -> None:
    twins = [experiment("sweep"), experiment("sweep")]
    api.records = {"/experiments": twins}
    result = run("iterations", "sweep")
    assert result.exit_code == Exit.USAGE
    assert all(str(twin.id) in result.stderr for twin in twins)
    assert "give the id of one" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("iterations", "nothing"), ("metrics", "nothing/0"), ("metrics", "word"), ("artifacts", "nothing")]
)
def test_a_name_that_nothing_has_is_not_found(api: CannedApi, arguments: tuple[str, ...]) -> None:
    api.records = {"/experiments": [experiment("sweep")]}
    assert run(*arguments).exit_code == Exit.NOT_FOUND


def test_an_id_that_nothing_has_is_not_found(api: CannedApi) -> None:
    result = run("artifacts", str(uuid4()))
    assert result.exit_code == Exit.NOT_FOUND
    assert "404" in result.stderr


def test_what_could_move_a_cursor_or_break_a_line_is_escaped(api: CannedApi) -> None:
    evil = "a\tb\nc\x1b[2J\x9b\u202e\\"
    api.records = {"/experiments": [experiment("sweep", description=evil)]}
    shown = table(run("experiments"))
    assert shown[1][5] == r"a\tb\nc\x1b[2J\x9b\u202e\\"
    as_json = run("experiments", "--json").stdout
    assert as_json.rstrip("\n").isprintable()
    assert json.loads(as_json)["description"] == evil


def test_what_an_error_quotes_is_escaped(api: CannedApi) -> None:
    api.records = {"/experiments": []}
    result = run("iterations", "\x1b[2Jname")
    assert "\x1b" not in result.stderr
    assert r"\x1b[2Jname" in result.stderr


def test_a_wrong_token_is_an_error_of_the_api(api: CannedApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another\n")
    result = run("experiments", "--token-file", str(tmp_path / "token"))
    assert result.exit_code == Exit.API
    assert "401" in result.stderr


def test_the_token_of_a_file_is_preferred_to_the_environments(
    api: CannedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINNACE_API_TOKEN", "wrong")
    (tmp_path / "token").write_text(f"{api.token}\n")
    api.records = {"/experiments": []}
    assert run("experiments", "--token-file", str(tmp_path / "token")).exit_code == Exit.OK


def test_nobody_listening_is_an_error_of_the_api() -> None:
    result = run("experiments", "--api-url", "http://127.0.0.1:9")
    assert result.exit_code == Exit.API
    assert "Hint: " in result.stderr


def test_a_wrong_url_is_an_error_of_usage() -> None:
    result = run("experiments", "--api-url", "ftp://host")
    assert result.exit_code == Exit.USAGE
    assert "PINNACE_API_URL" in result.stderr


def test_help_shows_every_exit_code() -> None:
    shown = run("--help").stdout
    for code in Exit:
        assert f"  {code.value}  {code.meaning}" in shown
