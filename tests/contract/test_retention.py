"""Retention on both databases: what goes, what stays whatever a policy says, and what is left to say so."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pinnace import ids
from pinnace.client import Conflict, Gone, Invalid, NotFound
from pinnace.records import (
    ArtifactSetWrite,
    Backend,
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    HoldKind,
    HoldWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    MetricPoint,
    ModelStage,
    ModelVersionWrite,
    ProjectPatch,
    RetentionPolicyWrite,
    RetentionTarget,
    Shown,
)
from pinnace_api import maintenance_command
from pinnace_api.artifact_sets.service import record as record_set
from pinnace_api.clock import now
from pinnace_api.maintenance import collecting, verifying
from pinnace_api.refusals import Unavailable
from pinnace_api.retention import applying
from pinnace_api.retention.applying import Outcome
from pinnace_api.settings import PREFIX
from support.eventually import eventually
from support.files_api import FilesApi, files_api
from support.retention_world import World
from support.samples import artifact, report

ARTIFACTS, ITERATIONS, TRASH, VERSIONS = RetentionTarget
AT_ONCE = RetentionPolicyWrite(target=ARTIFACTS, older_than_days=0)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[FilesApi]:
    with files_api(tmp_path_factory.mktemp("api"), new_database(), Backend.FILESYSTEM) as made:
        yield made


@pytest.fixture
def world(api: FilesApi) -> Iterator[World]:
    with api.api.admin() as client:
        yield World(api, client)


def test_bytes_go_and_tombstones_say_when_by_which_policy_and_by_whom(world: World) -> None:
    iteration = world.run(world.begin(), "a", "bb")
    rows = {path: world.file(iteration, path) for path in ("a", "bb")}
    before = world.held()
    world.policy("old-bytes", older_than_days=3)
    assert world.one().stays == {"young": 1}
    planned = world.one(days=3, dry_run=True)
    assert world.paths(iteration) == {"a", "bb"}
    done = world.one(days=3)
    assert done == planned
    assert (done.artifacts, done.bytes, done.freed_bytes) == (2, 3, 3)
    assert world.held() == before - 2
    for path in (f"/artifacts/{rows['a'].id}", f"/artifacts/{rows['a'].id}/bytes", f"/iterations/{iteration}/files/a"):
        answer = world.api.request("GET", path)
        problem = json.loads(answer.data)
        assert (answer.status, problem["code"]) == (410, "gone")
        assert "by the retention policy 'old-bytes' (tester)" in problem["detail"]
    with pytest.raises(Gone):
        world.client.artifact(rows["a"].id)
    assert world.paths(iteration) == set()
    with world.api.storage() as (database, storage):
        verified = verifying.verify(database, storage)
        assert (verified.missing, verified.corrupt, verified.unreachable) == ([], [], [])
        collected = collecting.collect(database, storage, now=now(), before=now() + timedelta(days=9))
        assert (collected.deleted_artifacts, collected.unfinished) == (0, 0)
    again = world.one(days=3)
    assert (again.artifacts, again.bytes) == (0, 0)
    world.put(iteration, "a")
    assert world.api.request("GET", f"/iterations/{iteration}/files/a").data == b"a"
    assert world.file(iteration, "a").removed is None


def test_the_best_by_a_metric_and_the_newest_stay(world: World) -> None:
    experiment = world.begin()
    runs = []
    for number, accuracy in enumerate([0.5, 0.9, None, 0.7, 0.8]):
        iteration = uuid4()
        world.client.put_iteration(iteration, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING))
        world.put(iteration, f"f{number}")
        if accuracy is not None:
            world.client.put_metrics(iteration, [MetricPoint(key="accuracy", step=0, value=accuracy)])
        world.client.patch_iteration(iteration, IterationPatch(state=IterationState.SUCCEEDED))
        runs.append(iteration)
    running = world.run(experiment, "running", state=IterationState.RUNNING)
    world.policy(older_than_days=None, keep=3, keep_by="metrics.accuracy.max desc")
    done = world.one()
    assert (done.artifacts, done.stays) == (2, {"kept": 3, "not-ended": 1})
    assert [bool(world.paths(each)) for each in runs] == [False, True, False, True, True]
    world.policy(older_than_days=None, keep=1)
    world.one()
    assert [bool(world.paths(each)) for each in runs] == [False, False, False, False, True]
    assert world.paths(running) == {"running"}


def test_filters_choose_iterations_and_experiments(world: World) -> None:
    marked = world.begin("marked", tags={"team": "vision"})
    chosen = world.run(marked, "chosen", tags={"throw": "away"})
    others = [world.run(marked, "other"), world.run(world.begin("plain"), "plain", tags={"throw": "away"})]
    world.policy(filter='tags.throw = "away" and state = "SUCCEEDED"', experiments='tags.team = "vision"')
    assert world.one().artifacts == 1
    assert world.paths(chosen) == set()
    assert all(world.paths(each) for each in others)


def test_failure_19_what_registry_lineage_or_a_hold_needs_stays_with_all_of_its_set(world: World) -> None:
    experiment = world.begin()
    model = world.run(experiment, "model", "rest")
    whole = world.run(experiment, "w1", "w2")
    made = world.run(experiment, "set/pinnace-manifest.json", "set/1", "set/2", "loose")
    data = world.run(experiment, "data", "junk", state=IterationState.RUNNING)
    register = ModelVersionWrite(project=world.project, model="m", iteration_id=model)
    world.client.put_model_version(
        uuid4(), ModelVersionWrite(**{**_fields(register), "artifact_id": world.file(model, "model").id})
    )
    world.client.put_model_version(uuid4(), ModelVersionWrite(**{**_fields(register), "iteration_id": whole}))
    sets(world, made)
    world.hold(HoldKind.ARTIFACT, world.file(made, "set/2").id)
    dataset = ids.dataset_id(world.project, "d", "sha256:1")
    world.client.put_dataset(dataset, DatasetWrite(project=world.project, name="d", digest="sha256:1"))
    use = DatasetUseWrite(role=DatasetRole.PRODUCED, artifact_id=world.file(data, "data").id)
    world.client.use_dataset(data, dataset, use)
    world.client.patch_iteration(data, IterationPatch(state=IterationState.FAILED))
    world.policy()
    done = world.one()
    assert done.artifacts == 3
    # Of the set one is held, the others stay with it; the iteration without an artifact stays whole.
    assert done.stays == {"model-version": 2, "held": 1, "set": 2, "dataset": 1}
    assert world.paths(model) == {"model"}
    assert world.paths(whole) == {"w1", "w2"}
    assert world.paths(made) == {"set/pinnace-manifest.json", "set/1", "set/2"}
    assert world.paths(data) == {"data"}


def test_a_set_goes_as_a_whole_when_nothing_needs_it(world: World) -> None:
    made = world.run(world.begin(), "set/pinnace-manifest.json", "set/1", "set/2")
    sets(world, made)
    world.policy()
    assert world.one().artifacts == 3
    assert list(world.client.artifact_sets(made)) == []


def sets(world: World, iteration: UUID) -> None:
    """Say what the manifest names, as whoever has resolved it does."""
    rows = {each.path: each for each in world.client.iteration_artifacts(iteration)}
    manifest = rows["set/pinnace-manifest.json"]
    with world.api.storage() as (database, _):
        named = ArtifactSetWrite(id=manifest.id, members=(rows["set/1"].id, rows["set/2"].id))
        database.write(record_set, iteration, [named])


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


@pytest.mark.parametrize("kind", HoldKind)
def test_a_hold_of_any_kind_stops_every_removal_until_it_is_lifted(world: World, kind: HoldKind) -> None:
    experiment = world.begin()
    iteration = world.run(experiment, "held")
    row = world.file(iteration, "held")
    subjects = {HoldKind.ARTIFACT: row.id, HoldKind.ITERATION: iteration, HoldKind.EXPERIMENT: experiment}
    world.policy("bytes")
    world.policy("trash", target=TRASH)
    hold = world.hold(kind, subjects.get(kind))
    assert sum(each.artifacts for each in world.apply().policies) == 0
    refused = world.api.request("DELETE", f"/artifacts/{row.id}")
    assert (refused.status, json.loads(refused.data)["code"]) == (409, "held")
    world.client.trash_iteration(iteration)
    bytes_, trash = world.apply(days=9).policies
    assert (bytes_.artifacts, trash.artifacts, trash.purged) == (0, 0, 0)
    assert trash.stays == {"held": 1}
    world.client.lift_hold(world.project, hold, "settled")
    world.client.lift_hold(world.project, hold, "again")
    (lifted,) = world.client.holds(world.project, lifted=True)
    assert (lifted.lifted_reason, list(world.client.holds(world.project))) == ("settled", [])
    assert world.apply(days=9).policies[1].artifacts == 1


def test_a_deleted_artifact_that_is_held_afterwards_keeps_its_bytes(world: World) -> None:
    experiment = world.begin()
    iteration = world.run(experiment, "deleted")
    row = world.file(iteration, "deleted")
    world.api.request("DELETE", f"/artifacts/{row.id}")
    hold = world.hold(HoldKind.EXPERIMENT, experiment)
    before = world.held()
    collect(world)
    assert world.held() == before
    world.client.lift_hold(world.project, hold, "settled")
    collect(world)
    assert world.held() == before - 1


def collect(world: World) -> None:
    with world.api.storage() as (database, storage):
        collecting.collect(database, storage, now=now(), before=now() + timedelta(days=9))


def test_a_hold_says_no_to_what_it_can_not_mean(world: World) -> None:
    experiment = world.begin()
    iteration = world.run(experiment, "a")
    hold = world.hold(HoldKind.ITERATION, iteration)
    again = world.client.put_hold(
        world.project, hold, HoldWrite(kind=HoldKind.ITERATION, subject_id=iteration, reason="case 7")
    )
    assert (again.reason, again.lifted_at) == ("case 7", None)
    for kind, subject in ((HoldKind.ITERATION, None), (HoldKind.PROJECT, iteration), (HoldKind.ITERATION, uuid4())):
        with pytest.raises(Invalid):
            world.client.put_hold(world.project, uuid4(), HoldWrite(kind=kind, subject_id=subject, reason="x"))
    with pytest.raises(Invalid):
        world.client.put_hold("p", uuid4(), HoldWrite(kind=HoldKind.ITERATION, subject_id=iteration, reason="x"))
    with pytest.raises(Conflict):
        world.client.put_hold(world.project, hold, HoldWrite(kind=HoldKind.PROJECT, reason="x"))
    world.client.lift_hold(world.project, hold, "done")
    with pytest.raises(Conflict, match="has been lifted"):
        world.client.put_hold(
            world.project, hold, HoldWrite(kind=HoldKind.ITERATION, subject_id=iteration, reason="case 7")
        )
    with pytest.raises(NotFound):
        world.client.lift_hold("p", hold, "of another project")


def test_nothing_is_touched_before_its_pods_are_proven(world: World) -> None:
    experiment = world.begin("cluster", namespace="ml")
    runs = []
    for index in range(4):
        iteration = ids.iteration_id(experiment, index)
        write = IterationWrite(experiment_id=experiment, index=index, state=IterationState.SUCCEEDED)
        world.client.put_iteration(iteration, write)
        runs.append(iteration)
    rows = [artifact(each, pod_uid="pod") for each in runs]
    for iteration, row in zip(runs, rows, strict=True):
        world.client.put_artifacts(iteration, [row])
    # Nobody heard of the first one's pod; the second one's goes on; the third one's shipped more than is recorded.
    world.client.put_pod_report(report(runs[1], "pod", 1, rows[1]))
    world.client.put_pod_report(report(runs[2], "pod", 1, rows[2], artifact(runs[2], "lost"), final=True))
    world.client.put_pod_report(report(runs[3], "pod", 1, rows[3], final=True))
    world.policy()
    planned = world.one(dry_run=True)
    assert (planned.artifacts, planned.stays) == (1, {"not-synced": 3})
    world.client.put_pod_report(report(runs[1], "pod", 2, rows[1], final=True))
    assert world.one(dry_run=True).artifacts == 2


def test_an_upload_under_way_keeps_its_iteration(world: World) -> None:
    iteration = world.run(world.begin(), "a")
    world.api.request("PUT", f"/iterations/{iteration}/uploads/{uuid4()}", b'{"path": "begun"}')
    world.policy()
    assert world.one(dry_run=True).stays == {"not-synced": 1}


def test_iterations_go_to_the_trash_and_after_its_time_for_good(world: World) -> None:
    experiment = world.begin()
    iteration = world.run(experiment, "a", parameters={"lr": 1}, notes="long")
    with_points = uuid4()
    world.client.put_iteration(with_points, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING))
    world.client.put_metrics(with_points, [MetricPoint(key="loss", step=step, value=0.5) for step in range(10)])
    world.client.patch_iteration(with_points, IterationPatch(state=IterationState.KILLED))
    used = world.run(experiment, "model")
    world.client.put_model_version(uuid4(), ModelVersionWrite(project=world.project, model="m", iteration_id=used))
    world.policy("a-iterations", target=ITERATIONS, older_than_days=5)
    world.policy("b-trash", target=TRASH, older_than_days=7)
    iterations, trash = world.apply(days=5).policies
    assert (iterations.trashed, iterations.stays, trash.purged) == (2, {"model-version": 1}, 0)
    thrown = world.client.iteration(iteration)
    assert (thrown.lifecycle, world.paths(iteration)) == (Lifecycle.TRASHED, {"a"})
    world.client.patch_iteration(iteration, IterationPatch(lifecycle=Lifecycle.ACTIVE))
    assert world.client.iteration(iteration).trashed_at is None
    assert world.apply(days=5).policies[0].trashed == 1
    _, trash = world.apply(days=12, dry_run=True).policies
    _, done = world.apply(days=12).policies
    assert done == trash
    assert (done.purged, done.artifacts) == (2, 1)
    purged = world.client.iteration(iteration)
    assert (purged.parameters, purged.notes, purged.lifecycle) == ({"lr": 1}, "", Lifecycle.TRASHED)
    assert purged.purged_at is not None
    assert list(world.client.metrics(with_points)) == []
    with pytest.raises(Gone):
        world.client.patch_iteration(iteration, IterationPatch(lifecycle=Lifecycle.ACTIVE))
    assert world.apply(days=20).policies[1].purged == 0
    assert [each.id for each in world.client.iterations(experiment)] == [used]


def test_what_lies_in_a_project_of_the_trash_goes_with_its_model_s_versions(world: World) -> None:
    experiment = world.begin()
    iteration = world.run(experiment, "model")
    row = world.file(iteration, "model")
    versions = [uuid4(), uuid4()]
    for version in versions:
        write = ModelVersionWrite(
            project=world.project, model="m", iteration_id=iteration, artifact_id=row.id, stage=ModelStage.STAGING
        )
        world.client.put_model_version(version, write)
    world.client.set_model_alias(world.project, "m", "champion", 2)
    world.client.trash_project(world.project)
    world.policy(target=TRASH, older_than_days=1)
    assert world.one().artifacts == 0
    done = world.one(days=2)
    assert (done.versions, done.purged, done.stays) == (1, 0, {"in-use": 1, "model-version": 1})
    world.client.patch_project(world.project, ProjectPatch(lifecycle=Lifecycle.ACTIVE))
    world.client.delete_model_alias(world.project, "m", "champion")
    world.client.trash_project(world.project)
    done = world.one(days=2)
    assert (done.versions, done.purged, done.artifacts) == (1, 1, 1)
    world.client.patch_project(world.project, ProjectPatch(lifecycle=Lifecycle.ACTIVE))
    assert list(world.client.iterations(experiment)) == []
    assert [each.id for each in world.client.iterations(experiment, lifecycle=Shown.TRASHED)] == [iteration]
    again = ModelVersionWrite(project=world.project, model="m", iteration_id=world.run(experiment))
    assert world.client.put_model_version(uuid4(), again).number == 3


def test_the_project_s_policy_counts_before_the_one_for_all_projects(world: World) -> None:
    iteration = world.run(world.begin(), "a")
    world.client.put_retention_policy(None, world.project, AT_ONCE)
    try:
        assert [each.policy for each in world.apply(dry_run=True).policies] == [world.project]
        world.policy(world.project, enabled=False)
        listed = world.client.retention_policies(world.project)
        assert [each.project for each in listed if each.name == world.project] == [None, world.project]
        assert world.apply().policies == []
        assert world.paths(iteration) == {"a"}
        world.client.delete_retention_policy(world.project, world.project)
        assert world.one().artifacts == 1
    finally:
        world.client.delete_retention_policy(None, world.project)
    with pytest.raises(NotFound):
        world.client.delete_retention_policy(None, world.project)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "older_than_days"),
        ({"target": TRASH}, "older_than_days"),
        ({"target": TRASH, "older_than_days": 1, "keep": 1}, "keep"),
        ({"older_than_days": 1, "keep_by": "name"}, "keep"),
        ({"older_than_days": 1, "filter": "nonsense = 1"}, "filter"),
        ({"older_than_days": 1, "experiments": "params.lr = 1"}, "experiments"),
        ({"keep": 1, "keep_by": "metrics.a.any"}, "keep_by"),
        ({"target": VERSIONS, "older_than_days": 1}, "stages"),
        ({"target": VERSIONS, "older_than_days": 1, "stages": ["ARCHIVED", "PRODUCTION"]}, "stages"),
        ({"target": VERSIONS, "stages": ["ARCHIVED"]}, "older_than_days"),
        ({"target": ARTIFACTS, "older_than_days": 1, "stages": ["ARCHIVED"]}, "stages"),
        ({"target": VERSIONS, "older_than_days": 1, "stages": ["RETIRED"]}, "stages[0]"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(world: World, fields: dict[str, Any], wrong: str) -> None:
    world.begin()
    write = RetentionPolicyWrite(**{"target": ARTIFACTS, **fields})
    with pytest.raises(Invalid) as caught:
        world.client.put_retention_policy(world.project, "p", write)
    assert caught.value.field == wrong
    with pytest.raises(Invalid):
        world.client.put_retention_policy(world.project, "Wrong Name", AT_ONCE)


def test_the_audit_has_policies_holds_and_removals(world: World) -> None:
    iteration = world.run(world.begin(), "a")
    world.policy()
    world.policy()
    hold = world.hold(HoldKind.ITERATION, iteration)
    world.client.lift_hold(world.project, hold, "settled")
    world.one()
    answer = json.loads(world.api.request("GET", "/audit?limit=4").data)["items"]
    assert [each["action"] for each in answer] == [
        "retention.removed",
        "hold.lifted",
        "hold.set",
        "retention.policy.set",
    ]
    assert answer[0]["detail"] == {"policy": "old", "artifacts": 1, "bytes": 1}
    assert (answer[0]["actor"], answer[1]["detail"]["reason"]) == ("tester", "settled")


def test_an_object_that_others_have_stays_until_the_last_of_them_goes(world: World) -> None:
    experiment = world.begin()
    runs = [world.run(experiment, tags={"n": str(number)}) for number in range(2)]
    with world.api.storage() as (_, storage):
        store = storage.named(Backend.S3)
        assert store is not None
        writer = store.writer()
        writer.write(b"shared")
        at = writer.finish().location
        first = artifact(runs[0], "x", b"shared")
        key = ids.object_key("runs", first.id)
        world.api.server.objects[key] = world.api.server.objects.pop(at.key)
    location = type(at)(**{**_fields(at), "key": key})
    for each in runs:
        world.client.put_artifacts(each, [artifact(each, "x", b"shared", location=location)])
    world.policy(filter='tags.n = "0"')
    done = world.one(dry_run=True)
    assert (done.artifacts, done.bytes, done.freed_bytes) == (1, 6, 0)
    assert world.one() == done
    assert world.api.request("GET", f"/iterations/{runs[1]}/files/x").data == b"shared"
    world.policy()
    assert world.one(dry_run=True).freed_bytes == 6
    assert world.one().freed_bytes == 6
    assert key not in world.api.server.objects


class Breaking:
    """Places that can't remove anything."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def of(self, location: Any) -> Any:
        del location
        return self

    def delete(self, location: Any) -> None:
        raise Unavailable(f"{location.key} is stuck")


@pytest.mark.parametrize("finisher", ["retention", "gc"])
def test_objects_that_could_not_be_removed_are_removed_the_next_time(world: World, finisher: str) -> None:
    world.run(world.begin(), "a", "b")
    world.policy()
    before = world.held()
    with world.api.storage() as (database, storage):
        broken: Any = Breaking(storage)
        outcome = applying.apply(database, broken, now=now(), by="tester", project=world.project)
    assert (len(outcome.failures), outcome.policies[0].artifacts, outcome.policies[0].freed_bytes) == (2, 2, 0)
    assert world.held() == before
    if finisher == "gc":
        collect(world)
    else:
        assert world.apply().unfinished == 2
    assert world.held() == before - 2
    assert world.apply().unfinished == 0


class Killed(BaseException):
    """The process is gone."""


def test_killed_at_any_step_it_goes_on(world: World) -> None:
    experiment = world.begin()
    runs = [world.run(experiment, "a", "b") for _ in range(2)]
    for each in runs:
        world.client.trash_iteration(each)
    world.policy(target=TRASH)
    before, steps = world.held(), 0
    while True:
        with world.api.storage() as (database, storage):
            real, left = database.write, steps

            def write(*args: Any, _real: Any = real, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return _real(*args, **options)

            database.write = write  # type: ignore[method-assign]
            try:
                applying.apply(database, storage, now=now(), by="tester", project=world.project)
            except Killed:
                steps += 1
            else:
                break
    assert steps >= 5
    assert world.held() == before - 4
    assert all(world.client.iteration(each).purged_at for each in runs)


def test_it_ends_between_two_batches_when_it_is_asked_to(world: World) -> None:
    experiment = world.begin()
    runs = [world.run(experiment, f"f{number}") for number in range(3)]
    world.policy()
    asked = iter([False, False, False, True])
    outcome = world.apply(is_over=lambda: next(asked))
    assert not outcome.complete
    assert 0 < sum(bool(world.paths(each)) for each in runs) < 3
    assert world.apply().complete


def test_two_at_once_take_turns(world: World) -> None:
    world.run(world.begin(), "a")
    world.policy()
    inner: list[Outcome] = []
    outcome = world.apply(progress=lambda _: inner.append(world.apply()))
    assert (outcome.complete, outcome.policies[0].artifacts) == (True, 1)
    assert [(each.complete, each.failures) for each in inner] == [(False, ["another process is applying the policies"])]
    assert world.apply().complete


def test_a_version_that_is_registered_meanwhile_never_loses_its_bytes(world: World) -> None:
    experiment = world.begin()
    runs = [world.run(experiment, "model") for _ in range(12)]
    rows = [world.file(each, "model").id for each in runs]
    world.policy()

    def register(number: int) -> bool:
        write = ModelVersionWrite(
            project=world.project, model=f"m{number}", iteration_id=runs[number], artifact_id=rows[number]
        )
        with world.api.api.admin() as client:
            try:
                client.put_model_version(uuid4(), write)
            except Invalid:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        applied = pool.submit(world.apply)
        registered = list(pool.map(register, reversed(range(12))))
        assert applied.result().failures == []
    there = [bool(world.paths(each)) for each in runs]
    assert list(reversed(registered)) == there
    for iteration, is_there in zip(runs, there, strict=True):
        assert world.api.request("GET", f"/iterations/{iteration}/files/model").status == (200 if is_there else 410)


def test_the_command_says_what_it_did(world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    world.run(world.begin(), "a")
    world.policy()
    environ = {
        f"{PREFIX}DATABASE_URL": world.api.settings.database_url,
        f"{PREFIX}ARTIFACTS_DIR": world.api.settings.artifacts_dir,
        f"{PREFIX}ARTIFACTS_BACKEND": "filesystem",
    }
    asked = ["retention", "--project", world.project]
    assert maintenance_command.main([*asked, "--dry-run", "--json"], environ) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["dry_run"] is True
    assert [(each["artifacts"], each["bytes"]) for each in planned["policies"]] == [(1, 1)]
    assert maintenance_command.main(asked, environ) == 0
    assert f"{world.project}/old (artifacts): 1 artifacts (1 bytes, 1 freed)" in capsys.readouterr().out
    environ[f"{PREFIX}ARTIFACTS_DIR"] = str(tmp_path)
    assert maintenance_command.main([*asked, "--json"], environ) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["artifacts"] == 0
    assert maintenance_command.main(["retention", "--project", "mistyped", "--dry-run"], environ) == 1
    assert "there is no project 'mistyped'" in capsys.readouterr().out


def test_the_server_applies_policies_by_itself_when_it_is_told_to(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    with (
        files_api(tmp_path, new_database(), Backend.FILESYSTEM, retention_seconds=0.05) as api,
        api.api.admin() as client,
    ):
        world = World(api, client)
        iteration = world.run(world.begin(), "a")
        world.policy()
        eventually(lambda: not world.paths(iteration), what="the bytes' removal")
        answer = api.request("GET", f"/iterations/{iteration}/files/a")
        assert (answer.status, "(server)" in json.loads(answer.data)["detail"]) == (410, True)
