"""Datasets: what iterations consumed and produced, and the way from one to the other."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.client import Client, Conflict, Invalid, NotFound
from pinnace.records import (
    DatasetPatch,
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    Direction,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
)
from support.api_server import api_server
from support.samples import artifact

CONSUMED, PRODUCED = DatasetRole.CONSUMED, DatasetRole.PRODUCED


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Client]:
    with api_server(tmp_path_factory.mktemp("api"), database_url=database_url) as server, server.admin() as client:
        yield client


@pytest.fixture
def project(client: Client) -> str:
    return f"p{uuid4().hex[:12]}"


def run(client: Client, project: str) -> UUID:
    """A new iteration of `project`."""
    experiment, iteration = uuid4(), uuid4()
    client.put_experiment(experiment, ExperimentWrite(project=project, name="e"))
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING))
    return iteration


def dataset(client: Client, project: str, name: str = "iris.csv", digest: str = "sha256:1") -> UUID:
    id_ = ids.dataset_id(project, name, digest)
    client.put_dataset(id_, DatasetWrite(project=project, name=name, digest=digest, rows=150))
    return id_


def use(role: DatasetRole, artifact_id: UUID | None = None, context: str = "") -> DatasetUseWrite:
    return DatasetUseWrite(role=role, artifact_id=artifact_id, context=context)


def recorded(client: Client, iteration: UUID, path: str) -> UUID:
    row = artifact(iteration, path)
    client.put_artifacts(iteration, [row])
    return row.id


def test_one_content_is_one_dataset_however_often_it_is_put(client: Client, project: str) -> None:
    write = DatasetWrite(
        project=project, name="iris.csv", digest="sha256:1", rows=150, features={"petal": "cm"}, tags={"raw": ""}
    )
    id_ = ids.dataset_id(project, "iris.csv", "sha256:1")
    first = client.put_dataset(id_, write)
    edited = client.patch_dataset(id_, DatasetPatch(source="s3://there", tags={"raw": None, "team": "vision"}))
    assert (edited.source, edited.tags, edited.rows) == ("s3://there", {"team": "vision"}, 150)
    assert client.put_dataset(id_, write) == edited
    assert first.created_by == "admin"
    with pytest.raises(Conflict) as caught:
        client.put_dataset(id_, msgspec.structs.replace(write, rows=151))
    assert caught.value.field == "rows"
    with pytest.raises(Invalid) as refused:
        client.put_dataset(uuid4(), write)
    assert refused.value.field == "digest"


def test_they_are_listed_newest_first_by_project_and_name(client: Client, project: str) -> None:
    made = [dataset(client, project, digest=f"{number}") for number in range(3)]
    other = dataset(client, project, "other.csv")
    assert [each.id for each in client.datasets(project=project)] == [other, *made[::-1]]
    assert [each.id for each in client.datasets(project=project, name="other.csv")] == [other]
    assert client.dataset(other).name == "other.csv"
    with pytest.raises(NotFound):
        client.dataset(uuid4())


def test_uses_are_found_from_both_ends(client: Client, project: str) -> None:
    maker, reader = run(client, project), run(client, project)
    data = dataset(client, project)
    made = recorded(client, maker, "iris.csv")
    client.use_dataset(maker, data, use(PRODUCED, made))
    for _ in range(2):
        client.use_dataset(reader, data, use(CONSUMED, made, "train"))
    (seen,) = client.iteration_datasets(reader)
    assert (seen.dataset.id, seen.role, seen.artifact_id, seen.context) == (data, CONSUMED, made, "train")
    assert {(each.iteration_id, each.role) for each in client.dataset_uses(data)} == {
        (maker, PRODUCED),
        (reader, CONSUMED),
    }
    assert client.use_dataset(reader, data, use(CONSUMED, None, "test")).context == "test"
    with pytest.raises(Conflict) as caught:
        client.use_dataset(reader, data, use(PRODUCED))
    assert caught.value.field == "role"
    for _ in range(2):
        client.forget_dataset(reader, data)
    assert list(client.iteration_datasets(reader)) == []


def test_what_has_ended_takes_no_more_uses(client: Client, project: str) -> None:
    iteration, data = run(client, project), dataset(client, project)
    client.patch_iteration(iteration, IterationPatch(state=IterationState.SUCCEEDED))
    for call in (
        lambda: client.use_dataset(iteration, data, use(CONSUMED)),
        lambda: client.forget_dataset(iteration, data),
    ):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.code == "ended"


def test_what_belongs_to_another_project_or_run_is_refused(client: Client, project: str) -> None:
    iteration, data = run(client, project), dataset(client, project)
    stranger = run(client, f"{project}x")
    foreign = recorded(client, stranger, "a")
    with pytest.raises(Invalid) as caught:
        client.use_dataset(stranger, data, use(CONSUMED))
    assert caught.value.field == "dataset_id"
    sibling = recorded(client, run(client, project), "b")
    for role, artifact_id in ((CONSUMED, foreign), (CONSUMED, uuid4()), (PRODUCED, sibling)):
        with pytest.raises(Invalid) as caught:
            client.use_dataset(iteration, data, use(role, artifact_id))
        assert caught.value.field == "artifact_id"


def test_a_lineage_is_followed_both_ways_and_ends_in_a_circle(client: Client, project: str) -> None:
    """raw → cleaning → clean → training → model → (as data) → cleaning."""
    cleaning, training = run(client, project), run(client, project)
    raw, clean, model = (dataset(client, project, name) for name in ("raw", "clean", "model"))
    clean_file, model_file = recorded(client, cleaning, "clean.csv"), recorded(client, training, "model.pt")
    client.use_dataset(cleaning, raw, use(CONSUMED))
    client.use_dataset(cleaning, clean, use(PRODUCED, clean_file))
    client.use_dataset(training, clean, use(CONSUMED))
    client.use_dataset(training, model, use(PRODUCED, model_file))
    client.use_dataset(cleaning, model, use(CONSUMED))

    up = client.lineage(model_file, Direction.UPSTREAM)
    assert {(step.distance, step.iteration_id, step.dataset_name, step.role) for step in up.steps} == {
        (0, training, "clean", CONSUMED),
        (1, cleaning, "clean", PRODUCED),
        (1, cleaning, "raw", CONSUMED),
        (1, cleaning, "model", CONSUMED),
        (2, training, "model", PRODUCED),
    }
    assert not up.truncated
    down = client.lineage(clean_file, Direction.DOWNSTREAM)
    assert {(step.distance, step.iteration_id, step.dataset_name, step.role) for step in down.steps} == {
        (0, cleaning, "clean", PRODUCED),
        (1, training, "clean", CONSUMED),
        (1, training, "model", PRODUCED),
        (2, cleaning, "model", CONSUMED),
    }
    near = client.lineage(model_file, Direction.UPSTREAM, depth=0)
    assert [step.dataset_name for step in near.steps] == ["clean"]
    assert near.truncated


def test_a_maker_is_found_by_the_artifact_that_was_consumed(client: Client, project: str) -> None:
    """Whoever made it never spoke of a dataset."""
    first, second = run(client, project), run(client, project)
    raw, middle = dataset(client, project, "raw"), dataset(client, project, "middle")
    client.use_dataset(first, raw, use(CONSUMED))
    file, result = recorded(client, first, "middle"), recorded(client, second, "result")
    client.use_dataset(second, middle, use(CONSUMED, file))
    up = client.lineage(result, Direction.UPSTREAM)
    assert [(step.distance, step.iteration_id, step.dataset_name) for step in up.steps] == [
        (0, second, "middle"),
        (1, first, "raw"),
    ]
    down = client.lineage(file, Direction.DOWNSTREAM)
    assert [(step.distance, step.iteration_id) for step in down.steps] == [(1, second)]
    with pytest.raises(NotFound):
        client.lineage(uuid4(), Direction.DOWNSTREAM)
