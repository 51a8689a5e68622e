"""Retention of versions of models by their stage, on both databases: which go, which never do, and what is left."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, update

from pinnace import ids
from pinnace.client import Client, Conflict, Gone, NotFound
from pinnace.records import (
    ArtifactSetWrite,
    Backend,
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    HoldKind,
    IterationState,
    Lifecycle,
    MetricPoint,
    ModelStage,
    ModelVersionPatch,
    ModelVersionWrite,
    RetentionTarget,
    Shown,
)
from pinnace_api import maintenance_command
from pinnace_api.artifact_sets.service import record as record_set
from pinnace_api.clock import now
from pinnace_api.model_versions.tables import MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.retention import applying
from pinnace_api.settings import PREFIX
from support.files_api import FilesApi, files_api
from support.retention_world import World

NONE, STAGING, PRODUCTION, ARCHIVED = ModelStage
VERSIONS = RetentionTarget.VERSIONS


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[FilesApi]:
    with files_api(tmp_path_factory.mktemp("api"), new_database(), Backend.FILESYSTEM) as made:
        yield made


@pytest.fixture
def world(api: FilesApi) -> Iterator[World]:
    with api.api.admin() as client:
        yield World(api, client)


def register(world: World, *stages: ModelStage, iteration: UUID | None = None, whole: bool = False) -> list[UUID]:
    """Versions 1, 2, … of the model `m` in these stages, each of a run of its own unless one is given."""
    experiment = None if iteration else world.begin()
    made = []
    for stage in stages:
        run = iteration or world.run(experiment or uuid4(), "model")
        artifact = None if whole else world.file(run, "model").id
        write = ModelVersionWrite(project=world.project, model="m", iteration_id=run, artifact_id=artifact, stage=stage)
        version = uuid4()
        world.client.put_model_version(version, write)
        made.append(version)
    return made


def shown(world: World, lifecycle: Shown = Shown.ACTIVE) -> list[int]:
    return sorted(each.number for each in world.client.model_versions(world.project, "m", lifecycle=lifecycle))


def versions_policy(world: World, **fields: Any) -> None:
    world.policy("stages", **{"target": VERSIONS, "stages": (ARCHIVED,), "older_than_days": 0, **fields})


def test_versions_go_to_the_trash_then_for_good_and_then_their_bytes(world: World) -> None:
    _, old, *_ = register(world, ARCHIVED, ARCHIVED, STAGING, PRODUCTION)
    row = world.client.model_version_by_id(old)
    assert row.artifact_id is not None
    versions_policy(world, older_than_days=30, keep=None)
    world.policy("bytes", target=RetentionTarget.ARTIFACTS)
    world.policy("trash", target=RetentionTarget.TRASH, older_than_days=7)
    assert world.apply(days=29).policies[2].stays == {"young": 2}

    def apply(day: int) -> tuple[int, int, int]:
        planned = world.apply(days=day, dry_run=True)
        done = world.apply(days=day)
        assert (done.policies, done.failures) == (planned.policies, [])
        bytes_, trash, versions = done.policies
        return versions.trashed_versions, trash.versions, bytes_.artifacts

    assert apply(31) == (2, 0, 0)
    assert (shown(world), shown(world, Shown.TRASHED)) == ([3, 4], [1, 2])
    # It can be taken back, and all that it is made of is there.
    world.client.patch_model_version(old, ModelVersionPatch(lifecycle=Lifecycle.ACTIVE))
    assert world.api.request("GET", f"/artifacts/{row.artifact_id}/bytes").data == b"model"
    assert apply(37) == (1, 0, 0)
    assert apply(39) == (0, 1, 0)
    assert apply(45) == (0, 1, 1)
    assert apply(46) == (0, 0, 1)
    assert apply(99) == (0, 0, 0)
    assert (shown(world, Shown.ALL), world.client.model(world.project, "m").production) == ([3, 4], 4)
    with pytest.raises(Gone, match="version 2 of model 'm' was removed"):
        world.client.model_version(world.project, "m", number=2)
    with pytest.raises(NotFound):
        world.client.model_version(world.project, "m", number=9)
    with pytest.raises(Gone):
        world.client.artifact(row.artifact_id)
    audit = json.loads(world.api.request("GET", "/audit?limit=100").data)["items"]
    mine = [each for each in audit if each["subject"] == str(old)]
    assert [each["action"] for each in mine] == ["retention.version.purged", *["retention.version.trashed"] * 2]
    assert mine[-1]["detail"] == {"policy": "stages", "model": "m", "number": 2, "stage": "ARCHIVED"}
    assert mine[-1]["actor"] == "tester"


def test_the_newest_of_a_model_stay_and_what_is_in_use_does_not_count(world: World) -> None:
    register(world, ARCHIVED, ARCHIVED, ARCHIVED, ARCHIVED, PRODUCTION, NONE, ARCHIVED)
    world.client.set_model_alias(world.project, "m", "champion", 4)
    versions_policy(world, older_than_days=None, keep=2)
    planned = world.one(dry_run=True)
    assert shown(world) == [1, 2, 3, 4, 5, 6, 7]
    assert world.one() == planned
    assert (planned.trashed_versions, planned.stays) == (2, {"in-use": 1, "kept": 2})
    assert shown(world) == [3, 4, 5, 6, 7]


def test_the_best_by_a_metric_stay_of_those_that_match(world: World) -> None:
    experiment = world.begin()
    for accuracy in (0.9, 0.5, 0.7):
        run = world.run(experiment, "model", state=IterationState.RUNNING, tags={"throw": "away"})
        world.client.put_metrics(run, [MetricPoint(key="accuracy", step=0, value=accuracy)])
        register(world, NONE, iteration=run)
    register(world, NONE)
    ranked = {"keep": 1, "keep_by": "metrics.accuracy.max desc", "filter": 'tags.throw = "away"'}
    versions_policy(world, stages=(NONE, ARCHIVED), **ranked)
    assert world.one().trashed_versions == 2
    assert shown(world) == [1, 4]
    world.policy("stages", target=RetentionTarget.TRASH, filter='tags.throw = "never"')
    assert world.one(days=1).versions == 0
    world.policy("stages", target=RetentionTarget.TRASH, experiments='name = "other"')
    assert world.one(days=1).versions == 0
    world.policy("stages", target=RetentionTarget.TRASH)
    assert world.one(days=1).versions == 2


def let_days_pass(world: World, *versions: UUID) -> None:
    """As if nothing had happened to them for nine days."""
    then = now() - timedelta(days=9)

    def set_back(connection: Connection) -> None:
        made = update(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id.in_(versions))
        connection.execute(made.values(created_at=then))
        moved = update(MODEL_TRANSITIONS).where(MODEL_TRANSITIONS.c.version_id.in_(versions))
        connection.execute(moved.values(at=then))

    with world.api.storage() as (database, _):
        database.write(set_back)


def test_its_time_in_a_stage_begins_when_it_comes_into_it(world: World) -> None:
    (version,) = register(world, NONE)
    versions_policy(world, older_than_days=1, stages=(NONE, STAGING))
    assert world.one(days=2, dry_run=True).trashed_versions == 1
    let_days_pass(world, version)
    assert world.one(dry_run=True).trashed_versions == 1
    world.client.set_model_stage(version, STAGING)
    assert world.one(dry_run=True).stays == {"young": 1}
    world.client.set_model_stage(version, NONE)
    assert world.one(dry_run=True).stays == {"young": 1}
    assert world.one(days=2).trashed_versions == 1


@pytest.mark.parametrize("kind", HoldKind)
@pytest.mark.parametrize("whole", [False, True])
def test_a_hold_on_anything_of_it_keeps_a_version(world: World, kind: HoldKind, whole: bool) -> None:
    (version,) = register(world, ARCHIVED, whole=whole)
    iteration = world.client.model_version_by_id(version).iteration_id
    subjects = {
        HoldKind.ARTIFACT: world.file(iteration, "model").id,
        HoldKind.ITERATION: iteration,
        HoldKind.EXPERIMENT: world.client.iteration(iteration).experiment_id,
    }
    versions_policy(world)
    hold = world.hold(kind, subjects.get(kind))
    assert (world.one().stays, shown(world)) == ({"held": 1}, [1])
    world.client.lift_hold(world.project, hold, "settled")
    assert world.one().trashed_versions == 1
    hold = world.hold(kind, subjects.get(kind))
    world.policy("stages", target=RetentionTarget.TRASH)
    assert world.one().stays["held"] >= 1
    assert shown(world, Shown.TRASHED) == [1]


def test_a_hold_on_one_file_of_a_set_keeps_its_version(world: World) -> None:
    run = world.run(world.begin(), "model", "part")
    with world.api.storage() as (database, _):
        named = ArtifactSetWrite(id=world.file(run, "model").id, members=(world.file(run, "part").id,))
        database.write(record_set, run, [named])
    register(world, ARCHIVED, iteration=run)
    versions_policy(world)
    hold = world.hold(HoldKind.ARTIFACT, world.file(run, "part").id)
    assert world.one().stays == {"held": 1}
    world.client.lift_hold(world.project, hold, "settled")
    assert world.one().trashed_versions == 1


def test_what_others_need_of_a_version_that_is_gone_stays(world: World) -> None:
    run = world.run(world.begin(), "model", "data", state=IterationState.RUNNING)
    dataset = ids.dataset_id(world.project, "d", "sha256:1")
    world.client.put_dataset(dataset, DatasetWrite(project=world.project, name="d", digest="sha256:1"))
    use = DatasetUseWrite(role=DatasetRole.PRODUCED, artifact_id=world.file(run, "model").id)
    world.client.use_dataset(run, dataset, use)
    register(world, ARCHIVED, STAGING, iteration=run)
    versions_policy(world)
    world.policy("trash", target=RetentionTarget.TRASH)
    world.policy("bytes")
    world.apply()
    world.apply()
    assert shown(world, Shown.ALL) == [2]
    assert [each.number for each in world.client.iteration_model_versions(run)] == [2]
    versions_policy(world, stages=(STAGING,))
    world.apply()
    world.apply()
    assert shown(world, Shown.ALL) == []
    # The dataset's lineage still says which bytes it is, and they are there.
    assert [each.artifact_id for each in world.client.iteration_datasets(run)] == [use.artifact_id]
    assert world.api.request("GET", f"/artifacts/{use.artifact_id}/bytes").data == b"model"


def promote(world: World, version: UUID) -> None:
    world.client.set_model_stage(version, PRODUCTION)


def restage(world: World, version: UUID) -> None:
    world.client.set_model_stage(version, STAGING)


def name(world: World, version: UUID) -> None:
    world.client.set_model_alias(world.project, "m", "champion", world.client.model_version_by_id(version).number)


def hold(world: World, version: UUID) -> None:
    world.hold(HoldKind.ITERATION, world.client.model_version_by_id(version).iteration_id)


def move_away_and_back(world: World, version: UUID) -> None:
    restage(world, version)
    world.client.set_model_stage(version, ARCHIVED)


def throw_away(world: World, version: UUID) -> None:
    world.client.trash_model_version(version)


@pytest.mark.parametrize("change", [promote, restage, name, hold, move_away_and_back, throw_away])
def test_what_changes_between_the_plan_and_its_turn_is_left_alone(
    world: World, change: Callable[[World, UUID], None]
) -> None:
    versions = register(world, ARCHIVED, ARCHIVED)
    let_days_pass(world, *versions)
    versions_policy(world, older_than_days=1)
    outcome = between(world, lambda: change(world, versions[0]))
    (done,) = outcome.policies
    assert (done.trashed_versions, done.stays) == (1, {"changed": 1})
    left = world.client.model_version_by_id(versions[0])
    assert left.lifecycle is (Lifecycle.TRASHED if change is throw_away else Lifecycle.ACTIVE)
    assert shown(world, Shown.TRASHED) == ([1, 2] if change is throw_away else [2])


def test_what_is_taken_back_from_the_trash_meanwhile_is_not_deleted(world: World) -> None:
    (version,) = register(world, ARCHIVED)
    world.client.trash_model_version(version)
    world.policy(target=RetentionTarget.TRASH)
    back = ModelVersionPatch(lifecycle=Lifecycle.ACTIVE)
    (done,) = between(world, lambda: world.client.patch_model_version(version, back)).policies
    assert (done.versions, done.stays) == (0, {"changed": 1})
    assert shown(world) == [1]


def between(world: World, change: Callable[[], object]) -> applying.Outcome:
    """Apply the policies, with something that happens after the plan was made and before it is carried out."""
    with world.api.storage() as (database, storage):
        real = database.write

        def write(*args: Any, **options: Any) -> Any:
            database.write = real  # type: ignore[method-assign]
            change()
            return real(*args, **options)

        database.write = write  # type: ignore[method-assign]
        return applying.apply(database, storage, now=now(), by="tester", project=world.project)


def test_a_version_that_was_promoted_is_never_in_the_trash(world: World) -> None:
    versions = register(world, *[ARCHIVED] * 8)
    versions_policy(world)

    def name_it(version: UUID) -> bool:
        with world.api.api.admin() as client:
            return named(client, world.project, version)

    with ThreadPoolExecutor(4) as pool:
        applied = pool.submit(world.apply)
        called = list(pool.map(name_it, versions))
        assert applied.result().failures == []
    gone = [world.client.model_version_by_id(each).lifecycle is Lifecycle.TRASHED for each in versions]
    assert [not each for each in gone] == called


def named(client: Client, project: str, version: UUID) -> bool:
    number = client.model_version_by_id(version).number
    try:
        client.set_model_alias(project, "m", f"v{number}", number)
    except Conflict:
        return False
    return True


def test_the_command_names_each_version_and_why_it_stays(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    versions = register(world, ARCHIVED, ARCHIVED)
    iteration = world.client.model_version_by_id(versions[0]).iteration_id
    versions_policy(world, keep=1)
    world.policy("bytes")
    environ = {
        f"{PREFIX}DATABASE_URL": world.api.settings.database_url,
        f"{PREFIX}ARTIFACTS_DIR": world.api.settings.artifacts_dir,
        f"{PREFIX}ARTIFACTS_BACKEND": "filesystem",
    }
    asked = ["retention", "--project", world.project, "--dry-run", "--each"]
    assert maintenance_command.main(asked, environ) == 0
    text = capsys.readouterr().out
    assert f"{world.project}/stages: version m@1 {versions[0]} goes\n" in text
    assert f"{world.project}/stages: version m@2 {versions[1]} stays: kept\n" in text
    assert f"{world.project}/bytes: iteration {iteration} stays, 1 stay: model-version\n" in text
    assert maintenance_command.main([*asked, "--json"], environ) == 0
    planned = json.loads(capsys.readouterr().out)["planned"]
    assert [(each["goes"], each["because"]) for each in planned if each["policy"] == "stages"] == [
        (False, "kept"),
        (True, ""),
    ]
    assert maintenance_command.main(["retention", "--project", world.project], environ) == 0
    assert "planned: 0" in capsys.readouterr().out
