"""Two and more writers at once on every rule that something is there once."""

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from pinnace import ids
from pinnace.client import ApiError, Client, Conflict, Invalid
from pinnace.records import (
    DatasetRole,
    DatasetUseWrite,
    DatasetWrite,
    ExperimentPatch,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    MetricWrite,
)
from pinnace_api.database import Database
from pinnace_api.iterations import service
from support.api_server import ApiServer, api_server
from support.at_once import WRITERS, at_once
from support.eventually import eventually

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), database_url=database_url, sweep_seconds=3600) as server:
        yield server


@pytest.fixture
def experiment(client: Client) -> UUID:
    id_ = uuid4()
    client.put_experiment(id_, ExperimentWrite(project=f"p{id_.hex[:8]}", name="race"))
    return id_


def test_15_each_new_iteration_gets_a_number_of_its_own(client: Client, experiment: UUID) -> None:
    def create(_: int) -> list[int]:
        write = IterationWrite(experiment_id=experiment)
        return [client.put_iteration(uuid4(), write).index for _ in range(5)]

    numbers: list[int] = []
    for result in at_once(create):
        assert not isinstance(result, ApiError), result
        numbers += result
    assert sorted(numbers) == list(range(5 * WRITERS))


def test_the_same_new_iteration_from_everybody_is_one(client: Client, experiment: UUID) -> None:
    id_, write = uuid4(), IterationWrite(experiment_id=experiment, parameters={"lr": 1})
    assert {getattr(each, "index", each) for each in at_once(lambda _: client.put_iteration(id_, write))} == {0}
    assert len(list(client.iterations(experiment))) == 1


def test_an_index_is_taken_once_whoever_chooses_it(client: Client, experiment: UUID) -> None:
    def create(number: int) -> int:
        if number % 2:
            return client.put_iteration(uuid4(), IterationWrite(experiment_id=experiment)).index
        chosen = IterationWrite(experiment_id=experiment, index=number)
        return client.put_iteration(ids.iteration_id(experiment, number), chosen).index

    results = at_once(create)
    taken = [each for each in results if isinstance(each, int)]
    assert all(isinstance(each, int | Conflict) for each in results)
    assert sorted(taken) == sorted(each.index for each in client.iterations(experiment))
    assert len(set(taken)) == len(taken) >= WRITERS // 2


def test_15_steps_that_the_api_chooses_are_never_given_twice(client: Client, experiment: UUID) -> None:
    iteration = uuid4()
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment))

    def write(number: int) -> tuple[int, ...]:
        steps: tuple[int, ...] = ()
        for offset in range(5):
            point = MetricWrite(key="loss", value=float(number), source=f"w{number}", offset=offset)
            steps += client.put_metrics(iteration, [point]).steps
        return steps

    steps: list[int] = []
    for result in at_once(write):
        assert not isinstance(result, ApiError), result
        assert list(result) == sorted(result)
        steps += result
    assert sorted(steps) == list(range(5 * WRITERS))
    assert client.iteration(iteration).metrics["loss"].count == 5 * WRITERS


def test_13_a_point_that_is_sent_by_several_retries_at_once_is_one(client: Client, experiment: UUID) -> None:
    iteration = uuid4()
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment))
    point = MetricWrite(key="loss", value=1.0, source="sdk", offset=7)
    receipts = at_once(lambda _: client.put_metrics(iteration, [point]))
    assert Counter(getattr(each, "added", each) for each in receipts) == {1: 1, 0: WRITERS - 1}
    assert {getattr(each, "steps", each) for each in receipts} == {(0,)}


def test_a_parameter_is_set_by_one_of_those_who_disagree(client: Client, experiment: UUID) -> None:
    iteration = uuid4()
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment))
    results = at_once(lambda number: client.patch_iteration(iteration, IterationPatch(parameters={"lr": number})))
    winners = [each for each in results if not isinstance(each, ApiError)]
    assert [each.parameters for each in winners] == [client.iteration(iteration).parameters]
    assert all(isinstance(each, Conflict) for each in results if isinstance(each, ApiError))


def test_an_end_is_said_by_one_of_those_who_disagree(client: Client, experiment: UUID) -> None:
    iteration = uuid4()
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING))
    ends = (IterationState.SUCCEEDED, IterationState.FAILED, IterationState.KILLED)
    results = at_once(lambda number: client.patch_iteration(iteration, IterationPatch(state=ends[number])), len(ends))
    winners = [each.state for each in results if not isinstance(each, ApiError)]
    assert winners == [client.iteration(iteration).state]


def test_tags_of_several_editors_are_all_kept(client: Client, experiment: UUID) -> None:
    at_once(lambda number: client.patch_experiment(experiment, ExperimentPatch(tags={f"t{number}": ""})))
    assert client.experiment(experiment).tags == {f"t{number}": "" for number in range(WRITERS)}


def test_two_moves_never_close_a_circle_together(client: Client, experiment: UUID) -> None:
    for _ in range(5):
        pair = [uuid4(), uuid4()]
        for id_ in pair:
            client.put_iteration(id_, IterationWrite(experiment_id=experiment))
        results = at_once(
            lambda number, pair=pair: client.patch_iteration(  # type: ignore[misc]
                pair[number], IterationPatch(parent_id=pair[1 - number])
            ),
            2,
        )
        assert Counter(isinstance(each, Invalid) for each in results) == {True: 1, False: 1}


def test_a_dataset_and_its_use_are_one(client: Client, experiment: UUID) -> None:
    project = client.experiment(experiment).project
    iteration, data = uuid4(), ids.dataset_id(project, "d", "1")
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment))
    write = DatasetWrite(project=project, name="d", digest="1")
    made = at_once(lambda _: client.put_dataset(data, write))
    assert not [each for each in made if isinstance(each, ApiError)]
    roles = at_once(
        lambda number: client.use_dataset(iteration, data, DatasetUseWrite(role=list(DatasetRole)[number % 2]))
    )
    kept = {each.role for each in roles if not isinstance(each, ApiError)}
    assert [each.role for each in client.iteration_datasets(iteration)] == list(kept)


def test_of_two_replicas_that_sweep_at_once_one_finds_each(api: ApiServer, client: Client, experiment: UUID) -> None:
    lost = set()
    for _ in range(20):
        iteration = uuid4()
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment, state=IterationState.RUNNING))
        client.heartbeat(iteration, lease_seconds=1)
        lost.add(iteration)
    replicas = [Database(api.settings.database_url) for _ in range(2)]
    found: list[UUID] = []

    def swept() -> bool:
        for part in at_once(lambda number: service.sweep(replicas[number], uptime=60.0), 2):
            assert not isinstance(part, ApiError)
            found.extend(part)
        return set(found) == lost

    try:
        assert service.sweep(replicas[0], uptime=0.5) == (), "a lease that is longer than the API's own time"
        eventually(swept, timeout=20, what="the leases' end")
    finally:
        for replica in replicas:
            replica.close()
    assert len(found) == len(lost)
    assert {each.state for each in client.iterations(experiment)} == {IterationState.LOST}
