"""Who may do what: every route of the application against every kind of caller."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from pinnace import ids
from pinnace.client import Forbidden, NotFound, Unauthorized, Unavailable
from pinnace.digests import EMPTY_SHA256
from pinnace.records import (
    DatasetWrite,
    ExperimentWrite,
    IterationPatch,
    IterationWrite,
    Member,
    MemberKind,
    MetricPoint,
    ModelVersionWrite,
    ProblemDetails,
    ProjectRole,
    RetentionPolicyWrite,
    RetentionTarget,
    Scope,
    UserPatch,
    UserWrite,
    WriterEnd,
)
from pinnace_api.access import MISSING, RULES, Rule
from pinnace_api.app import create_app
from pinnace_api.identity import ServiceAccount
from pinnace_api.settings import ApiSettings
from support.accounts import PASSWORD, Accounts
from support.api_server import ADMIN_TOKEN, OPERATOR_TOKEN, ApiServer, FakeCluster, api_server
from support.samples import artifact, report

#: Users by what they are to the project of the requests, each with a session, or a personal token of the scope named.
VIEWERS = {"viewer", "viewer by group", "project admin, read", "admin user, read"}
EDITORS = {"editor", "editor by group", "project admin, write", "admin user, write"}
PROJECT_ADMINS = {"project admin"}
ADMINS = {"admin", "admin user", "admin user, personal"}
READERS = {"operator"} | VIEWERS | EDITORS | PROJECT_ADMINS | ADMINS
WRITERS = EDITORS | PROJECT_ADMINS | ADMINS
STRANGERS = {"stranger"}
USERS = (READERS | STRANGERS) - {"operator", "admin"}
#: Those whose tokens are good for changing accounts: sessions, and personal tokens of the scope `admin`.
FULL_USERS = {one for one in USERS if not one.endswith((", read", ", write"))}

#: Whom each operation lets in. Written out here once more, so that a change of the rules is a change of two files.
LETS_IN = {
    "health": {"anybody"},
    "ready": {"anybody"},
    "prometheus": {"anybody"},
    "openapi": {"anybody"},
    "log_in": {"anybody"},
    "set_up": {"anybody"},
    "oidc_login": {"anybody"},
    "oidc_callback": {"anybody"},
    "oidc_exchange": {"anybody"},
    "whoami": READERS | STRANGERS,
    "log_out": USERS,
    "log_out_everywhere": FULL_USERS,
    "put_user": ADMINS,
    "list_users": ADMINS,
    "get_user": USERS | {"admin"},
    "patch_user": FULL_USERS | {"admin"},
    "put_password": FULL_USERS | {"admin"},
    "delete_user": ADMINS,
    "put_token": FULL_USERS | {"admin"},
    "list_tokens": USERS,
    "delete_token": FULL_USERS | {"admin"},
    "put_member": PROJECT_ADMINS | ADMINS,
    "list_members": READERS,
    "delete_member": PROJECT_ADMINS | ADMINS,
    "list_audit": ADMINS,
    "put_retention_policy": PROJECT_ADMINS | ADMINS,
    "list_retention_policies": READERS,
    "delete_retention_policy": PROJECT_ADMINS | ADMINS,
    "put_default_policy": ADMINS,
    "list_default_policies": ADMINS,
    "delete_default_policy": ADMINS,
    "put_hold": PROJECT_ADMINS | ADMINS,
    "list_holds": READERS,
    "lift_hold": PROJECT_ADMINS | ADMINS,
    "put_project": WRITERS | {"operator"},
    "list_projects": READERS | STRANGERS,
    "get_project": READERS,
    "put_experiment": WRITERS | {"operator"},
    "list_experiments": READERS | STRANGERS,
    "get_experiment": READERS,
    "put_iteration": WRITERS | {"operator"},
    "get_iteration": READERS | {"sidecar", "rescuer"},
    "list_iterations": READERS,
    "search_iterations": READERS | STRANGERS,
    "put_artifacts": WRITERS | {"sidecar", "rescuer"},
    "list_iteration_artifacts": READERS | {"sidecar", "rescuer"},
    "list_experiment_artifacts": READERS,
    "get_artifact": READERS,
    "patch_artifact": WRITERS,
    "list_artifact_sets": READERS | {"sidecar", "rescuer"},
    "list_set_members": READERS,
    "put_metrics": WRITERS | {"sidecar", "rescuer"},
    "list_metrics": READERS,
    "get_curves": READERS | STRANGERS,
    "compare_iterations": READERS | STRANGERS,
    "compare_curves": READERS | STRANGERS,
    "put_pod_report": ADMINS | {"admin user, write", "sidecar", "rescuer"},
    "get_writers": READERS | {"sidecar", "rescuer"},
    "list_pod_artifacts": READERS | {"sidecar", "rescuer"},
    "list_pods": READERS,
    "give_store_credentials": {"sidecar", "rescuer"},
    "find_contents": ADMINS | {"admin user, write", "sidecar", "rescuer"},
    "patch_project": WRITERS,
    "trash_project": PROJECT_ADMINS | ADMINS | {"project admin, write", "admin user, write"},
    "patch_experiment": WRITERS,
    "trash_experiment": WRITERS | {"operator"},
    "patch_iteration": WRITERS | {"operator", "sidecar", "rescuer"},
    "trash_iteration": WRITERS,
    "put_heartbeat": WRITERS | {"operator", "sidecar", "rescuer"},
    "get_environment": READERS,
    "list_children": READERS,
    "get_subtree": READERS,
    "patch_metric": WRITERS,
    "delete_metrics": WRITERS,
    "list_series": READERS,
    "put_dataset": WRITERS | {"operator"},
    "patch_dataset": WRITERS,
    "list_datasets": READERS | STRANGERS,
    "get_dataset": READERS,
    "list_dataset_uses": READERS,
    "put_dataset_use": WRITERS | {"operator"},
    "delete_dataset_use": WRITERS,
    "list_iteration_datasets": READERS,
    "get_lineage": READERS,
    "put_model": WRITERS,
    "patch_model": WRITERS,
    "trash_model": PROJECT_ADMINS | ADMINS | {"project admin, write", "admin user, write"},
    "list_models": READERS | STRANGERS,
    "get_model": READERS,
    "put_model_version": WRITERS,
    "patch_model_version": WRITERS,
    "trash_model_version": WRITERS,
    "put_model_stage": WRITERS,
    "get_model_version": READERS,
    "list_model_versions": READERS,
    "get_numbered_version": READERS,
    "get_newest_version": READERS,
    "get_staged_version": READERS,
    "get_called_version": READERS,
    "put_model_alias": WRITERS,
    "delete_model_alias": WRITERS,
    "list_model_aliases": READERS,
    "list_model_transitions": READERS,
    "diff_model_versions": READERS,
    "list_versions_of_iteration": READERS,
    "list_versions_of_artifact": READERS,
    "delete_artifact": WRITERS,
    "put_file": WRITERS,
    "get_file": READERS,
    "head_file": READERS,
    "get_bytes": READERS,
    "head_bytes": READERS,
    "put_upload": WRITERS,
    "get_upload": WRITERS,
    "head_upload": WRITERS,
    "append_to_upload": WRITERS,
    "delete_upload": WRITERS,
}
#: What nobody vouches for.
UNKNOWN = {"nobody", "unknown token", "disabled user", "expired session", "expired token", "ended session"}


POOL = urllib3.PoolManager(retries=False)


UPLOAD = uuid4()
HOLD = uuid4()
DATASET = ids.dataset_id("iris", "iris.csv", "sha256:1")
#: Two versions of a model; the second one has an alias.
VERSIONS = (uuid4(), uuid4())


@dataclass(frozen=True)
class World:
    """A running API with one iteration in it, and a token for each kind of caller."""

    api: ApiServer
    accounts: Accounts
    experiment: UUID
    iteration: UUID
    tokens: dict[str, str]

    def request(self, method: str, path: str, token: str = "", body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return POOL.request(method, self.api.url + path, headers=headers, body=body)

    def body(self, operation: str) -> bytes | None:
        """What tells the project where the path does not."""
        rule = RULES[operation]
        if not (isinstance(rule, Rule) and rule.by_body):
            return None
        assert operation == "put_iteration", f"say what the body of {operation} is"
        return msgspec.json.encode(IterationWrite(experiment_id=self.experiment, index=0))

    def user(self, kind: str) -> str:
        """Whose own account a caller of this kind would look at; that of a victim for callers without one."""
        return kind.partition(",")[0].replace(" ", "-") if kind in USERS else "victim"

    def make_ready(self, operation: str) -> None:
        """What the operation needs to be there, because it has been taken away by the one before."""
        if operation == "delete_user":
            self.make_victim()
        if operation in ("get_called_version", "delete_model_alias"):
            with self.api.admin() as admin:
                admin.set_model_alias("iris", "tree", "champion", 2)
        if operation in ("delete_retention_policy", "delete_default_policy"):
            self.make_policies()
        if operation.endswith(("_artifact", "_upload", "_file", "_bytes")):
            self.make_files()

    def make_files(self) -> None:
        """An empty file, and an upload that was begun."""
        begun = b'{"path": "begun"}'
        for path, body in (("files/empty", b""), (f"uploads/{UPLOAD}", begun)):
            answer = self.request("PUT", f"/api/v1/iterations/{self.iteration}/{path}", ADMIN_TOKEN, body)
            assert answer.status in (200, 201), answer.data

    def make_policies(self) -> None:
        """One of the project and one for all, neither of which does anything."""
        with self.api.admin() as admin:
            for project in ("iris", None):
                write = RetentionPolicyWrite(target=RetentionTarget.TRASH, older_than_days=1, enabled=False)
                admin.put_retention_policy(project, "old", write)

    def make_victim(self) -> None:
        with self.api.admin() as admin:
            admin.put_user("victim", UserWrite(password=PASSWORD))

    def token(self, kind: str) -> str:
        if kind not in self.tokens:
            _, comma, rest = kind.partition(", ")
            scope = Scope.ADMIN if rest == "personal" else Scope(rest or "admin")
            made = self.accounts.personal(self.user(kind), scope) if comma else self.accounts.session(self.user(kind))
            self.tokens[kind] = made.secret
        return self.tokens[kind]

    def forget_tokens(self, *kinds: str) -> None:
        """Of these kinds of users, or of all: they may have been ended."""
        for kind in USERS.intersection(kinds or USERS):
            self.tokens.pop(kind, None)


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
        for version in VERSIONS:
            admin.put_model_version(version, ModelVersionWrite(project="iris", model="tree", iteration_id=iteration))
        admin.put_project("other")
        accounts = Accounts(api)
        groups = {"viewer-by-group": ("watchers",), "editor-by-group": ("watchers", "makers")}
        for name in ("viewer", "editor", "project-admin", "stranger", "leaver", "admin-user", "victim", *groups):
            write = UserWrite(password=PASSWORD, admin=name == "admin-user", groups=groups.get(name, ()))
            admin.put_user(name, write)
        for kind, name, role in (
            (MemberKind.USER, "viewer", ProjectRole.VIEWER),
            (MemberKind.USER, "editor", ProjectRole.EDITOR),
            (MemberKind.USER, "project-admin", ProjectRole.ADMIN),
            (MemberKind.USER, "leaver", ProjectRole.ADMIN),
            (MemberKind.GROUP, "watchers", ProjectRole.VIEWER),
            (MemberKind.GROUP, "makers", ProjectRole.EDITOR),
        ):
            admin.put_member("iris", Member(kind=kind, name=name, role=role))
        admin.put_member("other", Member(kind=MemberKind.USER, name="stranger", role=ProjectRole.ADMIN))
        disabled, ended = accounts.session("leaver"), accounts.session("project-admin")
        admin.patch_user("leaver", UserPatch(disabled=True))
        accounts.end(ended.id)
        made = World(
            api=api,
            accounts=accounts,
            experiment=experiment,
            iteration=iteration,
            tokens={
                "admin": ADMIN_TOKEN,
                "operator": OPERATOR_TOKEN,
                "sidecar": cluster.add_pod(iteration, namespace="ml", pod_uid="own"),
                "rescuer": cluster.add_rescuer(iteration, namespace="ml", rescues="own-ended"),
                "rescuer of a living pod": cluster.add_rescuer(iteration, namespace="ml", rescues="own"),
                "rescuer of a living pod by another name": cluster.add_rescuer(
                    iteration, namespace="ml", rescues="reported", name="pod-gone"
                ),
                "rescuer of another namespace": cluster.add_rescuer(iteration, namespace="evil", rescues="own-ended"),
                "rescuer of another iteration": cluster.add_rescuer(sibling, namespace="ml", rescues="own-ended"),
                "rescuer that says no name": cluster.add_rescuer(iteration, namespace="ml", rescues="own", name=""),
                "sidecar of another iteration": cluster.add_pod(sibling, namespace="ml", pod_uid="sibling"),
                "sidecar of another namespace": cluster.add_pod(iteration, namespace="evil", pod_uid="own"),
                "pod without iteration": cluster.add_pod(None, namespace="ml", pod_uid="plain"),
                "service account without pod": "unbound",
                "user of Kubernetes": "a-person",
                "unknown token": "never-issued",
                "disabled user": disabled.secret,
                "expired session": accounts.session("project-admin", lifetime=timedelta(0)).secret,
                "expired token": accounts.personal("project-admin", Scope.ADMIN, lifetime=timedelta(0)).secret,
                "ended session": ended.secret,
                "nobody": "",
            },
        )
        made.make_files()
        with api.sidecar(iteration, namespace="ml", pod_uid="reported") as client:
            client.put_pod_report(report(iteration, "reported", 0))
        yield made
        accounts.close()
        POOL.clear()


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


def address(path: str, world: World, kind: str = "admin") -> str:
    """`path` with its parameters filled in: the iteration that the sidecar's pod belongs to, and that pod.

    What belongs to an account is the caller's own.
    """
    values = {
        "{user:str}": world.user(kind),
        "{name:str}": "iris",
        "{experiment_id:uuid}": str(world.experiment),
        "{iteration_id:uuid}": str(world.iteration),
        "{artifact_id:uuid}": str(ids.artifact_id(world.iteration, "empty", EMPTY_SHA256)),
        "{upload_id:uuid}": str(UPLOAD),
        "{path:path}": "empty",
        "{dataset_id:uuid}": str(DATASET),
        "{model:str}": "tree",
        "{version_id:uuid}": str(VERSIONS[0]),
        "{number:int}": "1",
        "{stage:str}": "none",
        "{alias:str}": "champion",
        "{pod_uid:str}": "own-ended" if kind == "rescuer" else "own",
        "{policy:str}": "old",
        "{hold_id:uuid}": str(HOLD),
    }
    if "{token_id:uuid}" in path:
        values["{token_id:uuid}"] = str(world.accounts.session(world.user(kind)).id)
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


def callers(world: World, operation: str) -> list[str]:
    """Everybody; on the second database, whose answers the same rules are decided by, one of those that are let in and
    one of those that aren't, in turn, so that each has its operations there, too.
    """
    everybody = sorted(world.tokens.keys() | USERS)
    if world.api.settings.database_url.startswith("sqlite"):
        return everybody
    let_in = [kind for kind in everybody if kind in LETS_IN[operation] or "anybody" in LETS_IN[operation]]
    turn = list(LETS_IN).index(operation)
    return [some[turn % len(some)] for some in (let_in, [kind for kind in everybody if kind not in let_in]) if some]


@pytest.mark.parametrize(("operation", "method", "path"), WITH_RULE)
def test_an_operation_lets_in_whom_it_should_and_nobody_else(
    world: World, operation: str, method: str, path: str
) -> None:
    allowed = LETS_IN[operation]
    for kind in callers(world, operation):
        world.make_ready(operation)
        if operation in ("log_out", "log_out_everywhere"):
            world.forget_tokens(kind)
        where = address(path, world, "admin" if operation == "delete_user" else kind)
        answer = world.request(method, where, world.token(kind), world.body(operation))
        if "anybody" in allowed or kind in allowed:
            no_provider = operation == "oidc_login" and answer.status == 404
            assert answer.status in (200, 204, 422) or no_provider, f"{kind}: {answer.data!r}"
            continue
        hidden = (
            kind in STRANGERS
            and not MISSING.keys().isdisjoint(names_in(path))
            and operation not in ("put_pod_report", "find_contents", "give_store_credentials")
        )
        status, code = (401, "unauthorized") if kind in UNKNOWN else (404, "") if hidden else (403, "forbidden")
        assert answer.status == status, f"{kind}: {answer.data!r}"
        if method != "HEAD":
            problem = msgspec.json.decode(answer.data, type=ProblemDetails)
            assert problem.code == code or (hidden and problem.code.endswith("not-found"))
        assert ("www-authenticate" in answer.headers) == (status == 401)
    if operation == "log_out_everywhere":
        world.forget_tokens()
    if operation.startswith("trash_"):
        back = world.request("PATCH", address(path, world), ADMIN_TOKEN, b'{"lifecycle": "ACTIVE"}')
        assert back.status == 200, back.data


def names_in(path: str) -> set[str]:
    return {part.partition(":")[0] for part in re.findall(r"{([^}]*)}", path)}


def test_every_rule_for_project_roles_is_of_a_path_that_tells_the_project() -> None:
    for operation, _, path in WITH_RULE:
        rule = RULES[operation]
        if isinstance(rule, Rule) and isinstance(rule.user, ProjectRole):
            assert not MISSING.keys().isdisjoint(names_in(path)), operation


def test_an_iteration_of_others_is_not_there_for_who_names_an_experiment_of_their_own(world: World) -> None:
    own = uuid4()
    with world.api.admin() as admin:
        admin.put_experiment(own, ExperimentWrite(project="other", name="own"))
        before = admin.iteration(world.iteration)
    where = f"/api/v1/iterations/{world.iteration}"
    body = msgspec.json.encode(IterationWrite(experiment_id=own, name="taken"))
    seen = {kind: world.request("PUT", where, world.token(kind), body) for kind in ("stranger", "admin", "viewer")}
    assert {kind: answer.status for kind, answer in seen.items()} == {"stranger": 404, "admin": 409, "viewer": 404}
    missing = world.request("GET", where, world.token("stranger"))
    assert msgspec.json.decode(seen["stranger"].data)["detail"] == msgspec.json.decode(missing.data)["detail"]
    with world.api.admin() as admin:
        assert admin.iteration(world.iteration) == before


def test_a_viewer_who_edits_elsewhere_may_not_take_what_is_only_shown_to_them(world: World) -> None:
    own = uuid4()
    with world.api.admin() as admin:
        admin.put_experiment(own, ExperimentWrite(project="third", name="own"))
        admin.put_member("third", Member(kind=MemberKind.USER, name="viewer", role=ProjectRole.EDITOR))
    body = msgspec.json.encode(IterationWrite(experiment_id=own))
    answer = world.request("PUT", f"/api/v1/iterations/{world.iteration}", world.token("viewer"), body)
    assert (answer.status, msgspec.json.decode(answer.data)["code"]) == (403, "forbidden")


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


def test_a_rescuer_is_the_pod_that_has_ended_and_nobody_else(world: World) -> None:
    """It may not even speak for itself, so that nothing is recorded of a pod that wrote nothing."""
    world.api.cluster.add_pod(world.iteration, namespace="ml", pod_uid="evicted")
    world.api.cluster.end_pod(namespace="ml", pod_uid="evicted", ended=WriterEnd.FAILED)
    token = world.api.cluster.add_rescuer(world.iteration, namespace="ml", rescues="evicted")
    with world.api.client(token) as client:
        left = artifact(world.iteration, "left", pod_uid="evicted")
        assert client.put_artifacts(world.iteration, [left])[0].id == left.id
        standing = client.put_pod_report(report(world.iteration, "evicted", 5, final=True))
        assert (standing.recorded.count, standing.name) == (1, "pod-evicted")
        assert client.writers(world.iteration, "evicted").ended is WriterEnd.FAILED
        for pod_uid in ("own", "reported", f"rescue-of-evicted-{world.iteration}-None", ""):
            with pytest.raises(Forbidden):
                client.put_artifacts(world.iteration, [artifact(world.iteration, "forged", pod_uid=pod_uid)])
        for pod_uid in ("own", "reported", f"rescue-of-evicted-{world.iteration}-None"):
            with pytest.raises(Forbidden):
                client.put_pod_report(report(world.iteration, pod_uid, 99, final=True))
    with world.api.admin() as admin:
        assert "forged" not in {each.path for each in admin.iteration_artifacts(world.iteration)}
        names = {standing.pod_uid: standing.name for standing in admin.pods(world.experiment)}
        assert names["evicted"] == "pod-evicted"


def test_nobody_ends_a_living_pod_s_proof_by_giving_it_out_for_dead(world: World) -> None:
    """With its name it is seen to live; with another name than it reported by, the API knows better."""
    with world.api.sidecar(world.iteration, namespace="ml", pod_uid="lives") as alive:
        alive.put_pod_report(report(world.iteration, "lives", 0))
        for name in ("pod-lives", "pod-that-is-gone", "pod-own", ""):
            token = world.api.cluster.add_rescuer(world.iteration, namespace="ml", rescues="lives", name=name)
            with world.api.client(token) as client:
                with pytest.raises(Forbidden):
                    client.put_pod_report(report(world.iteration, "lives", 10**9, final=True))
                with pytest.raises(Forbidden):
                    client.put_artifacts(world.iteration, [artifact(world.iteration, "forged", pod_uid="lives")])
        assert alive.put_pod_report(report(world.iteration, "lives", 1)).report is not None
    with world.api.admin() as admin:
        [standing] = [each for each in admin.pods(world.experiment) if each.pod_uid == "lives"]
        assert standing.report is not None
        assert (standing.report.sequence, standing.report.final) == (1, False)


def test_a_sidecar_reads_the_artifacts_of_its_own_iteration_only(world: World) -> None:
    with world.api.client(world.tokens["sidecar"]) as client:
        assert list(client.iteration_artifacts(world.iteration))
    with world.api.client(world.tokens["sidecar of another iteration"]) as client, pytest.raises(Forbidden):
        list(client.iteration_artifacts(world.iteration))


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


EDITS_OF_A_POD = {
    "name": b'"mine"',
    "error": b'"none"',
    "state": b'"SUCCEEDED"',
    "started_at": b'"2026-01-01T00:00:00Z"',
    "ended_at": b'"2026-01-01T00:00:00Z"',
    "parent_id": b"null",
    "parameters": b'{"lr": 1}',
    "environment": b'{"git": {}}',
    "lifecycle": b'"TRASHED"',
}


def test_a_pod_says_what_its_iteration_is_like_and_no_more(world: World) -> None:
    path, pod = f"/api/v1/iterations/{world.iteration}", world.tokens["sidecar"]
    before = msgspec.json.decode(world.request("GET", path, ADMIN_TOKEN).data)
    assert set(EDITS_OF_A_POD) | {"tags", "notes"} == set(IterationPatch.__struct_fields__), "a new field needs a word"
    for field, value in EDITS_OF_A_POD.items():
        answer = world.request("PATCH", path, pod, b'{"tags": {"sly": "1"}, "%s": %s}' % (field.encode(), value))
        assert (answer.status, msgspec.json.decode(answer.data)["field"]) == (403, field)
    assert msgspec.json.decode(world.request("GET", path, ADMIN_TOKEN).data) == before
    said = b'{"tags": {"team": "vision"}, "notes": "seen"}'
    for _ in range(2):
        answer = world.request("PATCH", path, pod, said)
        assert (answer.status, msgspec.json.decode(answer.data)["tags"]["team"]) == (200, "vision")
    for kind in ("sidecar of another iteration", "sidecar of another namespace"):
        assert world.request("PATCH", path, world.tokens[kind], said).status == 403


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
