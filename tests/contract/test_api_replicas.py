"""Two API processes on one PostgreSQL: whoever is asked, and however often at once, there is one row and one truth."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from sqlalchemy import Engine, NullPool, create_engine, func, select, text

from pinnace import ids
from pinnace.client import Client
from pinnace.records import DatasetWrite, ExperimentWrite, IterationWrite, MetricPoint, MetricWrite, ModelVersionWrite
from pinnace_api.schema import METADATA, TABLES
from support.api_process import ApiProcess, api_processes
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually
from support.postgres_server import PostgresServer
from support.samples import artifact, report

#: How many send at the same moment, every other one to the other replica.
SENDERS = 12
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two replicas and the database below them."""

    replicas: list[ApiProcess]
    engine: Engine
    pool: urllib3.PoolManager

    def put(self, number: int, route: str, body: object) -> urllib3.BaseHTTPResponse:
        url = f"{self.replicas[number % 2].url}/api/v1/{route}"
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        return self.pool.request("PUT", url, body=msgspec.json.encode(body), headers=headers, retries=False)

    def count(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES
            }

    def client(self) -> Client:
        return self.replicas[0].admin()


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    url = postgres.create_database()
    engine = create_engine(url, poolclass=NullPool)
    with api_processes(tmp_path_factory.mktemp("replicas"), url, 2) as replicas:
        pool = urllib3.PoolManager(maxsize=SENDERS)
        yield Pair(replicas=replicas, engine=engine, pool=pool)
        pool.clear()


@dataclass(frozen=True, kw_only=True)
class World:
    """An experiment with one iteration, and a dataset, made anew for each round."""

    experiment: UUID
    iteration: UUID
    dataset: UUID
    #: One with two versions.
    model: str


def new_world(pair: Pair) -> World:
    experiment = uuid4()
    digest = experiment.hex
    world = World(
        experiment=experiment,
        iteration=ids.iteration_id(experiment, 0),
        dataset=ids.dataset_id("iris", "d", digest),
        model=f"m{digest}",
    )
    with pair.client() as client:
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
        client.put_iteration(world.iteration, IterationWrite(experiment_id=experiment, index=0))
        client.put_dataset(world.dataset, DatasetWrite(project="iris", name="d", digest=digest))
        for _ in range(2):
            version = ModelVersionWrite(project="iris", model=world.model, iteration_id=world.iteration)
            client.put_model_version(uuid4(), version)
    return world


@dataclass(frozen=True, kw_only=True)
class Race:
    """What all send at once: the route, each sender's body, how many rows more there are then, and the answers.

    `creates` tells whether one answer is a 201: the one that made the row. `audited`: whether the audit may have more
    than what `rows` says, because several did it at the same moment.
    """

    route: str
    body: Callable[[int], object]
    rows: dict[str, int]
    creates: bool = True
    audited: bool = False
    others: frozenset[int] = frozenset({200})


def a_project_described_by_many(_: World) -> Race:
    return Race(
        route=f"projects/p{uuid4().hex}", body=lambda number: {"description": f"{number}"}, rows={"projects": 1}
    )


def an_experiment_in_a_new_project(_: World) -> Race:
    body = {"project": f"p{uuid4().hex}", "name": "sweep"}
    return Race(route=f"experiments/{uuid4()}", body=lambda _: body, rows={"projects": 1, "experiments": 1})


def an_id_for_two_experiments(_: World) -> Race:
    return Race(
        route=f"experiments/{uuid4()}",
        body=lambda number: {"project": "iris", "name": f"sweep-{number % 2}"},
        rows={"experiments": 1},
        others=frozenset({200, 409}),
    )


def an_iteration_with_two_values_of_a_parameter(world: World) -> Race:
    return Race(
        route=f"iterations/{ids.iteration_id(world.experiment, 1)}",
        body=lambda number: {"experiment_id": world.experiment, "index": 1, "parameters": {"lr": number % 2}},
        rows={"iterations": 1},
        others=frozenset({200, 409}),
    )


def the_same_artifacts_by_two_pods(world: World) -> Race:
    paths = [f"f/{number}" for number in range(20)]

    def body(number: int) -> object:
        ordered = paths if number % 3 else reversed(paths)
        options: dict[str, Any] = {"pod_uid": f"pod-{number % 2}", "suspect": number % 4 == 0}
        return {"artifacts": [artifact(world.iteration, path, **options) for path in ordered]}

    return Race(
        route=f"iterations/{world.iteration}/artifacts",
        body=body,
        rows={"artifacts": 20, "pods": 2, "pod_artifacts": 40},
    )


def two_contents_of_an_id(world: World) -> Race:
    def body(number: int) -> object:
        return {"artifacts": [artifact(world.iteration, pod_uid="pod", size=number % 2)]}

    return Race(
        route=f"iterations/{world.iteration}/artifacts",
        body=body,
        rows={"artifacts": 1, "pods": 1, "pod_artifacts": 1},
        others=frozenset({200, 409}),
    )


def points_that_overlap(world: World) -> Race:
    def body(number: int) -> object:
        points = [
            MetricPoint(key=f"k{key}", step=step, value=float(step), source=f"s{step % 2}")
            for key in range(5)
            for step in range(number * 5, number * 5 + 10)
        ]
        return {"points": points if number % 2 else points[::-1]}

    steps = (SENDERS - 1) * 5 + 10
    return Race(
        route=f"iterations/{world.iteration}/metrics",
        body=body,
        rows={"metrics": 5, "metric_sources": 2, "metric_points": 5 * steps},
        creates=False,
    )


def points_whose_steps_the_api_chooses(world: World) -> Race:
    return Race(
        route=f"iterations/{world.iteration}/metrics",
        body=lambda number: {"points": [MetricWrite(key="k", value=1.0, source="s", offset=number // 2)]},
        rows={
            "metrics": 1,
            "metric_sources": 1,
            "metric_points": (SENDERS + 1) // 2,
            "metric_auto_steps": (SENDERS + 1) // 2,
        },
        creates=False,
    )


def a_dataset_with_two_sizes(_: World) -> Race:
    name = uuid4().hex
    return Race(
        route=f"datasets/{ids.dataset_id('iris', name, '1')}",
        body=lambda number: {"project": "iris", "name": name, "digest": "1", "rows": number % 2},
        rows={"datasets": 1},
        others=frozenset({200, 409}),
    )


def a_user_made_by_many(_: World) -> Race:
    body = {"password": "correct horse battery staple", "groups": ["vision"]}
    return Race(
        route=f"users/u{uuid4().hex}", body=lambda _: body, rows={"users": 1, "user_groups": 1, "audit_events": 1}
    )


def a_group_that_becomes_a_member(_: World) -> Race:
    body = {"kind": "group", "name": uuid4().hex, "role": "viewer"}
    return Race(route="projects/iris/members", body=lambda _: body, rows={"group_roles": 1, "audit_events": SENDERS})


def a_model(_: World) -> Race:
    return Race(route=f"projects/iris/models/m{uuid4().hex}", body=lambda _: {}, rows={"models": 1})


def a_version_of_a_new_model_in_production(world: World) -> Race:
    body = {"project": "iris", "model": f"m{uuid4().hex}", "iteration_id": world.iteration, "stage": "PRODUCTION"}
    return Race(
        route=f"model-versions/{uuid4()}",
        body=lambda _: body,
        rows={"models": 1, "model_versions": 1, "model_transitions": 1, "audit_events": 1},
    )


def an_id_for_versions_of_two_models(world: World) -> Race:
    model = f"m{uuid4().hex}"
    return Race(
        route=f"model-versions/{uuid4()}",
        body=lambda number: {"project": "iris", "model": f"{model}-{number % 2}", "iteration_id": world.iteration},
        rows={"models": 1, "model_versions": 1},
        others=frozenset({200, 409}),
    )


def an_alias_for_a_first_time(world: World) -> Race:
    return Race(
        route=f"projects/iris/models/{world.model}/aliases/champion",
        body=lambda number: {"number": number % 2 + 1, "expected": None},
        rows={"model_aliases": 1, "audit_events": 1},
        others=frozenset({200, 409}),
    )


def two_sets_of_one_manifest(world: World) -> Race:
    files = [artifact(world.iteration, f"f/{number}") for number in range(4)]
    manifest = artifact(world.iteration, "pinnace-manifest.json")

    def body(number: int) -> object:
        members = [each.id for each in files[number % 2 :: 2]]
        return {"artifacts": [*files, manifest], "sets": [{"id": manifest.id, "members": members}]}

    return Race(
        route=f"iterations/{world.iteration}/artifacts",
        body=body,
        rows={"artifacts": 5, "artifact_set_members": 2},
        others=frozenset({200, 409}),
    )


def reports_of_one_pod(world: World) -> Race:
    return Race(
        route=f"iterations/{world.iteration}/pods/pod",
        body=lambda number: report(world.iteration, "pod", number),
        rows={"pods": 1},
    )


def an_id_for_uploads_of_two_files(world: World) -> Race:
    return Race(
        route=f"iterations/{world.iteration}/uploads/{uuid4()}",
        body=lambda number: {"path": f"f/{number % 2}", "size": 5},
        rows={"uploads": 1},
        others=frozenset({200, 409}),
    )


def a_dataset_in_a_new_project(_: World) -> Race:
    body = {"project": f"p{uuid4().hex}", "name": "d", "digest": "1"}
    return Race(
        route=f"datasets/{ids.dataset_id(body['project'], 'd', '1')}",
        body=lambda _: body,
        rows={"projects": 1, "datasets": 1},
    )


def a_dataset_in_two_roles(world: World) -> Race:
    return Race(
        route=f"iterations/{world.iteration}/datasets/{world.dataset}",
        body=lambda number: {"role": ("consumed", "produced")[number % 2]},
        rows={"dataset_uses": 1},
        others=frozenset({200, 409}),
    )


def a_policy_of_one_name(_: World) -> Race:
    return Race(
        route=f"projects/iris/retention-policies/p{uuid4().hex}",
        body=lambda _: {"target": "trash", "older_than_days": 30},
        rows={"retention_policies": 1},
        audited=True,
    )


def an_id_for_holds_with_two_reasons(_: World) -> Race:
    return Race(
        route=f"projects/iris/holds/{uuid4()}",
        body=lambda number: {"kind": "project", "reason": f"case {number % 2}"},
        rows={"holds": 1, "audit_events": 1},
        others=frozenset({200, 409}),
    )


RACES = (
    a_policy_of_one_name,
    an_id_for_holds_with_two_reasons,
    a_model,
    a_version_of_a_new_model_in_production,
    an_id_for_versions_of_two_models,
    an_alias_for_a_first_time,
    two_sets_of_one_manifest,
    an_id_for_uploads_of_two_files,
    a_dataset_in_a_new_project,
    a_dataset_in_two_roles,
    a_project_described_by_many,
    an_experiment_in_a_new_project,
    an_id_for_two_experiments,
    an_iteration_with_two_values_of_a_parameter,
    the_same_artifacts_by_two_pods,
    two_contents_of_an_id,
    points_that_overlap,
    points_whose_steps_the_api_chooses,
    a_dataset_with_two_sizes,
    a_user_made_by_many,
    a_group_that_becomes_a_member,
    reports_of_one_pod,
)


def run(pair: Pair, race: Race) -> list[Any]:
    """The bodies of all answers."""
    bodies = [race.body(number) for number in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as threads:
        answers = list(threads.map(lambda number: pair.put(number, race.route, bodies[number]), range(SENDERS)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses.count(201) == (1 if race.creates else 0), statuses
    assert set(statuses) - {201} <= race.others, [answer.data for answer in answers]
    return [answer.json() for answer in answers if answer.status < 300]


def test_there_is_a_race_for_each_table_with_a_rule() -> None:
    world = World(experiment=uuid4(), iteration=uuid4(), dataset=uuid4(), model="m")
    raced = {name for race in RACES for name in race(world).rows}
    # Every login makes a token of its own; test_api_accounts has the races for wrong ones and for codes.
    of_logins = {"tokens", "login_attempts", "oidc_logins", "user_roles"}
    # Bytes are no JSON: test_api_uploads and test_api_files have their races.
    of_bytes = {"upload_pieces", "inline_blocks"}
    assert raced == set(METADATA.tables) - of_logins - of_bytes


@pytest.mark.parametrize("make", RACES, ids=lambda make: str(make.__name__))
def test_many_at_once_make_one_row_and_one_answer_made_it(pair: Pair, make: Callable[[World], Race]) -> None:
    for _ in range(ROUNDS):
        race = make(new_world(pair))
        before = pair.count()
        run(pair, race)
        after = pair.count()
        more = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert not race.audited or more.pop("audit_events") >= 1
        assert more == race.rows


def test_overlapping_points_are_summed_up_once(pair: Pair) -> None:
    world = new_world(pair)
    race = points_that_overlap(world)
    receipts = run(pair, race)
    assert sum(receipt["added"] for receipt in receipts) == race.rows["metric_points"]
    with pair.client() as client:
        summaries = client.iteration(world.iteration).metrics
    last = (SENDERS - 1) * 5 + 9
    assert {key: (each.count, each.min, each.max, each.last) for key, each in summaries.items()} == {
        f"k{key}": (last + 1, 0.0, float(last), float(last)) for key in range(5)
    }


def test_the_newest_report_stays_and_nobody_is_suspect_who_came_clean(pair: Pair) -> None:
    world = new_world(pair)
    run(pair, the_same_artifacts_by_two_pods(world))
    run(pair, reports_of_one_pod(world))
    with pair.client() as client:
        assert not any(each.suspect for each in client.iteration_artifacts(world.iteration))
        pods = {each.pod_uid: each for each in client.pods(world.experiment)}
    stored = pods["pod"].report
    assert stored is not None
    assert stored.sequence == SENDERS - 1
    assert (pods["pod-0"].recorded, pods["pod-1"].recorded.count) == (pods["pod-1"].recorded, 20)


def test_reports_among_artifacts_never_tell_a_stale_manifest(pair: Pair) -> None:
    """Both touch the pod's row: a report between two batches must not keep what it counted before the second."""
    world = new_world(pair)
    each = [artifact(world.iteration, f"f/{number}", pod_uid="pod") for number in range(60)]

    def send(number: int) -> int:
        if number % 2:
            body: object = report(world.iteration, "pod", number)
            return pair.put(number // 2, f"iterations/{world.iteration}/pods/pod", body).status
        return pair.put(
            number // 2, f"iterations/{world.iteration}/artifacts", {"artifacts": [each[number // 2]]}
        ).status

    with ThreadPoolExecutor(SENDERS) as threads:
        assert set(threads.map(send, range(120))) <= {200, 201}
    with pair.client() as client:
        (standing,) = client.pods(world.experiment)
    assert standing.recorded == report(world.iteration, "pod", 0, *each).manifest


def test_a_replica_that_is_killed_in_mid_write_holds_nobody_up(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database()
    with api_processes(tmp_path, url, 2) as replicas, ThreadPoolExecutor(1) as thread:
        pair = Pair(replicas=replicas, engine=create_engine(url, poolclass=NullPool), pool=urllib3.PoolManager())
        with replicas[1].admin() as client:
            experiment = uuid4()
            iteration = ids.iteration_id(experiment, 0)
            client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep"))
            client.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
            points = [MetricPoint(key="loss", step=step, value=1.0) for step in range(10_000)]
            killed = thread.submit(pair.put, 0, f"iterations/{iteration}/metrics", {"points": points})
            eventually(lambda: is_writing(pair.engine), what="a transaction with rows", interval=0.005)
            replicas[0].stop(signal.SIGKILL)
            receipt = client.put_metrics(iteration, points)
            assert receipt.added + receipt.present == 10_000
            assert client.iteration(iteration).metrics["loss"].count == 10_000
        with pytest.raises(urllib3.exceptions.HTTPError):
            killed.result()
        pair.pool.clear()


def is_writing(engine: Engine) -> bool:
    """Whether some other transaction has rows that nobody else sees yet."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
    with engine.connect() as connection:
        return bool(connection.execute(text(statement)).scalar_one())
