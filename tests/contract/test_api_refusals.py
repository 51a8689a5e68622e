"""What the API says to wrong requests, and that they change nothing."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine

from pinnace import ids
from pinnace.client import Client, Invalid, Unavailable, Unexpected
from pinnace.records import ExperimentWrite, IterationWrite, MetricPoint, MetricReceipt, ProblemDetails
from pinnace_api.identity import ServiceAccount
from pinnace_api.settings import MAX_BODY_BYTES
from support.api_server import ADMIN_TOKEN, ApiServer, FakeCluster, api_server
from support.samples import artifact, report

POOL = urllib3.PoolManager(headers={"authorization": f"Bearer {ADMIN_TOKEN}"}, retries=False)
#: What each table is sorted by here: JSON can't be compared.
TABLES = {
    "projects": "1, 2",
    "experiments": "1, 2",
    "iterations": "1, 2",
    "artifacts": "1, 2",
    "metrics": "1, 2",
    "metric_points": "1, 2, 3, 4",
    "metric_sources": "1, 2",
    "pods": "1, 2",
    "datasets": "1, 2",
    "dataset_uses": "1, 2",
    "models": "1, 2",
    "model_versions": "1, 2",
    "model_aliases": "1, 2",
    "model_transitions": "1, 2",
    "artifact_set_members": "1, 2",
}
#: How another process keeps everybody else from writing, but not from reading.
LOCKS = {
    "sqlite": ["BEGIN IMMEDIATE"],
    "postgresql": ["LOCK TABLE projects IN EXCLUSIVE MODE"],
}

EXPERIMENT = UUID("0c7b8a9e-1111-4222-8333-444455556666")
ITERATION = ids.iteration_id(EXPERIMENT, 0)
DATASET = ids.dataset_id("iris", "iris.csv", "sha256:1")
VERSION = UUID("1d8c9baf-1111-4222-8333-444455556666")
MANIFEST = artifact(ITERATION, "pinnace-manifest.json")
#: The route and a body that it takes.
BODIES: dict[str, dict[str, Any]] = {
    "projects/iris": {"description": "a"},
    f"experiments/{EXPERIMENT}": {"project": "iris", "name": "sweep", "namespace": "ml", "tags": {"a": "b"}},
    f"iterations/{ITERATION}": {
        "experiment_id": str(EXPERIMENT),
        "index": 0,
        "parameters": {"lr": 0.1},
        "state": "PENDING",
        "started_at": "2026-01-31T12:00:00Z",
        "name": "first",
        "tags": {"a": "b"},
        "environment": {"commit": "c"},
    },
    f"iterations/{ITERATION}/artifacts": {
        "artifacts": [
            msgspec.to_builtins(artifact(ITERATION, pod_uid="pod", description="a", tags={"a": "b"})),
            msgspec.to_builtins(MANIFEST),
        ],
        "sets": [{"id": str(MANIFEST.id), "members": [str(artifact(ITERATION).id)]}],
    },
    f"iterations/{ITERATION}/metrics": {
        "points": [{"key": "loss", "step": 1, "value": "NaN", "time": "2026-01-31T12:00:00Z", "source": "s"}]
    },
    f"iterations/{ITERATION}/heartbeat": {"lease_seconds": 60},
    f"datasets/{DATASET}": {
        "project": "iris",
        "name": "iris.csv",
        "digest": "sha256:1",
        "rows": 150,
        "features": {"petal": "cm"},
        "tags": {"a": ""},
    },
    f"iterations/{ITERATION}/datasets/{DATASET}": {"role": "consumed", "artifact_id": None, "context": "train"},
    "projects/iris/models/tree": {"description": "a", "tags": {"a": ""}},
    f"model-versions/{VERSION}": {
        "project": "iris",
        "model": "tree",
        "iteration_id": str(ITERATION),
        "artifact_id": str(MANIFEST.id),
        "stage": "STAGING",
        "description": "a",
        "tags": {"a": ""},
    },
    f"model-versions/{VERSION}/stage": {"stage": "STAGING", "comment": "again"},
    "projects/iris/models/tree/aliases/best": {"number": 1, "expected": None},
    f"iterations/{ITERATION}/pods/pod": msgspec.to_builtins(report(ITERATION, "pod", 1, files={"recorded": 1})),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[ApiServer]:
    # A request waits so long for a lock on PostgreSQL; on SQLite it is 5 s.
    url = database_url if database_url.startswith("sqlite") else f"{database_url}?options=-c%20lock_timeout%3D1000"
    with api_server(tmp_path_factory.mktemp("api"), database_url=url) as server:
        for route, body in BODIES.items():
            answer = put(server, route, json.dumps(body).encode())
            assert answer.status in (200, 201), answer.data
        yield server
        POOL.clear()


@pytest.fixture
def client(api: ApiServer) -> Iterator[Client]:
    with api.admin() as client:
        yield client


def put(api: ApiServer, route: str, body: bytes) -> urllib3.BaseHTTPResponse:
    return POOL.request("PUT", f"{api.url}/api/v1/{route}", body=body)


def stored(api: ApiServer) -> dict[str, Sequence[Any]]:
    """Every row of the database, read past the API."""
    engine = create_engine(api.settings.database_url, poolclass=NullPool)
    with engine.connect() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY {order}").all()
            for table, order in TABLES.items()
        }


def problem_of(answer: urllib3.BaseHTTPResponse) -> ProblemDetails:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(answer.data, type=ProblemDetails)
    assert problem.status == answer.status
    return problem


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "\0", "NaN", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "é" * 300, "/../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> tuple[str, bytes]:
    """A route and a body in which one value, somewhere, has been replaced, dropped or joined."""
    route = draw(st.sampled_from(sorted(BODIES)))
    body = json.loads(json.dumps(BODIES[route]))
    at = body
    while True:
        key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
        if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
            at = at[key]
            continue
        if isinstance(at, dict) and draw(st.integers(0, 4)) == 0:
            del at[key]
        else:
            at[key] = draw(json_values)
        return route, json.dumps(body).encode()


def check_harmless(api: ApiServer, route: str, body: bytes) -> None:
    before = stored(api)
    answer = put(api, route, body)
    if answer.status in (200, 201):
        return
    problem = problem_of(answer)
    assert (answer.status, problem.code) in ((422, "invalid"), (409, "conflict"), (404, "experiment-not-found"))
    assert problem.detail
    assert stored(api) == before


@given(nearly_right())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_nearly_right_body_is_taken_or_refused_and_never_breaks(api: ApiServer, sent: tuple[str, bytes]) -> None:
    check_harmless(api, *sent)


@given(st.sampled_from(sorted(BODIES)), json_values)
@settings(max_examples=50, deadline=None)
def test_any_json_is_taken_or_refused_and_never_breaks(api: ApiServer, route: str, value: Any) -> None:
    check_harmless(api, route, json.dumps(value).encode())


@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=40))
@settings(max_examples=25, deadline=None)
def test_what_is_no_json_is_refused(api: ApiServer, route: str, body: bytes) -> None:
    check_harmless(api, route, body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,", b'{"description":"\\ud800"}', b'{"description":"\xff"}', b"[" * 100_000, b"NaN"],
)
def test_what_is_no_object_is_refused_in_words(api: ApiServer, body: bytes) -> None:
    answer = put(api, "projects/iris", body)
    assert answer.status == 422
    assert problem_of(answer).detail


def test_deep_parameters_are_refused(api: ApiServer) -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    body = {**BODIES[f"iterations/{ITERATION}"], "parameters": {"deep": deep}}
    problem = problem_of(put(api, f"iterations/{ITERATION}", json.dumps(body).encode()))
    assert (problem.status, problem.field) == (422, "parameters.deep")


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("projects/iris", {"description": 5}, "description"),
        (f"experiments/{EXPERIMENT}", {"project": "Iris", "name": "sweep"}, "project"),
        (f"experiments/{EXPERIMENT}", {"project": "iris", "name": "sweep", "tags": {"a": 5}}, "tags[...]"),
        (f"iterations/{ITERATION}", {"experiment_id": str(EXPERIMENT), "index": "0"}, "index"),
        (f"iterations/{ITERATION}/metrics", {"points": [{"key": "a", "step": 1, "value": "many"}]}, "points[0].value"),
        (f"iterations/{ITERATION}/metrics", {"points": [{"key": "a", "step": 2**60, "value": 1}]}, "points[0].step"),
    ],
)
def test_the_wrong_field_is_named(api: ApiServer, route: str, body: dict[str, Any], field: str) -> None:
    problem = problem_of(put(api, route, json.dumps(body).encode()))
    assert (problem.status, problem.code, problem.field) == (422, "invalid", field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("after=nonsense", "after"),
        ("after=WyJhIiwxXQ==", "after"),
        ("after=%ff", "after"),
        ("name=%00", "name"),
        ("project=%00", "project"),
    ],
)
def test_a_wrong_query_is_refused_by_name(api: ApiServer, query: str, field: str) -> None:
    problem = problem_of(POOL.request("GET", f"{api.url}/api/v1/experiments?{query}"))
    assert (problem.status, problem.code, problem.field) == (422, "invalid", field)


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1/nope", "/api/v1/experiments/not-a-uuid", "/", "/api/v2/projects", "/schema"]
)
def test_an_unknown_address_is_a_404(api: ApiServer, path: str) -> None:
    assert problem_of(POOL.request("GET", api.url + path)).code == "not-found"


def test_a_wrong_method_is_a_405_that_says_which_are_right(api: ApiServer) -> None:
    answer = POOL.request("POST", f"{api.url}/api/v1/projects", body=b"{}")
    assert (answer.status, problem_of(answer).code) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_a_body_beyond_the_limit_is_a_413(api: ApiServer) -> None:
    answer = put(api, "projects/iris", b'{"description":"' + b"x" * MAX_BODY_BYTES + b'"}')
    assert (answer.status, problem_of(answer).code) == (413, "too-large")


def test_the_client_halves_a_batch_that_is_too_large(client: Client) -> None:
    wide = "é" * 4000
    points = [MetricPoint(key=f"wide{number}", step=0, value=1.0, source=f"{wide}{number}") for number in range(4500)]
    assert client.put_metrics(ITERATION, points) == MetricReceipt(added=4500, present=0)


def test_one_point_too_many_is_refused(client: Client, api: ApiServer) -> None:
    points = [{"key": "a", "step": 0, "value": 1}] * 10_001
    answer = put(api, f"iterations/{ITERATION}/metrics", json.dumps({"points": points}).encode())
    assert (answer.status, problem_of(answer).field) == (422, "points")


def test_identical_puts_at_the_same_moment_make_one_row(api: ApiServer) -> None:
    experiment = uuid4()
    iteration = ids.iteration_id(experiment, 0)
    mine = [artifact(iteration, f"f/{number}", pod_uid="one") for number in range(20)]
    points = [MetricPoint(key="loss", step=step, value=float(step)) for step in range(50)]
    with ThreadPoolExecutor(8) as threads, api.admin() as client:
        write = ExperimentWrite(project=f"p{experiment.hex[:8]}", name="race")
        experiments = list(threads.map(lambda _: client.put_experiment(experiment, write), range(16)))
        begin = IterationWrite(experiment_id=experiment, index=0, parameters={"lr": 1})
        iterations = list(threads.map(lambda _: client.put_iteration(iteration, begin), range(16)))
        batches = list(threads.map(lambda _: client.put_artifacts(iteration, mine), range(16)))
        receipts = list(threads.map(lambda _: client.put_metrics(iteration, points), range(16)))
        assert all(batch == batches[0] for batch in batches)
        assert all(each == experiments[0] for each in experiments)
        assert all(each == iterations[0] for each in iterations)
        assert sum(receipt.added for receipt in receipts) == 50
        assert len(list(client.iteration_artifacts(iteration))) == 20
        summary = client.iteration(iteration).metrics["loss"]
        assert (summary.count, summary.last, summary.min, summary.max) == (50, 49.0, 0.0, 49.0)


def test_a_database_that_stays_locked_is_unavailable_and_nothing_is_half_done(api: ApiServer) -> None:
    before = stored(api)
    engine = create_engine(api.settings.database_url, poolclass=NullPool)
    with engine.connect() as other:
        for statement in LOCKS[engine.dialect.name]:
            other.exec_driver_sql(statement)
        with api.client(ADMIN_TOKEN, timeout=20) as client:
            with pytest.raises(Unavailable) as caught:
                client.put_project("locked")
            assert caught.value.retry_after == 1
            assert client.project("iris").name == "iris"
    assert stored(api) == before
    with api.admin() as client:
        assert client.put_project("locked").name == "locked"


def test_a_stopped_api_is_unreachable_for_the_client_until_it_is_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with api_server(tmp_path_factory.mktemp("api")) as api, api.admin() as client:
        client.put_project("iris")
        api.stop()
        with pytest.raises(Exception, match="check that the API runs") as caught:
            client.project("iris")
        assert getattr(caught.value, "transient", False)
        api.start()
        assert client.project("iris").name == "iris"


def test_a_defect_is_a_500_that_shows_nothing_of_the_inside(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Broken(FakeCluster):
        def review(self, token: str) -> ServiceAccount | None:
            raise RuntimeError("inner detail")

    with (
        api_server(tmp_path_factory.mktemp("api"), cluster=Broken()) as api,
        api.client("some-token") as client,
        pytest.raises(Unexpected) as caught,
    ):
        client.project("iris")
    assert (caught.value.status, caught.value.code) == (500, "internal")
    assert "inner detail" not in str(caught.value)


def test_every_answer_carries_a_request_id_and_the_caller_s_own_if_it_is_sane(api: ApiServer) -> None:
    url = f"{api.url}/nope"
    assert len(POOL.request("GET", url).headers["x-request-id"]) == 32
    sane = POOL.request("GET", url, headers={"x-request-id": "job-7.a"})
    assert sane.headers["x-request-id"] == "job-7.a"
    evil = POOL.request("GET", url, headers={"x-request-id": "a b=c"})
    assert len(evil.headers["x-request-id"]) == 32


def test_requests_are_counted_by_route_and_not_by_address(api: ApiServer) -> None:
    POOL.request("GET", f"{api.url}/api/v1/experiments/{uuid4()}")
    text = POOL.request("GET", f"{api.url}/metrics").data.decode()
    assert 'pinnace_api_requests_total{method="GET",route="/api/v1/experiments/{experiment_id}",status="404"}' in text
    assert "pinnace_api_request_seconds_bucket" in text


def test_the_description_is_served(api: ApiServer) -> None:
    document = json.loads(POOL.request("GET", f"{api.url}/openapi.json").data)
    assert document["info"]["title"] == "Pinnace metadata API"


def test_wrong_content_is_an_invalid_for_the_client_with_the_field(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        client.put_experiment(uuid4(), ExperimentWrite(project="Iris", name="x"))
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "invalid", "project")
    assert not caught.value.transient
    assert len(caught.value.request_id) == 32
