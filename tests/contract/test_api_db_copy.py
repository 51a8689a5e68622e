"""`pinnace db copy`: every row arrives as it was, in each direction, however often it is begun."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import urllib3
from sqlalchemy import Connection, select

from pinnace import ids
from pinnace.client import Client, Unauthorized
from pinnace.naming import MANIFEST_NAME
from pinnace.records import (
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    ExperimentWrite,
    HoldKind,
    HoldWrite,
    IterationState,
    IterationWrite,
    Member,
    MemberKind,
    MetricPoint,
    MetricWrite,
    ModelStage,
    ModelVersionWrite,
    ProjectRole,
    ProjectWrite,
    RetentionPolicyWrite,
    RetentionTarget,
    UserWrite,
)
from pinnace_api import migrations
from pinnace_api.copy_command import main, shown
from pinnace_api.copying import OtherRows, copy
from pinnace_api.database import Database
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.schema import METADATA, TABLES
from support.api_server import ADMIN_TOKEN, api_server
from support.postgres_server import PostgresServer
from support.samples import MOMENT, artifact, report

EXPERIMENT = UUID("0c7b8a9e-3333-4222-8333-444455556666")
ITERATION = ids.iteration_id(EXPERIMENT, 0)
#: How many `fill` makes.
POINTS = 2401
PASSWORD = "correct horse battery staple"


def fill(client: Client) -> None:
    """Values that a database could spell differently: text of any kind, extremes, nothing, JSON of every type."""
    client.put_project("zebra", ProjectWrite(description="é\u202e\n😀"))
    client.put_experiment(
        EXPERIMENT, ExperimentWrite(project="iris", name="sweep", namespace="ml", tags={"a": "", "é": "\u202e"})
    )
    parameters: dict[str, Any] = {
        "b": 1,
        "a": 1.0,
        "c": {"y": None, "x": [True, "1"]},
        "d": 0.1 + 0.2,
        "e": 2**53,
        "f": [1e22, -0.0, 2**70],
    }
    write = IterationWrite(
        experiment_id=EXPERIMENT,
        index=0,
        parameters=parameters,
        state=IterationState.RUNNING,
        started_at=MOMENT,
    )
    client.put_iteration(ITERATION, write)
    family = sorted(uuid4() for _ in range(3))
    for child, parent in ((family[1], ITERATION), (family[0], family[1]), (family[2], family[1])):
        client.put_iteration(child, IterationWrite(experiment_id=EXPERIMENT, parent_id=parent))
    for number in range(3):
        for path in ("Z", "a", "é", "\U0001f600", "\uffff"):
            client.put_artifacts(ITERATION, [artifact(ITERATION, f"{path}/{number}", pod_uid=f"pod-{path}-{number}")])
    file, manifest = artifact(ITERATION, "Z/0"), artifact(ITERATION, f"Z/{MANIFEST_NAME}")
    client.put_artifacts(ITERATION, [manifest], {manifest.id: [file.id]})
    for stage in (ModelStage.PRODUCTION, ModelStage.PRODUCTION, ModelStage.NONE):
        version = ModelVersionWrite(
            project="iris", model="tree", iteration_id=ITERATION, artifact_id=manifest.id, stage=stage
        )
        client.put_model_version(uuid4(), version)
    client.set_model_alias("iris", "tree", "best", 2)
    client.put_pod_report(report(ITERATION, "pod-a-1", 3, metric_points=7))
    data = ids.dataset_id("iris", "é", "sha256:1")
    client.put_dataset(
        data, DatasetWrite(project="iris", name="é", digest="sha256:1", rows=2**53, features={"x": -0.0})
    )
    client.use_dataset(ITERATION, data, DatasetUseWrite(role=DatasetRole.CONSUMED))
    client.put_metrics(ITERATION, [MetricWrite(key="chosen", value=1.0, source="sdk", offset=7)])
    values: list[float | str] = ["NaN", "Infinity", "-Infinity", 5e-324, 0.1, -0.0, 1e308, 3]
    client.put_metrics(
        ITERATION,
        [
            MetricPoint(key=key, step=step, value=value, source=key * 3, offset=2**62)
            for key in ("loss", "Loss", "é")
            for step, value in enumerate(values * 100)
        ],
    )
    policy = RetentionPolicyWrite(target=RetentionTarget.TRASH, older_than_days=0.1, filter='name = "é"')
    for project in (None, "iris"):
        client.put_retention_policy(project, "trash", policy)
    client.put_hold("iris", uuid4(), HoldWrite(kind=HoldKind.ARTIFACT, subject_id=file.id, reason="é"))
    client.put_user("ada", UserWrite(password=PASSWORD, display_name="Ada é", groups=("vision",)))
    client.put_member("iris", Member(kind=MemberKind.USER, name="ada", role=ProjectRole.EDITOR))
    client.put_member("iris", Member(kind=MemberKind.GROUP, name="vision", role=ProjectRole.VIEWER))
    with pytest.raises(Unauthorized):
        client.log_in("ada", "wrong")
    client.log_in("ada", PASSWORD)


def fill_bytes(url: str) -> None:
    """A file in the database, and one that is on its way."""
    for method, path, body, headers in (
        ("PUT", "files/inline", b"\0\xff" * 700_000, {}),
        ("PUT", f"uploads/{ITERATION}", b'{"path": "begun"}', {}),
        ("PATCH", f"uploads/{ITERATION}", b"first piece", {"upload-offset": "0"}),
    ):
        sent = {"authorization": f"Bearer {ADMIN_TOKEN}", **headers}
        answer = urllib3.request(method, f"{url}/api/v1/iterations/{ITERATION}/{path}", body=body, headers=sent)
        assert answer.status in (201, 204), answer.data


@pytest.fixture(scope="module")
def source_url(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    url = new_database()
    with api_server(tmp_path_factory.mktemp("api"), database_url=url) as api, api.admin() as client:
        fill(client)
        fill_bytes(api.url)
    database = Database(url)
    login = {"digest": "a" * 64, "browser": "b" * 64, "return_to": "/é", "port": 0, "challenge": "c", "user_id": None}
    database.write(insert, "oidc_logins", {**login, "expires_at": MOMENT})
    database.close()
    return url


@pytest.fixture
def source(source_url: str) -> Iterator[Database]:
    database = Database(source_url)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/target.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    database = Database(url)
    yield database
    database.close()


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def content(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()  # type: ignore[misc]
            for table in TABLES
        }


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    connection.execute(METADATA.tables[table].insert(), [row])


def delete(connection: Connection, table: str, id_: UUID) -> None:
    rows = METADATA.tables[table]
    connection.execute(rows.delete().where(rows.c.id == id_))


def quiet(_table: str, _done: int, _total: int) -> None:
    pass


def test_every_row_arrives_as_it_was_and_the_api_goes_on_there(
    source: Database, target: Database, tmp_path: Path
) -> None:
    copied = copy(source, target, quiet)
    assert content(target) == content(source)
    assert {each.table: each.copied for each in copied} == {name: len(rows) for name, rows in content(source).items()}
    assert all(each.copied for each in copied)
    with api_server(tmp_path, database_url=url_of(target)) as api, api.admin() as client:
        assert client.put_metrics(ITERATION, [MetricPoint(key="new", step=0, value=1.0, source="new")]).added == 1
        assert client.iteration(ITERATION).metrics["new"].count == 1


def test_a_copy_that_broke_off_goes_on_and_one_more_changes_nothing(source: Database, target: Database) -> None:
    class Broken(Exception):
        pass

    def break_off(table: str, done: int, _total: int) -> None:
        if table == "metric_points" and done >= 1000:
            raise Broken

    with pytest.raises(Broken):
        copy(source, target, break_off)
    rest = {each.table: each.copied for each in copy(source, target, quiet)}
    assert rest.pop("metric_points") == POINTS - 1000
    assert content(target) == content(source)
    assert not any(each.copied for each in copy(source, target, quiet))


def test_what_is_written_to_the_source_meanwhile_stays_behind_whole(source: Database, target: Database) -> None:
    before = content(source)
    project: dict[str, Any] = {"id": ids.project_id("late"), "name": "late", "description": "", "created_at": MOMENT}
    row: dict[str, Any] = {**before["experiments"][0]._mapping, "id": uuid4(), "project_id": project["id"]}

    def write(table: str, done: int, _total: int) -> None:
        if table == "projects" and done:
            source.write(insert, "projects", project)
            source.write(insert, "experiments", row)

    try:
        copy(source, target, write)
        assert content(target) == before
    finally:
        source.write(delete, "experiments", row["id"])
        source.write(delete, "projects", project["id"])


@pytest.mark.parametrize("change", ["a row of its own", "a row with another value"])
def test_a_target_with_other_rows_is_left_alone(source: Database, target: Database, change: str) -> None:
    migrations.upgrade(target)
    name = "zebra" if change == "a row with another value" else "zoo"
    project = {"id": ids.project_id(name), "name": name, "description": "other", "created_at": MOMENT}
    target.write(insert, "projects", project)
    before = content(target)
    with pytest.raises(OtherRows, match=rf"projects\({ids.project_id(name)}\)"):
        copy(source, target, quiet)
    assert content(target) == before


def test_rows_that_join_the_target_during_the_copy_are_found_out(source: Database, target: Database) -> None:
    project = {"id": ids.project_id("zoo"), "name": "zoo", "description": "", "created_at": MOMENT}

    def interfere(table: str, done: int, total: int) -> None:
        if table == "experiments" and done == total:
            target.write(insert, "projects", project)

    with pytest.raises(OtherRows, match="the rows of projects differ"):
        copy(source, target, interfere)


def test_a_dry_run_says_what_would_be_copied_and_leaves_no_trace(
    source: Database, target: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--from", url_of(source), "--to", url_of(target), "--json"]
    assert main([*arguments, "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"]
    with target.read() as connection:
        assert migrations.revision_of(connection) == ""
    assert main(arguments) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["tables"] == told["tables"]
    assert main([*arguments, "--dry-run"]) == 0
    assert {each["copied"] for each in json.loads(capsys.readouterr().out)["tables"]} == {0}


def test_a_source_of_another_revision_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.db").touch()
    assert main(["--from", f"sqlite:///{tmp_path}/empty.db", "--to", f"sqlite:///{tmp_path}/new.db"]) == 3
    assert "the source has revision none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "case",
    [
        ("sqlite:///no-such-file.db", "sqlite:///x.db", 2, "is no file"),
        ("nonsense", "sqlite:///x.db", 2, "--from is not a database URL"),
        ("postgresql://u:the-secret@127.0.0.1:1/a", "sqlite:///x.db", 3, "refused"),
        ("postgresql://h/a?password=the-secret", "mysql://u:the-secret@h/x", 2, "--to"),
        ("postgresql://h/a?password=the-secret", "postgresql://h/a?password=the-secret", 2, "one database"),
        ("@/no/such/file", "sqlite:///x.db", 2, "No such file"),
        ("@random", "sqlite:///x.db", 2, "can't decode"),
        ("sqlite:///random", "sqlite:///x.db", 3, "is damaged, or is none"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_a_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[str, str, int, str],
) -> None:
    source, target, code, sentence = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random").write_bytes(b"\xff" * 999)
    assert main(["--from", source, "--to", target]) == code
    told = capsys.readouterr()
    assert sentence in told.err
    assert len(told.err.splitlines()) == 1
    assert "the-secret" not in told.out + told.err


def test_a_target_without_a_folder_is_one_sentence(source: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", url_of(source), "--to", "sqlite:////no/such/folder/x.db"]) == 3
    assert capsys.readouterr().err.splitlines() == [
        "/no/such/folder/x.db.lock can't be opened: No such file or directory"
    ]


def test_a_url_is_shown_without_its_password() -> None:
    assert shown("postgresql://u:p4ss@h:5433/d?password=p4ss") == "postgresql://h:5433/d"


def test_the_command_line_finds_it_and_reads_urls_from_files(source: Database, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{url_of(source)}\n")
    target = f"sqlite:///{tmp_path}/target.db"
    words = ["db", "copy", "--from", f"@{tmp_path}/url", "--to", target]
    done = subprocess.run([sys.executable, "-m", "pinnace", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(f"-> sqlite:///{tmp_path}/target.db")
    assert f"metric_points: {POINTS}" in done.stderr


def parents(database: Database) -> dict[UUID, UUID]:
    with database.read() as connection:
        rows = connection.execute(select(ITERATIONS.c.id, ITERATIONS.c.parent_id)).all()
    return {row.id: row.parent_id for row in rows if row.parent_id}


def test_children_find_their_parents_though_they_are_copied_first(source: Database, target: Database) -> None:
    family = parents(source)
    assert any(child < parent for child, parent in family.items())
    assert any(child > parent for child, parent in family.items())

    def break_off(table: str, done: int, _total: int) -> None:
        if table == "iterations" and done:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        copy(source, target, break_off)
    assert parents(target) == {}
    copy(source, target, quiet)
    assert parents(target) == family
