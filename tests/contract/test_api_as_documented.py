"""Every operation of the OpenAPI document, asked by every kind of caller with what nobody would think of."""

import io
from collections.abc import Iterator
from uuid import uuid4

import pytest
import urllib3

from pinnace import ids
from pinnace.records import (
    DatasetWrite,
    ExperimentWrite,
    IterationWrite,
    Member,
    MemberKind,
    MetricPoint,
    ModelVersionWrite,
    ProjectRole,
    Scope,
    UploadWrite,
    UserWrite,
)
from support.accounts import PASSWORD, Accounts
from support.api_server import ADMIN_TOKEN, OPERATOR_TOKEN, ApiServer, FakeCluster, api_server
from support.schema_requests import Document, is_public

ROLES = {"viewer": ProjectRole.VIEWER, "editor": ProjectRole.EDITOR, "project-admin": ProjectRole.ADMIN}
#: How often each operation is asked by those that most of them let in, and by the others.
MANY, FEW = 3, 1
CALLERS = {"anonymous": FEW, "viewer": FEW, "editor": FEW, "project-admin": FEW, "operator": FEW, "sidecar": FEW}
CALLERS["admin"] = MANY


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How many times as often as usual, and which requests."""
    return int(request.config.getoption("--times"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, Document, dict[str, str]]]:
    """An API with one of everything, its document, and a token for each caller."""
    cluster, experiment = FakeCluster(), uuid4()
    iteration, version = ids.iteration_id(experiment, 0), uuid4()
    dataset = ids.dataset_id("iris", "iris.csv", "sha256:1")
    with api_server(tmp_path_factory.mktemp("api"), cluster=cluster) as api, api.admin() as admin:
        admin.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        stored = admin.put_file(iteration, "notes.txt", io.BytesIO(b"kept"), size=4)
        admin.put_metrics(iteration, [MetricPoint(key="loss", step=step, value=1.0) for step in range(50)])
        admin.put_dataset(dataset, DatasetWrite(project="iris", name="iris.csv", digest="sha256:1"))
        admin.put_model_version(version, ModelVersionWrite(project="iris", model="tree", iteration_id=iteration))
        upload = uuid4()
        admin.put_upload(iteration, upload, UploadWrite(path="begun"))
        accounts = Accounts(api)
        tokens = {
            "anonymous": "",
            "admin": ADMIN_TOKEN,
            "operator": OPERATOR_TOKEN,
            "sidecar": cluster.add_pod(iteration, namespace="ml", pod_uid="own"),
        }
        for name, role in ROLES.items():
            admin.put_user(name, UserWrite(password=PASSWORD))
            admin.put_member("iris", Member(kind=MemberKind.USER, name=name, role=role))
            tokens[name] = accounts.personal(name, Scope.ADMIN).secret
        known = {
            "name": "iris",
            "experiment_id": str(experiment),
            "iteration_id": str(iteration),
            "artifact_id": str(stored.id),
            "dataset_id": str(dataset),
            "upload_id": str(upload),
            "version_id": str(version),
            "model": "tree",
            "user": "viewer",
            "pod_uid": "own",
            "path": stored.path,
            "number": "1",
            "stage": "none",
        }
        yield api, Document(api.url, known), tokens
        accounts.close()


@pytest.mark.parametrize(("caller", "examples"), CALLERS.items())
def test_every_operation_answers_as_documented(
    server: tuple[ApiServer, Document, dict[str, str]], caller: str, examples: int, times: int
) -> None:
    _, document, tokens = server
    let_in, failures = 0, list[str]()
    for operation in document.operations():
        found, failure = document.ask(operation, tokens[caller], examples=examples * times, number=times)
        let_in += found
        failures += [failure] if failure else []
    assert not failures, "\n\n".join(failures)
    assert let_in


def test_failure_20_whom_nobody_knows_sees_nothing(server: tuple[ApiServer, Document, dict[str, str]]) -> None:
    _, document, _ = server
    closed = 0
    for operation in document.operations():
        method, url = operation.method.upper(), document.address(operation)
        answer = urllib3.request(method, url, retries=False, redirect=False)
        assert not any(word in answer.data for word in (b"sweep", b"notes", b"iris.csv", b"kept")), operation.label
        if not is_public(operation):
            assert answer.status == 401, operation.label
            closed += 1
    assert closed > 90
