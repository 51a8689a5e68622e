"""A project is written into a folder and read into another API, and is then the same."""

import io
import json
import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.naming import MANIFEST_NAME
from pinnace.porting import layout
from pinnace.porting.folder import ExportFolder
from pinnace.porting.importing import import_project
from pinnace.porting.rows import ArtifactRow, IterationRow
from pinnace.porting.source import Entry, Problems
from pinnace.records import (
    Artifact,
    ArtifactPatch,
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    MetricWrite,
    ModelStage,
    ModelVersionWrite,
    ModelWrite,
    ProjectWrite,
)
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.postgres_server import PostgresServer

BEGUN = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, so that not every API has to make one."""
    folder = tmp_path_factory.mktemp("blank")
    with api_server(folder) as server:
        return server.database_file


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, blank: Path) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("here")
    shutil.copy(blank, folder)
    with api_server(folder, artifacts_backend="filesystem", artifacts_dir=str(folder / "artifacts")) as server:
        yield server


@pytest.fixture
def there(tmp_path: Path, blank: Path) -> Iterator[ApiServer]:
    """An empty one."""
    (tmp_path / "there").mkdir()
    shutil.copy(blank, tmp_path / "there")
    with api_server(tmp_path / "there", artifacts_backend="inline") as server:
        yield server


@pytest.fixture
def elsewhere(tmp_path: Path, postgres: PostgresServer) -> Iterator[ApiServer]:
    """An empty one on PostgreSQL."""
    (tmp_path / "elsewhere").mkdir()
    with api_server(tmp_path / "elsewhere", database_url=postgres.create_database()) as server:
        yield server


@pytest.fixture(scope="module")
def project(here: ApiServer) -> str:
    """One with everything that there is."""
    with here.admin() as client:
        client.put_project("vision", ProjectWrite(description="Cats.", tags={"team": "vision"}))
        _sweep(client)
        _odds_and_ends(client)
    return "vision"


def _put(client: Client, iteration: UUID, path: str, content: bytes) -> Artifact:
    return client.put_file(iteration, path, io.BytesIO(content), size=len(content))


def _end(client: Client, *iterations: UUID) -> None:
    for each in iterations:
        change = IterationPatch(state=IterationState.SUCCEEDED, ended_at=BEGUN + timedelta(hours=1))
        client.patch_iteration(each, change)


def _sweep(client: Client) -> None:
    experiment = uuid4()
    client.put_experiment(
        experiment, ExperimentWrite(project="vision", name="../sweep", description="d", tags={"a": ""})
    )
    first, second = ids.iteration_id(experiment, 0), uuid4()
    write = IterationWrite(
        experiment_id=experiment,
        index=0,
        state=IterationState.RUNNING,
        started_at=BEGUN,
        parameters={"lr": 0.1, "zeta": [1, {"b": None}], "alpha": "1"},
        name="=first",
        notes="a\nnote",
        tags={"x": "+1"},
        environment={"git": {"commit": "abc"}},
    )
    client.put_iteration(first, write)
    client.put_iteration(
        second, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING, started_at=BEGUN)
    )
    client.patch_iteration(first, IterationPatch(parent_id=second))
    points = [
        MetricWrite(key="loss", step=0, value=0.1, time=BEGUN, source="pod:a", offset=7),
        MetricWrite(key="loss", step=1, value=math.nan),
        MetricWrite(key="a/b", step=-5, value=-math.inf),
    ]
    client.put_metrics(first, points)
    _put(client, first, "model.bin", b"old")
    model = _put(client, first, "model.bin", b"new")
    client.patch_artifact(model.id, ArtifactPatch(description="the best", tags={"k": "v"}, content_type="text/x-own"))
    _put(client, first, "empty", b"")
    members = [_put(client, first, f"best/{name}", name.encode()) for name in ("a", "b/c")]
    manifest = _put(client, first, f"best/{MANIFEST_NAME}", b"{}")
    client.put_artifacts(first, [manifest], {manifest.id: [each.id for each in members]})
    # What the first one consumed, the second one has made.
    made = _put(client, second, "flowers.csv", b"1,2")
    dataset = ids.dataset_id("vision", "flowers", "sha256:1")
    client.put_dataset(
        dataset,
        DatasetWrite(project="vision", name="flowers", digest="sha256:1", rows=1, features={"a": 1}, tags={"t": "u"}),
    )
    client.use_dataset(second, dataset, DatasetUseWrite(role=DatasetRole.PRODUCED, artifact_id=made.id))
    use = DatasetUseWrite(role=DatasetRole.CONSUMED, artifact_id=made.id, context="train")
    client.use_dataset(first, dataset, use)
    _end(client, first, second)
    client.put_model("vision", "Tree", ModelWrite(description="m", tags={"k": "v"}))
    for number, stage in enumerate((ModelStage.PRODUCTION, ModelStage.NONE, ModelStage.PRODUCTION), 1):
        version = ModelVersionWrite(
            project="vision", model="Tree", iteration_id=first, artifact_id=model.id, description=str(number)
        )
        client.put_model_version(id_ := uuid4(), version)
        client.set_model_stage(id_, stage)
    client.set_model_alias("vision", "Tree", "best", 2)
    client.patch_experiment(experiment, ExperimentPatch(status=ExperimentStatus.FINISHED))


def _odds_and_ends(client: Client) -> None:
    experiment = uuid4()
    client.put_experiment(experiment, ExperimentWrite(project="vision", name="odd", namespace="ml"))
    running, killed, failed, trashed = (uuid4() for _ in range(4))
    for each in (running, killed, failed, trashed):
        client.put_iteration(each, IterationWrite(experiment_id=experiment))
    client.patch_iteration(running, IterationPatch(state=IterationState.RUNNING, started_at=BEGUN))
    client.patch_iteration(killed, IterationPatch(state=IterationState.KILLED, ended_at=BEGUN))
    change = IterationPatch(state=IterationState.FAILED, error="boom", started_at=BEGUN, ended_at=BEGUN)
    client.patch_iteration(failed, change)
    client.patch_iteration(failed, IterationPatch(lifecycle=Lifecycle.ARCHIVED))
    _put(client, trashed, "gone", b"gone")
    client.trash_iteration(trashed)
    client.patch_experiment(experiment, ExperimentPatch(lifecycle=Lifecycle.ARCHIVED))


def run(api: ApiServer, *arguments: str, ends: Exit = Exit.OK) -> Result:
    result = CliRunner(env={"PINNACE_API_URL": api.url, "PINNACE_API_TOKEN": ADMIN_TOKEN}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == ends, result.output
    return result


def contents(folder: Path) -> dict[str, bytes]:
    """What an export says, but for who made it when."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in (layout.ORIGIN, layout.MANIFEST)}


def last(result: Result) -> dict[str, object]:
    found: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def written(here: ApiServer, project: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "first"
    run(here, "export", "project", project, str(folder))
    return folder


@pytest.fixture
def exported(written: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(written, tmp_path / "first"))


def test_a_project_is_the_same_in_another_api_and_twice_is_once(
    elsewhere: ApiServer, exported: Path, tmp_path: Path
) -> None:
    """From SQLite and a folder to PostgreSQL."""
    counted = "experiments", "iterations", "points", "artifacts", "datasets", "versions"
    told = last(run(elsewhere, "import", "project", str(exported), "--dry-run", "--json"))
    with elsewhere.admin() as client:
        assert list(client.projects()) == []
    brought = last(run(elsewhere, "import", "project", str(exported), "--json"))
    assert brought == told | {"dry_run": False}
    assert [brought[name] for name in counted] == [2, 5, 3, 7, 1, 3]
    run(elsewhere, "export", "project", "vision", str(tmp_path / "second"))
    assert contents(tmp_path / "second") == contents(exported)
    again = last(run(elsewhere, "import", "project", str(exported), "--json"))
    assert [again[name] for name in counted] == [0] * 6
    run(elsewhere, "export", "project", "vision", str(tmp_path / "second"))
    assert contents(tmp_path / "second") == contents(exported)


def test_what_a_person_finds_in_the_folder(exported: Path) -> None:
    experiments = [json.loads(line) for line in (exported / layout.EXPERIMENTS).read_text().splitlines()]
    assert [each["name"] for each in experiments] == ["../sweep", "odd"]
    place = exported / "artifacts" / f"..%2Fsweep-{experiments[0]['id'][:8]}" / "0"
    assert (place / "model.bin").read_bytes() == b"new"
    assert [path.read_bytes() for path in place.glob("model~*.bin")] == [b"old"]
    assert (place / "best" / "b" / "c").read_bytes() == b"b/c"
    assert b"gone" not in contents(exported).values()
    origin = [json.loads(line) for line in (exported / layout.ORIGIN).read_text().splitlines()]
    assert {each["created_by"] for each in origin if each["kind"] == "iteration"} == {"admin"}
    assert [each["after"] for each in origin if each["kind"] == "transition"] == [
        "PRODUCTION",
        "ARCHIVED",
        "PRODUCTION",
    ]


def test_an_export_fetches_what_is_missing_or_damaged_and_nothing_else(
    here: ApiServer, project: str, exported: Path
) -> None:
    before = contents(exported)
    damaged, missing, *_ = sorted((exported / "artifacts").rglob("model*.bin"))
    damaged.write_bytes(b"bad")
    missing.unlink()
    assert last(run(here, "export", "project", project, str(exported), "--json"))["present"] == 5
    assert contents(exported) == before


def test_an_import_that_was_broken_off_goes_on(there: ApiServer, exported: Path, tmp_path: Path) -> None:
    class BrokenOff(ExportFolder):
        left = 0

        def artifacts(self, iteration: IterationRow) -> Iterator[Entry[ArtifactRow]]:
            for entry in super().artifacts(iteration):
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                yield entry

    def tell(place: str, reason: str) -> None:
        pytest.fail(f"{place}: {reason}")

    with there.admin() as client:
        for left in (1, 6):
            with BrokenOff(exported, Problems(tell)) as source:
                source.left = left
                with pytest.raises(KeyboardInterrupt):
                    import_project(client, source, Problems(tell))
    assert last(run(there, "import", "project", str(exported), "--json"))["artifacts"] == 1
    run(there, "export", "project", "vision", str(tmp_path / "second"))
    assert contents(tmp_path / "second") == contents(exported)


def test_lines_that_can_not_be_taken_are_named_and_the_rest_is_taken(there: ApiServer, exported: Path) -> None:
    points = (exported / layout.POINTS).read_text().splitlines()
    points[1:1] = ["{", points[0].replace('"step":-5', '"step":"x"'), points[0].replace('"a/b"', '"' + "k" * 251 + '"')]
    (exported / layout.POINTS).write_text("\n".join(points) + "\n")
    next((exported / "artifacts").rglob("flowers.csv")).write_bytes(b"changed")
    iterations = (exported / layout.ITERATIONS).read_text().splitlines()
    (exported / layout.ITERATIONS).write_text("\n".join([*iterations[:-1], "[]"]) + "\n")
    result = run(there, "import", "project", str(exported), "--json", ends=Exit.UNFINISHED)
    *problems, done = map(json.loads, result.stdout.splitlines())
    places = [each["place"].removeprefix(f"{exported}/") for each in problems]
    for line in ("points.jsonl:2", "points.jsonl:3", "iterations.jsonl:5"):
        assert places.count(line) == 1
    assert "what arrived has the SHA-256" in str(problems)
    assert (done["points"], done["iterations"], done["problems"]) == (3, 4, len(problems))


def test_only_a_whole_export_is_read(there: ApiServer, exported: Path, tmp_path: Path) -> None:
    manifest = exported / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    assert "has the format 2" in run(there, "import", "project", str(exported), ends=Exit.FILE).stderr
    manifest.unlink()
    assert "no whole export" in run(there, "import", "project", str(exported), ends=Exit.FILE).stderr
    run(there, "import", "project", str(tmp_path / "absent"), ends=Exit.FILE)


def test_under_another_name_it_goes_into_another_api_and_never_twice_into_one(
    here: ApiServer, there: ApiServer, exported: Path
) -> None:
    run(there, "import", "project", str(exported), "--as", "other")
    with there.admin() as client:
        assert [each.name for each in client.projects()] == ["other"]
        assert len(list(client.datasets(project="other"))) == 1
    result = run(here, "import", "project", str(exported), "--as", "copy", ends=Exit.UNFINISHED)
    assert "is there, in project 'vision'" in result.stderr


def test_bytes_that_are_lost_are_named_on_both_ways(there: ApiServer, here: ApiServer, tmp_path: Path) -> None:
    experiment, iteration = uuid4(), uuid4()
    with here.admin() as client:
        client.put_experiment(experiment, ExperimentWrite(project="lossy", name="e"))
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment))
        lost = _put(client, iteration, "lost", b"lost")
        _put(client, iteration, "a/kept", b"kept")
        _put(client, iteration, "a", b"a file that was a folder")
    assert here.settings.artifacts_dir
    (Path(here.settings.artifacts_dir) / lost.location.key).unlink()
    result = run(here, "export", "project", "lossy", str(tmp_path / "out"), ends=Exit.UNFINISHED)
    assert str(lost.id) in result.stderr
    result = run(there, "import", "project", str(tmp_path / "out"), ends=Exit.UNFINISHED)
    assert "artifacts.jsonl:1: it can't be read: its bytes were lost" in result.stderr
    with there.admin() as client:
        assert sorted(each.path for each in client.iteration_artifacts(iteration)) == ["a", "a/kept"]


def test_no_file_outside_of_the_folder_is_read_or_written(
    here: ApiServer, there: ApiServer, project: str, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"new")
    rows = (exported / layout.ARTIFACTS).read_text()
    (exported / layout.ARTIFACTS).write_text(rows.replace('"file":"artifacts/', '"file":"../secret/../artifacts/'))
    result = run(there, "import", "project", str(exported), ends=Exit.UNFINISHED)
    assert "leads out of the folder" in result.stderr
    (tmp_path / "outside").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "artifacts").symlink_to(tmp_path / "outside")
    run(here, "export", "project", project, str(tmp_path / "second"), ends=Exit.UNFINISHED)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_project_that_is_not_there_is_not_exported(here: ApiServer, tmp_path: Path) -> None:
    run(here, "export", "project", "absent", str(tmp_path / "out"), ends=Exit.NOT_FOUND)
    assert not (tmp_path / "out").exists()
