"""/retention-policies, and those of a project"""

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pinnace.records import RetentionPolicy, RetentionPolicyPage, RetentionPolicyWrite
from pinnace_api.database import Database
from pinnace_api.identity import Visit
from pinnace_api.openapi import created, refusals
from pinnace_api.paging import Cut
from pinnace_api.retention import service


@put(
    "/projects/{name:str}/retention-policies/{policy:str}",
    operation_id="put_retention_policy",
    summary="Set a retention policy of a project",
    tags=["retention"],
    responses=created(RetentionPolicy) | refusals(401, 403, 404, 413, 422, 503),
    sync_to_thread=True,
)
def put_retention_policy(
    name: FromPath[str],
    policy: FromPath[str],
    data: JSONBody[RetentionPolicyWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[RetentionPolicy]:
    """It takes the place of the one before, and in this project that of the one of this name for all projects."""
    stored, is_new = service.put(database, visit, name, policy, data)
    return Response(stored, status_code=201 if is_new else 200)


@get(
    "/projects/{name:str}/retention-policies",
    operation_id="list_retention_policies",
    summary="The retention policies for all projects and those of a project, each by name",
    tags=["retention"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def list_retention_policies(
    name: FromPath[str], database: NamedDependency[Database], cut: NamedDependency[Cut]
) -> RetentionPolicyPage:
    """Of two of one name the project's own counts."""
    return service.page(database, name, cut)


@delete(
    "/projects/{name:str}/retention-policies/{policy:str}",
    operation_id="delete_retention_policy",
    summary="Take a retention policy of a project away",
    tags=["retention"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def delete_retention_policy(
    name: FromPath[str],
    policy: FromPath[str],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> None:
    """Then the one of this name for all projects counts again. To go without that, set it with `enabled: false`."""
    service.remove(database, visit, name, policy)


@put(
    "/retention-policies/{policy:str}",
    operation_id="put_default_policy",
    summary="Set a retention policy for all projects",
    tags=["retention"],
    responses=created(RetentionPolicy) | refusals(401, 403, 413, 422, 503),
    sync_to_thread=True,
)
def put_default_policy(
    policy: FromPath[str],
    data: JSONBody[RetentionPolicyWrite],
    database: NamedDependency[Database],
    visit: NamedDependency[Visit],
) -> Response[RetentionPolicy]:
    stored, is_new = service.put(database, visit, None, policy, data)
    return Response(stored, status_code=201 if is_new else 200)


@get(
    "/retention-policies",
    operation_id="list_default_policies",
    summary="The retention policies for all projects by name",
    tags=["retention"],
    responses=refusals(401, 403, 422, 503),
    sync_to_thread=True,
)
def list_default_policies(database: NamedDependency[Database], cut: NamedDependency[Cut]) -> RetentionPolicyPage:
    return service.page(database, None, cut)


@delete(
    "/retention-policies/{policy:str}",
    operation_id="delete_default_policy",
    summary="Take a retention policy for all projects away",
    tags=["retention"],
    responses=refusals(401, 403, 404, 422, 503),
    sync_to_thread=True,
)
def delete_default_policy(
    policy: FromPath[str], database: NamedDependency[Database], visit: NamedDependency[Visit]
) -> None:
    service.remove(database, visit, None, policy)


ROUTES = (
    put_retention_policy,
    list_retention_policies,
    delete_retention_policy,
    put_default_policy,
    list_default_policies,
    delete_default_policy,
)
