"""Who may do what: every route of the application against every kind of caller."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from pinnace import ids
from pinnace.client import Forbidden, NotFound, Unauthorized, Unavailable
from pinnace.records import DatasetWrite, ExperimentWrite, IterationWrite, MetricPoint, ProblemDetails
from pinnace_api.access import RULES
from pinnace_api.app import create_app
from pinnace_api.identity import ServiceAccount
from pinnace_api.settings import ApiSettings
from support.api_server import ADMIN_TOKEN, OPERATOR_TOKEN, ApiServer, FakeCluster, api_server
from support.samples import artifact, report

#: Whom each operation lets in. Written out here once more, so that a change of the rules is a change of two files.
LETS_IN = {
    "health": {"anybody"},
    "ready": {"anybody"},
    "prometheus": {"anybody"},
    "openapi": {"anybody"},
    "put_project": {"admin", "operator"},
    "list_projects": {"admin", "operator"},
    "get_project": {"admin", "operator"},
    "put_experiment": {"admin", "operator"},
    "list_experiments": {"admin", "operator"},
    "get_experiment": {"admin", "operator"},
    "put_iteration": {"admin", "operator"},
    "get_iteration": {"admin", "operator", "sidecar"},
    "list_iterations": {"admin", "operator"},
    "put_artifacts": {"admin", "sidecar"},
    "list_iteration_artifacts": {"admin", "operator"},
    "list_experiment_artifacts": {"admin", "operator"},
    "get_artifact": {"admin", "operator"},
    "find_contents": {"admin", "sidecar"},
    "put_metrics": {"admin", "sidecar"},
    "list_metrics": {"admin", "operator"},
    "put_pod_report": {"admin", "sidecar"},
    "get_writers": {"admin", "operator", "sidecar"},
    "list_pod_artifacts": {"admin", "operator", "sidecar"},
    "list_pods": {"admin", "operator"},
    "patch_project": {"admin"},
    "trash_project": {"admin"},
    "patch_experiment": {"admin"},
    "trash_experiment": {"admin"},
    "patch_iteration": {"admin", "operator"},
    "trash_iteration": {"admin"},
    "put_heartbeat": {"admin", "operator", "sidecar"},
    "get_environment": {"admin", "operator"},
    "list_children": {"admin", "operator"},
    "get_subtree": {"admin", "operator"},
    "patch_metric": {"admin"},
    "delete_metrics": {"admin"},
    "list_series": {"admin", "operator"},
    "put_dataset": {"admin", "operator"},
    "patch_dataset": {"admin"},
    "list_datasets": {"admin", "operator"},
    "get_dataset": {"admin", "operator"},
    "list_dataset_uses": {"admin", "operator"},
    "put_dataset_use": {"admin", "operator"},
    "delete_dataset_use": {"admin"},
    "list_iteration_datasets": {"admin", "operator"},
    "get_lineage": {"admin", "operator"},
}


DATASET = ids.dataset_id("iris", "iris.csv", "sha256:1")


@dataclass(frozen=True)
class World:
    """A running API with one iteration in it, and a token for each kind of caller."""

    api: ApiServer
    experiment: UUID
    iteration: UUID
    tokens: dict[str, str]

    def request(self, method: str, path: str, token: str = "", body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return urllib3.request(method, self.api.url + path, headers=headers, body=body, retries=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[World]:
    experiment = uuid4()
    iteration, sibling = ids.iteration_id(experiment, 0), ids.iteration_id(experiment, 1)
    cluster = FakeCluster()
    cluster.accounts["unbound"] = ServiceAccount(subject="system:serviceaccount:ml:default")
    cluster.accounts["a-person"] = ServiceAccount(subject="jane", pod_name="pod-own", pod_uid="own")
    folder = tmp_path_factory.mktemp("api")
    with api_server(folder, cluster=cluster, database_url=database_url) as api, api.admin() as admin:
        admin.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
        for index, id_ in enumerate((iteration, sibling)):
            admin.put_iteration(id_, IterationWrite(experiment_id=experiment, index=index))
        admin.put_artifacts(iteration, [artifact(iteration)])
        admin.put_dataset(DATASET, DatasetWrite(project="iris", name="iris.csv", digest="sha256:1"))
        yield World(
            api=api,
            experiment=experiment,
            iteration=iteration,
            tokens={
                "admin": ADMIN_TOKEN,
                "operator": OPERATOR_TOKEN,
                "sidecar": cluster.add_pod(iteration, namespace="ml", pod_uid="own"),
                "sidecar of another iteration": cluster.add_pod(sibling, namespace="ml", pod_uid="sibling"),
                "sidecar of another namespace": cluster.add_pod(iteration, namespace="evil", pod_uid="own"),
                "pod without iteration": cluster.add_pod(None, namespace="ml", pod_uid="plain"),
                "service account without pod": "unbound",
                "user of Kubernetes": "a-person",
                "unknown token": "never-issued",
                "nobody": "",
            },
        )


def operations() -> list[tuple[str, str, str]]:
    """(operation id, method, path) of every handler of the application that can be called."""
    app = create_app(ApiSettings(), reviewer=FakeCluster())
    found: list[tuple[str, str, str]] = []
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is no HTTP route: does anything guard it?"
        for handler in route.route_handlers:
            assert isinstance(handler, HTTPRouteHandler)
            found.extend((str(handler.operation_id), method, route.path) for method in handler.http_methods)
    return sorted(found)


OPERATIONS = operations()
WITH_RULE = [each for each in OPERATIONS if each[0] in RULES]
WITHOUT_RULE = [each for each in OPERATIONS if each[0] not in RULES]


def address(path: str, world: World) -> str:
    """`path` with its parameters filled in: the iteration that the sidecar's pod belongs to, and that pod."""
    values = {
        "{name:str}": "iris",
        "{experiment_id:uuid}": str(world.experiment),
        "{iteration_id:uuid}": str(world.iteration),
        "{artifact_id:uuid}": str(artifact(world.iteration).id),
        "{dataset_id:uuid}": str(DATASET),
        "{pod_uid:str}": "own",
    }
    for parameter, value in values.items():
        path = path.replace(parameter, value)
    assert "{" not in path, f"say what stands for the parameter in {path}"
    return path


def test_every_operation_has_a_rule_and_every_rule_an_operation() -> None:
    assert {operation for operation, _, _ in WITH_RULE} == set(RULES) == set(LETS_IN)


def test_only_the_framework_s_own_routes_have_none() -> None:
    assert {path for _, method, path in WITHOUT_RULE if method != "OPTIONS"} <= {
        "/schema",
        "/schema/{path:str}",
        "/schema/openapi.json",
    }


@pytest.mark.parametrize(("operation", "method", "path"), WITH_RULE)
def test_an_operation_lets_in_whom_it_should_and_nobody_else(
    world: World, operation: str, method: str, path: str
) -> None:
    allowed = LETS_IN[operation]
    for kind, token in world.tokens.items():
        answer = world.request(method, address(path, world), token)
        if "anybody" in allowed or kind in allowed:
            assert answer.status in (200, 204, 422), f"{kind}: {answer.data!r}"
        else:
            unknown = kind in ("nobody", "unknown token")
            assert answer.status == (401 if unknown else 403), f"{kind}: {answer.data!r}"
            problem = msgspec.json.decode(answer.data, type=ProblemDetails)
            assert problem.code == ("unauthorized" if unknown else "forbidden")
            assert ("www-authenticate" in answer.headers) == unknown


@pytest.mark.parametrize(("_", "method", "path"), WITHOUT_RULE)
def test_a_route_without_a_rule_is_there_for_nobody(world: World, _: str, method: str, path: str) -> None:
    assert world.request(method, address(path.replace("{path:str}", "x"), world), ADMIN_TOKEN).status == 404


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YWRtaW46YWRtaW4=", ADMIN_TOKEN, f"Bearer {ADMIN_TOKEN} x", "Bearer \xff\xfe"],
)
def test_a_malformed_header_is_a_401(world: World, header: str) -> None:
    url = f"{world.api.url}/api/v1/projects"
    answer = urllib3.request("GET", url, headers={"authorization": header.encode("latin-1").decode("latin-1")})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_sidecar_speaks_for_its_own_pod_only(world: World) -> None:
    token = world.tokens["sidecar"]
    with world.api.client(token) as client:
        mine = artifact(world.iteration, "mine", pod_uid="own")
        assert client.put_artifacts(world.iteration, [mine])[0].id == mine.id
        for pod_uid in ("other", ""):
            with pytest.raises(Forbidden):
                client.put_artifacts(world.iteration, [artifact(world.iteration, "theirs", pod_uid=pod_uid)])
        with pytest.raises(Forbidden):
            client.put_pod_report(report(world.iteration, "other", 0))
        with pytest.raises(Forbidden):
            client.writers(world.iteration, "other")
    with world.api.admin() as admin:
        assert "theirs" not in {each.path for each in admin.iteration_artifacts(world.iteration)}


def test_a_sidecar_that_is_earlier_than_its_iteration_is_told_to_come_again(world: World) -> None:
    later = ids.iteration_id(world.experiment, 7)
    with world.api.sidecar(later, namespace="ml", pod_uid="early") as client:
        for call in (
            lambda: client.put_artifacts(later, [artifact(later, pod_uid="early")]),
            lambda: client.put_metrics(later, [MetricPoint(key="a", step=0, value=1.0)]),
            lambda: client.put_pod_report(report(later, "early", 0)),
        ):
            with pytest.raises(NotFound) as caught:
                call()
            assert caught.value.code == "iteration-not-found"
        with world.api.operator() as operator:
            operator.put_iteration(later, IterationWrite(experiment_id=world.experiment, index=7))
        assert client.put_artifacts(later, [artifact(later, pod_uid="early")])


def test_an_experiment_outside_of_kubernetes_takes_nothing_from_pods(world: World) -> None:
    outside = uuid4()
    iteration = ids.iteration_id(outside, 0)
    with world.api.admin() as admin:
        admin.put_experiment(outside, ExperimentWrite(project="outside", name="local"))
        admin.put_iteration(iteration, IterationWrite(experiment_id=outside, index=0))
    with world.api.sidecar(iteration, namespace="ml", pod_uid="intruder") as client, pytest.raises(Forbidden):
        client.put_metrics(iteration, [MetricPoint(key="a", step=0, value=1.0)])


def test_kubernetes_away_is_not_a_wrong_token(world: World) -> None:
    token = world.api.cluster.add_pod(world.iteration, namespace="ml", pod_uid="late")
    world.api.cluster.away = True
    try:
        with world.api.client(token) as client, pytest.raises(Unavailable) as caught:
            client.iteration(world.iteration)
        assert caught.value.transient
        assert caught.value.retry_after == 1
        with world.api.client(world.tokens["sidecar"]) as known:
            assert known.iteration(world.iteration).index == 0
    finally:
        world.api.cluster.away = False


def test_a_rotated_admin_token_works_at_once_and_the_old_one_no_more(world: World) -> None:
    new = "another-admin-token-of-the-tests"
    world.api.token_file.write_text(f"{new}\n")
    try:
        with world.api.client(new) as client:
            assert client.project("iris").name == "iris"
        with world.api.admin() as old, pytest.raises(Unauthorized):
            old.project("iris")
    finally:
        world.api.token_file.write_text(ADMIN_TOKEN)


def test_without_an_admin_token_file_there_is_no_admin(tmp_path_factory: pytest.TempPathFactory) -> None:
    with api_server(tmp_path_factory.mktemp("api"), admin_token_file="") as api, api.admin() as client:
        api.token_file.write_text("")
        with pytest.raises(Unauthorized):
            client.project("iris")
